"""/v1/members/{member}/debits: a member spends what they have, and a debit is given back."""

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
from app.charges.api import PLAIN, OrderNo
from app.members.api import MemberPath
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once
from app.money import MINOR_MAX
from app.purses import debits, members
from app.purses.debits import DESCRIPTION_CHARS_MAX, NewDebit
from app.purses.present import debit_json

bp = APIBlueprint(
    "debits_api",
    __name__,
    url_prefix="/v1/members/<member>/debits",
    abp_tags=[Tag(name="Debits", description="What members have spent of their balance.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

DEBIT_EXAMPLE: dict[str, Any] = {
    "id": "db_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "debit",
    "livemode": False,
    "member": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "debit_no": "order-20260115-0042",
    "amount": 10500,
    "from_balance": 10000,
    "from_bonus": 500,
    "currency": "cny",
    "description": "两张电影票",
    "amount_reversed": 0,
    "reversed_at": None,
    "created_at": "2026-01-15T03:00:00.123Z",
}


class DebitBody(BaseModel):
    """A new debit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "debit_no": "order-20260115-0042",
                    "amount": 10500,
                    "description": "两张电影票",
                }
            ]
        },
    )

    debit_no: Annotated[
        OrderNo,
        Field(
            description="Yours, and unique.  The same number with the same content is answered with the "
            "debit made before, with other content by 409."
        ),
    ]
    amount: Annotated[
        StrictInt, Field(ge=1, le=MINOR_MAX, description="In minor units of the member's currency.")
    ]
    description: Annotated[
        StrictStr | None,
        Field(
            max_length=DESCRIPTION_CHARS_MAX,
            description="What it was for: the member's statement shows it.",
            json_schema_extra={"pattern": f"^[^{PLAIN}]*$"},
        ),
    ] = None


class ReversalBody(BaseModel):
    """How much is given back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"amount": 5250}]})

    amount: Annotated[
        StrictInt | None,
        Field(ge=1, le=MINOR_MAX, description="In minor units; left out: all of it."),
    ] = None


class DebitPath(BaseModel):
    """Names one debit of one member."""

    member: PublicId = Field(examples=["mb_01jd3w6j7hqk2m8n4p6r8t0v2x"])
    debit_id: PublicId = Field(examples=["db_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class DebitQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("db")
    ending_before: str | None = newer_than("db")
    debit_no: OrderNo | None = optional("Only the debit with this number of yours.")


class DebitAnswer(BaseModel):
    """A debit."""

    model_config = ConfigDict(json_schema_extra={"examples": [DEBIT_EXAMPLE]})

    id: str
    object: str = Field(pattern="^debit$")
    livemode: bool
    member: str
    debit_no: str
    amount: int
    from_balance: int = Field(description="Of what was paid in, which is spent first.")
    from_bonus: int = Field(description="Of the bonus.")
    currency: str
    description: str
    amount_reversed: int
    reversed_at: datetime | None
    created_at: datetime


class DebitList(BaseModel):
    """One page of a member's debits, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/members/user-42/debits",
                    "has_more": False,
                    "data": [DEBIT_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[DebitAnswer]


@bp.post(
    "",
    summary="Spend from a balance",
    responses={201: DebitAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, path: MemberPath, body: DebitBody) -> Response:
    """First of what was paid in, then of the bonus, and never more than there is: 409 with
    `member_balance_too_low` says what is left.

    Sending it again under the same ``debit_no`` takes nothing twice, however much later.
    """
    new = NewDebit(path.member, body.debit_no, body.amount, body.description or "")
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        return debit_json(debits.take(tx, who.merchant_id, new, livemode=who.livemode))

    return done_once(header, work, 201)


@bp.get("/<debit_id>", summary="Read a debit", responses={200: DebitAnswer, 404: ErrorAnswer})
@validated
def read(path: DebitPath) -> Response:
    """The debit as it stands."""
    who = caller()
    debit = debits.find(who.merchant_id, path.member, path.debit_id, livemode=who.livemode)
    return json_answer(dump(debit_json(debit)))


@bp.get("", summary="List a member's debits", responses={200: DebitList, 404: ErrorAnswer})
@validated
def list_all(path: MemberPath, query: DebitQuery) -> Response:
    """Newest first."""
    who = caller()
    member = members.find(who.merchant_id, path.member, livemode=who.livemode)
    rows, has_more = debits.list_debits(
        who.merchant_id,
        member.id,
        debit_no=query.debit_no,
        older_than=query.starting_after,
        newer_than=query.ending_before,
        limit=query.limit,
    )
    page = {
        "object": "list",
        "url": f"/v1/members/{member.id}/debits",
        "has_more": has_more,
        "data": [debit_json(row) for row in rows],
    }
    return json_answer(dump(page))


@bp.post(
    "/<debit_id>/reverse",
    summary="Give back a debit",
    responses={200: DebitAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def reverse(header: OnceHeader, path: DebitPath, body: ReversalBody) -> Response:
    """Once, all of it or a part: the bonus first, so that what stays spent is what a smaller debit would
    have taken.  A second time is refused with `debit_reversed`.
    """
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        debit = debits.reverse(
            tx, who.merchant_id, path.member, path.debit_id, body.amount, livemode=who.livemode
        )
        return debit_json(debit)

    return done_once(header, work)
