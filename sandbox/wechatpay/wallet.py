"""WeChat on the shopper's phone: OAuth's round trip for an openid, and the H5 page that opens the cashier.

Source: WeChat official accounts, 网页授权; WeChat Pay API v3, H5支付.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import tickets, timing, trades
from sandbox.box import here
from sandbox.cashier import Unfit, opened
from sandbox.trades import State, Trade
from sandbox.wechatpay import merchants
from sandbox.wechatpay.merchants import NETWORK
from sandbox.wechatpay.orders import H5_LIFE_S, H5_PATH, openid_of
from sandbox.wechatpay.wire import Node, text_of

AUTHORIZE_PATH = "/connect/oauth2/authorize"
_CODE_LIFE_S = 300.0
_ORDER = ["appid", "redirect_uri", "response_type", "scope", "state"]
_STATE = re.compile(r"[0-9A-Za-z]{0,128}", re.ASCII)
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")


def blueprint() -> Blueprint:
    """``/connect/oauth2/authorize``, ``/sns/oauth2/access_token`` and the H5 page."""
    bp = Blueprint("wechatpay_wallet", __name__)

    @bp.get(AUTHORIZE_PATH)
    def authorize() -> AnyResponse:
        return opened(lambda: redirect(_authorized(), 302))

    @bp.get("/sns/oauth2/access_token")
    def access_token() -> Response:
        with here().store.write() as db:
            node = _token(db)
        # JSON that calls itself plain text: WeChat's own habit.
        return Response(text_of(node), content_type="text/plain")

    @bp.get(H5_PATH)
    def h5() -> AnyResponse:
        return opened(_h5)

    return bp


def _h5() -> AnyResponse:
    """The cashier of an H5 payment.  Raises Unfit."""
    with here().store.write() as db:
        trade = _h5_trade(db)
    return redirect(f"/cashier/{trade.code}", 303)


def _authorized() -> str:
    """Where the shopper goes next, with a fresh code.  Raises Unfit."""
    if not _in_wechat():
        raise Unfit("OAUTH", "请在微信客户端打开链接")
    names = [part.partition("=")[0] for part in request.query_string.decode("latin-1").split("&")]
    if names not in (_ORDER, _ORDER[:-1]):
        raise Unfit("10006", "参数缺失或顺序不对: appid, redirect_uri, response_type, scope, state")
    args = request.args
    with here().store.write() as db:
        merchant = merchants.of_appid(db, args["appid"])
        if merchant is None:
            raise Unfit("40013", "AppID 参数错误")
        if args["response_type"] != "code" or args["scope"] not in ("snsapi_base", "snsapi_userinfo"):
            raise Unfit("10005", "Scope 参数错误或没有 Scope 权限")
        if _STATE.fullmatch(args.get("state", "")) is None:
            raise Unfit("10016", "state 只能是不超过128个字母和数字")
        back = args["redirect_uri"]
        if _ADDRESS.fullmatch(back) is None or not _is_at(back, merchant.domain):
            raise Unfit("10003", "redirect_uri 域名与后台配置不一致")
        code = f"0{secrets.choice('123')}1{secrets.token_urlsafe(24)[:29]}"
        tickets.issue(db, NETWORK, code, f"oauth {merchant.appid} {args['scope']}")
    glue = "&" if "?" in back else "?"
    head, mark, fragment = back.partition("#")
    answer = urlencode({"code": code, "state": args.get("state", "")})
    return f"{head}{glue}{answer}{mark}{fragment}"


def _token(db: sqlite3.Connection) -> Node:
    """/sns/oauth2/access_token: a code is good once, for five minutes, at the appid that asked for it."""
    args = request.args
    merchant = merchants.of_appid(db, args.get("appid", ""))
    if merchant is None:
        return _fault(40013, "invalid appid")
    if not secrets.compare_digest(args.get("secret", "").encode(), merchant.app_secret.encode()):
        return _fault(40125, "invalid appsecret")
    if args.get("grant_type") != "authorization_code":
        return _fault(40002, "invalid grant_type")
    ticket = tickets.find(db, NETWORK, args.get("code", ""))
    about = [] if ticket is None else ticket.about.split(" ")
    if (
        ticket is None
        or about[:2] != ["oauth", merchant.appid]
        or ticket.made_ts + _CODE_LIFE_S < timing.now()
    ):
        return _fault(40029, "invalid code")
    if not tickets.use(db, NETWORK, ticket.ticket):
        return _fault(40163, "code been used")
    return {
        "access_token": secrets.token_urlsafe(48),
        "expires_in": 7200,
        "refresh_token": secrets.token_urlsafe(48),
        "openid": openid_of(merchant.appid),
        "scope": about[2],
    }


def _h5_trade(db: sqlite3.Connection) -> Trade:
    """The order behind an h5_url, with the shop's ``redirect_url`` noted on it.  Raises Unfit."""
    if _in_wechat():
        raise Unfit("H5", "请在微信外打开订单，进行支付")
    ticket = tickets.find(db, NETWORK, request.args.get("prepay_id", ""))
    trade = None if ticket is None else trades.by_code(db, ticket.about)
    if ticket is None or trade is None or trade.product != "h5":
        raise Unfit("H5", "支付请求已失效，请重新发起支付")
    if trade.state is State.OFFERED and ticket.made_ts + H5_LIFE_S < timing.now():
        raise Unfit("H5", "支付请求已失效，请重新发起支付")
    merchant = merchants.find(db, trade.app_id)
    assert merchant is not None  # Merchants go only with their trades.
    if merchant.domain and not _is_at(request.headers.get("Referer", ""), merchant.domain):
        raise Unfit("H5", "商家参数格式有误，请联系商家解决")
    back = request.args.get("redirect_url", "")
    if not back:
        return trade
    if _ADDRESS.fullmatch(back) is None or not _is_at(back, merchant.domain):
        raise Unfit("H5", "商家存在未配置的参数，请联系商家解决")
    # Whoever cancels comes back as well: the return says nothing of the payment.
    trade = trades.note(db, trade, quit_url=back)
    return trades.move(db, trade, tuple(State), return_url=back)


def _in_wechat() -> bool:
    return "MicroMessenger/" in request.headers.get("User-Agent", "")


def _is_at(address: str, domain: str) -> bool:
    """Whether an address is on a domain (host, or host and port) or below it; everything is on ""."""
    parts = urlsplit(address)
    host = parts.netloc if ":" in domain else parts.hostname or ""
    return not domain or host.lower() == domain.lower() or host.lower().endswith(f".{domain.lower()}")


def _fault(errcode: int, errmsg: str) -> Node:
    return {"errcode": errcode, "errmsg": f"{errmsg}, rid: {secrets.token_hex(12)}"}
