"""/v1/members: the merchant's system adds the customers of its app, and reads what each has to spend."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr
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
from app.charges.api import PLAIN
from app.charges.commands import currency_of
from app.merchants.auth import actor, caller, require_key
from app.merchants.once_api import done_once
from app.money import EXPONENTS
from app.purses import members
from app.purses.members import (
    ACCOUNT_PATTERN,
    NAME_CHARS_MAX,
    PHONE_PATTERN,
    SEARCH_CHARS_MAX,
    Changes,
    MemberFilter,
    NewMember,
)
from app.purses.models import MoveKind
from app.purses.present import member_json, movement_json

bp = APIBlueprint(
    "members_api",
    __name__,
    url_prefix="/v1/members",
    abp_tags=[Tag(name="Members", description="Customers of your app, and what each has to spend.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

MEMBER_EXAMPLE: dict[str, Any] = {
    "id": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "member",
    "livemode": False,
    "account": "user-42",
    "name": "王小明",
    "phone": "13800138000",
    "currency": "cny",
    "balance": 10000,
    "bonus": 1000,
    "available": 11000,
    "blocked": False,
    "topup_url": "https://PAY.EXAMPLE.COM/M/01JD3W6J7HQK2M8N4P6R8T0V2X7QK2M9XTB4R8W3V6Z1YJ5H0PCD",
    "created_at": "2026-01-15T02:00:00.123Z",
    "updated_at": "2026-01-15T02:05:00.123Z",
}
MOVEMENT_EXAMPLE: dict[str, Any] = {
    "id": "mm_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "movement",
    "livemode": False,
    "member": MEMBER_EXAMPLE["id"],
    "number": 1,
    "kind": "topup",
    "cause": "tu_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "balance": 10000,
    "bonus": 1000,
    "balance_after": 10000,
    "bonus_after": 1000,
    "currency": "cny",
    "note": None,
    "made_by": None,
    "created_at": "2026-01-15T02:05:00.123Z",
}
_LINE = f"^[^{PLAIN}]*$"
_CURRENCIES = [code for currency in EXPONENTS for code in (currency.lower(), currency)]

Name = Annotated[
    StrictStr,
    Field(
        max_length=NAME_CHARS_MAX,
        description="For people; at a printed code the first letter is shown.",
        json_schema_extra={"pattern": _LINE},
    ),
]


class MemberBody(BaseModel):
    """A member to add, or to bring up to date."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"account": "user-42"},
                {"account": "user-42", "name": "王小明", "phone": "13800138000", "currency": "cny"},
            ]
        },
    )

    account: Annotated[
        StrictStr,
        Field(
            description="What your system calls this customer.",
            json_schema_extra={"pattern": ACCOUNT_PATTERN},
        ),
    ]
    name: Name | None = None
    phone: Annotated[
        StrictStr | None,
        Field(
            description="Digits alone: how they name themselves at a printed code.  One member each.",
            json_schema_extra={"pattern": PHONE_PATTERN},
        ),
    ] = None
    currency: Annotated[
        StrictStr,
        Field(
            min_length=3,
            max_length=3,
            description="ISO 4217; it stays.",
            json_schema_extra={"enum": _CURRENCIES},
        ),
    ] = "cny"


class MemberChanges(BaseModel):
    """What shall be different; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"blocked": True}]})

    name: Annotated[StrictStr, Field(max_length=NAME_CHARS_MAX, pattern=_LINE)] = optional("For people.")
    phone: Annotated[StrictStr, Field(pattern=r"^([0-9]{5,20})?$")] = optional(
        "Digits alone; empty takes it away."
    )
    blocked: StrictBool = optional("true: tops up and spends nothing until you say false.")


class MemberPath(BaseModel):
    """Names one member."""

    member: PublicId = Field(
        description="Its id, or the account that you gave.", examples=["mb_01jd3w6j7hqk2m8n4p6r8t0v2x"]
    )


class MemberQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("mb")
    ending_before: str | None = newer_than("mb")
    account: str | None = optional("Only the member of this account.", pattern=ACCOUNT_PATTERN)
    phone: str | None = optional("Only the member with this phone number.", pattern=PHONE_PATTERN)
    search: str | None = optional("Part of a name, or how an account begins.", max_length=SEARCH_CHARS_MAX)


class MovementQuery(PageQuery):
    """Which page of a statement."""

    starting_after: str | None = older_than("mm")


class MemberAnswer(BaseModel):
    """A member."""

    model_config = ConfigDict(json_schema_extra={"examples": [MEMBER_EXAMPLE]})

    id: str
    object: str = Field(pattern="^member$")
    livemode: bool
    account: str
    name: str
    phone: str | None
    currency: str
    balance: int = Field(
        description="Of what was paid in, what is left.  Below zero only if your rules allow it."
    )
    bonus: int = Field(description="Of what was given on top, what is left.")
    available: int = Field(description="What can be spent now: both together, 0 while blocked.")
    blocked: bool
    topup_url: str = Field(
        description="A page on which this member tops up and sees what they have: give it to nobody else."
    )
    created_at: datetime
    updated_at: datetime


class MemberList(BaseModel):
    """One page of members, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/members", "has_more": False, "data": [MEMBER_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[MemberAnswer]


class MovementAnswer(BaseModel):
    """A line of a member's statement."""

    model_config = ConfigDict(json_schema_extra={"examples": [MOVEMENT_EXAMPLE]})

    id: str
    object: str = Field(pattern="^movement$")
    livemode: bool
    member: str
    number: int = Field(description="1, 2, 3 … of its member, without a gap.")
    kind: MoveKind
    cause: str = Field(description="The top-up, refund, debit or adjustment.")
    charge: str | None = Field(description="Whose money it was, of a top-up and its refunds.")
    balance: int = Field(description="So much more of what was paid in; below zero: less.")
    bonus: int = Field(description="So much more bonus; below zero: less.")
    balance_after: int
    bonus_after: int
    currency: str
    note: str | None = Field(description="Why: of a debit its description, of an adjustment the reason.")
    made_by: str | None = Field(
        description="Of an adjustment: the person's e-mail address, or the id of the key."
    )
    created_at: datetime


class MovementList(BaseModel):
    """One page of a statement, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/members/user-42/movements",
                    "has_more": False,
                    "data": [MOVEMENT_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[MovementAnswer]


@bp.post(
    "",
    summary="Add or update a member",
    responses={200: MemberAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: MemberBody) -> Response:
    """By your own account id.  If it is there, name and phone are brought up to date where you send them: so
    call this whenever somebody signs in to your app.
    """
    new = NewMember(body.account, body.name or "", body.phone, currency_of(body.currency))
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        member, _ = members.put(tx, who.merchant_id, new, livemode=who.livemode, by=actor())
        return member_json(member)

    return done_once(header, work)


@bp.get("/<member>", summary="Read a member", responses={200: MemberAnswer, 404: ErrorAnswer})
@validated
def read(path: MemberPath) -> Response:
    """By our id or your account id: what they have now."""
    who = caller()
    return json_answer(dump(member_json(members.find(who.merchant_id, path.member, livemode=who.livemode))))


@bp.get("", summary="List members", responses={200: MemberList})
@validated
def list_all(query: MemberQuery) -> Response:
    """Newest first.  Page with the last id of one page as ``starting_after`` of the next."""
    wanted = MemberFilter(
        text=query.search or "",
        account=query.account,
        phone=query.phone,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    who = caller()
    rows, has_more = members.list_members(who.merchant_id, livemode=who.livemode, wanted=wanted)
    data = [member_json(row) for row in rows]
    return json_answer(dump({"object": "list", "url": "/v1/members", "has_more": has_more, "data": data}))


@bp.post(
    "/<member>",
    summary="Change a member",
    responses={200: MemberAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def update(path: MemberPath, header: OnceHeader, body: MemberChanges) -> Response:
    """What is left out stays as it is.  Doing it twice is harmless and needs no Idempotency-Key.

    A member who is blocked keeps what they have; a payment that was on its way still comes in.
    """
    who = caller()
    wanted = Changes(body.name, body.phone, body.blocked)

    def work(tx: Connection) -> dict[str, Any]:
        member = members.change_member(
            tx, who.merchant_id, path.member, wanted, livemode=who.livemode, by=actor()
        )
        return member_json(member)

    return done_once(header, work)


@bp.get(
    "/<member>/movements", summary="A member's statement", responses={200: MovementList, 404: ErrorAnswer}
)
@validated
def movements(path: MemberPath, query: MovementQuery) -> Response:
    """Everything that changed what they have, newest first; the numbers have no gap."""
    who = caller()
    member = members.find(who.merchant_id, path.member, livemode=who.livemode)
    before = None
    if query.starting_after is not None:
        before = members.number_of(who.merchant_id, member.id, query.starting_after)
    rows, has_more = members.list_movements(who.merchant_id, member.id, before=before, limit=query.limit)
    page = {
        "object": "list",
        "url": f"/v1/members/{member.id}/movements",
        "has_more": has_more,
        "data": [movement_json(row) for row in rows],
    }
    return json_answer(dump(page))
