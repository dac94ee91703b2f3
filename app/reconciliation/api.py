"""/v1/reconciliations and /v1/discrepancies: how days came out, and what differs.  Read only."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.answers import (
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    PageQuery,
    PublicId,
    dump,
    json_answer,
    newer_than,
    older_than,
    optional,
    validated,
)
from app.merchants.auth import caller, require_key
from app.reconciliation import overview, worklist
from app.reconciliation.present import discrepancy_json, reconciliation_json
from app.reconciliation.states import DayState, ItemState, Resolution, Sort
from app.reconciliation.worklist import ItemFilter

_TAG = Tag(name="Reconciliation", description="Wallets' daily bills, held against your books.")

bp = APIBlueprint(
    "reconciliations_api",
    __name__,
    url_prefix="/v1/reconciliations",
    abp_tags=[_TAG],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
discrepancies_bp = APIBlueprint(
    "discrepancies_api",
    __name__,
    url_prefix="/v1/discrepancies",
    abp_tags=[_TAG],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)
discrepancies_bp.before_request(require_key)

_ACCOUNT = "pa_01jd3w6j7hqk2m8n4p6r8t0v2x"
RECONCILIATION_EXAMPLE: dict[str, Any] = {
    "id": "rec_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "reconciliation",
    "livemode": False,
    "account": _ACCOUNT,
    "provider": "alipay",
    "day": "2026-01-15",
    "status": "differs",
    "lines": 42,
    "matched": 41,
    "verdicts": {"amount": 1, "matched": 41},
    "proofs": [
        {
            "currency": "cny",
            "proven": True,
            "sums": [
                {
                    "what": "payments",
                    "here_count": 40,
                    "here": 50000,
                    "there_count": 40,
                    "there": 50001,
                    "terms": [{"name": "amount", "count": 1, "amount": -1}],
                    "unexplained": 0,
                }
            ],
        }
    ],
    "finished_at": "2026-01-16T02:31:04.567Z",
}
DISCREPANCY_EXAMPLE: dict[str, Any] = {
    "id": "dis_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "discrepancy",
    "livemode": False,
    "account": _ACCOUNT,
    "provider": "alipay",
    "day": "2026-01-15",
    "type": "amount",
    "status": "open",
    "out_trade_no": "01JD3W6J7HQK2M8N4P6R8T0V2X",
    "provider_ref": "2026011522001400001",
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "refund": None,
    "currency": "cny",
    "amount_here": 1250,
    "amount_there": 1251,
    "detail": "the bill says 12.51 CNY, we have 12.50 CNY",
    "line": 17,
    "owner": None,
    "note": "",
    "resolution": None,
    "opened_at": "2026-01-16T02:31:04.567Z",
    "resolved_at": None,
}


class ReconciliationPath(BaseModel):
    """Names one."""

    reconciliation_id: PublicId = Field(examples=["rec_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class DiscrepancyPath(BaseModel):
    """Names one."""

    discrepancy_id: PublicId = Field(examples=["dis_01jd3w6j7hqk2m8n4p6r8t0v2x"])


def _dated(value: object) -> object:
    """A date alone: what is made of digits only is no timestamp."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        raise ValueError("a day is like 2026-01-15")
    return value


Day = Annotated[date, BeforeValidator(_dated)]


class ReconciliationQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("rec")
    ending_before: str | None = newer_than("rec")
    day: Day | None = optional("Only of this day, as the bill has it.", examples=["2026-01-15"])
    account: str | None = optional("Only of this account.", pattern=r"^pa_[0-9a-z]{26}$", examples=[_ACCOUNT])


class DiscrepancyQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("dis")
    ending_before: str | None = newer_than("dis")
    day: Day | None = optional("Only of this day, as the bill has it.", examples=["2026-01-15"])
    account: str | None = optional("Only of this account.", pattern=r"^pa_[0-9a-z]{26}$", examples=[_ACCOUNT])
    status: ItemState | None = optional("Only those that are so.")
    type: Sort | None = optional("Only those of this kind.")


class TermAnswer(BaseModel):
    """What to add to the bill's sum because of something, in minor units."""

    name: str = Field(
        description="A type of discrepancy, or other_day_here (on this bill, booked on another day), "
        "other_day_there (booked on this day, on another bill), on_its_way."
    )
    count: int
    amount: int


class ProofSumAnswer(BaseModel):
    """here = there + terms + unexplained, in minor units; what left you is negative."""

    what: str = Field(description="payments, refunds, fees")
    here_count: int
    here: int = Field(description="By your books.")
    there_count: int
    there: int = Field(description="By the bill.")
    terms: list[TermAnswer]
    unexplained: int = Field(description="0, or the proof has failed.")


class ProofAnswer(BaseModel):
    """One currency."""

    currency: str
    proven: bool
    sums: list[ProofSumAnswer]


class ReconciliationAnswer(BaseModel):
    """One day of one provider account."""

    model_config = ConfigDict(json_schema_extra={"examples": [RECONCILIATION_EXAMPLE]})

    id: str
    object: str = Field(pattern="^reconciliation$")
    livemode: bool
    account: str
    provider: str
    day: str = Field(description="As the bill has it: Beijing's, and UnionPay's ends at 23:00.")
    status: DayState = Field(
        description="waiting (no bill yet), reading, matched, differs, empty (a day without trades), "
        "missing (no bill, although your books have payments)."
    )
    lines: int
    matched: int
    verdicts: dict[str, int] = Field(description="How many lines, by what was said of them.")
    proofs: list[ProofAnswer]
    finished_at: datetime | None


class ReconciliationList(BaseModel):
    """One page, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/reconciliations",
                    "has_more": False,
                    "data": [RECONCILIATION_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[ReconciliationAnswer]


class DiscrepancyAnswer(BaseModel):
    """Something in which bill and books differ."""

    model_config = ConfigDict(json_schema_extra={"examples": [DISCREPANCY_EXAMPLE]})

    id: str
    object: str = Field(pattern="^discrepancy$")
    livemode: bool
    account: str
    provider: str
    day: str
    type: Sort
    status: ItemState = Field(description="pooled: waits for the neighbour's bill.")
    out_trade_no: str | None
    provider_ref: str | None
    charge: str | None
    refund: str | None
    currency: str | None
    amount_here: int | None = Field(description="By your books, in minor units; null: they have nothing.")
    amount_there: int | None = Field(description="By the bill.")
    detail: str
    line: int | None = Field(description="In the bill's file.")
    owner: str | None
    note: str
    resolution: Resolution | None
    opened_at: datetime
    resolved_at: datetime | None


class DiscrepancyList(BaseModel):
    """One page, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/discrepancies",
                    "has_more": False,
                    "data": [DISCREPANCY_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[DiscrepancyAnswer]


@bp.get("", summary="List reconciliations", responses={200: ReconciliationList})
@validated
def list_all(query: ReconciliationQuery) -> Response:
    """Newest first, one for each day and provider account."""
    who = caller()
    rows, has_more = overview.search(
        who.merchant_id,
        livemode=who.livemode,
        day=query.day,
        account_id=query.account,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    return _page("/v1/reconciliations", has_more, [reconciliation_json(row) for row in rows])


@bp.get(
    "/<reconciliation_id>",
    summary="Read a reconciliation",
    responses={200: ReconciliationAnswer, 404: ErrorAnswer},
)
@validated
def read(path: ReconciliationPath) -> Response:
    """How a day of an account came out, with its proof."""
    row = overview.find(caller().merchant_id, path.reconciliation_id, livemode=caller().livemode)
    return json_answer(dump(reconciliation_json(row)))


@discrepancies_bp.get("", summary="List discrepancies", responses={200: DiscrepancyList}, endpoint="list_all")
@validated
def list_discrepancies(query: DiscrepancyQuery) -> Response:
    """Newest first.  People resolve them at the dashboard."""
    who = caller()
    wanted = ItemFilter(
        state=query.status,
        sort=query.type,
        account_id=query.account,
        day=query.day,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = worklist.search(who.merchant_id, livemode=who.livemode, wanted=wanted)
    return _page("/v1/discrepancies", has_more, [discrepancy_json(row) for row in rows])


@discrepancies_bp.get(
    "/<discrepancy_id>",
    summary="Read a discrepancy",
    responses={200: DiscrepancyAnswer, 404: ErrorAnswer},
    endpoint="read",
)
@validated
def read_discrepancy(path: DiscrepancyPath) -> Response:
    """What differs, and what has become of it."""
    row = worklist.find(caller().merchant_id, path.discrepancy_id, livemode=caller().livemode)
    return json_answer(dump(discrepancy_json(row)))


def _page(url: str, has_more: bool, data: list[dict[str, Any]]) -> Response:
    return json_answer(dump({"object": "list", "url": url, "has_more": has_more, "data": data}))
