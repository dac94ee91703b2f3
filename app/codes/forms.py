"""What merchants type about printed codes, read into commands.  Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app import clock
from app.charges.commands import currency_of
from app.charges.forms import amount_of, shopper_amount
from app.codes.codes import SERIES_MAX
from app.codes.terms import OPEN_MAX_MINOR, CodePurpose, LabelKind, Terms
from app.errors import InvalidRequest
from app.money import Money

_MOMENT = "%Y-%m-%dT%H:%M"


def read_terms(
    fields: Mapping[str, str], currency: str | None = None, purpose: CodePurpose | None = None
) -> Terms:
    """The form for a code or a series; currency and purpose of a code that exists stay.

    Raises InvalidRequest naming the field at fault, as the API calls it.
    """
    currency = currency or currency_of(fields.get("currency", "CNY"))
    is_fixed = fields.get("kind") == "fixed"
    kind = fields.get("label_kind", "")
    return Terms(
        name=fields.get("name", ""),
        currency=currency,
        purpose=purpose or (CodePurpose.TOPUP if fields.get("purpose") == "topup" else CodePurpose.PAY),
        amount_minor=_amount(fields, "amount", currency, needed=True) if is_fixed else None,
        preset_minor=None if is_fixed else _amount(fields, "preset_amount", currency),
        min_minor=_amount(fields, "min_amount", currency) or 1,
        max_minor=_amount(fields, "max_amount", currency) or OPEN_MAX_MINOR,
        suggested=() if is_fixed else _suggested(fields.get("suggested_amounts", ""), currency),
        store_id=fields.get("store") or None,
        label_kind=LabelKind(kind) if kind in set(LabelKind) else None,
        label_text=fields.get("label", "") if kind else "",
        max_payments=_whole(fields, "max_payments"),
        daily_cap_minor=_amount(fields, "daily_cap", currency),
        valid_from=_moment(fields, "valid_from"),
        valid_until=_moment(fields, "valid_until"),
        inactive_zh=fields.get("inactive_zh", "").strip(),
        inactive_en=fields.get("inactive_en", "").strip(),
    )


def read_labels(fields: Mapping[str, str]) -> list[str]:
    """The labels of a series: prefix and numbers.  Raises InvalidRequest."""
    first, last = _whole(fields, "first"), _whole(fields, "last")
    if first is None or last is None or not 0 <= last - first < SERIES_MAX:
        raise InvalidRequest(f"a series has 1 to {SERIES_MAX} codes", param="last")
    return [f"{fields.get('prefix', '').strip()}{number}" for number in range(first, last + 1)]


def fields_of(row: Any) -> dict[str, str]:
    """A code as its form shows it: the way back."""

    def money(minor: int | None) -> str:
        return "" if minor is None else Money(minor, row.currency).major()

    def beijing(moment: datetime | None) -> str:
        return "" if moment is None else clock.to_beijing(moment, _MOMENT)

    return {
        "name": row.name,
        "kind": "open" if row.amount_minor is None else "fixed",
        "currency": row.currency,
        "purpose": row.purpose,
        "amount": money(row.amount_minor),
        "preset_amount": money(row.preset_minor),
        "min_amount": money(row.min_minor),
        "max_amount": money(row.max_minor),
        "suggested_amounts": ", ".join([money(minor) for minor in row.suggested]),
        "store": row.store_id or "",
        "label_kind": row.label_kind or "",
        "label": row.label_text,
        "max_payments": "" if row.max_payments is None else str(row.max_payments),
        "daily_cap": money(row.daily_cap_minor),
        "valid_from": beijing(row.valid_from),
        "valid_until": beijing(row.valid_until),
        "inactive_zh": row.inactive_zh,
        "inactive_en": row.inactive_en,
    }


def _amount(fields: Mapping[str, str], name: str, currency: str, *, needed: bool = False) -> int | None:
    text = fields.get(name, "").strip()
    if not text and not needed:
        return None
    try:
        return shopper_amount(text, currency).minor
    except InvalidRequest as error:
        raise InvalidRequest(error.detail, code=error.code, param=name) from None


def _suggested(text: str, currency: str) -> tuple[int, ...]:
    plain = unicodedata.normalize("NFKC", text).replace("、", ",").replace(";", ",")
    try:
        return tuple([amount_of(part, currency).minor for part in plain.split(",") if part.strip()])
    except InvalidRequest as error:
        raise InvalidRequest(error.detail, code=error.code, param="suggested_amounts") from None


def _whole(fields: Mapping[str, str], name: str) -> int | None:
    text = unicodedata.normalize("NFKC", fields.get(name, "")).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise InvalidRequest("not a whole number", param=name)
    return int(text)


def _moment(fields: Mapping[str, str], name: str) -> datetime | None:
    """What a browser's field for a time sends, as Beijing's."""
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        return clock.from_beijing(text[:16], _MOMENT).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest("not a time such as 2026-01-31T18:00", param=name) from None
