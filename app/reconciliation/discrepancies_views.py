"""The dashboard's rooms for discrepancies: the list, one of them, and what people do about it."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges.statement_views import provider_names
from app.errors import Conflict, InvalidRequest
from app.merchants.auth import actor, me
from app.merchants.views import faults_of, livemode, open_room
from app.reconciliation import worklist
from app.reconciliation.states import BY_PERSON, ItemState, Sort
from app.reconciliation.worklist import ItemFilter

PAGE = 20

_FAULTS = {
    "owner": _l("Choose somebody of the list."),
    "note": _l("A note has at most 500 characters."),
    "resolution": _l("Choose how it ended."),
    "type": _l("All at once are those of one day and type: choose both above."),
}

bp = Blueprint("discrepancies", __name__, url_prefix="/discrepancies")


@bp.get("")
def list_items() -> Response:
    """Newest first; filters and cursor are in the address.  Without a filter: those that are open."""
    return _list_page()


@bp.get("/<item_id>")
def show(item_id: str) -> Response:
    """One of them."""
    return _page(item_id)


@bp.post("/<item_id>")
def change(item_id: str) -> Response | BaseResponse:
    """Who looks into it, and what is known."""
    owner, note = request.form.get("owner", ""), request.form.get("note", "")
    try:
        worklist.change(me().merchant_id, item_id, owner=owner, note=note, by=actor())
    except InvalidRequest as error:
        return _page(item_id, faults_of(error, _FAULTS), 400)
    return redirect(url_for("discrepancies.show", item_id=item_id, notice="saved"), 303)


@bp.post("/<item_id>/resolve")
def resolve(item_id: str) -> Response | BaseResponse:
    """How it ended."""
    resolution, note = request.form.get("resolution", ""), request.form.get("note", "")
    try:
        worklist.resolve(me().merchant_id, item_id, resolution=resolution, note=note, by=actor())
    except InvalidRequest as error:
        return _page(item_id, faults_of(error, _FAULTS), 400)
    except Conflict:
        return redirect(url_for("discrepancies.show", item_id=item_id, notice="item_resolved"), 303)
    return redirect(url_for("discrepancies.show", item_id=item_id, notice="saved"), 303)


@bp.post("/<item_id>/reopen")
def reopen(item_id: str) -> BaseResponse:
    """That was wrong."""
    notice = "saved"
    try:
        worklist.reopen(me().merchant_id, item_id, by=actor())
    except Conflict:
        notice = "item_open"
    return redirect(url_for("discrepancies.show", item_id=item_id, notice=notice), 303)


@bp.post("/resolve-all")
def resolve_all() -> Response | BaseResponse:
    """The same for all open ones of a day and type."""
    resolution, note = request.form.get("resolution", ""), request.form.get("note", "")
    try:
        worklist.resolve_all(
            me().merchant_id, _wanted(), livemode=livemode(), resolution=resolution, note=note, by=actor()
        )
    except InvalidRequest as error:
        return _list_page(faults_of(error, _FAULTS), 400)
    return redirect(url_for("discrepancies.list_items", **_query(), notice="saved"), 303)


def _list_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    who, mode, wanted = me().merchant_id, livemode(), _wanted()
    rows, has_more = worklist.search(who, livemode=mode, wanted=wanted)
    is_back = wanted.ending_before is not None
    page = render_template(
        "dashboard/discrepancies.html",
        items=rows,
        wanted=wanted,
        query=_query(),
        providers=provider_names(),
        sorts=list(Sort),
        states=list(ItemState),
        endings=BY_PERSON,
        now=clock.now(),
        overdue=worklist.OVERDUE,
        older=_turn(after=rows[-1].id) if rows and (is_back or has_more) else None,
        newer=_turn(before=rows[0].id)
        if rows and (has_more if is_back else wanted.starting_after is not None)
        else None,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _page(item_id: str, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    item = worklist.find(me().merchant_id, item_id)
    page = render_template(
        "dashboard/discrepancy.html",
        item=item,
        providers=provider_names(),
        owners=worklist.owners_of(me().merchant_id),
        endings=BY_PERSON,
        age=clock.now() - item.opened_at,
        overdue=worklist.OVERDUE,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _wanted() -> ItemFilter:
    """What the address or form says; what is no state, type, account or day narrows nothing."""
    given = request.values
    state, sort, account_id = (given.get(name, "") for name in ("status", "type", "account"))
    default = ItemState.OPEN if not request.args and request.method == "GET" else None
    return ItemFilter(
        state=ItemState(state) if state in set(ItemState) else default,
        sort=Sort(sort) if sort in set(Sort) else None,
        account_id=account_id if account_id in provider_names() else None,
        day=_day(given.get("day", "")),
        owner=me().email if given.get("mine") else None,
        starting_after=given.get("after") or None,
        ending_before=given.get("before") or None,
        limit=PAGE,
    )


def _query() -> dict[str, Any]:
    """The filter as arguments of an address."""
    wanted = _wanted()
    said = {
        "status": wanted.state,
        "type": wanted.sort,
        "account": wanted.account_id,
        "day": wanted.day,
        "mine": "1" if wanted.owner else None,
    }
    return {name: value for name, value in said.items() if value is not None} or {"status": "all"}


def _turn(**cursor: Any) -> str:
    return url_for("discrepancies.list_items", **_query(), **cursor)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if len(text.strip()) == 10 else None
    except ValueError:
        return None


open_room(bp)
