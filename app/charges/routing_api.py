"""/v1/routing/preview and /v1/provider_accounts: where a payment would go, what it costs, how accounts do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    Moment,
    OnceHeader,
    dump,
    json_answer,
    validated,
)
from app.charges.commands import currency_of
from app.charges.outcomes import account_json
from app.charges.preview import Line, Preview, Why, Wish, preview
from app.clock import to_rfc3339
from app.merchants import accounts, health
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once_in_steps
from app.money import EXPONENTS, MINOR_MAX, Money
from app.providers import REGISTRY

bp = APIBlueprint(
    "routing_api",
    __name__,
    url_prefix="/v1",
    abp_tags=[Tag(name="Routing", description="Which account a payment goes through, and what that costs.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

_CURRENCIES = [code for currency in EXPONENTS for code in (currency.lower(), currency)]
ACCOUNT_EXAMPLE: dict[str, Any] = {
    "id": "pa_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "provider_account",
    "livemode": False,
    "provider": "alipay",
    "name": "支付宝",
    "enabled": True,
    "health": "healthy",
    "failures": 0,
    "reason": None,
    "unhealthy_since": None,
}
PREVIEW_EXAMPLE: dict[str, Any] = {
    "object": "routing_preview",
    "livemode": False,
    "provider": "alipay",
    "amount": 1250,
    "currency": "cny",
    "store": None,
    "at": "2026-01-15T02:00:00.123Z",
    "rule": None,
    "account": ACCOUNT_EXAMPLE["id"],
    "fee": 8,
    "accounts": [
        {
            "account": ACCOUNT_EXAMPLE,
            "why": "chosen",
            "share": 1.0,
            "basis_points": 60,
            "fixed": 0,
            "fee": 8,
        }
    ],
}


class PreviewBody(BaseModel):
    """A payment that is only thought of."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"provider": "alipay", "amount": 1250, "currency": "cny"}]},
    )

    provider: Annotated[
        StrictStr, Field(max_length=32, description="The wallet.", json_schema_extra={"enum": list(REGISTRY)})
    ]
    amount: Annotated[StrictInt, Field(ge=1, le=MINOR_MAX, description="In minor units.")]
    currency: Annotated[
        StrictStr,
        Field(max_length=8, description="As in a charge.", json_schema_extra={"enum": _CURRENCIES}),
    ] = "cny"
    store: StrictStr | None = Field(None, max_length=64, description="That of the charge.")
    at: Moment | None = Field(
        None, description="When; RFC 3339.  Left out: now.  Rules and health are those of now."
    )
    charge: StrictStr | None = Field(
        None, max_length=64, description="The charge to be paid: rules with weights draw by its id."
    )


class ProviderAccountAnswer(BaseModel):
    """An account at a wallet's network, without its credentials."""

    model_config = ConfigDict(json_schema_extra={"examples": [ACCOUNT_EXAMPLE]})

    id: str
    object: str = Field(pattern="^provider_account$")
    livemode: bool
    provider: str
    name: str
    enabled: bool
    health: str = Field(description="healthy, or unhealthy: payments go through others while one works.")
    failures: int = Field(description="Payments in a row that could not begin, lately.")
    reason: str | None = Field(description="The wallet's word for the last of them, or no_answer.")
    unhealthy_since: datetime | None


class ProviderAccountList(BaseModel):
    """All accounts of this mode, the oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/provider_accounts",
                    "has_more": False,
                    "data": [ACCOUNT_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool
    data: list[ProviderAccountAnswer]


class RuleName(BaseModel):
    """The rule that decided."""

    id: str
    name: str


class RouteLine(BaseModel):
    """One account, and what it has to say for itself."""

    account: ProviderAccountAnswer
    why: str = Field(
        description=f"{', '.join(Why)}: chosen, or why not.",
        json_schema_extra={"enum": list(Why)},
    )
    share: float = Field(description="Of payments like this one, while all accounts work.")
    basis_points: int | None = Field(description="Your rate for it; null where you have entered none.")
    fixed: int | None
    fee: int | None = Field(description="What the payment would cost there, in minor units.")


class PreviewAnswer(BaseModel):
    """Where the payment would go."""

    model_config = ConfigDict(json_schema_extra={"examples": [PREVIEW_EXAMPLE]})

    object: str = Field(pattern="^routing_preview$")
    livemode: bool
    provider: str
    amount: int
    currency: str
    store: str | None
    at: datetime
    rule: RuleName | None = Field(description="null: no rule fits, so it is the oldest account that works.")
    account: str | None = Field(description="null: no account may take it.")
    fee: int | None
    accounts: list[RouteLine]


@bp.post(
    "/routing/preview",
    summary="Preview a route",
    responses={200: PreviewAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def preview_route(header: OnceHeader, body: PreviewBody) -> Response:
    """Which account a payment would go through, and its fee by the rates of the ledger.  Nothing happens.

    Without `charge` a rule with weights answers with its heaviest share.
    """
    price = Money(body.amount, currency_of(body.currency))
    wish = Wish(body.provider, price, body.store, body.at, body.charge)
    who = caller()

    def work() -> dict[str, Any]:
        return preview_json(preview(who.merchant_id, wish, livemode=who.livemode), livemode=who.livemode)

    return done_once_in_steps(header, work)


@bp.get("/provider_accounts", summary="List provider accounts", responses={200: ProviderAccountList})
@validated
def list_accounts() -> Response:
    """Your accounts at the wallets, and how each does."""
    who = caller()
    ailing = health.ailing(who.merchant_id)
    data = [
        account_json(row, ailing.get(row.id))
        for row in accounts.list_all(who.merchant_id, livemode=who.livemode)
    ]
    return json_answer(
        dump({"object": "list", "url": "/v1/provider_accounts", "has_more": False, "data": data})
    )


def preview_json(found: Preview, *, livemode: bool) -> dict[str, Any]:
    """The routing preview object.  Pure."""
    chosen, wish = found.chosen, found.wish
    return {
        "object": "routing_preview",
        "livemode": livemode,
        "provider": wish.provider,
        "amount": wish.amount.minor,
        "currency": wish.amount.currency.lower(),
        "store": wish.store_id,
        "at": to_rfc3339(found.at),
        "rule": None if found.rule is None else {"id": found.rule.id, "name": found.rule.name},
        "account": None if chosen is None else chosen.account.id,
        "fee": None if chosen is None else chosen.fee_minor,
        "accounts": [_line_json(line) for line in found.lines],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "account": account_json(line.account, line.health),
        "why": line.why.value,
        "share": round(line.share, 4),
        "basis_points": line.basis_points,
        "fixed": line.fixed_minor,
        "fee": line.fee_minor,
    }
