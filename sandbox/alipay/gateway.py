"""The one address of Alipay: transports, checks in Alipay's order, dispatch, signed answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import cashier, levers, rsakeys, shopper, timing
from sandbox.alipay import apps, bills, keys, news, oauth, payments, refunds, wire
from sandbox.alipay.apps import App
from sandbox.alipay.calls import Call, success
from sandbox.alipay.keys import Keyring
from sandbox.alipay.wire import Node, Params, Refusal, business
from sandbox.box import Box, here
from sandbox.trades import Trade

# The real gateway's tolerance is not published; clients in wide use send the machine's local time
# as if it were Beijing's, so anything below a day would refuse them on a machine in another zone.
_SKEW_MAX_S = 86400.0
_REQUIRED = ("app_id", "method", "timestamp", "version", "sign_type", "sign")
_NAMES = {"sign": "signature", "sign_type": "signature-type"}


def _cert_download(call: Call) -> Node:
    """alipay.open.app.alipaycert.download."""
    found = call.ring.certificate(call.word("alipay_cert_sn", 32, required=True))
    if found is None:
        raise business("CERT_NOT_EXIST", "证书不存在")
    return success(alipay_cert_content=keys.base64_of(found[1]))


HANDLERS: dict[str, Callable[[Call], Node]] = {
    "alipay.trade.precreate": payments.precreate,
    "alipay.trade.create": payments.create,
    "alipay.trade.pay": payments.pay,
    "alipay.trade.query": payments.query,
    "alipay.trade.close": payments.close,
    "alipay.trade.cancel": payments.cancel,
    "alipay.trade.refund": refunds.refund,
    "alipay.trade.fastpay.refund.query": refunds.refund_query,
    "alipay.data.dataservice.bill.downloadurl.query": bills.download_url,
    "alipay.open.app.alipaycert.download": _cert_download,
    oauth.METHOD: oauth.token,
}
BROWSER_METHODS = ("alipay.trade.wap.pay", "alipay.trade.page.pay")


@dataclass(frozen=True, slots=True)
class Served:
    """What a call came to, and how the levers spoil its answer."""

    node: Node
    status: int = 200
    hang_s: float = 0.0
    forged: bool = False


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer as it leaves, after ``hang_s`` seconds."""

    text: str
    charset: str
    status: int = 200
    hang_s: float = 0.0


def blueprint(ring: Keyring) -> Blueprint:
    """``/gateway.do``."""
    bp = Blueprint("alipay_gateway", __name__)

    @bp.route("/gateway.do", methods=["GET", "POST"])
    def gateway() -> AnyResponse:
        params = _params()
        if params.raw.get("method") in BROWSER_METHODS:
            return _open_cashier(ring, params)
        spoken = answer(here(), ring, params)
        if spoken.hang_s:
            time.sleep(spoken.hang_s)
        kind = f"text/html;charset={spoken.charset}"
        return Response(spoken.text.encode(spoken.charset, "replace"), spoken.status, content_type=kind)

    return bp


def answer(box: Box, ring: Keyring, params: Params) -> Spoken:
    """Serve one call.  What it did is committed before the levers spoil the answer."""
    method = params.raw.get("method", "")
    try:
        app = verified_app(box, ring, params)
        if method not in HANDLERS:  # Known, but handed to a wallet's SDK and never posted here.
            raise Refusal("40006", "isv.insufficient-isv-permissions", "ISV权限不足")
        biz = wire.biz_of(params)
        with box.store.write() as db:
            served = _serve(Call(box, ring, db, app, method, params, biz))
    except Refusal as refusal:
        served = Served(refusal.node())
    if served.status != 200:  # What a front server says when the gateway behind it does not.
        return Spoken(f"<html>{served.status}</html>", params.charset, served.status, served.hang_s)
    # The one method whose success has no code names its refusals as those of the gateway.
    own = method in HANDLERS and not (method == oauth.METHOD and "code" in served.node)
    name = f"{method.replace('.', '_')}_response" if own else "error_response"
    return Spoken(_signed(box, ring, params, name, served), params.charset)


def _signed(box: Box, ring: Keyring, params: Params, name: str, served: Served) -> str:
    text = wire.node_text(served.node)
    with box.store.read() as db:
        app = apps.find(db, params.raw.get("app_id", ""))
    if app is None:  # Whose key would the merchant check it with?  The real one does not sign either.
        return wire.answer(name, text)
    message = wire.node_text({**served.node, "msg": "Forged"}) if served.forged else text
    sn = ring.certificate_key()[0] if app.mode == "cert" else ""
    sign = rsakeys.sign(news.signing_key(ring, app), message.encode(params.charset, "replace"))
    return wire.answer(name, text, sn, sign)


def verified_app(box: Box, ring: Keyring, params: Params) -> App:
    """The app that signed this request.  Raises Refusal with the gateway's code for what is wrong."""
    for name in _REQUIRED:
        if not params.raw.get(name):
            raise Refusal("40001", f"isv.missing-{_NAMES.get(name, name.replace('_', '-'))}")
    _check_form(params)
    with box.store.read() as db:
        app = apps.find(db, params.raw["app_id"])
        token = params.raw.get("app_auth_token")
        acting = apps.acting(db, app, token) if app is not None and token else app
    if app is None:
        raise Refusal("40002", "isv.invalid-app-id", "无效的AppID参数")
    if acting is None:
        raise Refusal("20001", "aop.invalid-app-auth-token", "无效的应用授权令牌")
    if app.mode == "cert":
        _check_certificates(ring, app, params)
    if not rsakeys.verifies(app.public_key, params.signed_bytes(), params.raw["sign"]):
        raise Refusal(
            "40002", "isv.invalid-signature", "验签出错, 请确认charset, sign_type, 私钥和待签名内容"
        )
    return acting


def browser_call(box: Box, ring: Keyring, params: Params) -> Trade:
    """Enter and open the trade of a page.pay, wap.pay or app.pay request.  Raises Refusal."""
    app = verified_app(box, ring, params)
    with box.store.write() as db:
        call = Call(box, ring, db, app, params.raw["method"], params, wire.biz_of(params))
        return shopper.open_trade(box, db, payments.offer(call)).trade


def _serve(call: Call) -> Served:
    """Run the handler between the levers that act before it and those that act after it."""

    def lever(name: str) -> str | None:
        return levers.take(call.db, name, number, call.method, call.app.app_id)

    number = call.number()
    status = lever("outage")
    if status is not None:
        return Served({}, int(status))
    error = lever("gateway_error")
    if error is not None:
        code, _, sub_code = (error or "20000:isp.unknow-error").partition(":")
        return Served(Refusal(code, sub_code or "isp.unknow-error").node())
    try:
        node = HANDLERS[call.method](call)
    except Refusal as refusal:  # Here, not outside: what time and levers did must be committed.
        node = refusal.node()
    hang_s = lever("hang")
    if hang_s is not None:
        return Served(node, 504, float(hang_s))
    return Served(node, int(lever("server_error") or 200), forged=lever("forge_answer") is not None)


def _open_cashier(ring: Keyring, params: Params) -> AnyResponse:
    try:
        trade = browser_call(here(), ring, params)
    except Refusal as refusal:
        return cashier.refused(refusal.sub_code, refusal.sub_msg)
    return redirect(f"/cashier/{trade.code}", 303)


def _params() -> Params:
    form = b""
    if request.mimetype == "application/x-www-form-urlencoded":
        form = request.get_data(cache=False)
    try:
        return wire.read(request.query_string, form)
    except ValueError:  # More fields than any client sends.
        return Params({})


def _check_form(params: Params) -> None:
    """The common parameters' values.  Raises Refusal."""
    if params.raw["method"] not in HANDLERS and params.raw["method"] not in payments.PRODUCTS:
        raise Refusal("40002", "isv.invalid-method", "不存在的方法名")
    if params.raw["sign_type"] != "RSA2":
        raise Refusal("40002", "isv.invalid-signature-type", "无效的签名类型")
    if params.raw.get("charset", "utf-8").lower() not in wire.CHARSETS:
        raise Refusal("40002", "isv.invalid-charset", "字符集错误")
    if params.raw.get("format", "json").lower() not in ("json", ""):
        raise Refusal("40002", "isv.invalid-format", "无效的数据格式")
    if params.raw["version"] != "1.0":
        raise Refusal("40002", "isv.invalid-version", "无效的版本号")
    try:
        sent_ts = timing.from_beijing(params.raw["timestamp"])
    except ValueError:
        raise Refusal("40002", "isv.invalid-timestamp", "非法的时间戳参数") from None
    if abs(timing.now() - sent_ts) > _SKEW_MAX_S:
        raise Refusal("40002", "isv.invalid-timestamp", "非法的时间戳参数")


def _check_certificates(ring: Keyring, app: App, params: Params) -> None:
    """In certificate mode both serial numbers are required, and right.  Raises Refusal."""
    expected = {"app_cert_sn": app.app_cert_sn, "alipay_root_cert_sn": keys.root_sn(ring.roots())}
    for name, value in expected.items():
        sub = name.replace("_", "-")
        if not params.raw.get(name):
            raise Refusal("40001", f"isv.missing-{sub}")
        if params.raw[name] != value:
            raise Refusal("40002", f"isv.invalid-{sub}")
