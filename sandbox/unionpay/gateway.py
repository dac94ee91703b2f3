"""UnionPay's addresses: checks in UnionPay's order, dispatch, signed answers.

Source: UnionPay ACP 5.1.0, common fields, signing and verification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import cashier, levers, trades
from sandbox.box import Box, here
from sandbox.trades import State
from sandbox.unionpay import codes, files, merchants, news, payments, refunds, wire
from sandbox.unionpay.calls import Call
from sandbox.unionpay.codes import Refusal
from sandbox.unionpay.keys import Keyring
from sandbox.unionpay.merchants import NETWORK, Merchant
from sandbox.unionpay.payments import Fields

FILES = "/unionpay/files/"
_ORDER = ("channelType", "orderId", "txnTime", "txnAmt", "currencyCode", "backUrl")
_REFUND = ("orderId", "txnTime", "txnAmt", "origQryId", "backUrl")
_ANY = frozenset({"000000", "000201"})


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of transaction at one address: its handler, the fields it needs, its business types."""

    handle: Callable[[Call], Fields]
    needs: tuple[str, ...]
    biz_types: frozenset[str]


_QR = Product(payments.qr, _ORDER, frozenset({"000000"}))
_CODE = Product(payments.by_code, (*_ORDER, "qrNo", "termId"), frozenset({"000000"}))
_REVERSAL = Product(payments.reverse, ("orderId", "txnTime"), frozenset({"000000"}))
_APP = Product(payments.app, _ORDER, frozenset({"000201"}))
_QUERY = Product(payments.query, (), _ANY)
_BACK = Product(refunds.send_back, _REFUND, _ANY)
_FILE = Product(files.download, ("settleDate", "fileType", "txnTime"), frozenset({"000000"}))
PRODUCTS = {
    ("appTransReq", "01/01"): _APP,
    ("backTransReq", "01/07"): _QR,
    ("backTransReq", "01/06"): _CODE,
    ("backTransReq", "99/01"): _REVERSAL,
    ("backTransReq", "04/00"): _BACK,
    ("backTransReq", "31/00"): _BACK,
    ("queryTrans", "00/00"): _QUERY,
    ("backTransReq", "00/00"): _QUERY,  # Where some of UnionPay's own samples send it.
    ("files", "76/01"): _FILE,
}
_FRONT_NEEDS = (*_ORDER, "frontUrl")


@dataclass(frozen=True, slots=True)
class Served:
    """What a call came to, and how the levers spoil its answer."""

    fields: Fields
    status: int = 200
    hang_s: float = 0.0
    forge: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer as it leaves, after ``hang_s`` seconds."""

    body: bytes
    status: int = 200
    hang_s: float = 0.0


def blueprint(ring: Keyring) -> Blueprint:
    """``/gateway/api/*.do``, the file host, and the shopper's way back to the shop."""
    bp = Blueprint("unionpay_gateway", __name__)

    @bp.post("/gateway/api/frontTransReq.do")
    def front() -> AnyResponse:
        try:
            code = open_cashier(here(), ring, _body())
        except Refusal as refusal:
            return cashier.refused(refusal.code, codes.words(refusal.code, refusal.about))
        return redirect(f"/cashier/{code}", 303)

    @bp.post("/gateway/api/<any(appTransReq, backTransReq, queryTrans):endpoint>.do")
    def back(endpoint: str) -> Response:
        return _told(answer(here(), ring, endpoint, _body()))

    @bp.post(FILES)
    def file_host() -> Response:
        return _told(answer(here(), ring, "files", _body()))

    @bp.get("/unionpay/return/<code>")
    def way_back(code: str) -> Response:
        return _way_back(here(), ring, code)

    return bp


def answer(box: Box, ring: Keyring, endpoint: str, body: bytes) -> Spoken:
    """Serve one call.  What it did is committed before the levers spoil the answer."""
    fields: Mapping[str, str] = {}
    mode = "production"
    try:
        fields = wire.read(body)
        merchant = verified_merchant(box, fields)
        mode = merchant.mode
        method = f"{fields['txnType']}/{fields['txnSubType']}"
        product = PRODUCTS.get((endpoint, method))
        if product is None:
            raise Refusal(codes.NO_RIGHT)
        _check_product(fields, product.needs, product.biz_types)
        with box.store.write() as db:
            served = _serve(Call(box, ring, db, merchant, method, fields), product)
    except Refusal as refusal:
        served = Served(refusal.fields())
    if served.status != 200:  # What a front server says when the gateway behind it does not.
        return Spoken(f"<html>{served.status}</html>".encode(), served.status, served.hang_s)
    return Spoken(wire.answer(news.sealed(ring, mode, wire.repeated(fields) | served.fields, served.forge)))


def open_cashier(box: Box, ring: Keyring, body: bytes) -> str:
    """Enter and open the payment that a browser brings; answers the code of its cashier.  Raises Refusal."""
    fields = wire.read(body)
    merchant = verified_merchant(box, fields)
    method = f"{fields['txnType']}/{fields['txnSubType']}"
    if method != "01/01":
        raise Refusal(codes.NO_RIGHT)
    _check_product(fields, _FRONT_NEEDS, frozenset({"000201"}))
    with box.store.write() as db:
        return payments.front(Call(box, ring, db, merchant, method, fields)).code


def verified_merchant(box: Box, fields: Mapping[str, str]) -> Merchant:
    """The merchant that signed this request.  Raises Refusal."""
    wire.check(fields)
    with box.store.read() as db:
        merchant = merchants.find(db, fields["merId"])
    if merchant is None:
        raise Refusal(codes.BAD_MERCHANT, "merId")
    if fields["certId"] != merchant.cert_id or not wire.verifies(merchant.public_key, fields):
        raise Refusal(codes.BAD_SIGNATURE)
    return merchant


def _check_product(fields: Mapping[str, str], needs: tuple[str, ...], biz_types: frozenset[str]) -> None:
    """Raises Refusal."""
    if fields["txnType"] == "00" and "queryId" not in fields:
        needs = ("orderId", "txnTime")
    wire.require(fields, needs)
    if fields["bizType"] not in biz_types:
        raise Refusal(codes.BAD_FORM, "bizType")


def _serve(call: Call, product: Product) -> Served:
    """Run the handler between the levers that act before it and those that act after it."""
    number = call.number()

    def lever(name: str) -> str | None:
        return levers.take(call.db, name, number, call.method, call.merchant.mer_id)

    status = lever("outage")
    if status is not None:
        return Served({}, int(status))
    error = lever("gateway_error")
    if error is not None:
        return Served(codes.result(error.partition(":")[0] or codes.BUSY))
    try:
        fields = product.handle(call)
    except Refusal as refusal:  # Here, not outside: what time and levers did must be committed.
        fields = refusal.fields()
    hang_s = lever("hang")
    if hang_s is not None:
        return Served(fields, 504, float(hang_s))
    code = lever("resp_code")
    if code is not None:  # The call was carried out, and its answer says nothing more than this.
        fields = codes.result(code)
    forge = lever("forge_answer")
    if forge is not None and forge not in news.FORGERIES:
        forge = "bad_signature"  # The lever knew no network when it was pulled.
    return Served(fields, int(lever("server_error") or 200), forge=forge or "")


def _way_back(box: Box, ring: Keyring, code: str) -> Response:
    """A page with the form that takes the browser back to the shop, as UnionPay's last page does."""
    with box.store.write() as db:
        trade = trades.by_code(db, code)
        if trade is None or trade.network != NETWORK:
            return Response("no such payment", 404, mimetype="text/plain")
        merchant = merchants.find(db, trade.app_id)
        said = payments.payment_code(db, trade)
    assert merchant is not None  # A payment is entered by its merchant, and reset takes both.
    paid = trade.state in (State.PAID, State.FINISHED)
    to = trade.return_url if paid else trade.details.get("frontFailUrl", "")
    if not to:
        return Response("no way back", 404, mimetype="text/plain")
    fields = news.sealed(ring, merchant.mode, news.payment_facts(trade, said) | codes.result(said))
    page = render_template("sandbox/unionpay_return.html", to=to, fields=fields, paid=paid, trade=trade)
    return Response(page, headers={"Cache-Control": "no-store"})


def _told(spoken: Spoken) -> Response:
    if spoken.hang_s:
        time.sleep(spoken.hang_s)
    return Response(spoken.body, spoken.status, content_type="text/html;charset=UTF-8")


def _body() -> bytes:
    if request.mimetype != "application/x-www-form-urlencoded":
        return b""
    return request.get_data(cache=False)
