"""The addresses of 易支付: ``submit.php`` for browsers, ``mapi.php`` and ``api.php`` for shops' programs.

Nothing but these reads MD5, and only for merchants who have switched it on.  What the shop wants is done by
the functions that the API and the dashboard call, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from app import clock
from app.charges.present import link_of
from app.charges.states import ChargeState, RefundState
from app.epay import notices, orders, refunds, switch, wire, words_views
from app.epay.carrier import guard_for_shops
from app.epay.switch import Front
from app.epay.wire import Asked
from app.epay.words_views import both, words_of
from app.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    PlatformError,
    SignatureMismatch,
    TooManyRequests,
)
from app.qr.links import link_for
from app.rates import place_of
from app.runtime import runtime, settings

# Devices on which a code to scan is of no use: there the link is opened.
_PHONES = ("mobile", "wechat", "alipay", "qq", "jump")
_STATUS_UNPAID, _STATUS_PAID, _STATUS_REFUNDED = 0, 1, 2

log = structlog.get_logger(__name__)
# Two, because what is wrong with a shopper's request is a page, and with a program's an object.
bp = Blueprint("epay_pages", __name__)
programs_bp = Blueprint("epay_programs", __name__)


@bp.get("/submit.php")
@bp.post("/submit.php")
def submit() -> Response:
    """Make the order and send its shopper on to the checkout, the wallet chosen."""
    try:
        front, fields = _signed()
        asked = _order(fields)
        charge = orders.place(front, asked)
    except PlatformError as error:
        return _refusal_page(error)
    return _see_other(_checkout(charge, asked))


@bp.get("/epay/return/<token>")
def come_back(token: str) -> Response:
    """From the checkout to the shop's return_url: signed and with TRADE_SUCCESS if it is paid, else bare.

    The shop's page must not take this for a payment without the signature; nor need it, with the notice.
    """
    order = orders.find_by_token(token)
    row = switch.find_row(order.merchant_id, livemode=order.livemode)
    if order.return_url is None or row is None:
        raise NotFound("no such order")
    front = switch.front_of(row)
    if front.enabled and order.notice is not None and orders.is_paid(order):
        return _see_other(notices.return_address(order, front))
    return _see_other(order.return_url)


@programs_bp.get("/mapi.php")
@programs_bp.post("/mapi.php")
def make_order() -> Response:
    """Make the order; where to send its shopper."""
    front, fields = _signed()
    asked = _order(fields)
    charge = orders.place(front, asked)
    if charge.state != ChargeState.PENDING:
        raise Conflict(f"the order is {charge.state}", code=charge.state)
    answer = {"code": 1, "msg": "", "trade_no": charge.id, "payurl": _checkout(charge, asked)}
    if asked.device not in _PHONES:
        # Whatever wallet scans it, it opens the same checkout.
        answer["qrcode"] = link_of(charge)
    return jsonify(answer)


@programs_bp.get("/api.php")
@programs_bp.post("/api.php")
def ask() -> Response:
    """``act``: query, order, orders, settle, refund."""
    # PHP's shops write act into the address and the rest into the form, which counts if both have it.
    in_address, in_form = request.args.items(multi=True), request.form.items(multi=True)
    fields = wire.fields_of(in_address) | wire.fields_of(in_form)
    acts = {
        "query": _query,
        "order": _order_told,
        "orders": _orders_told,
        "settle": _settlements,
        "refund": _refund,
    }
    act = acts.get(fields.get("act", ""))
    if act is None:
        raise InvalidRequest("no such act", code="act", param="act")
    return jsonify(act(_proved(fields), fields))


@programs_bp.errorhandler(Exception)
def _refusal(error: Exception) -> Response:
    """Always 200: clients read the code in the answer, and some throw away any other status."""
    if isinstance(error, PlatformError):
        _note_refusal(error)
        words, code = words_of(error), -1
        if isinstance(error, NotAuthenticated):
            code = -3
    elif isinstance(error, HTTPException):
        words, code = words_of(InvalidRequest(error.name)), -1
    else:
        log.error("unforeseen", error=type(error).__name__, exc_info=error)
        words, code = words_views.unforeseen(), -1
    return jsonify(code=code, msg=both(words))


def _query(front: Front, _fields: Mapping[str, str]) -> dict[str, Any]:
    day = clock.day_of(clock.now())
    count = orders.count(front, clock.start_of(day), clock.start_of(day - timedelta(days=1)))
    return {
        "code": 1,
        "msg": "",
        "pid": int(front.pid),
        "active": 1,
        "money": "0.00",  # no money is ever with us
        "type": 4,
        "account": "",
        "username": "",
        "orders": count.all,
        "order_today": count.today,
        "order_lastday": count.yesterday,
    }


def _order_told(front: Front, fields: Mapping[str, str]) -> dict[str, Any]:
    return {"code": 1, "msg": both(words_views.QUERIED), **_told(front, _named(front, fields))}


def _orders_told(front: Front, fields: Mapping[str, str]) -> dict[str, Any]:
    limit = _number(fields, "limit", 20, orders.LIST_MAX)
    page = max(1, _number(fields, "page", 1, orders.OFFSET_MAX))
    offset = _number(fields, "offset", (page - 1) * limit, orders.OFFSET_MAX)
    rows = orders.list_orders(front.merchant_id, livemode=front.livemode, limit=limit, offset=offset)
    return {"code": 1, "msg": both(words_views.LISTED), "data": [_told(front, row) for row in rows]}


def _settlements(_front: Front, _fields: Mapping[str, str]) -> dict[str, Any]:
    return {"code": 1, "msg": both(words_views.NO_SETTLEMENTS), "data": []}


def _refund(front: Front, fields: Mapping[str, str]) -> dict[str, Any]:
    if request.method != "POST":
        raise InvalidRequest("by POST only", code="http_method")
    order = _named(front, fields)
    amount = wire.read_money(fields.get("money", ""))
    refund = refunds.ask(front, order.charge_id, amount, fields.get("out_refund_no", ""))
    is_held = refund.state == RefundState.AWAITING
    words = {
        RefundState.AWAITING: words_views.AWAITING,
        RefundState.SUCCEEDED: words_views.REFUNDED,
    }.get(refund.state, words_views.REFUNDING)
    return {
        "code": -1 if is_held else 1,
        "msg": both(words),
        "trade_no": order.charge_id,
        "refund_no": refund.id,
        "money": fields["money"],
    }


def _told(front: Front, order: Any) -> dict[str, Any]:
    status = _STATUS_UNPAID
    if order.state == ChargeState.PAID:
        status = _STATUS_PAID if orders.is_paid(order) else _STATUS_REFUNDED
    return {
        "trade_no": order.charge_id,
        "out_trade_no": order.out_trade_no,
        "api_trade_no": order.provider_ref or "",
        "type": wire.word_for(order.provider, order.method) if order.provider else order.method,
        "pid": int(front.pid),
        "addtime": clock.to_beijing(order.created_at),
        "endtime": clock.to_beijing(order.paid_at) if order.paid_at else "",
        "name": order.name,
        "money": order.money,
        "status": status,
        "param": order.param,
        "buyer": "",
    }


def _signed() -> tuple[Front, dict[str, str]]:
    """Who asks and for what, the signature checked.  Raises PlatformError."""
    # Where the pid is, the rest is: some clients send all of it in the address, and unsigned as a form.
    source = request.args if "pid" in request.args else request.form
    fields = wire.fields_of(source.items(multi=True))
    front = _recognised(fields)
    _prove(lambda: wire.check_signature(fields, front.key))
    _limit(front)
    return front, fields


def _proved(fields: Mapping[str, str]) -> Front:
    """Who asks, shown by the key itself or by a signature.  Raises PlatformError."""
    front = _recognised(fields)
    if "key" in fields:
        if not wire.same_text(fields["key"], front.key):
            _fail()
            raise NotAuthenticated("the key is wrong", code="key")
    else:
        _prove(lambda: wire.check_signature(fields, front.key))
    _limit(front)
    return front


def _recognised(fields: Mapping[str, str]) -> Front:
    failures, place = runtime().rates.failures, place_of(request.remote_addr or "")
    if failures is not None and not (verdict := failures.look(place)).allowed:
        raise TooManyRequests("too many wrong requests", retry_after_s=verdict.retry_after_s)
    try:
        return switch.open_front(fields.get("pid", ""))
    except NotAuthenticated:
        _fail()
        raise


def _prove(check: Any) -> None:
    try:
        check()
    except SignatureMismatch:
        _fail()
        raise


def _fail() -> None:
    """Whoever tries keys is slowed down by where they are."""
    if (failures := runtime().rates.failures) is not None:
        failures.take(place_of(request.remote_addr or ""))


def _limit(front: Front) -> None:
    counts = runtime().rates.writes
    if counts is not None and not (verdict := counts.take(f"epay {front.pid}")).allowed:
        raise TooManyRequests("this pid calls too often", retry_after_s=verdict.retry_after_s)


def _order(fields: Mapping[str, str]) -> Asked:
    asked = wire.read_order(fields)
    try:
        guard_for_shops(settings()).check_url(asked.notify_url)
    except InvalidRequest as error:
        raise InvalidRequest(error.detail, param="notify_url") from None
    return asked


def _named(front: Front, fields: Mapping[str, str]) -> Any:
    return orders.find(
        front, trade_no=fields.get("trade_no", ""), out_trade_no=fields.get("out_trade_no", "")
    )


def _number(fields: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = fields.get(name, "")
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 9 else default


def _checkout(charge: Any, asked: Asked) -> str:
    # The host in small letters: this is for browsers, and codes are drawn elsewhere.
    link = link_of(charge)
    token = link.rpartition("/")[2]
    address = link_for(settings().origin, token, host_upper=False)
    return f"{address}?{urlencode({'wallet': asked.wallet})}" if asked.wallet else address


def _refusal_page(error: PlatformError) -> Response:
    _note_refusal(error)
    page = render_template(
        "epay/refusal.html", words=words_of(error), code=error.code, request_id=g.get("request_id", "")
    )
    status = 429 if isinstance(error, TooManyRequests) else 400
    return Response(page, status, content_type="text/html; charset=utf-8")


def _note_refusal(error: PlatformError) -> None:
    log.info("epay refused", path=request.path, code=error.code, reason=error.detail)


def _see_other(address: str) -> Response:
    headers = {"Location": wire.for_a_header(address), "Cache-Control": "no-store"}
    response = Response(status=303, headers=headers)
    response.autocorrect_location_header = False
    return response
