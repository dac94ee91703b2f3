"""The dashboard's room for routing: the rules in their order, and where a payment would go by them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges.preview import Preview, Wish, preview
from app.errors import Conflict, InvalidRequest, NotFound
from app.merchants import accounts, health, routing_rules, stores
from app.merchants.auth import actor, me
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from app.merchants.views import faults_of, livemode, open_room
from app.money import EXPONENTS, Money
from app.providers import REGISTRY

_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)", re.ASCII)
_FAULTS = {
    "name": _l("A name has 1 to 80 characters."),
    "shares": _l("Give at least one account a weight from 0 to 1000."),
    "amounts": _l("Enter amounts such as 200 or 200.00, the smaller one first."),
    "currency": _l("Choose one of the currencies."),
    "store": _l("Choose one of the stores."),
    "hours": _l("Enter both times, such as 22:00 and 06:00, or neither."),
    "provider": _l("Choose one of the wallets."),
    "amount": _l("Enter an amount such as 12.50."),
    "at": _l("Enter a time such as 23:30."),
}

bp = Blueprint("routing", __name__, url_prefix="/settings/routing")
open_room(bp)


@bp.get("")
def show() -> Response:
    """The rules by wallet; with ``?try_provider`` also where such a payment would go."""
    if "try_provider" not in request.args:
        return _page()
    try:
        return _page(preview(me().merchant_id, _read_wish(request.args), livemode=livemode()))
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)


@bp.get("/rules/new")
def new_rule() -> Response:
    """An empty form."""
    return _form_page(_wanted_provider(), MultiDict({"currency": "CNY"}))


@bp.post("/rules/new")
def add_rule() -> Response | BaseResponse:
    """A rule more, asked after the others."""
    provider = _wanted_provider()
    try:
        terms = _read_terms(provider)
        routing_rules.add_rule(me().merchant_id, terms, livemode=livemode(), by=actor())
    except InvalidRequest as error:
        return _form_page(provider, request.form, faults=faults_of(error, _FAULTS), status=400)
    except Conflict:
        return redirect(url_for("routing.show", notice="too_many_routes"), 303)
    return _back()


@bp.get("/rules/<routing_rule_id>")
def edit_rule(routing_rule_id: str) -> Response:
    """The form as the rule is; of one that has ended, which old payments still name, what it said."""
    row = _find(routing_rule_id, ended=True)
    if row.ended_at is not None:
        return _ended_page(row)
    return _form_page(row.provider, _shown(row), rule=row)


@bp.post("/rules/<routing_rule_id>")
def change_rule(routing_rule_id: str) -> Response | BaseResponse:
    """Have another rule take its place."""
    row = _find(routing_rule_id)
    try:
        terms = _read_terms(row.provider, enabled=row.enabled)
        routing_rules.replace_rule(me().merchant_id, routing_rule_id, terms, by=actor())
    except InvalidRequest as error:
        return _form_page(row.provider, request.form, rule=row, faults=faults_of(error, _FAULTS), status=400)
    return _back()


@bp.post("/rules/<routing_rule_id>/move")
def move_rule(routing_rule_id: str) -> BaseResponse:
    """Ask it earlier, or later."""
    _find(routing_rule_id)
    earlier = request.form.get("direction") == "earlier"
    routing_rules.move_rule(me().merchant_id, routing_rule_id, earlier=earlier, by=actor())
    return _back()


@bp.post("/rules/<routing_rule_id>/switch")
def switch_rule(routing_rule_id: str) -> BaseResponse:
    """Pass it over, or ask it again."""
    _find(routing_rule_id)
    routing_rules.switch_rule(me().merchant_id, routing_rule_id, enabled="enable" in request.form, by=actor())
    return _back()


@bp.post("/rules/<routing_rule_id>/delete")
def delete_rule(routing_rule_id: str) -> BaseResponse:
    """End it; payments that it has dealt still name it."""
    _find(routing_rule_id)
    routing_rules.delete_rule(me().merchant_id, routing_rule_id, by=actor())
    return _back()


def _back() -> BaseResponse:
    return redirect(url_for("routing.show", notice="saved"), 303)


def _find(routing_rule_id: str, *, ended: bool = False) -> sa.Row[Any]:
    """A rule of this mode that has not ended, or may have.  Raises NotFound."""
    row = routing_rules.find_rule(me().merchant_id, routing_rule_id)
    if row.livemode != livemode() or (row.ended_at is not None and not ended):
        raise NotFound("no such rule, or it has ended")
    return row


def _wanted_provider() -> str:
    provider = request.args.get("provider") or next(iter(REGISTRY))
    if provider not in REGISTRY:
        raise NotFound("no such provider")
    return provider


def _page(found: Preview | None = None, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    who, mode = me().merchant_id, livemode()
    known = accounts.names_of(who, livemode=mode)
    rules = routing_rules.list_rules(who, livemode=mode)
    page = render_template(
        "dashboard/routing.html",
        providers=[code for code in REGISTRY if any(provider == code for provider, _ in known.values())],
        accounts=accounts.list_all(who, livemode=mode),
        ailing=health.ailing(who),
        rules={code: [row for row in rules if row.provider == code] for code in REGISTRY},
        names={account_id: name for account_id, (_, name) in known.items()},
        stores=stores.names_of(who, livemode=mode),
        hour_of=_hour_of,
        found=found,
        asked=request.args,
        currencies=_currencies(),
        faults=faults or {},
    )
    return make_response(page, status)


def _form_page(
    provider: str,
    form: Mapping[str, str],
    *,
    rule: sa.Row[Any] | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    who, mode = me().merchant_id, livemode()
    held = [row for row in accounts.list_all(who, livemode=mode) if row.provider == provider]
    page = render_template(
        "dashboard/routing_rule.html",
        provider_code=provider,
        rule=rule,
        accounts=held,
        stores=stores.names_of(who, livemode=mode),
        currencies=_currencies(),
        form=form,
        faults=faults or {},
    )
    return make_response(page, status)


def _ended_page(rule: sa.Row[Any]) -> Response:
    who, mode = me().merchant_id, livemode()
    page = render_template(
        "dashboard/routing_ended.html",
        rule=rule,
        names={account_id: name for account_id, (_, name) in accounts.names_of(who, livemode=mode).items()},
        stores=stores.names_of(who, livemode=mode),
        hour_of=_hour_of,
    )
    return make_response(page)


def _currencies() -> list[str]:
    return sorted(EXPONENTS, key=lambda each: (each != "CNY", each))


def _read_terms(provider: str, *, enabled: bool = True) -> RuleTerms:
    """What the form says.  Raises InvalidRequest naming the field."""
    form = request.form
    currency = form.get("currency", "CNY")
    if currency not in EXPONENTS:
        raise InvalidRequest("no such currency", param="currency")
    smallest, largest = [_amount(form.get(name, ""), currency, "amounts") for name in ("min", "max")]
    begins, ends = [_minute(form.get(name, ""), "hours") for name in ("from", "until")]
    return RuleTerms(
        provider=provider,
        name=form.get("name", "").strip(),
        shares=_read_shares(form),
        # Without an amount a rule is about all currencies.
        currency=currency if (smallest, largest) != (None, None) else None,
        min_minor=smallest,
        max_minor=largest,
        store_id=form.get("store") or None,
        from_minute=begins,
        until_minute=ends,
        is_strict="strict" in form,
        enabled=enabled,
    )


def _read_shares(form: Mapping[str, str]) -> tuple[Share, ...]:
    """A weight for each account that has one: fields ``weight-pa_…``.  Raises InvalidRequest."""
    typed = {
        name.removeprefix("weight-"): text.strip()
        for name, text in form.items()
        if name.startswith("weight-") and text.strip()
    }
    if any(not (text.isascii() and text.isdecimal() and len(text) <= 4) for text in typed.values()):
        raise InvalidRequest("a weight is a whole number", param="shares")
    return tuple(Share(account_id, int(text)) for account_id, text in typed.items())


def _read_wish(args: Mapping[str, str]) -> Wish:
    """Raises InvalidRequest naming the field."""
    currency = args.get("currency", "CNY")
    if currency not in EXPONENTS:
        raise InvalidRequest("no such currency", param="currency")
    minor = _amount(args.get("amount", ""), currency, "amount")
    if not minor:
        raise InvalidRequest("no amount", param="amount")
    minute = _minute(args.get("at", ""), "at")
    now = clock.now().astimezone(clock.BEIJING)
    at = None if minute is None else now.replace(hour=minute // 60 % 24, minute=minute % 60, second=0)
    return Wish(args.get("try_provider", ""), Money(minor, currency), args.get("store") or None, at)


def _amount(text: str, currency: str, param: str) -> int | None:
    try:
        return Money.from_major(text.strip(), currency).minor if text.strip() else None
    except ValueError:
        raise InvalidRequest("not an amount", param=param) from None


def _minute(text: str, param: str) -> int | None:
    """``"22:30" -> 1350``."""
    if not text.strip():
        return None
    found = _CLOCK.fullmatch(text.strip())
    minute = int(found[1]) * 60 + int(found[2]) if found else 24 * 60 + 1
    if minute > 24 * 60:
        raise InvalidRequest("not a time of day", param=param)
    return minute


def _hour_of(minute: int | None) -> str:
    """``1350 -> "22:30"``.  Pure."""
    return "" if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _shown(row: sa.Row[Any]) -> MultiDict[str, str]:
    """A rule as its form shows it."""
    currency = row.currency or "CNY"
    amounts = {
        name: "" if minor is None else Money(minor, currency).major()
        for name, minor in (("min", row.min_minor), ("max", row.max_minor))
    }
    return MultiDict(
        {
            "name": row.name,
            "currency": currency,
            **amounts,
            "store": row.store_id or "",
            "from": _hour_of(row.from_minute),
            "until": _hour_of(row.until_minute),
            **({"strict": "1"} if row.is_strict else {}),
            **{f"weight-{account_id}": str(weight) for account_id, weight in row.shares},
        }
    )
