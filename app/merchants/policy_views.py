"""The dashboard's room for the rules that protect a shop from its own people."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.errors import InvalidRequest
from app.merchants import policy
from app.merchants.auth import actor, me
from app.merchants.policy import Policy
from app.merchants.views import faults_of, open_room
from app.money import Money

_FAULTS = {"refund_limit": _l("Enter an amount such as 200 or 200.00, or leave it empty.")}

bp = Blueprint("policy", __name__, url_prefix="/settings/rules")
open_room(bp)


@bp.get("")
def show() -> Response:
    """The rules as they are."""
    rules = policy.policy_of(me().merchant_id)
    limit = rules.refund_limit_minor
    text = "" if limit is None else Money(limit, "CNY").major()
    return _page(rules, text, {})


@bp.post("")
def save() -> Response | BaseResponse:
    """Other rules, from now on."""
    typed = request.form.get("refund_limit", "").strip()[:20]
    flags = {
        "refund_limit_for_keys": "refund_limit_for_keys" in request.form,
        "requires_second_factor": "requires_second_factor" in request.form,
        "members_may_owe": "members_may_owe" in request.form,
    }
    try:
        rules = Policy(_limit_of(typed), **flags)
    except InvalidRequest as error:
        return _page(Policy(None, **flags), typed, faults_of(error, _FAULTS), 400)
    policy.save_policy(me().merchant_id, rules, by=actor())
    return redirect(url_for("policy.show", notice="saved"), 303)


def _limit_of(typed: str) -> int | None:
    """``"200" -> 20000``: minor units of a currency with two decimal places.  Raises InvalidRequest."""
    try:
        return None if not typed else Money.from_major(typed, "CNY").minor
    except ValueError as error:
        raise InvalidRequest(str(error), param="refund_limit") from None


def _page(rules: Policy, typed: str, faults: dict[str, str], status: int = 200) -> Response:
    page = render_template("dashboard/rules.html", rules=rules, typed=typed, faults=faults)
    return make_response(page, status)
