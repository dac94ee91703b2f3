"""The dashboard's room for shifts: open one, read its sums at any time, count it up, print it; whole days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges import cashup, forms, overview, shifts
from app.charges.cashup import DRAWER, Report
from app.clock import to_beijing
from app.errors import Conflict, InvalidRequest
from app.merchants.audit import csv_line
from app.merchants.auth import actor, me
from app.merchants.views import faults_of, livemode, open_room
from app.money import Money
from app.providers import REGISTRY

PAGE = 30
ENTRIES_SHOWN = 50
PAPERS = ("a4", "80")  # the second is the till's roll, in millimetres

_FAULTS = {
    "float": _l("Enter an amount such as 200 or 200.00, or leave it empty."),
    "counted": _l("Enter an amount such as 200 or 200.00, or leave it empty."),
    "note": _l("A note has at most 200 characters, on one line."),
}

bp = Blueprint("shifts", __name__, url_prefix="/shifts")
open_room(bp)


@bp.get("")
def list_shifts() -> Response:
    """One's own shifts, or everybody's; and a way to open one."""
    return _list_page()


@bp.post("")
def open_one() -> Response | BaseResponse:
    """Begin, with so much in the drawer."""
    try:
        float_minor = _minor("float") or 0
        shift = shifts.open_shift(me().merchant_id, livemode=livemode(), float_minor=float_minor, by=actor())
    except InvalidRequest as error:
        return _list_page(faults_of(error, _FAULTS), 400)
    except Conflict:
        return redirect(url_for("shifts.list_shifts", notice="shift_open"), 303)
    return redirect(url_for("shifts.show", shift_id=shift.id, notice="shift_opened"), 303)


@bp.get("/day")
def show_day() -> str:
    """A day shared out among shifts; today unless the address names another."""
    today = overview.day_of(clock.now())
    try:
        day = min(date.fromisoformat(request.args.get("day", "")), today)
    except ValueError:
        day = today
    begin, end = overview.start_of(day), overview.start_of(day) + timedelta(days=1)
    shares = cashup.shares_of(me().merchant_id, begin, end, livemode=livemode())
    return render_template(
        "dashboard/shift_day.html",
        day=day,
        before=day - timedelta(days=1),
        after=day + timedelta(days=1) if day < today else None,
        shares=[(share, cashup.totals_of(share.lines)) for share in shares],
        totals=cashup.totals_of([line for share in shares for line in share.lines]),
    )


@bp.get("/<shift_id>")
def show(shift_id: str) -> Response:
    """While it is open its sums so far, afterwards its Z report and what came after that."""
    return _shift_page(shift_id)


@bp.post("/<shift_id>/close")
def close_one(shift_id: str) -> Response | BaseResponse:
    """Count it up, for good."""
    try:
        counted_minor = _minor("counted")
        note = request.form.get("note", "")
        shifts.close_shift(me().merchant_id, shift_id, counted_minor=counted_minor, note=note, by=actor())
    except InvalidRequest as error:
        return _shift_page(shift_id, faults_of(error, _FAULTS), 400)
    except Conflict:
        return redirect(url_for("shifts.show", shift_id=shift_id, notice="shift_was_closed"), 303)
    return redirect(url_for("shifts.show", shift_id=shift_id, notice="shift_closed"), 303)


@bp.get("/<shift_id>/print")
def print_shift(shift_id: str) -> str:
    """The report alone, for a sheet or for the till's roll."""
    paper = request.args.get("paper", "")
    return render_template(
        "dashboard/shift_print.html",
        seen=shifts.see(me().merchant_id, shift_id, by=actor()),
        paper=paper if paper in PAPERS else PAPERS[0],
        printed_at=clock.now(),
    )


@bp.get("/<shift_id>/export.csv")
def export(shift_id: str) -> Response:
    """Every payment and refund of it, for a spreadsheet."""
    shift = shifts.see(me().merchant_id, shift_id, by=actor()).shift
    response = Response("".join(_rows(shift.id)), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="mafu-shift-{shift.id[3:]}.csv"'
    return response


def _rows(shift_id: str) -> Iterator[str]:
    heads = (
        gettext("Time (Beijing)"),
        gettext("Kind"),
        gettext("Id"),
        gettext("Charge"),
        gettext("Your order number"),
        gettext("Description"),
        gettext("Provider"),
        gettext("State"),
        gettext("Received"),
        gettext("Refunded"),
        gettext("Currency"),
    )
    yield "\ufeff" + csv_line(list(heads))
    for entry in shifts.entries_of(me().merchant_id, shift_id):
        row = entry.row
        adapter = REGISTRY.get(row.provider or "")
        charge_id = row.charge_id or "" if entry.is_refund else row.id
        yield csv_line(
            [
                to_beijing(row.created_at),
                gettext("Refund") if entry.is_refund else gettext("Payment"),
                row.id,
                charge_id,
                "" if entry.is_refund else row.merchant_order_no or "",
                row.reason if entry.is_refund else row.description,
                gettext(adapter.info.label) if adapter else "",
                row.state,
                # Two columns and no sign: what begins with a minus could be a formula.
                "" if entry.is_refund else Money(entry.minor, row.currency).major(),
                Money(-entry.minor, row.currency).major() if entry.is_refund else "",
                row.currency,
            ]
        )


def _minor(field: str) -> int | None:
    """Fen, as a person typed yuan; None if they typed nothing.  Raises InvalidRequest."""
    typed = request.form.get(field, "").strip()
    if not typed:
        return None
    try:
        return forms.amount_of(typed, DRAWER).minor
    except InvalidRequest as error:
        raise InvalidRequest(error.detail, param=field) from None


def _list_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    who = actor()
    rows, has_more = shifts.list_shifts(
        me().merchant_id, livemode=livemode(), by=who, older_than=request.args.get("after"), limit=PAGE
    )
    page = render_template(
        "dashboard/shifts.html",
        shifts=[(row, Report.from_json(row.report).totals if row.report else ()) for row in rows],
        open_id=shifts.find_open(me().merchant_id, who, livemode=livemode()),
        older=has_more and url_for("shifts.list_shifts", after=rows[-1].id),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _shift_page(shift_id: str, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    seen = shifts.see(me().merchant_id, shift_id, by=actor())
    is_own = seen.shift.user_id == me().user_id
    entries = list(shifts.entries_of(me().merchant_id, seen.shift.id))
    entries.sort(key=lambda entry: entry.row.created_at, reverse=True)
    page = render_template(
        "dashboard/shift.html",
        seen=seen,
        livemode=seen.shift.livemode,
        is_own=is_own,
        may_close=seen.z is None and me().may("shifts:own" if is_own else "shifts:all"),
        entries=entries[:ENTRIES_SHOWN],
        is_cut=len(entries) > ENTRIES_SHOWN,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)
