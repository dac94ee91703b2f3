"""The round trip that tells a merchant who opened its page inside the Alipay app.

Source: Alipay open platform, 用户信息授权 (publicAppAuthorize, auth_base), alipay.system.oauth.token.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import tickets, timing
from sandbox.alipay import apps, buyer
from sandbox.alipay.apps import NETWORK
from sandbox.alipay.calls import Call
from sandbox.alipay.wire import Node, Refusal
from sandbox.box import here
from sandbox.cashier import Unfit, opened

METHOD = "alipay.system.oauth.token"
AUTHORIZE_PATH = "/oauth2/publicAppAuthorize.htm"
SCOPES = frozenset({"auth_base", "auth_user"})
_CODE_LIFE_S = 86400.0
_TOKEN_LIFE_S = 1296000
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")
_STATE_CHARS_MAX = 256


def blueprint() -> Blueprint:
    """``/oauth2/publicAppAuthorize.htm``."""
    bp = Blueprint("alipay_oauth", __name__)

    @bp.get(AUTHORIZE_PATH)
    def authorize() -> AnyResponse:
        return opened(lambda: redirect(_authorized(), 302))

    return bp


def token(call: Call) -> Node:
    """alipay.system.oauth.token: a code is good once, for a day, at the app that asked for it.

    Its fields stand beside biz_content, and a success has neither code nor msg.
    """
    if call.params.text("grant_type") != "authorization_code":
        raise Refusal("40002", "isv.grant-type-invalid", "grant_type参数不正确")
    ticket = tickets.find(call.db, NETWORK, call.params.text("code"))
    if ticket is None or ticket.made_ts + _CODE_LIFE_S < timing.now():
        raise Refusal("40002", "isv.code-invalid", "授权码code无效")
    if ticket.about != f"auth {call.app.app_id}":
        raise Refusal("40002", "isv.unmatched-app-id", "应用标识与令牌授权的应用不相符")
    if not tickets.use(call.db, NETWORK, ticket.ticket):
        raise Refusal("40002", "isv.code-invalid", "授权码code无效")
    return {
        "access_token": f"authbseB{secrets.token_hex(16)}",
        "auth_start": timing.beijing(timing.now()),
        "expires_in": _TOKEN_LIFE_S,
        "re_expires_in": 2 * _TOKEN_LIFE_S,
        "refresh_token": f"authbseB{secrets.token_hex(16)}",
        **buyer.named(call.app, "user_id", "open_id"),
    }


def _authorized() -> str:
    """Where the shopper goes next, with a fresh code; auth_base asks nobody anything.  Raises Unfit."""
    if "AlipayClient/" not in request.headers.get("User-Agent", ""):
        raise Unfit("OAUTH", "请在支付宝客户端打开链接")
    args = request.args
    back, scope, state = args.get("redirect_uri", ""), args.get("scope", ""), args.get("state", "")
    if not scope or not SCOPES.issuperset(scope.split(",")):
        raise Unfit("INVALID_SCOPE", "scope参数错误")
    if _ADDRESS.fullmatch(back) is None:
        raise Unfit("INVALID_REDIRECT_URI", "授权链接与回调地址不符")
    if len(state) > _STATE_CHARS_MAX:
        raise Unfit("INVALID_STATE", "state参数过长")
    with here().store.write() as db:
        app = apps.find(db, args.get("app_id", ""))
        if app is None:
            raise Unfit("INVALID_APP_ID", "app_id参数错误")
        code = secrets.token_hex(16)
        tickets.issue(db, NETWORK, code, f"auth {app.app_id}")
    fields = {"app_id": app.app_id, "source": "alipay_wallet", "scope": scope, "auth_code": code}
    head, mark, fragment = back.partition("#")
    glue = "&" if "?" in head else "?"
    return f"{head}{glue}{urlencode(fields | ({'state': state} if state else {}))}{mark}{fragment}"
