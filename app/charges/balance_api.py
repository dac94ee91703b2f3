"""/v1/balance: what was collected and what went back."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from app.answers import REFUSALS, SECURITY, Moment, dump, json_answer, optional, validated
from app.charges import balance
from app.merchants.auth import caller, require_key

bp = APIBlueprint(
    "balance_api",
    __name__,
    url_prefix="/v1/balance",
    abp_tags=[Tag(name="Balance", description="Sums of your books; the money itself is at your wallets.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

SUM_EXAMPLE: dict[str, Any] = {
    "currency": "cny",
    "charges_paid": 3,
    "collected": 3750,
    "refunded": 450,
    "refunds_pending": 100,
    "net": 3200,
}


class BalanceQuery(BaseModel):
    """Which charges are summed up."""

    model_config = ConfigDict(extra="forbid")

    paid_from: Moment | None = optional("Only charges paid since; RFC 3339, included.")
    paid_before: Moment | None = optional("Only charges paid before; RFC 3339, excluded.")


class SumAnswer(BaseModel):
    """One currency, in minor units."""

    currency: str
    charges_paid: int = Field(description="How many.")
    collected: int = Field(description="What they brought in.")
    refunded: int = Field(description="Of that, what has gone back.")
    refunds_pending: int = Field(description="Of that, what is on its way back.")
    net: int = Field(description="collected less both.")


class BalanceAnswer(BaseModel):
    """A line for each currency in which something was paid."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "balance", "livemode": False, "sums": [SUM_EXAMPLE]}]}
    )

    object: str = Field(pattern="^balance$")
    livemode: bool
    sums: list[SumAnswer]


@bp.get("", summary="Read the balance", responses={200: BalanceAnswer})
@validated
def read(query: BalanceQuery) -> Response:
    """Of all time, or of charges paid in a span; a refund counts on the day its charge was paid.

    Money that a charge did not need (paid twice, or after it was canceled) goes back by itself and is in
    none of these sums.
    """
    who = caller()
    sums = balance.sums_of(
        who.merchant_id, livemode=who.livemode, paid_from=query.paid_from, paid_before=query.paid_before
    )
    shown = [
        {
            "currency": each.currency.lower(),
            "charges_paid": each.charges_paid,
            "collected": each.collected_minor,
            "refunded": each.refunded_minor,
            "refunds_pending": each.pending_minor,
            "net": each.net_minor,
        }
        for each in sums
    ]
    return json_answer(dump({"object": "balance", "livemode": who.livemode, "sums": shown}))
