"""/v1/risk: the rules about who may pay, what they would have stopped, and what they decided."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
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
    Moment,
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
from app.charges import lifecycle, rehearsal, reviews, risk_decisions
from app.charges.api import ChargeAnswer, ChargePath
from app.charges.commands import currency_of
from app.charges.present import charge_json
from app.charges.rehearsal import Rehearsal
from app.charges.reviews import REASON_CHARS_MAX
from app.charges.risk_decisions import DecisionFilter, decision_json
from app.clock import to_rfc3339
from app.merchants import risk_rules
from app.merchants.auth import actor, caller, require_key
from app.merchants.keys import NAME_PATTERN
from app.merchants.once_api import done_once, done_once_in_steps
from app.merchants.risk import (
    COUNT_MAX,
    ENTRIES_MAX,
    ENTRY_CHARS_MAX,
    WINDOW_S_MAX,
    WINDOW_S_MIN,
    Action,
    On,
    Rule,
    RuleKind,
    read_terms,
)
from app.merchants.risk_rules import NAME_CHARS_MAX, RuleFilter, rule_json
from app.money import MINOR_MAX

bp = APIBlueprint(
    "risk_api",
    __name__,
    url_prefix="/v1/risk",
    abp_tags=[Tag(name="Risk", description="Rules about who may begin to pay, and what they decided.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

RULE_EXAMPLE: dict[str, Any] = {
    "id": "rr_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "risk_rule",
    "livemode": False,
    "kind": "address_pace",
    "action": "block",
    "name": "五分钟内同一地址最多三笔",
    "currency": "cny",
    "terms": {"max_count": 3, "window_s": 300},
    "valid_from": None,
    "valid_until": None,
    "created_at": "2026-01-15T02:00:00.123Z",
    "created_by": "key_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "ended_at": None,
    "replaces": None,
    "replaced_by": None,
}
DECISION_EXAMPLE: dict[str, Any] = {
    "id": "rd_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "risk_decision",
    "livemode": False,
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "rule": RULE_EXAMPLE["id"],
    "kind": "address_pace",
    "action": "block",
    "facts": {"amount": 1250, "count": 4, "max_count": 3, "window_s": 300},
    "amount": 1250,
    "currency": "cny",
    "qr_code": "qr_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "provider": "alipay",
    "scene": "mobile",
    "payer": None,
    "address": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "device": None,
    "times": 1,
    "created_at": "2026-01-15T02:00:00.123Z",
    "last_at": "2026-01-15T02:00:00.123Z",
}
TRIAL_EXAMPLE: dict[str, Any] = {
    "object": "risk_trial",
    "since": "2025-12-15T16:00:00.000Z",
    "until": "2026-01-15T02:00:00.123Z",
    "is_whole": True,
    "judged": 4210,
    "stopped": [{"currency": "cny", "charges": 3, "amount": 3750}],
    "lost": [{"currency": "cny", "charges": 2, "amount": 2500}],
    "examples": [
        {
            "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
            "at": "2026-01-14T09:30:00.000Z",
            "amount": 1250,
            "paid_at": "2026-01-14T09:30:21.000Z",
            "facts": {"amount": 1250, "count": 4, "max_count": 3, "window_s": 300},
        }
    ],
}
_CREATED = {name: RULE_EXAMPLE[name] for name in ("kind", "action", "name", "terms")}
_Amount = Annotated[StrictInt, Field(ge=1, le=MINOR_MAX)]


class TermsBody(BaseModel):
    """The numbers of a rule, amounts in minor units; docs/risk.md says which of them a kind takes."""

    model_config = ConfigDict(extra="forbid")

    min_amount: _Amount = optional("payment_amount: the least.")
    max_amount: _Amount = optional("payment_amount: the most.  just_below: the limit that is kept below.")
    max_sum: _Amount = optional("day_total, code_day_total, payer_day_total: money in a day in Beijing.")
    max_count: Annotated[StrictInt, Field(ge=0, le=COUNT_MAX)] = optional("Payments in a day or window.")
    window_s: Annotated[StrictInt, Field(ge=WINDOW_S_MIN, le=WINDOW_S_MAX)] = optional("Seconds.")
    step: _Amount = optional("round_amounts: multiples of this are round.")
    margin: _Amount = optional("just_below: how far below the limit.")
    on: On = optional("block_list: what its entries are.")
    entries: Annotated[
        list[Annotated[StrictStr, Field(min_length=1, max_length=ENTRY_CHARS_MAX)]],
        Field(min_length=1, max_length=ENTRIES_MAX),
    ] = optional(
        "block_list: addresses and ranges; order numbers in which * stands for anything; ids of codes; "
        "or the digests of addresses, devices and payers, as decisions show them."
    )


class RiskRuleBody(BaseModel):
    """A rule, whole: there is no changing one in part."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_CREATED]})

    kind: RuleKind = Field(description="What it looks at.")
    action: Action = Field(
        description="note: only recorded.  review: held until a person releases it.  block."
    )
    name: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=NAME_CHARS_MAX,
            description="For people.",
            json_schema_extra={"pattern": NAME_PATTERN},
        ),
    ]
    currency: Annotated[
        StrictStr, Field(min_length=3, max_length=3, description="The rule is about payments in it alone.")
    ] = "cny"
    terms: TermsBody
    valid_from: Moment | None = Field(None, description="RFC 3339; null: at once.")
    valid_until: Moment | None = Field(None, description="RFC 3339, excluded; null: until it is ended.")

    def rule(self) -> Rule:
        """What it says.  Raises InvalidRequest."""
        return Rule(
            self.kind,
            self.action,
            read_terms(self.terms.model_dump(exclude_none=True)),
            currency_of(self.currency),
            self.name,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )


class RiskRulePath(BaseModel):
    """Names one rule."""

    risk_rule_id: PublicId = Field(examples=[RULE_EXAMPLE["id"]])


class RiskRuleQuery(PageQuery):
    """Which page."""

    starting_after: str | None = older_than("rr")
    ending_before: str | None = newer_than("rr")
    live: bool | None = optional("true: those that decide; false: those that were replaced or ended.")


class RiskRuleAnswer(BaseModel):
    """A rule.  It is never changed: what replaces it is another one."""

    model_config = ConfigDict(json_schema_extra={"examples": [RULE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^risk_rule$")
    livemode: bool
    kind: RuleKind
    action: Action
    name: str
    currency: str
    terms: dict[str, Any]
    valid_from: datetime | None
    valid_until: datetime | None
    created_at: datetime
    created_by: str = Field(description="A person's e-mail address or a key's id.")
    ended_at: datetime | None = Field(description="Since when it decides nothing any more.")
    replaces: str | None
    replaced_by: str | None


class RiskRuleList(BaseModel):
    """One page of rules, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/risk/rules", "has_more": False, "data": [RULE_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[RiskRuleAnswer]


class TrialSum(BaseModel):
    """Charges in one currency."""

    currency: str
    charges: int
    amount: int


class TrialExample(BaseModel):
    """A charge that the rule would have stopped."""

    charge: str
    at: datetime
    amount: int
    paid_at: datetime | None
    facts: dict[str, Any]


class TrialAnswer(BaseModel):
    """What a rule would have stopped in the last 30 days."""

    model_config = ConfigDict(json_schema_extra={"examples": [TRIAL_EXAMPLE]})

    object: str = Field(pattern="^risk_trial$")
    since: datetime
    until: datetime
    is_whole: bool = Field(description="false: there was too much to go through, and since is later.")
    judged: int = Field(description="Charges that somebody began to pay.")
    stopped: list[TrialSum] = Field(description="Of them, those that it would have stopped.")
    lost: list[TrialSum] = Field(description="Of these, those that were paid: money that had not come.")
    examples: list[TrialExample] = Field(description="The latest twenty.")


class Verdict(StrEnum):
    """What a person decides about a charge that waits for them."""

    RELEASE = "release"
    REFUSE = "refuse"


class ReviewBody(BaseModel):
    """What was decided, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"verdict": "release", "reason": "known guest"}]}
    )

    verdict: Verdict = Field(description="release: it can be paid.  refuse: it is canceled.")
    reason: Annotated[
        StrictStr,
        Field(min_length=1, max_length=REASON_CHARS_MAX, json_schema_extra={"pattern": NAME_PATTERN}),
    ]


class DecisionPath(BaseModel):
    """Names one decision."""

    decision_id: PublicId = Field(examples=[DECISION_EXAMPLE["id"]])


class DecisionQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("rd")
    ending_before: str | None = newer_than("rd")
    charge: PublicId | None = optional("Only decisions about this charge.")
    rule: PublicId | None = optional("Only decisions of this rule.")
    action: Action | None = optional("Only decisions to do this.")
    kind: RuleKind | None = optional("Only decisions of rules of this kind.")


class DecisionAnswer(BaseModel):
    """That a rule matched a charge, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [DECISION_EXAMPLE]})

    id: str
    object: str = Field(pattern="^risk_decision$")
    livemode: bool
    charge: str
    rule: str
    kind: RuleKind
    action: Action
    facts: dict[str, Any] = Field(description="What matched, by the names of the rule's terms.")
    amount: int
    currency: str
    qr_code: str | None
    provider: str
    scene: str
    payer: str | None = Field(description="Digests, kept 31 days, that a block_list can name.")
    address: str | None
    device: str | None
    times: int = Field(description="How often somebody tried.")
    created_at: datetime
    last_at: datetime


class DecisionList(BaseModel):
    """One page of decisions, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/risk/decisions", "has_more": False, "data": [DECISION_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[DecisionAnswer]


@bp.post(
    "/rules",
    summary="Add a rule",
    responses={201: RiskRuleAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create_rule(header: OnceHeader, body: RiskRuleBody) -> Response:
    """In force from now on, or from `valid_from`.  Try it first."""
    who, rule, by = caller(), body.rule(), actor()

    def work(tx: Connection) -> dict[str, Any]:
        return rule_json(risk_rules.add_rule(tx, who.merchant_id, rule, livemode=who.livemode, by=by))

    return done_once(header, work, 201)


@bp.get("/rules", summary="List rules", responses={200: RiskRuleList})
@validated
def list_rules(query: RiskRuleQuery) -> Response:
    """Of this mode, newest first, with those that were replaced or ended."""
    wanted = RuleFilter(query.live, query.starting_after, query.ending_before, query.limit)
    rows, has_more = risk_rules.list_rules(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    return _page("/v1/risk/rules", has_more, list(map(rule_json, rows)))


@bp.get("/rules/<risk_rule_id>", summary="Read a rule", responses={200: RiskRuleAnswer, 404: ErrorAnswer})
@validated
def read_rule(path: RiskRulePath) -> Response:
    """As it was made; it never changes but for its end."""
    rule = risk_rules.find(caller().merchant_id, path.risk_rule_id, livemode=caller().livemode)
    return json_answer(dump(rule_json(rule)))


@bp.post(
    "/rules/<risk_rule_id>",
    summary="Replace a rule",
    responses={201: RiskRuleAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def replace_rule(path: RiskRulePath, header: OnceHeader, body: RiskRuleBody) -> Response:
    """Ends this one and puts another in its place, in one moment.  409: it was replaced or ended before."""
    who, rule, by = caller(), body.rule(), actor()

    def work(tx: Connection) -> dict[str, Any]:
        row = risk_rules.replace_rule(
            tx, who.merchant_id, path.risk_rule_id, rule, livemode=who.livemode, by=by
        )
        return rule_json(row)

    return done_once(header, work, 201)


@bp.post(
    "/rules/<risk_rule_id>/end",
    summary="End a rule",
    responses={200: RiskRuleAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def end_rule(path: RiskRulePath, header: OnceHeader) -> Response:
    """It decides nothing any more, and can still be read.  Ending twice is harmless."""
    who, by = caller(), actor()

    def work(tx: Connection) -> dict[str, Any]:
        row = risk_rules.end_rule(tx, who.merchant_id, path.risk_rule_id, livemode=who.livemode, by=by)
        return rule_json(row)

    return done_once(header, work)


@bp.post(
    "/trials",
    summary="Try a rule",
    responses={200: TrialAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def try_rule(header: OnceHeader, body: RiskRuleBody) -> Response:
    """What this rule would have stopped in the last 30 days, had it been in force all the time.

    Nothing is stored.  The digests of addresses and devices are kept for 31 days, those of devices only
    while you have a rule about them.
    """
    who, rule = caller(), body.rule()

    def work() -> dict[str, Any]:
        return trial_json(rehearsal.rehearse(who.merchant_id, rule, livemode=who.livemode))

    return done_once_in_steps(header, work)


@bp.post(
    "/reviews/<charge_id>",
    summary="Release or refuse a held charge",
    responses={200: ChargeAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def close_review(path: ChargePath, header: OnceHeader, body: ReviewBody) -> Response:
    """For your own desk, where people look at what a rule holds.  409: it waits for nobody any more."""
    who, by = caller(), actor()
    charge = lifecycle.find(who.merchant_id, path.charge_id, livemode=who.livemode)

    def work() -> dict[str, Any]:
        return charge_json(reviews.DECIDING[body.verdict](who.merchant_id, charge.id, body.reason, by=by))

    return done_once_in_steps(header, work)


@bp.get("/decisions", summary="List decisions", responses={200: DecisionList})
@validated
def list_decisions(query: DecisionQuery) -> Response:
    """Newest first.  One for each charge and rule, however often somebody tried."""
    wanted = DecisionFilter(
        query.charge,
        query.rule,
        query.action,
        query.kind,
        query.starting_after,
        query.ending_before,
        query.limit,
    )
    rows, has_more = risk_decisions.search(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    return _page("/v1/risk/decisions", has_more, list(map(decision_json, rows)))


@bp.get(
    "/decisions/<decision_id>", summary="Read a decision", responses={200: DecisionAnswer, 404: ErrorAnswer}
)
@validated
def read_decision(path: DecisionPath) -> Response:
    """What a rule decided about a charge, and what it saw."""
    found = risk_decisions.find(caller().merchant_id, path.decision_id, livemode=caller().livemode)
    return json_answer(dump(decision_json(found)))


def trial_json(found: Rehearsal) -> dict[str, Any]:
    """The trial object of the API."""
    return {
        "object": "risk_trial",
        "since": to_rfc3339(found.since),
        "until": to_rfc3339(found.until),
        "is_whole": found.is_whole,
        "judged": found.judged,
        **{
            name: [
                {"currency": each.currency.lower(), "charges": each.count, "amount": each.minor}
                for each in getattr(found, name)
            ]
            for name in ("stopped", "lost")
        },
        "examples": [
            {
                "charge": each.charge_id,
                "at": to_rfc3339(each.at),
                "amount": each.amount_minor,
                "paid_at": to_rfc3339(each.paid_at) if each.paid_at else None,
                "facts": each.facts,
            }
            for each in found.examples
        ],
    }


def _page(url: str, has_more: bool, data: list[dict[str, Any]]) -> Response:
    return json_answer(dump({"object": "list", "url": url, "has_more": has_more, "data": data}))
