"""/v1/qr_codes/…/print: a printed code or a whole series on paper, as the dashboard's print shop draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from flask_openapi.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field

from app import paper
from app.answers import REFUSALS, SECURITY, ErrorAnswer, QueryInt, optional, validated
from app.codes import codes
from app.codes.print_views import cards_of
from app.codes.schema import CodePath, SeriesPath
from app.errors import InvalidRequest, NotFound
from app.merchants import brand, profile
from app.merchants.auth import caller, require_key
from app.paper import LANGUAGES, Order
from app.qr.print.card import Placing
from app.qr.print.shop import STOCK_OF, Form, Kind, forms_of

bp = APIBlueprint(
    "qr_code_prints_api",
    __name__,
    url_prefix="/v1/qr_codes",
    abp_tags=[Tag(name="Printed codes")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

LABELS_MAX = max(stock.count for stock in STOCK_OF.values())
_MEDIA = ("application/pdf", "image/png", "image/svg+xml", "application/octet-stream")
_PRINT: ResponseDict = {
    200: {
        "description": "The file",
        "content": {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in _MEDIA},
    },
    404: ErrorAnswer,
    409: ErrorAnswer,
}
# What a refusal of the print shop calls a parameter -> what it is called here.
_NAMES = {"kind": "paper", "form": "format", "words": "language"}


class PrintQuery(BaseModel):
    """What to print, on what."""

    model_config = ConfigDict(extra="forbid")

    paper: Kind = Field(Kind.A6, description="A stand, a sticker, a sheet of labels, a receipt, the code.")
    format: Form | None = optional(
        "`escpos` and `escpos-picture` are for receipts, which have no PDF or SVG.  Left out: the usual one "
        "of the paper."
    )
    language: str = Field(
        "both", description="What is said around the code.", json_schema_extra={"enum": list(LANGUAGES)}
    )
    price: bool = Field(
        True, description="Whether a fixed price is printed; it can change, and paper cannot."
    )
    start: QueryInt = Field(
        1, ge=1, le=LABELS_MAX, description="The label to begin with, on a sheet that is partly used."
    )


@bp.get("/<code_id>/print", summary="A printed code on paper", responses=_PRINT)
@validated
def draw(path: CodePath, query: PrintQuery) -> Response:
    """In the shop's colour, with its logo.  The same bytes for as long as nothing on it changes.

    Before anything is answered the print is read back, spoilt in six ways; `409` with `print_unreadable`
    means that phones may not read it.
    """
    row = codes.find(caller().merchant_id, path.code_id, livemode=caller().livemode)
    return _printed([row], query)


@bp.get("/series/<series_id>/print", summary="A series on paper", responses=_PRINT)
@validated
def draw_series(path: SeriesPath, query: PrintQuery) -> Response:
    """Every code of a series that is not disabled, in their order, on as many pages as it takes.

    A PDF, or for receipts the bytes that a printer takes: a picture holds one page.  `series.id` of its
    codes names it.  500 labels take some seconds.
    """
    rows = codes.in_series(caller().merchant_id, path.series_id, livemode=caller().livemode)
    if not rows:
        raise NotFound("no such series, or all of its codes are disabled")
    return _printed(rows, query)


def _printed(rows: Sequence[sa.Row[Any]], query: PrintQuery) -> Response:
    if query.language not in LANGUAGES:
        raise InvalidRequest("write zh, en or both", param="language")
    if query.format is not None and query.format not in forms_of(query.paper, len(rows)):
        what = query.paper if len(rows) == 1 else f"{query.paper} of a series"
        raise InvalidRequest(f"{what} does not come as {query.format}", param="format")
    merchant_id = caller().merchant_id
    usual = brand.find(merchant_id).on_paper
    placing = Placing(query.start)
    order = Order(query.paper, query.language, look=usual, placing=placing, price=query.price, usual=usual)
    cards = cards_of(rows, profile.name_of(merchant_id))(order)
    try:
        done = paper.printed(order, cards, query.format)
    except InvalidRequest as refusal:
        name = refusal.param or ""
        raise InvalidRequest(
            refusal.detail, code=refusal.code, param=_NAMES.get(name, name or None)
        ) from None
    response = Response(done.body, content_type=done.media_type)
    response.headers["Cache-Control"] = "no-store"
    return response
