"""/v1/qr_codes: the merchant's system makes, reads, lists, changes and draws printed codes."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    dump,
    json_answer,
    qr_answer,
    validated,
)
from app.charges.api import QRQuery, drawing
from app.charges.commands import currency_of
from app.codes import codes, search
from app.codes.codes import SERIES_MAX
from app.codes.present import Counts, address_of_code, code_json
from app.codes.schema import (
    CodeAnswer,
    CodeBody,
    CodeChanges,
    CodeList,
    CodePath,
    CodeQuery,
    SeriesBody,
)
from app.codes.search import CodeFilter, codes_json
from app.codes.terms import Standing, Terms
from app.errors import InvalidRequest
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once
from app.qr.render import Kind

bp = APIBlueprint(
    "qr_codes_api",
    __name__,
    url_prefix="/v1/qr_codes",
    abp_tags=[Tag(name="Printed codes", description="Signs that hang in a shop; each scan makes a charge.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

# What the API calls a field -> what the terms call it.
_NAMES = {
    "amount": "amount_minor",
    "preset_amount": "preset_minor",
    "min_amount": "min_minor",
    "max_amount": "max_minor",
    "suggested_amounts": "suggested",
    "store": "store_id",
    "daily_cap": "daily_cap_minor",
}
# What `null` takes away; of the others it changes nothing.
_NULLABLE = (
    "amount",
    "preset_amount",
    "label",
    "store",
    "max_payments",
    "daily_cap",
    "valid_from",
    "valid_until",
)
_REFUSALS = {404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS}
_CREATION = {**ONCE_REFUSALS, **BODY_REFUSALS}


@bp.post("", summary="Create a printed code", responses={201: CodeAnswer, **_CREATION})
@validated
def create(header: OnceHeader, body: CodeBody) -> Response:
    """Print what `url` says, and `code` below it.

    The price, the store, the limits and even whether the amount is open can change while it hangs; the
    letters never do, whatever keys are rotated.
    """
    terms = Terms(**_terms_in(body.model_dump()))

    def work(tx: Connection) -> dict[str, Any]:
        return code_json(codes.create_code(tx, _me(), terms, livemode=_mode()), Counts())

    return done_once(header, work, 201)


@bp.post("/series", summary="Create a series of printed codes", responses={201: CodeList, **_CREATION})
@validated
def create_series(header: OnceHeader, body: SeriesBody) -> Response:
    """Up to 500 codes that differ in their label alone, all or none, in the order of their numbers."""
    given = body.model_dump()
    series, kind, prefix = given.pop("series"), given.pop("label_kind"), given.pop("prefix")
    first, last = given.pop("first"), given.pop("last")
    if not 0 <= last - first < SERIES_MAX:
        raise InvalidRequest(f"a series has 1 to {SERIES_MAX} codes", param="last")
    labels = [f"{prefix}{number}" for number in range(first, last + 1)]
    terms = Terms(**_terms_in(given), label_kind=kind, label_text=labels[0])

    def work(tx: Connection) -> dict[str, Any]:
        rows = codes.create_series(tx, _me(), terms, labels, livemode=_mode(), series=series)
        return _list([code_json(row, Counts()) for row in rows], has_more=False)

    return done_once(header, work, 201)


@bp.get("", summary="List printed codes", responses={200: CodeList})
@validated
def list_all(query: CodeQuery) -> Response:
    """Newest first, disabled ones too."""
    standing = None if query.active is None else Standing.ACTIVE if query.active else Standing.DISABLED
    wanted = CodeFilter(
        standing=standing,
        store_id=query.store,
        series_id=query.series,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = search.list_codes(_me(), wanted, livemode=_mode())
    return json_answer(dump(_list(codes_json(rows), has_more=has_more)))


@bp.get("/<code_id>", summary="Read a printed code", responses={200: CodeAnswer, 404: ErrorAnswer})
@validated
def read(path: CodePath) -> Response:
    """The code as it stands, with what came of its scans."""
    row = codes.find(_me(), path.code_id, livemode=_mode())
    return json_answer(dump(codes_json([row])[0]))


@bp.post("/<code_id>", summary="Change a printed code", responses={200: CodeAnswer, **_REFUSALS})
@validated
def update(path: CodePath, header: OnceHeader, body: CodeChanges) -> Response:
    """Nothing has to be printed again: the next scan asks for the new terms.

    `null` takes a limit away; with `"amount": null` the shopper says how much.  Payments begun before go on
    under the old terms.  There is no deleting: `"active": false` closes a code for as long as you like.
    """
    sent = body.model_dump(exclude_unset=True)
    given = {name: value for name, value in sent.items() if value is not None or name in _NULLABLE}
    active = given.pop("active", None)
    changes = _terms_in(given)

    def work(tx: Connection) -> dict[str, Any]:
        row = codes.change_code(tx, _me(), path.code_id, changes, livemode=_mode(), active=active)
        return code_json(row, codes.count_in(tx, _me(), [row.id]).get(row.id, Counts()))

    return done_once(header, work)


@bp.get("/<code_id>/qr.svg", summary="A printed code as SVG", responses=drawing("image/svg+xml"))
@validated
def qr_svg(path: CodePath, query: QRQuery) -> Response:
    """A vector drawing; it never changes, so keep it.  Level Q stands the wear of a counter."""
    return _image(path.code_id, query, Kind.SVG)


@bp.get("/<code_id>/qr.png", summary="A printed code as PNG", responses=drawing("image/png"))
@validated
def qr_png(path: CodePath, query: QRQuery) -> Response:
    """A bitmap of whole pixels a module; it never changes, so keep it."""
    return _image(path.code_id, query, Kind.PNG)


def _me() -> str:
    return caller().merchant_id


def _mode() -> bool:
    return caller().livemode


def _terms_in(given: dict[str, Any]) -> dict[str, Any]:
    """What the API says of a code, as the terms call it.  Pure."""
    terms = {_NAMES.get(name, name): value for name, value in given.items()}
    if "label" in terms:
        label = terms.pop("label") or {"kind": None, "text": ""}
        terms |= {"label_kind": label["kind"], "label_text": label["text"]}
    if "inactive_message" in terms:
        words = terms.pop("inactive_message")
        terms |= {f"inactive_{language}": words[language] for language in words}
    if "currency" in terms:
        terms["currency"] = currency_of(terms["currency"])
    return terms


def _list(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {"object": "list", "url": "/v1/qr_codes", "has_more": has_more, "data": data}


def _image(code_id: str, query: QRQuery, kind: Kind) -> Response:
    row = codes.find(_me(), code_id, livemode=_mode())
    return qr_answer(address_of_code(row), kind=kind, level=query.level, size_px=query.size)
