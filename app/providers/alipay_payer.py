"""Who the shopper inside the Alipay app is to the merchant, by OAuth 2 without a question asked.

The browser goes to Alipay and comes back with an ``auth_code``, which the gateway exchanges for a
``user_id``, or for an ``open_id`` alone where the application was switched to those: the one is the same at
every merchant, the other means something to this application only.
Source: Alipay open platform, user information authorisation (auth_base), alipay.system.oauth.token,
alipay.trade.create.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from app.errors import InvalidRequest, ProviderRejected, ProviderUnreachable
from app.providers.alipay_account import Account
from app.providers.alipay_wire import Answer

METHOD = "alipay.system.oauth.token"

_CODE = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)  # of 32 to 40 letters so far
_STATE = re.compile(r"[0-9A-Za-z]{1,128}", re.ASCII)
_USER_ID = re.compile(r"2088[0-9]{12}", re.ASCII)
_OPEN_ID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)


def authorize_url(account: Account, return_url: str, state: str) -> str:
    """Where the browser goes first.  Pure.  Raises InvalidRequest for a state that might not come back."""
    if _STATE.fullmatch(state) is None:
        raise InvalidRequest("must be 1 to 128 letters and digits", param="state")
    return (
        f"{account.openauth}/oauth2/publicAppAuthorize.htm?app_id={quote(account.app_id, safe='')}"
        f"&scope=auth_base&redirect_uri={quote(return_url, safe='')}&state={state}"
    )


def exchange_params(query: Mapping[str, str]) -> dict[str, str]:
    """What the exchange sends, beside the common parameters and not inside ``biz_content``.  Pure.

    Raises ProviderRejected when the browser brought no code.
    """
    code = query.get("auth_code", "")
    if _CODE.fullmatch(code) is None:
        raise ProviderRejected("alipay sent nobody back with a code")
    return {"grant_type": "authorization_code", "code": code}


def read_payer(answer: Answer) -> str:
    """The payer's user_id, or open_id where there is no other, of a verified answer.  Pure.

    Raises ProviderUnreachable.
    """
    user_id, open_id = answer.word("user_id"), answer.word("open_id")
    if _USER_ID.fullmatch(user_id):
        return user_id
    if _OPEN_ID.fullmatch(open_id):
        return open_id
    raise ProviderUnreachable("alipay names no payer")


def buyer(payer_id: str) -> dict[str, str]:
    """How alipay.trade.create wants the payer named.  Pure.  Raises ProviderRejected for neither kind of id.

    ``"2088..." -> {"buyer_id": "2088..."}``, anything else is an open_id.
    """
    if _OPEN_ID.fullmatch(payer_id) is None:
        raise ProviderRejected("alipay needs the payer's user id inside its app")
    return {"buyer_id" if _USER_ID.fullmatch(payer_id) else "buyer_open_id": payer_id}
