"""A rule about payments as people write it in a form, and back.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from app.charges.forms import amount_of
from app.clock import day_of, start_of
from app.errors import InvalidRequest
from app.merchants.risk import FIELDS, NAMES, Action, On, Rule, RuleKind, Terms
from app.money import Money

MINUTE_S = 60
SECONDS = "s"  # behind a window that is no whole number of minutes
CURRENCY = "CNY"  # what all three networks' codes are paid in


def kind_of(text: str) -> RuleKind | None:
    """The kind that an address names."""
    return RuleKind(text) if text in set(RuleKind) else None


def read_rule(kind: RuleKind, fields: Mapping[str, str], currency: str = CURRENCY) -> Rule:
    """What was written; ``currency`` is that of the rule whose place it takes.

    Raises InvalidRequest naming the form's field.
    """
    terms: dict[str, Any] = {}
    for name in FIELDS[kind].all:
        text = fields.get(field_of(name), "").strip()
        if text:
            terms[name] = _read(name, text, currency)
    try:
        return Rule(
            kind,
            _action(fields.get("action", "")),
            Terms(**terms),
            currency,
            fields.get("name", "").strip(),
            valid_from=_day(fields, "valid_from"),
            valid_until=_day(fields, "valid_until", after=1),
        )
    except InvalidRequest as refusal:
        param = (refusal.param or "").removeprefix("terms.")
        raise InvalidRequest(
            refusal.detail, code=refusal.code, param=field_of(NAMES[param]) if param in NAMES else param
        ) from None


def written(rule: Rule) -> dict[str, str]:
    """What stands in the form of a rule that is to be replaced."""
    fields = {"name": rule.name, "action": str(rule.action)}
    for name in FIELDS[rule.kind].all:
        value = getattr(rule.terms, name)
        if value is None:
            continue
        if name == "entries":
            fields[name] = "\n".join(value)
        elif name.endswith("_minor"):
            fields[field_of(name)] = Money(value, rule.currency).major()
        elif name == "window_s":
            fields["window"] = _window_text(value)
        else:
            fields[name] = str(value)
    if rule.valid_from:
        fields["valid_from"] = day_of(rule.valid_from).isoformat()
    if rule.valid_until:
        fields["valid_until"] = day_of(rule.valid_until - timedelta(microseconds=1)).isoformat()
    return fields


def field_of(name: str) -> str:
    """What the form calls a term: ``"max_sum_minor" -> "max_sum"``, ``"window_s" -> "window"``."""
    return "window" if name == "window_s" else name.removesuffix("_minor")


def _read(name: str, text: str, currency: str) -> Any:
    if name == "entries":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    if name == "on":
        if text not in set(On):
            raise InvalidRequest("choose what the list names", param="on")
        return On(text)
    if name.endswith("_minor"):
        try:
            return amount_of(text, currency).minor
        except InvalidRequest:
            raise InvalidRequest("not an amount", param=field_of(name)) from None
    unit_s = 1
    if name == "window_s":
        text, unit_s = (text[:-1].strip(), 1) if text.endswith(SECONDS) else (text, MINUTE_S)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest("not a whole number", param=field_of(name))
    return int(text) * unit_s


def _window_text(window_s: int) -> str:
    """``600 -> "10"``, in minutes; ``61 -> "61 s"``, as only the API makes them."""
    return f"{window_s} {SECONDS}" if window_s % MINUTE_S else str(window_s // MINUTE_S)


def _action(text: str) -> Action:
    if text not in set(Action):
        raise InvalidRequest("choose what happens", param="action")
    return Action(text)


def _day(fields: Mapping[str, str], name: str, *, after: int = 0) -> datetime | None:
    """The beginning of a day in Beijing, or of one that many days later."""
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        return start_of(date.fromisoformat(text) + timedelta(days=after))
    except (ValueError, OverflowError):
        raise InvalidRequest("not a day", param=name) from None
