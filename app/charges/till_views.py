"""The till's two rooms: the counter, where shoppers scan our code, and the cashier, who scans theirs."""

from __future__ import annotations

import json
import secrets

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.answers import json_answer
from app.charges import counter, forms, lifecycle, shifts, till
from app.charges.commands import NewCharge
from app.charges.counter import Till
from app.charges.present import link_of
from app.errors import Conflict, InvalidRequest, ProviderRejected, ProviderUnreachable
from app.ids import is_id
from app.merchants import accounts, stores
from app.merchants.auth import actor, me
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.merchants.views import faults_of, livemode, open_room
from app.money import Money
from app.providers import REGISTRY
from app.runtime import settings

STORE_COOKIES = {False: "mafu_till_test", True: "mafu_till_live"}  # by mode, as stores have one
_COOKIE_LIFE_S = 365 * 86400
CURRENCY = "CNY"  # what all three networks' codes are paid in

_FAULTS = {
    "amount": _l("Enter an amount such as 12.50, at least 0.01 and at most 100,000,000."),
    "code": _l("This is no payment code: scan it again."),
    "store": _l("Choose one of the stores."),
}
_REFUSALS = {
    "provider_not_set_up": _l("This wallet is not set up here. Ask for another one."),
    "provider_unsuitable": _l("This wallet is not set up here. Ask for another one."),
    "charge_in_payment": _l("Another shopper is just confirming this payment. Cancel that first."),
    "charge_not_payable": _l("This sale is over."),
    "charge_in_review": _l("This sale is over."),
    "pay_code_used": _l("This code was used a moment ago. Ask the shopper for a fresh one."),
    "payment_blocked": _l("A rule of the shop stops this payment. The sale's page says which."),
    "payment_held": _l("A rule of the shop holds this payment until somebody has looked at it."),
    "too_many_attempts": _l("This sale was tried too often: begin it anew."),
}

bp = Blueprint("till", __name__)
open_room(bp)


@bp.get("/counter")
def new_counter() -> Response:
    """The keypad."""
    return _page("counter")


@bp.post("/counter")
def open_counter() -> Response | BaseResponse:
    """An amount becomes a code to scan."""
    try:
        charge_id = _open_sale()
    except InvalidRequest as error:
        return _page("counter", faults=faults_of(error, _FAULTS), status=400)
    return _with_store(redirect(url_for("till.show_counter", charge_id=charge_id), 303))


@bp.get("/counter/<charge_id>")
def show_counter(charge_id: str) -> Response:
    """The code, and what became of it."""
    return _page("counter", charge_id)


@bp.get("/cashier")
def new_cashier() -> Response:
    """An amount and a scan."""
    return _page("cashier")


@bp.post("/cashier")
def open_cashier() -> Response | BaseResponse:
    """Take the payment of whoever shows this code.

    The same code with the same amount is the same sale; with another amount it is a mistake, and "paid" on
    the screen would be a costly one.
    """
    code = request.form.get("code", "")
    try:
        amount = forms.amount_of(request.form.get("amount", ""), CURRENCY)
        before = till.scanned_before(me().merchant_id, code) if code.strip() else None
        if before is not None and before.amount_minor == amount.minor:
            return _show_again(before.id)
        if before is not None:
            return _page("cashier", faults={"code": str(_REFUSALS["pay_code_used"])}, status=409)
        charge_id = _open_sale()
    except InvalidRequest as error:
        return _page("cashier", faults=faults_of(error, _FAULTS), status=400)
    if not code.strip():  # without a script the amount is sent first, and then the code
        return _with_store(redirect(url_for("till.show_cashier", charge_id=charge_id), 303))
    return _with_store(_take(charge_id, code))


@bp.get("/cashier/<charge_id>")
def show_cashier(charge_id: str) -> Response:
    """What became of the scan."""
    return _page("cashier", charge_id)


@bp.post("/cashier/<charge_id>")
def take_code(charge_id: str) -> Response | BaseResponse:
    """Another code for the same sale."""
    return _take(charge_id, request.form.get("code", ""))


@bp.post("/cashier/<charge_id>/give-up")
def give_up(charge_id: str) -> BaseResponse:
    """Stop waiting for the shopper: safely, so that money which comes all the same goes back."""
    charge = lifecycle.find(me().merchant_id, charge_id, livemode=livemode())
    counter.give_up(me().merchant_id, charge.id)
    return redirect(url_for("till.show_cashier", charge_id=charge.id), 303)


@bp.post("/counter/<charge_id>/cancel")
def cancel_counter(charge_id: str) -> BaseResponse:
    """Withdraw the sale, and be ready for the next."""
    return _cancel("counter", charge_id)


@bp.post("/cashier/<charge_id>/cancel")
def cancel_cashier(charge_id: str) -> BaseResponse:
    """The same in the other room."""
    return _cancel("cashier", charge_id)


@bp.get("/till/<charge_id>/state")
def state(charge_id: str) -> Response:
    """Whether the screen is out of date, in a word."""
    sale = till.sale_of(me().merchant_id, charge_id, livemode=livemode())
    return json_answer(json.dumps({"version": sale.version, "left_s": sale.left_s}))


def _cancel(room: str, charge_id: str) -> BaseResponse:
    """Withdraw the sale if it can be; the page says so when it cannot be yet, or not any more."""
    charge = lifecycle.find(me().merchant_id, charge_id, livemode=livemode())
    counter.give_up(me().merchant_id, charge.id)
    try:
        is_gone = till.withdraw(me().merchant_id, charge.id, livemode=livemode())
    except ProviderUnreachable:
        return redirect(url_for(f"till.show_{room}", charge_id=charge.id, notice="not_yet"), 303)
    if is_gone:
        return redirect(url_for(f"till.new_{room}"), 303)
    return redirect(url_for(f"till.show_{room}", charge_id=charge.id), 303)


def _take(charge_id: str, code: str) -> Response | BaseResponse:
    """Charge a code for a sale, and show what came of it."""
    who = me().merchant_id
    try:
        counter.take_code(
            who, charge_id, code, Till(ip=request.remote_addr or "127.0.0.1"), livemode=livemode()
        )
    except ProviderRejected:
        pass  # the attempt is failed, and the page says so
    except InvalidRequest:
        return _page("cashier", charge_id, faults={"code": str(_FAULTS["code"])}, status=400)
    except Conflict as refusal:
        if refusal.code == "pay_code_used":
            return _show_the_first(charge_id, code)
        text = str(_REFUSALS.get(refusal.code, _REFUSALS["charge_not_payable"]))
        return _page("cashier", charge_id, faults={"code": text}, status=409)
    return redirect(url_for("till.show_cashier", charge_id=charge_id), 303)


def _show_the_first(charge_id: str, code: str) -> BaseResponse:
    """One code is one payment: this sale was a second scan of the same shopper, who is shown the first."""
    first = till.scanned_before(me().merchant_id, code)
    try:
        till.withdraw(me().merchant_id, charge_id, livemode=livemode())
    except ProviderUnreachable:
        pass  # nothing of it is open: it ends by its deadline
    return _show_again(first.id if first is not None else charge_id)


def _show_again(charge_id: str) -> BaseResponse:
    return redirect(url_for("till.show_cashier", charge_id=charge_id, notice="again"), 303)


def _open_sale() -> str:
    """The charge of the form; a form sent twice makes one.  Raises InvalidRequest."""
    amount = forms.amount_of(request.form.get("amount", ""), CURRENCY)
    new = NewCharge(
        amount=amount,
        description=gettext("In the shop"),
        expires_in_s=till.SALE_LIFE_S,
        store_id=_store_sent() or None,
    )
    who, by, token = Caller(me().merchant_id, "", livemode()), actor(), request.form.get("token", "")[:64]
    answer = once(
        who,
        # Not the code that was scanned with it: of that nothing is kept, and it makes no other sale.
        f"till:{token}:{amount.minor}:{new.store_id}" if token.isalnum() else None,
        (request.method, request.path, b""),
        lambda tx: Answer(
            json.dumps(till.sell(tx, who.merchant_id, livemode=who.livemode, new=new, by=by).id)
        ),
    )
    return str(json.loads(answer.body))


def _store_sent() -> str:
    """Where this till stands, as its form says; ``""`` is nowhere.  Raises InvalidRequest."""
    sent = request.form.get("store", "")
    if sent and not is_id(sent, "st"):
        raise InvalidRequest("not the id of a store", param="store")
    return sent


def _with_store(answer: BaseResponse) -> BaseResponse:
    """The next sale at this device begins with the store of this one."""
    if "store" not in request.form:
        return answer
    answer.set_cookie(
        STORE_COOKIES[livemode()],
        _store_sent(),
        max_age=_COOKIE_LIFE_S,
        httponly=True,
        secure=settings().origin.startswith("https://"),
        samesite="Lax",
    )
    return answer


def _page(
    room: str, charge_id: str | None = None, *, faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    who, mode = me().merchant_id, livemode()
    sale = None if charge_id is None else till.sale_of(who, charge_id, livemode=mode)
    mine = {row.provider for row in accounts.list_accounts(who, livemode=mode)}
    page = render_template(
        f"dashboard/{room}.html",
        till=room,
        shift_id=shifts.find_open(who, actor(), livemode=mode),
        sale=sale,
        stores=stores.names_of(who, livemode=mode) if sale is None else {},
        store_id=request.form.get("store", request.cookies.get(STORE_COOKIES[mode], "")),
        link=link_of(sale.charge) if sale else "",
        # What was said before is not said again: somebody might take it for a second payment.
        say=_said(sale)
        if sale and sale.face is till.Face.PAID and request.args.get("notice") != "again"
        else "",
        wallets=[
            {"pattern": info.pay_code, "name": gettext(info.label), "works": info.code in mine}
            for info in (adapter.info for adapter in REGISTRY.values())
        ],
        token=secrets.token_hex(16),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _said(sale: till.Sale) -> str:
    """What the speaker says of a payment: numbers and units as a voice reads them."""
    received = Money(sale.charge.paid_minor, sale.charge.currency)
    return gettext("Received %(amount)s yuan", amount=received.major())
