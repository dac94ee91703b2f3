"""The dashboard's rooms for days: the list, one day with its proof, a bill brought by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges.statement_views import provider_names
from app.errors import InvalidRequest, NotFound, ProviderUnreachable
from app.merchants import accounts
from app.merchants.auth import actor, me
from app.merchants.views import livemode, open_room
from app.providers import REGISTRY
from app.providers.base import Ability
from app.reconciliation import files, overview, schedule, words_views, worklist
from app.reconciliation.overview import Day
from app.reconciliation.worklist import ItemFilter

ITEMS_SHOWN = 50

_FAULTS = {"file": _l("Choose the bill as the provider packed it, 64 MiB at most.")}

bp = Blueprint("reconciliation", __name__, url_prefix="/reconciliation")


@bp.app_template_global("reconciled_day")
def reconciled_day() -> Day | None:
    """How the last day came out, for the home page."""
    return overview.latest(me().merchant_id, livemode=livemode())


@bp.app_template_global("reconciliation_words")
def words(kind: str, name: str) -> Any:
    """A text, or a text and the colour of its chip, in the reader's language."""
    table: dict[str, Any] = getattr(words_views, kind)
    return table[name]


@bp.get("")
def list_days() -> Response:
    """Days, newest first; the cursor is in the address."""
    return _list_page(_day(request.args.get("before", "")))


@bp.get("/<day>")
def show_day(day: str) -> Response:
    """One day: each account, its proof, what differs."""
    return _day_page(_known_day(day))


@bp.post("/bills")
def upload() -> Response | BaseResponse:
    """A bill brought by hand: read through, stored, and gone through by the worker at once."""
    day, account_id = _day(request.form.get("day", "")), request.form.get("account", "")
    file = request.files.get("file")
    content = b"" if file is None else file.read()
    faults = _upload_faults(day, account_id, content)
    if faults or day is None:
        return _list_page(faults=faults)
    try:
        files.store(accounts.open_account(account_id), day, content, by=actor())
    except (ProviderUnreachable, InvalidRequest) as refusal:
        reason = gettext("Nothing was stored: %(reason)s", reason=refusal.detail)
        return _list_page(faults={"file": reason})
    schedule.hasten(me().merchant_id, account_id, day)
    return redirect(url_for("reconciliation.show_day", day=day, notice="bill_stored"), 303)


@bp.post("/<day>/again")
def again(day: str) -> BaseResponse:
    """Have a day gone through once more, by the worker."""
    found = _known_day(day)
    for each in found.accounts:
        schedule.hasten(me().merchant_id, each.row.account_id, found.day)
    return redirect(url_for("reconciliation.show_day", day=day, notice="day_again"), 303)


@bp.get("/<day>/bills/<file_id>")
def download_bill(day: str, file_id: str) -> Response:
    """A bill, byte for byte as it came."""
    known = {row.id: row for row in _files(_known_day(day))}
    if file_id not in known:
        raise NotFound("no such bill")
    content = files.content_of(me().merchant_id, file_id)
    response = Response(content, content_type="application/octet-stream")
    name = f"bill-{day}-{known[file_id].sha256[:8]}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _day_page(day: Day) -> Response:
    who, mode = me().merchant_id, livemode()
    items, has_more = worklist.search(who, livemode=mode, wanted=ItemFilter(day=day.day, limit=ITEMS_SHOWN))
    counts: dict[str, list[Any]] = {}
    for row in worklist.counts_of_day(who, livemode=mode, day=day.day):
        counts.setdefault(row.account_id, []).append(row)
    page = render_template(
        "dashboard/reconciliation_day.html",
        day=day,
        providers=provider_names(),
        counts=counts,
        items=items,
        has_more=has_more,
        bills=_files(day),
    )
    return make_response(page, 200)


def _list_page(before: date | None = None, faults: dict[str, str] | None = None) -> Response:
    days, has_more = overview.list_days(me().merchant_id, livemode=livemode(), before=before)
    page = render_template(
        "dashboard/reconciliation.html",
        days=days,
        providers=provider_names(),
        waiting=worklist.open_count(me().merchant_id, livemode=livemode()),
        older=url_for("reconciliation.list_days", before=days[-1].day) if has_more else None,
        is_first=before is None,
        uploadable=_uploadable(),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, 400 if faults else 200)


def _upload_faults(day: date | None, account_id: str, content: bytes) -> dict[str, str]:
    faults = {}
    if day is None or day >= clock.day_of(clock.now()):
        faults["day"] = gettext("Enter a day that is over, such as 2026-01-15.")
    if account_id not in _uploadable():
        faults["account"] = gettext("Choose one of the accounts.")
    if not content:
        faults["file"] = str(_FAULTS["file"])
    return faults


def _uploadable() -> dict[str, str]:
    """Accounts whose provider has bills, by id."""
    known = accounts.names_of(me().merchant_id, livemode=livemode())
    return {
        account_id: name
        for account_id, name in provider_names().items()
        if Ability.STATEMENT in REGISTRY[known[account_id][0]].info.abilities
    }


def _files(day: Day) -> list[Any]:
    return [
        row
        for each in day.accounts
        for row in files.list_of_day(me().merchant_id, each.row.account_id, day.day)
    ]


def _known_day(text: str) -> Day:
    """Raises NotFound."""
    day = _day(text)
    if day is None:
        raise NotFound("no such day")
    return overview.find_day(me().merchant_id, livemode=livemode(), day=day)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if len(text.strip()) == 10 else None
    except ValueError:
        return None


open_room(bp)
