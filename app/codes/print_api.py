"""/v1/qr_codes/{id}/print: a printed code on paper, as the dashboard's print shop draws it."""

from __future__ import annotations

from flask import Response
from flask_openapi import APIBlueprint, Tag
from flask_openapi.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field

from app import paper
from app.answers import REFUSALS, SECURITY, ErrorAnswer, optional, validated
from app.codes import codes
from app.codes.print_views import cards_of
from app.codes.schema import CodePath
from app.errors import InvalidRequest
from app.merchants import brand, profile
from app.merchants.auth import caller, require_key
from app.paper import LANGUAGES, Order
from app.qr.print.shop import Form, Kind, forms_of

bp = APIBlueprint(
    "qr_code_prints_api",
    __name__,
    url_prefix="/v1/qr_codes",
    abp_tags=[Tag(name="Printed codes")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

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


@bp.get("/<code_id>/print", summary="A printed code on paper", responses=_PRINT)
@validated
def draw(path: CodePath, query: PrintQuery) -> Response:
    """In the shop's colour, with its logo.  The same bytes for as long as nothing on it changes.

    Before anything is answered the print is read back, spoilt in six ways; `409` with `print_unreadable`
    means that phones may not read it.
    """
    row = codes.find(caller().merchant_id, path.code_id, livemode=caller().livemode)
    if query.language not in LANGUAGES:
        raise InvalidRequest("write zh, en or both", param="language")
    if query.format is not None and query.format not in forms_of(query.paper):
        raise InvalidRequest(f"{query.paper} does not come as {query.format}", param="format")
    usual = brand.find(row.merchant_id).on_paper
    order = Order(query.paper, query.language, look=usual, price=query.price, usual=usual)
    cards = cards_of([row], profile.name_of(row.merchant_id))(order)
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
