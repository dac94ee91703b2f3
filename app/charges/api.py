"""/v1/charges: the merchant's system makes, reads, lists and cancels charges, and fetches their codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from app.answers import SECURITY, ErrorAnswer, json_answer, qr_answer
from app.charges import lifecycle
from app.charges.commands import (
    DESCRIPTION_CHARS_MAX,
    EXPIRES_IN_S_DEFAULT,
    EXPIRES_IN_S_MAX,
    EXPIRES_IN_S_MIN,
    METADATA_KEYS_MAX,
    URL_CHARS_MAX,
    NewCharge,
    currency_of,
)
from app.charges.lifecycle import ChargeFilter
from app.charges.present import charge_json, link_of
from app.charges.states import ChargeState
from app.merchants.auth import caller, require_key
from app.merchants.idempotency import Answer, once
from app.money import MINOR_MAX, Money
from app.qr import render
from app.qr.encode import Level
from app.qr.render import Kind

bp = APIBlueprint(
    "charges_api",
    __name__,
    url_prefix="/v1/charges",
    abp_tags=[Tag(name="Charges", description="What a shopper is asked to pay.")],
    abp_security=SECURITY,
)
bp.before_request(require_key)


class ChargeBody(BaseModel):
    """A new charge."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[StrictInt, Field(ge=1, le=MINOR_MAX, description="In minor units: 1250 is ¥12.50.")]
    currency: Annotated[StrictStr, Field(min_length=3, max_length=3, description="ISO 4217, such as cny.")]
    description: Annotated[StrictStr, Field(min_length=1, max_length=DESCRIPTION_CHARS_MAX)]
    merchant_order_no: Annotated[
        StrictStr | None,
        Field(pattern=r"^[!-~]{1,64}$", description="Yours, unique. The same again returns the same charge."),
    ] = None
    metadata: Annotated[dict[StrictStr, StrictStr], Field(max_length=METADATA_KEYS_MAX)] = {}
    return_url: Annotated[StrictStr | None, Field(max_length=URL_CHARS_MAX)] = None
    expires_in_s: Annotated[StrictInt, Field(ge=EXPIRES_IN_S_MIN, le=EXPIRES_IN_S_MAX)] = EXPIRES_IN_S_DEFAULT


class ChargePath(BaseModel):
    """Names one charge."""

    charge_id: str = Field(max_length=64, examples=["ch_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class ChargeQuery(BaseModel):
    """Narrows a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(10, ge=1, le=lifecycle.LIST_LIMIT_MAX)
    starting_after: str | None = Field(None, max_length=64, description="The page after this id.")
    ending_before: str | None = Field(None, max_length=64, description="The page before this id.")
    status: ChargeState | None = None
    merchant_order_no: str | None = Field(None, max_length=64)
    created_from: AwareDatetime | None = Field(None, description="RFC 3339; included.")
    created_before: AwareDatetime | None = Field(None, description="RFC 3339; excluded.")


class QRQuery(BaseModel):
    """How a code is drawn."""

    model_config = ConfigDict(extra="forbid")

    level: Level = Field(Level.M, description="Error correction: L 7 %, M 15 %, Q 25 %, H 30 %.")
    size: int = Field(
        600, ge=render.SIZE_PX_MIN, le=render.SIZE_PX_MAX, description="Pixels a side; PNG only."
    )


class QRAddresses(BaseModel):
    """Where a charge's code is drawn; fetch with your key."""

    svg: str
    png: str


class ChargeAnswer(BaseModel):
    """A charge."""

    id: str
    object: str = Field("charge", pattern="^charge$")
    livemode: bool
    status: ChargeState
    amount: int
    amount_refunded: int
    currency: str
    description: str
    merchant_order_no: str | None
    metadata: dict[str, str]
    return_url: str | None
    url: str = Field(description="The signed payment link: what the QR code says.")
    qr: QRAddresses
    provider: str | None = Field(description="alipay, wechatpay or unionpay, once paid.")
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    paid_late: bool = Field(description="Paid after it had expired.")
    expired_at: datetime | None
    canceled_at: datetime | None


class ChargeList(BaseModel):
    """One page of charges, newest first."""

    object: str = Field("list", pattern="^list$")
    url: str
    has_more: bool
    data: list[ChargeAnswer]


@bp.post("", summary="Create a charge", responses={201: ChargeAnswer, 409: ErrorAnswer, 422: ErrorAnswer})
def create(body: ChargeBody) -> Response:
    """Send an Idempotency-Key, and a repeated request is answered as the first was."""
    new = NewCharge(
        amount=Money(body.amount, currency_of(body.currency)),
        description=body.description,
        merchant_order_no=body.merchant_order_no,
        metadata=body.metadata,
        return_url=body.return_url,
        expires_in_s=body.expires_in_s,
    )
    who = caller()
    answer = once(
        who,
        request.headers.get("Idempotency-Key"),
        (request.method, request.path, request.get_data()),
        lambda tx: Answer(
            _dump(charge_json(lifecycle.create_charge(tx, who.merchant_id, livemode=who.livemode, new=new))),
            201,
        ),
    )
    return json_answer(answer.body, answer.status, replayed=answer.replayed)


@bp.get("/<charge_id>", summary="Read a charge", responses={200: ChargeAnswer, 404: ErrorAnswer})
def read(path: ChargePath) -> Response:
    """The charge as it stands."""
    charge = lifecycle.find(caller().merchant_id, path.charge_id, livemode=caller().livemode)
    return json_answer(_dump(charge_json(charge)))


@bp.get("", summary="List charges", responses={200: ChargeList})
def list_all(query: ChargeQuery) -> Response:
    """Newest first.  Page with the last id of one page as ``starting_after`` of the next."""
    wanted = ChargeFilter(
        status=query.status,
        merchant_order_no=query.merchant_order_no,
        created_from=query.created_from and query.created_from.astimezone(UTC),
        created_before=query.created_before and query.created_before.astimezone(UTC),
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = lifecycle.list_charges(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    page = {
        "object": "list",
        "url": "/v1/charges",
        "has_more": has_more,
        "data": [charge_json(row) for row in rows],
    }
    return json_answer(_dump(page))


@bp.post(
    "/<charge_id>/cancel",
    summary="Cancel a charge",
    responses={200: ChargeAnswer, 404: ErrorAnswer, 409: ErrorAnswer, 503: ErrorAnswer},
)
def cancel(path: ChargePath) -> Response:
    """Open attempts are closed at their provider first; money that still arrives goes back by itself."""
    charge = lifecycle.cancel_charge(caller().merchant_id, path.charge_id, livemode=caller().livemode)
    return json_answer(_dump(charge_json(charge)))


@bp.get("/<charge_id>/qr.svg", summary="The code as SVG", responses={404: ErrorAnswer})
def qr_svg(path: ChargePath, query: QRQuery) -> Response:
    """A vector drawing; it never changes, so keep it."""
    return _image(path.charge_id, query, Kind.SVG)


@bp.get("/<charge_id>/qr.png", summary="The code as PNG", responses={404: ErrorAnswer})
def qr_png(path: ChargePath, query: QRQuery) -> Response:
    """A bitmap of whole pixels a module; it never changes, so keep it."""
    return _image(path.charge_id, query, Kind.PNG)


def _image(charge_id: str, query: QRQuery, kind: Kind) -> Response:
    link = link_of(lifecycle.find(caller().merchant_id, charge_id, livemode=caller().livemode))
    return qr_answer(link, kind=kind, level=query.level, size_px=query.size)


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
