"""/v1/refunds: the merchant's system gives money back, and hears what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    PageQuery,
    PublicId,
    dump,
    json_answer,
    newer_than,
    older_than,
    optional,
    validated,
)
from app.charges import refund_search, refunds
from app.charges.api import PLAIN, Metadata, unfolding
from app.charges.commands import REASON_CHARS_MAX, NewRefund
from app.charges.expand import OfRefund, refunds_json
from app.charges.present import RefundStatus, refund_json
from app.charges.refund_search import RefundFilter
from app.merchants.auth import actor, caller, require_key, require_scope
from app.merchants.once_api import done_once
from app.merchants.scopes import Scope
from app.money import MINOR_MAX

bp = APIBlueprint(
    "refunds_api",
    __name__,
    url_prefix="/v1/refunds",
    abp_tags=[Tag(name="Refunds", description="Money on its way back to the shopper.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

REFUND_EXAMPLE: dict[str, Any] = {
    "id": "re_01jd3x0a2bqk2m8n4p6r8t0v2x",
    "object": "refund",
    "livemode": False,
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "status": "pending",
    "amount": 450,
    "currency": "cny",
    "reason": "少了一份",
    "metadata": {"ticket": "T-81"},
    "automatic": False,
    "pending_reason": None,
    "failure_code": None,
    "created_at": "2026-01-15T03:00:00.123Z",
    "finished_at": None,
}


class RefundBody(BaseModel):
    """A new refund."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x"},
                {
                    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
                    "amount": 450,
                    "reason": "少了一份",
                    "metadata": {"ticket": "T-81"},
                },
            ]
        },
    )

    charge: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=64,
            description="The paid charge.",
            json_schema_extra={"pattern": r"^[0-9A-Za-z_]+$"},
        ),
    ]
    amount: Annotated[
        StrictInt | None,
        Field(ge=1, le=MINOR_MAX, description="In minor units; left out: all that is left."),
    ] = None
    reason: Annotated[
        StrictStr | None,
        Field(
            max_length=REASON_CHARS_MAX,
            description="Why, in your words; most wallets show it to the payer.",
            json_schema_extra={"pattern": f"^[^{PLAIN}]*$"},
        ),
    ] = None
    metadata: Metadata = {}


class RefundPath(BaseModel):
    """Names one refund."""

    refund_id: PublicId = Field(examples=["re_01jd3x0a2bqk2m8n4p6r8t0v2x"])


class RefundView(BaseModel):
    """What to unfold."""

    model_config = ConfigDict(extra="forbid")

    expand: list[OfRefund] = unfolding(OfRefund)


class RefundQuery(PageQuery):
    """Narrows a list."""

    expand: list[OfRefund] = unfolding(OfRefund)

    starting_after: str | None = older_than("re")
    ending_before: str | None = newer_than("re")
    charge: str | None = optional(
        "Only refunds of this charge.",
        pattern=r"^ch_[0-9a-z]{26}$",
        examples=["ch_01jd3w6j7hqk2m8n4p6r8t0v2x"],
    )
    status: RefundStatus | None = optional("Only refunds in this state.")


class RefundAnswer(BaseModel):
    """A refund."""

    model_config = ConfigDict(json_schema_extra={"examples": [REFUND_EXAMPLE]})

    id: str
    object: str = Field(pattern="^refund$")
    livemode: bool
    charge: str | dict[str, Any] | None = Field(
        description="None: of money that no charge had asked for.  With expand[]=charge: the charge."
    )
    status: RefundStatus = Field(
        description="pending: counted, and the wallet has not said yes or no.  failed: nothing went back."
    )
    amount: int
    currency: str
    reason: str | None
    metadata: dict[str, str]
    automatic: bool = Field(description="Mafu gave back what the charge did not need.")
    pending_reason: str | None = Field(
        description="The wallet's word for what you must do there (top up, or reach the payer otherwise)."
    )
    failure_code: str | None = Field(description="The wallet's word.")
    created_at: datetime
    finished_at: datetime | None


class RefundList(BaseModel):
    """One page of refunds, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/refunds", "has_more": False, "data": [REFUND_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[RefundAnswer]


@bp.post(
    "",
    summary="Refund a charge",
    responses={
        201: RefundAnswer,
        404: ErrorAnswer,
        **ONCE_REFUSALS,
        **BODY_REFUSALS,
    },
)
@validated
def create(header: OnceHeader, body: RefundBody) -> Response:
    """In full or in part, as often as there is something left.  Send an Idempotency-Key.

    The amount is counted as refunded at once and sent within a second; listen for `refund.succeeded`
    and `refund.failed`, which gives it back to the charge.  Refused with 409 and the code
    `charge_not_paid`, `charge_already_refunded` or `amount_too_large`; the message says what is left.

    A merchant may want a second person's approval above a limit for keys, too: then `pending_reason` is
    `awaiting_approval` until somebody approves it at the dashboard, or declines it (`refund.failed`, with
    `failure_code` `declined`).
    """
    new = NewRefund(body.charge, body.amount, body.reason or "", body.metadata)
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        return refund_json(refunds.create_refund(tx, who.merchant_id, new, livemode=who.livemode, by=actor()))

    return done_once(header, work, 201)


@bp.get("/<refund_id>", summary="Read a refund", responses={200: RefundAnswer, 404: ErrorAnswer})
@validated
def read(path: RefundPath, query: RefundView) -> Response:
    """The refund as it stands."""
    _allow(query.expand)
    refund = refund_search.find(caller().merchant_id, path.refund_id, livemode=caller().livemode)
    return json_answer(dump(refunds_json([refund], query.expand)[0]))


@bp.get("", summary="List refunds", responses={200: RefundList})
@validated
def list_all(query: RefundQuery) -> Response:
    """Newest first, automatic ones too.  Page with the last id of one page as `starting_after`."""
    _allow(query.expand)
    wanted = RefundFilter(
        charge_id=query.charge,
        state=query.status.state if query.status else None,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = refund_search.search(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    page = {
        "object": "list",
        "url": "/v1/refunds",
        "has_more": has_more,
        "data": refunds_json(rows, query.expand),
    }
    return json_answer(dump(page))


def _allow(wanted: list[OfRefund]) -> None:
    if OfRefund.CHARGE in wanted:
        require_scope(Scope.CHARGES_READ)
