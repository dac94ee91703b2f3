"""``/v3/…``: checks in WeChat's order, dispatch, signed answers.

Source: WeChat Pay API v3, 基本规则 and 签名生成.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from flask import Blueprint, Response, request

from sandbox import levers, rsakeys, timing
from sandbox.box import here
from sandbox.wechatpay import bills, codepay, merchants, orders, refunds, wire
from sandbox.wechatpay.calls import Call
from sandbox.wechatpay.keys import Keyring
from sandbox.wechatpay.merchants import Merchant
from sandbox.wechatpay.wire import Node, Refusal


def _certificates(call: Call) -> Node:
    """GET /v3/certificates.  A merchant that never had platform certificates has no such resource."""
    if call.merchant.mode == "public_key":
        raise Refusal("RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台使用微信支付公钥")
    data = []
    for serial, pem in call.ring.platform():
        valid = x509.load_pem_x509_certificate(pem.encode())
        data.append(
            {
                "serial_no": serial,
                "effective_time": timing.beijing_rfc3339(valid.not_valid_before_utc.timestamp()),
                "expire_time": timing.beijing_rfc3339(valid.not_valid_after_utc.timestamp()),
                "encrypt_certificate": wire.seal(call.merchant.apiv3_key, pem, "certificate"),
            }
        )
    return {"data": data}


_UNSIGNED = ("PARAM_ERROR", "SIGN_ERROR")

PARTNER = "/partner/"  # in a service provider's addresses

Handler = Callable[[Call], Node | None]

# HTTP method, address, the name that levers know, handler.
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/v3/pay/transactions/native", "native", orders.create),
    ("POST", "/v3/pay/transactions/jsapi", "jsapi", orders.create),
    ("POST", "/v3/pay/transactions/h5", "h5", orders.create),
    ("POST", "/v3/pay/transactions/app", "app", orders.create),
    ("POST", "/v3/pay/transactions/codepay", "codepay", codepay.charge),
    ("POST", "/v3/pay/transactions/out-trade-no/<out_trade_no>/reverse", "reverse", codepay.reverse),
    ("GET", "/v3/pay/transactions/out-trade-no/<out_trade_no>", "query", orders.query),
    ("GET", "/v3/pay/transactions/id/<transaction_id>", "query", orders.query),
    ("POST", "/v3/pay/transactions/out-trade-no/<out_trade_no>/close", "close", orders.close),
    ("POST", "/v3/pay/partner/transactions/native", "native", orders.create),
    ("POST", "/v3/pay/partner/transactions/jsapi", "jsapi", orders.create),
    ("POST", "/v3/pay/partner/transactions/h5", "h5", orders.create),
    ("POST", "/v3/pay/partner/transactions/app", "app", orders.create),
    ("POST", "/v3/pay/partner/transactions/codepay", "codepay", codepay.charge),
    ("POST", "/v3/pay/partner/transactions/out-trade-no/<out_trade_no>/reverse", "reverse", codepay.reverse),
    ("GET", "/v3/pay/partner/transactions/out-trade-no/<out_trade_no>", "query", orders.query),
    ("GET", "/v3/pay/partner/transactions/id/<transaction_id>", "query", orders.query),
    ("POST", "/v3/pay/partner/transactions/out-trade-no/<out_trade_no>/close", "close", orders.close),
    ("POST", "/v3/refund/domestic/refunds", "refund", refunds.refund),
    ("GET", "/v3/refund/domestic/refunds/<out_refund_no>", "refund_query", refunds.query),
    ("GET", "/v3/bill/tradebill", "tradebill", bills.trade_bill),
    ("GET", "/v3/bill/fundflowbill", "fundflowbill", bills.flow_bill),
    ("GET", "/v3/certificates", "certificates", _certificates),
)


@dataclass(frozen=True, slots=True)
class Served:
    """What a call came to, and how the levers spoil its answer.  ``node`` None: no body."""

    node: Node | None
    status: int = 200
    hang_s: float = 0.0
    forge: str = ""
    front: bool = False  # a front server answers in the gateway's stead


def blueprint(ring: Keyring) -> Blueprint:
    """Every address under ``/v3/``."""
    bp = Blueprint("wechatpay_gateway", __name__)
    for method, rule, name, handler in ROUTES:
        bp.add_url_rule(
            rule, f"{method} {rule}", _view(ring, name, handler, PARTNER in rule), methods=[method]
        )

    @bp.get(bills.FILE_PATH)
    def bill_file() -> Response:
        try:
            merchant = authenticated(request.get_data())
            with here().store.read() as db:
                content, packed = bills.file_of(db, ring, merchant, request.args.get("token", ""))
        except Refusal as refusal:
            return _unsigned(refusal)
        return Response(content, mimetype="application/x-gzip" if packed else "text/plain")

    @bp.route("/v3/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def unknown(rest: str) -> Response:
        known = any(rule.count("<") == 0 and rule == f"/v3/{rest}" for _, rule, _, _ in ROUTES)
        return _unsigned(Refusal("RESOURCE_NOT_EXISTS", status=405 if known else 404))

    return bp


def authenticated(body: bytes) -> Merchant:
    """The merchant that signed the request being served.  Raises Refusal."""
    if not request.headers.get("Accept") or not request.headers.get("User-Agent"):
        raise Refusal("INVALID_REQUEST", "Http头缺少Accept或User-Agent")
    if not request.accept_mimetypes.accept_json:
        raise Refusal("INVALID_REQUEST", "Http头Accept必须包含application/json")
    if body and request.mimetype != "application/json":
        raise Refusal("INVALID_REQUEST", "Http头Content-Type必须是application/json")
    claim = wire.claim_of(request.headers.get("Authorization", ""))
    wire.check_age(claim, timing.now())
    with here().store.read() as db:
        merchant = merchants.find(db, claim.mchid)
    if merchant is None:
        raise Refusal("SIGN_ERROR", "商户号不存在")
    # Clients that read the number off the certificate write it in lower case, with or without its leading
    # zeros, and live with that.
    if claim.serial_no.upper().lstrip("0") != merchant.serial.lstrip("0"):
        raise Refusal("SIGN_ERROR", "商户API证书序列号有误。请使用证书相关命令或工具查看证书序列号")
    message = wire.request_message(request.method, _target(), claim, body)
    if not rsakeys.verifies(merchant.public_key, message, claim.signature):
        raise Refusal("SIGN_ERROR", detail=_sign_detail(message))
    return merchant


def _view(ring: Keyring, name: str, handler: Handler, is_partner: bool) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        body = request.get_data()
        try:
            merchant = authenticated(body)
            node = wire.node_of(body) if body or request.method == "POST" else {}
        except Refusal as refusal:
            return _unsigned(refusal)
        with here().store.write() as db:
            query = {key: request.args[key] for key in request.args}
            served = _serve(Call(here(), ring, db, merchant, name, path, query, node, is_partner), handler)
        if served.hang_s:
            time.sleep(served.hang_s)
        return _answer(ring, merchant, served)

    return view


def _serve(call: Call, handler: Handler) -> Served:
    """Run the handler between the levers that act before it and those that act after it."""

    def lever(name: str) -> str | None:
        return levers.take(call.db, name, number, call.name, call.merchant.mchid)

    number = call.number()
    status = lever("outage")
    if status is not None:
        return Served(None, int(status), front=True)
    error = lever("gateway_error")
    if error is not None:
        refusal = _wished(error)
        return Served(refusal.node(), refusal.status)
    try:
        node = handler(call)
        served = Served(node, _status(call, node))
    except Refusal as refusal:  # Here, not outside: what time and levers did must be committed.
        served = Served(refusal.node(), refusal.status)
    hang_s = lever("hang")
    if hang_s is not None:
        return Served(None, 504, float(hang_s), front=True)
    broken = lever("server_error")
    if broken is not None:
        return Served(None, int(broken), front=True)
    return Served(served.node, served.status, forge=lever("forge_answer") or "")


def _status(call: Call, node: Node | None) -> int:
    if node is None:
        return 204
    # Accepted, and not decided yet: the shopper is at the password.
    return 202 if call.name == "codepay" and node.get("trade_state") == "USERPAYING" else 200


def _answer(ring: Keyring, merchant: Merchant, served: Served) -> Response:
    """Sign it, unless the gateway refused before anybody of the business saw the request.

    Parameters are judged there: their authors' clients found PARAM_ERROR to come without a signature.
    """
    if served.front:
        return Response(f"<html>{served.status}</html>", served.status, mimetype="text/html")
    body = b"" if served.node is None else wire.text_of(served.node).encode()
    headers = {"Request-ID": _request_id()}
    if served.node is None or served.node.get("code") not in _UNSIGNED:
        signer = ring.signer(merchant.mchid, merchant.mode, request.headers.get("Wechatpay-Serial", ""))
        headers |= wire.signed_headers(signer, body, served.forge, ring.stranger_key)
    kind = None if served.node is None else "application/json; charset=utf-8"
    return Response(body, served.status, headers, content_type=kind)


def _unsigned(refusal: Refusal) -> Response:
    text = wire.text_of(refusal.node())
    headers = {"Request-ID": _request_id()}
    return Response(text, refusal.status, headers, content_type="application/json; charset=utf-8")


def _wished(error: str) -> Refusal:
    """The lever ``gateway_error``: ``429:FREQUENCY_LIMITED``, or nothing for 500 SYSTEM_ERROR.  Pure."""
    status, _, code = error.partition(":")
    number = int(status or 500)
    return Refusal(code or "SYSTEM_ERROR", status=number if 200 <= number <= 599 else 500)


def _target() -> str:
    """Path and query exactly as they came: what was signed is the text, not its meaning."""
    raw = str(request.environ.get("RAW_URI") or request.environ["REQUEST_URI"])
    if "://" in raw.partition("?")[0]:
        raw = "/" + raw.split("://", 1)[1].partition("/")[2]
    return raw


def _sign_detail(message: bytes) -> Node:
    """What WeChat tells a merchant whose signature does not match: the text it expected, cut short."""
    text = message.decode("utf-8", "replace")
    information = {
        "method": request.method,
        "url": _target(),
        "truncated_sign_message": text[:128],
        "sign_message_length": len(message),
    }
    issue = {"issue": "sign not match"}
    return {
        "field": "signature",
        "location": "authorization",
        "detail": issue,
        "sign_information": information,
    }


def _request_id() -> str:
    return f"08{secrets.token_hex(16).upper()}-{secrets.randbelow(10**9)}"
