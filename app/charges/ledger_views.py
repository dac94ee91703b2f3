"""The dashboard's room for the ledger: balances, statements of a day or a month, and what providers cost."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges import proving, statements
from app.charges.commands import currency_of
from app.charges.overview import day_of, start_of
from app.charges.statement_views import provider_names, wanted_statement
from app.charges.statements import Period
from app.errors import Conflict, InvalidRequest
from app.ledger import rates
from app.ledger.rates import NewRate
from app.merchants import accounts, stores
from app.merchants.auth import actor, me
from app.merchants.views import faults_of, livemode, open_room
from app.money import EXPONENTS, Money

_FAULTS = {
    "account": _l("Choose one of the accounts."),
    "currency": _l("Choose one of the currencies."),
    "rate": _l("Enter a rate in percent such as 0.6 or 0.38, from 0 to 10."),
    "fixed": _l("Enter an amount such as 0.10, or 0."),
    "from": _l("Enter a day such as 2026-01-15, today or later."),
}

bp = Blueprint("ledger", __name__, url_prefix="/ledger")


@bp.get("")
def show() -> Response:
    """The statement that the address names: of today, if it names none."""
    return _page()


@bp.post("/rates")
def add_rate() -> Response | BaseResponse:
    """What a provider account costs from a day on."""
    try:
        rates.add_rate(me().merchant_id, _read_rate(), by=actor())
    except InvalidRequest as error:
        return _page(faults_of(error, _FAULTS), 400)
    except Conflict:
        return redirect(url_for("ledger.show", notice="rate_exists"), 303)
    return redirect(url_for("ledger.show", notice="rate_added"), 303)


def _page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    who, mode = me().merchant_id, livemode()
    wanted = wanted_statement()
    statement = statements.statement_of(wanted)
    page = render_template(
        "dashboard/ledger.html",
        statement=statement,
        period=wanted.period,
        today=day_of(clock.now()),
        store_id=wanted.store_id or "",
        stores=stores.names_of(who, livemode=mode),
        providers=provider_names(),
        files={
            name: url_for(f"statements.download_{name}", period=wanted.period.name, store=wanted.store_id)
            for name in ("csv", "pdf")
        },
        check=proving.last_check(who),
        rates=rates.list_rates(who, livemode=mode),
        currencies=sorted(EXPONENTS, key=lambda each: (each != "CNY", each)),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _read_rate() -> NewRate:
    """Raises InvalidRequest naming the field."""
    known = accounts.names_of(me().merchant_id, livemode=livemode())
    account_id = request.form.get("account", "")
    if account_id not in known:
        raise InvalidRequest("no such account", param="account")
    currency = currency_of(request.form.get("currency", ""))
    basis_points = _minor(request.form.get("rate", "").strip(), "CNY", "rate")  # a percent has a hundred
    if not 0 <= basis_points <= rates.BASIS_POINTS_MAX:
        raise InvalidRequest("too high a rate", param="rate")
    fixed_minor = _minor(request.form.get("fixed", "").strip() or "0", currency, "fixed")
    since = _since(request.form.get("from", "").strip())
    return NewRate(account_id, currency, basis_points, fixed_minor, since)


def _minor(text: str, currency: str, param: str) -> int:
    try:
        return Money.from_major(text, currency).minor
    except ValueError:
        raise InvalidRequest("not a decimal number", param=param) from None


def _since(text: str) -> datetime | None:
    """The beginning of the day from which it holds; None: now.  What is booked stays as it is."""
    if not text:
        return None
    try:
        period = Period.of(text)
    except InvalidRequest:
        raise InvalidRequest("no day", param="from") from None
    today = day_of(clock.now())
    if period.begins < today:
        raise InvalidRequest("a day that is over", param="from")
    return None if period.begins == today else start_of(period.begins)


open_room(bp)
