"""The dashboard's room for printed codes: listed, made one by one or as a series, changed while they hang."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app.answers import qr_answer
from app.charges.views import as_sent
from app.codes import codes, forms, history, search
from app.codes.present import Counts, address_of_code
from app.codes.search import CodeFilter
from app.codes.terms import CodePurpose, LabelKind, Standing, standing_of
from app.db import moment as moment_of
from app.db import reading, transaction
from app.errors import IdempotencyMismatch, InvalidRequest
from app.merchants import accounts
from app.merchants.auth import me
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.merchants.stores import page_of_stores
from app.merchants.views import faults_of, livemode, open_room
from app.money import EXPONENTS
from app.qr import render
from app.qr.encode import Level
from app.qr.render import Kind
from app.qr.short_code import in_groups

PAGE = 20
DOWNLOAD_PX = 1200

_MONEY = _l("Enter an amount such as 12.50.")
_FAULTS = {
    "name": _l("Say in 1 to 80 characters, on one line, what is paid for."),
    "amount": _MONEY,
    "preset_amount": _l("Enter an amount between the least and the most, or nothing."),
    "min_amount": _MONEY,
    "max_amount": _l("Enter an amount that is not below the least."),
    "suggested_amounts": _l("Up to 6 different amounts between the least and the most, with commas between."),
    "store": _l("Choose one of your stores."),
    "label": _l("A label has 1 to 40 characters."),
    "label_kind": _l("Say what the codes stand at."),
    "series": _l("A name has 1 to 80 characters."),
    "last": _l("From the first to the last there are 1 to 500 numbers."),
    "first": _l("Enter a whole number."),
    "max_payments": _l("Enter a whole number, at least 1, or nothing."),
    "daily_cap": _MONEY,
    "valid_from": _l("Enter a day and a time, or nothing."),
    "valid_until": _l("Enter a day and a time after the beginning, or nothing."),
    "inactive_message.zh": _l("At most 200 characters on one line."),
    "inactive_message.en": _l("At most 200 characters on one line."),
    "currency": _l("Choose one of the currencies."),
}

bp = Blueprint("codes", __name__)
open_room(bp)


@bp.get("/codes")
def list_codes() -> str:
    """Filters and cursors are in the address, so a list can be bookmarked and sent to a colleague."""
    args, who, mode = request.args, me().merchant_id, livemode()
    wanted = CodeFilter(
        text=args.get("q", "").strip()[: search.SEARCH_CHARS_MAX],
        standing={"active": Standing.ACTIVE, "disabled": Standing.DISABLED}.get(args.get("status", "")),
        store_id=args.get("store") or None,
        series_id=args.get("series") or None,
        quiet=args.get("status") == "quiet",
        starting_after=args.get("after"),
        ending_before=args.get("before"),
        limit=PAGE,
    )
    rows, has_more = search.list_codes(who, wanted, livemode=mode)
    backwards = wanted.ending_before is not None
    return render_template(
        "dashboard/codes.html",
        codes=rows,
        counts=codes.counts_of(who, [row.id for row in rows]),
        nothing=Counts(),
        standings=_standings(rows),
        in_groups=in_groups,
        older=rows and (backwards or has_more) and _turn(after=rows[-1].id),
        newer=rows
        and (has_more if backwards else wanted.starting_after is not None)
        and _turn(before=rows[0].id),
        wanted=wanted,
        status=args.get("status", ""),
        stores=page_of_stores(who, livemode=mode)[0],
        series=search.list_series(who, livemode=mode),
    )


@bp.get("/codes/new")
def new_code() -> Response:
    """The form for one code."""
    return _form_page(_first_fields())


@bp.post("/codes/new")
def create_code() -> Response | BaseResponse:
    """Make a code and show it.  A form sent twice, by a double click, makes one."""

    def work(tx: Connection) -> str:
        terms = forms.read_terms(request.form)
        return str(codes.create_code(tx, me().merchant_id, terms, livemode=livemode()).id)

    try:
        code_id = _made(work)
    except InvalidRequest as error:
        return _form_page(request.form, faults_of(error, _FAULTS), status=400)
    return redirect(url_for("codes.show", code_id=code_id, notice="code_made"), 303)


@bp.get("/codes/series")
def new_series() -> Response:
    """The form for a series."""
    return _form_page(_first_fields() | {"first": "1", "last": "24", "label_kind": "table"}, is_series=True)


@bp.post("/codes/series")
def create_series() -> Response | BaseResponse:
    """Make all of them or none."""

    def work(tx: Connection) -> str:
        labels = forms.read_labels(request.form)
        terms = forms.read_terms({**request.form, "label": labels[0]})
        name = request.form.get("series", "")
        rows = codes.create_series(tx, me().merchant_id, terms, labels, livemode=livemode(), series=name)
        return str(rows[0].series_id)

    try:
        series_id = _made(work)
    except InvalidRequest as error:
        return _form_page(request.form, faults_of(error, _FAULTS), is_series=True, status=400)
    return redirect(url_for("codes.list_codes", series=series_id, notice="series_made"), 303)


@bp.get("/codes/<code_id>")
def show(code_id: str) -> str:
    """The code, its symbol, what it asks for and what came of it, in either mode: the page says which."""
    row = codes.find(me().merchant_id, code_id)
    days = history.scans_by_day(row)
    return render_template(
        "dashboard/code.html",
        code=row,
        livemode=row.livemode,
        standing=_standings([row])[row.id],
        shown_code=in_groups(row.code),
        address=address_of_code(row),
        counts=codes.counts_of(row.merchant_id, [row.id]).get(row.id, Counts()),
        days=days,
        bars=history.bars_of(days),
    )


@bp.get("/codes/<code_id>/edit")
def edit(code_id: str) -> Response:
    """The form for a code that hangs somewhere."""
    row = codes.find(me().merchant_id, code_id)
    return _form_page(forms.fields_of(row), code=row)


@bp.post("/codes/<code_id>/edit")
def change(code_id: str) -> Response | BaseResponse:
    """The next scan asks for the new terms."""
    row = codes.find(me().merchant_id, code_id)
    try:
        terms = forms.read_terms(request.form, row.currency, CodePurpose(row.purpose))
        with transaction() as tx:
            codes.change_code(tx, row.merchant_id, row.id, terms.values(), livemode=row.livemode)
    except InvalidRequest as error:
        return _form_page(request.form, faults_of(error, _FAULTS), code=row, status=400)
    return redirect(url_for("codes.show", code_id=row.id, notice="saved"), 303)


@bp.post("/codes/<code_id>/disable")
def disable(code_id: str) -> BaseResponse:
    """Nothing can be paid there until it is enabled again."""
    return _switch(code_id, active=False)


@bp.post("/codes/<code_id>/enable")
def enable(code_id: str) -> BaseResponse:
    """It takes payments again."""
    return _switch(code_id, active=True)


@bp.get("/codes/<code_id>/qr.svg")
def qr_svg(code_id: str) -> Response:
    """The symbol as a drawing of any size."""
    return _image(code_id, Kind.SVG)


@bp.get("/codes/<code_id>/qr.png")
def qr_png(code_id: str) -> Response:
    """The symbol as a picture, 10 cm wide at 300 dpi."""
    return _image(code_id, Kind.PNG)


@bp.app_context_processor
def _alarms() -> dict[str, Any]:
    """What rooms on the floor below ask for: codes that have gone quiet, whether there is any, and one."""
    return {
        "quiet_codes": lambda: search.list_quiet(me().merchant_id, livemode=livemode()),
        "has_code": lambda: codes.has_code(me().merchant_id, livemode=livemode()),
        "printed_code": lambda code_id: next(iter(codes.find_many(me().merchant_id, [code_id])), None),
        "in_groups": in_groups,
    }


def _made(work: Callable[[Connection], str]) -> str:
    """Do it once for each form that was shown; the id of what was made."""
    who = Caller(me().merchant_id, "", livemode())
    token = request.form.get("token", "")[:64]
    key = f"form:{token}" if token.isalnum() and token.isascii() else None
    try:
        answer = once(
            who, key, (request.method, request.path, as_sent()), lambda tx: Answer(json.dumps(work(tx)))
        )
    except IdempotencyMismatch:
        raise InvalidRequest(
            str(_l("This form was sent before. Send it again to make another code."))
        ) from None
    return str(json.loads(answer.body))


def _switch(code_id: str, *, active: bool) -> BaseResponse:
    row = codes.find(me().merchant_id, code_id)
    codes.set_active(row.merchant_id, row.id, livemode=row.livemode, active=active)
    notice = "code_enabled" if active else "code_disabled"
    return redirect(url_for("codes.show", code_id=row.id, notice=notice), 303)


def _standings(rows: Any) -> dict[str, Standing]:
    with reading() as connection:
        now = moment_of(connection)
    return {row.id: standing_of(row, now) for row in rows}


def _turn(**cursor: Any) -> str:
    """This list, from another page on."""
    names = ("q", "status", "store", "series")
    kept: dict[str, Any] = {name: request.args[name] for name in names if request.args.get(name)}
    return url_for("codes.list_codes", **kept, **cursor)


def _first_fields() -> dict[str, str]:
    """A form as it is first shown."""
    return {"kind": "open", "currency": "CNY", "store": request.args.get("store", "")}


def _form_page(
    fields: Any,
    faults: dict[str, str] | None = None,
    *,
    code: Any = None,
    is_series: bool = False,
    status: int = 200,
) -> Response:
    who, mode = me().merchant_id, livemode() if code is None else code.livemode
    page = render_template(
        "dashboard/code_form.html",
        form=fields,
        faults=faults or {},
        code=code,
        is_series=is_series,
        livemode=mode,
        currencies=list(EXPONENTS),
        stores=page_of_stores(who, livemode=mode)[0],
        kinds=list(LabelKind),
        has_provider=bool(accounts.list_accounts(who, livemode=mode)),
        token=secrets.token_hex(16),
    )
    return make_response(page, status)


def _image(code_id: str, kind: Kind) -> Response:
    row = codes.find(me().merchant_id, code_id)
    size_px = min(DOWNLOAD_PX, render.SIZE_PX_MAX)
    response = qr_answer(address_of_code(row), kind=kind, level=Level.Q, size_px=size_px)
    if "download" in request.args:
        response.headers["Content-Disposition"] = f'attachment; filename="{in_groups(row.code)}.{kind}"'
    return response
