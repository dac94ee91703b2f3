"""Who the shopper inside WeChat is to the merchant: the openid, by OAuth 2 without a question asked.

The browser goes to WeChat and comes back with a code; the code and the account's secret are exchanged
for the openid.  Only TLS vouches for that answer, but a false openid opens nobody's purse: the pay
sheet refuses to open for another than its payer.
Source: WeChat official accounts, web page authorisation, snsapi_base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from app.errors import InvalidRequest, ProviderRejected, ProviderUnreachable
from app.providers import wechatpay_wire
from app.providers.base import HttpAnswer
from app.providers.wechatpay_account import Account

# What the exchange refuses for good with this code or these settings.  Busy (-1), called too often
# (45011) and words that we do not know are worth another try.
REFUSALS = {
    40029: "code invalid",
    40163: "code already used",
    42003: "code expired",
    41008: "code missing",
    40013: "app id invalid",
    41002: "app id missing",
    40125: "app secret wrong",
    41004: "app secret missing",
    40226: "payer barred by WeChat",
}
CODE_CHARS_MAX = 512

_STATE = re.compile(r"[0-9A-Za-z]{1,128}", re.ASCII)
_OPENID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)


def authorize_url(account: Account, return_url: str, state: str) -> str:
    """Where the browser goes first; WeChat wants the parameters in this order.  Pure.

    Raises InvalidRequest for a state that WeChat would refuse.
    """
    if _STATE.fullmatch(state) is None:
        raise InvalidRequest("must be 1 to 128 letters and digits", param="state")
    return (
        f"{account.open_url}/connect/oauth2/authorize?appid={quote(account.parties.public_appid, safe='')}"
        f"&redirect_uri={quote(return_url, safe='')}&response_type=code&scope=snsapi_base&state={state}"
        "#wechat_redirect"
    )


def exchange_url(account: Account, query: Mapping[str, str]) -> str:
    """The address that turns the code into the openid; it holds the app secret.  Pure.

    Raises ProviderRejected when there is no code, or no secret to exchange it with.
    """
    code = query.get("code", "")
    if not 1 <= len(code) <= CODE_CHARS_MAX:
        raise ProviderRejected("wechat sent nobody back with a code")
    if not account.app_secret:
        raise ProviderRejected("wechatpay needs the app secret to identify a payer")
    fields = {
        "appid": account.parties.public_appid,
        "secret": account.app_secret,
        "code": code.encode("utf-8", "replace"),
        "grant_type": "authorization_code",
    }
    return f"{account.sns_url}/sns/oauth2/access_token?{urlencode(fields)}"


def read_openid(answer: HttpAnswer) -> str:
    """The openid.  Pure.  Raises ProviderRejected or ProviderUnreachable."""
    try:
        node = wechatpay_wire.read_node(answer.body)
    except ValueError:
        raise ProviderUnreachable("wechat's answer about the payer cannot be read") from None
    errcode = node.whole("errcode")
    if errcode in REFUSALS:
        raise ProviderRejected(f"wechat names no payer: {REFUSALS[errcode]}", provider_code=str(errcode))
    openid = node.word("openid")
    if answer.status != 200 or errcode or _OPENID.fullmatch(openid) is None:
        raise ProviderUnreachable("wechat names no payer", provider_code=str(errcode) if errcode else None)
    return openid
