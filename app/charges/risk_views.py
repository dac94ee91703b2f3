"""The dashboard's rooms for rules about payments: the rules, what waits for a person, what was decided."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.charges import rehearsal, reviews, risk_decisions, risk_forms
from app.charges.risk_decisions import DecisionFilter
from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotFound, ProviderUnreachable
from app.merchants import risk_rules
from app.merchants.auth import actor, me
from app.merchants.risk import FIELDS, Action, On, Rule, RuleKind
from app.merchants.risk_rules import RULES_MAX, RuleFilter, rule_of
from app.merchants.views import faults_of, livemode, open_room

PAGE = 25
_OF_RULE_SHOWN = 10

_FAULTS = {
    "name": _l("Give it a name of 1 to 80 characters."),
    "action": _l("Choose what happens."),
    "min_amount": _l("Enter an amount such as 12.50, or leave it empty."),
    "max_amount": _l("Enter an amount such as 500, not below the least."),
    "max_sum": _l("Enter an amount such as 500, or a number of payments below."),
    "max_count": _l("Enter a whole number."),
    "window": _l("Enter 1 to 1440 minutes."),
    "step": _l("Enter an amount such as 100."),
    "margin": _l("Enter an amount that is less than the limit."),
    "on": _l("Choose what the list names."),
    "valid_from": _l("Enter a day such as 2026-01-15."),
    "valid_until": _l("Enter a day such as 2026-01-31, not before the first."),
}
_ENTRIES_FAULT = _l("An entry cannot be used: look at the hint below. %(detail)s")

bp = Blueprint("risk", __name__, url_prefix="/risk")


@bp.get("")
def list_rules() -> str:
    """Those that decide, and the latest of those that did."""
    who, mode = me().merchant_id, livemode()
    live, _ = risk_rules.list_rules(who, livemode=mode, wanted=RuleFilter(live=True, limit=RULES_MAX))
    ended, _ = risk_rules.list_rules(who, livemode=mode, wanted=RuleFilter(live=False, limit=PAGE))
    return render_template("dashboard/risk.html", rules=live, ended=ended, kinds=list(RuleKind))


@bp.get("/rules/new")
def new_rule() -> Response:
    """The form of a kind; filled in, what the rule would have stopped, and whether it shall be in force."""
    kind = risk_forms.kind_of(request.args.get("kind", ""))
    if kind is None:
        return make_response(render_template("dashboard/risk_kinds.html", kinds=list(RuleKind)))
    return _written(kind, None)


@bp.post("/rules/new")
def create_rule() -> Response | BaseResponse:
    """Put it in force."""
    kind = risk_forms.kind_of(request.form.get("kind", ""))
    if kind is None:
        raise NotFound("no such kind of rule")
    return _put(kind, None)


@bp.get("/rules/<risk_rule_id>")
def show_rule(risk_rule_id: str) -> str:
    """The rule, where it comes from, and what it decided lately."""
    who, mode = me().merchant_id, livemode()
    rule = risk_rules.find(who, risk_rule_id, livemode=mode)
    decided, has_more = risk_decisions.search(
        who, livemode=mode, wanted=DecisionFilter(rule_id=rule.id, limit=_OF_RULE_SHOWN)
    )
    return render_template("dashboard/risk_rule.html", rule=rule, decisions=decided, has_more=has_more)


@bp.get("/rules/<risk_rule_id>/replace")
def edit_rule(risk_rule_id: str) -> Response:
    """The same form for a rule that takes the place of this one."""
    rule = risk_rules.find(me().merchant_id, risk_rule_id, livemode=livemode())
    return _written(RuleKind(rule.kind), rule)


@bp.post("/rules/<risk_rule_id>/replace")
def replace_rule(risk_rule_id: str) -> Response | BaseResponse:
    """Put another in its place."""
    rule = risk_rules.find(me().merchant_id, risk_rule_id, livemode=livemode())
    return _put(RuleKind(rule.kind), rule)


@bp.post("/rules/<risk_rule_id>/end")
def end_rule(risk_rule_id: str) -> BaseResponse:
    """Have it decide nothing any more."""
    with transaction() as tx:
        risk_rules.end_rule(tx, me().merchant_id, risk_rule_id, livemode=livemode(), by=actor())
    return redirect(url_for("risk.list_rules", notice="risk_rule_ended"), 303)


@bp.get("/reviews")
def list_reviews() -> Response:
    """The charges that wait for a person, the oldest first."""
    return _reviews()


@bp.post("/reviews/<charge_id>/release")
def release(charge_id: str) -> Response | BaseResponse:
    """Let it be paid."""
    return _decide("release", charge_id)


@bp.post("/reviews/<charge_id>/refuse")
def refuse(charge_id: str) -> Response | BaseResponse:
    """Cancel it."""
    return _decide("refuse", charge_id)


@bp.get("/decisions")
def list_decisions() -> str:
    """What rules decided, newest first; the filter and the cursor are in the address."""
    args = request.args
    wanted = DecisionFilter(
        charge_id=args.get("charge", "").strip() or None,
        rule_id=args.get("rule", "").strip() or None,
        action=Action(args["action"]) if args.get("action") in set(Action) else None,
        kind=risk_forms.kind_of(args.get("kind", "")),
        starting_after=args.get("after"),
        ending_before=args.get("before"),
        limit=PAGE,
    )
    rows, has_more = risk_decisions.search(me().merchant_id, livemode=livemode(), wanted=wanted)
    kept: dict[str, Any] = {
        name: args[name] for name in ("charge", "rule", "action", "kind") if args.get(name)
    }
    backwards = wanted.ending_before is not None
    older = rows and (backwards or has_more)
    newer = rows and (has_more if backwards else wanted.starting_after is not None)
    return render_template(
        "dashboard/risk_decisions.html",
        decisions=rows,
        older=url_for("risk.list_decisions", **kept, after=rows[-1].id) if older else None,
        newer=url_for("risk.list_decisions", **kept, before=rows[0].id) if newer else None,
        shown=kept,
        actions=list(Action),
        kinds=list(RuleKind),
    )


@bp.app_context_processor
def _badges() -> dict[str, Any]:
    """What other rooms ask for: how many charges wait for a person, and what was decided about one."""
    return {
        "count_reviews": lambda: reviews.count_waiting(me().merchant_id, livemode=livemode()),
        "decisions_of": lambda charge_id: risk_decisions.list_of_charges(me().merchant_id, [charge_id]),
    }


def _written(kind: RuleKind, before: Any) -> Response:
    """The form, or with what was written the trial and the question whether that is what is meant."""
    asked = request.args.to_dict()
    if "action" not in asked or "change" in asked:
        form = asked if "change" in asked or before is None else risk_forms.written(rule_of(before))
        return _form(kind, before, form)
    try:
        rule = risk_forms.read_rule(kind, asked, _currency_of(before))
    except InvalidRequest as error:
        return _form(kind, before, asked, _faults(error), 400)
    found = rehearsal.rehearse(me().merchant_id, rule, livemode=livemode())
    page = render_template(
        "dashboard/risk_trial.html", rule=_as_row(rule), before=before, form=asked, found=found
    )
    return make_response(page)


def _put(kind: RuleKind, before: Any) -> Response | BaseResponse:
    who, mode, form = me().merchant_id, livemode(), request.form.to_dict()
    try:
        rule = risk_forms.read_rule(kind, form, _currency_of(before))
        with transaction() as tx:
            if before is None:
                made = risk_rules.add_rule(tx, who, rule, livemode=mode, by=actor())
            else:
                made = risk_rules.replace_rule(tx, who, before.id, rule, livemode=mode, by=actor())
    except InvalidRequest as error:
        return _form(kind, before, form, _faults(error), 400)
    except Conflict as refusal:
        return redirect(url_for("risk.list_rules", notice=refusal.code), 303)
    return redirect(url_for("risk.show_rule", risk_rule_id=made.id, notice="risk_rule_added"), 303)


def _currency_of(before: Any) -> str:
    return risk_forms.CURRENCY if before is None else str(before.currency)


def _form(
    kind: RuleKind, before: Any, form: dict[str, str], faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    page = render_template(
        "dashboard/risk_form.html",
        kind=kind,
        fields=[risk_forms.field_of(name) for name in FIELDS[kind].all],
        needs=[risk_forms.field_of(name) for name in FIELDS[kind].needs],
        before=before,
        form=form,
        faults=faults or {},
        actions=list(Action),
        lists=list(On),
    )
    return make_response(page, status)


def _faults(error: InvalidRequest) -> dict[str, str]:
    if error.param == "entries":
        return {"entries": str(_ENTRIES_FAULT) % {"detail": error.detail}}
    return faults_of(error, _FAULTS)


def _as_row(rule: Rule) -> dict[str, Any]:
    """A rule that is not stored, as the templates read one that is."""
    return {
        "kind": rule.kind,
        "action": rule.action,
        "name": rule.name,
        "currency": rule.currency,
        "terms": rule.terms.stored(),
        "valid_from": rule.valid_from,
        "valid_until": rule.valid_until,
    }


def _reviews(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    waiting = reviews.list_waiting(me().merchant_id, livemode=livemode())
    by_charge: dict[str, list[Any]] = {charge.id: [] for charge in waiting}
    for decision in risk_decisions.list_of_charges(me().merchant_id, list(by_charge)):
        by_charge[decision.charge_id].append(decision)
    page = render_template(
        "dashboard/risk_reviews.html",
        charges=waiting,
        decisions=by_charge,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _decide(verb: str, charge_id: str) -> Response | BaseResponse:
    try:
        reviews.DECIDING[verb](me().merchant_id, charge_id, request.form.get("reason", ""), by=actor())
    except InvalidRequest:
        return _reviews({charge_id: str(_l("Say why, in up to 200 characters."))}, 400)
    except ProviderUnreachable:
        return redirect(url_for("risk.list_reviews", notice="unreachable"), 303)
    except Conflict as refusal:
        return redirect(url_for("risk.list_reviews", notice=refusal.code), 303)
    return redirect(url_for("risk.list_reviews", notice=f"review_{verb}d"), 303)


open_room(bp)
