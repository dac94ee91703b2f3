"""What a printed code asks for, checked: the same rules for the API and the dashboard.  Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.charges.commands import currency_of
from app.errors import InvalidRequest
from app.merchants.keys import LINE_PATTERN
from app.money import MINOR_MAX, Money

NAME_CHARS_MAX, LABEL_CHARS_MAX, INACTIVE_CHARS_MAX = 80, 40, 200
SUGGESTED_MAX = 6  # two rows of keys on a phone
MAX_PAYMENTS_MAX = 1_000_000
# What a shopper may type where the merchant has said nothing: enough for a shop's counter, and a slip of
# two digits more is caught.  ¥5,000.00.
OPEN_MAX_MINOR = 500_000

LINE = re.compile(LINE_PATTERN)  # of text, without control characters


class CodePurpose(StrEnum):
    """What is done at a code."""

    PAY = "pay"
    TOPUP = "topup"  # a member of the merchant's app fills their purse


class LabelKind(StrEnum):
    """What a code stands at."""

    TABLE = "table"
    SEAT = "seat"
    TERMINAL = "terminal"
    STAFF = "staff"


class Standing(StrEnum):
    """Whether a code can be paid at."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EARLY = "early"  # its time has not come
    ENDED = "ended"  # its time is over
    USED_UP = "used_up"  # it has taken as many payments as it may


@dataclass(frozen=True, slots=True)
class Terms:
    """What a printed code asks for.  Building one checks it: raises InvalidRequest naming the field.

    With ``amount_minor`` the price is fixed, and what is said of an open amount waits for a day without.
    """

    name: str
    currency: str = "CNY"
    purpose: CodePurpose = CodePurpose.PAY
    amount_minor: int | None = None
    preset_minor: int | None = None
    min_minor: int = 1
    max_minor: int = OPEN_MAX_MINOR
    suggested: Sequence[int] = ()
    store_id: str | None = None
    label_kind: LabelKind | None = None
    label_text: str = ""
    max_payments: int | None = None
    daily_cap_minor: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    inactive_zh: str = ""
    inactive_en: str = ""

    def __post_init__(self) -> None:
        currency_of(self.currency)
        _check_text(self.name, "name", NAME_CHARS_MAX, least=1)
        _check_text(self.label_text, "label", LABEL_CHARS_MAX, least=1 if self.label_kind else 0)
        if self.label_text and self.label_kind is None:
            raise InvalidRequest("a label says what it stands at", param="label")
        for param, text in (
            ("inactive_message.zh", self.inactive_zh),
            ("inactive_message.en", self.inactive_en),
        ):
            _check_text(text, param, INACTIVE_CHARS_MAX)
        self._check_amounts()
        if self.max_payments is not None and not 1 <= self.max_payments <= MAX_PAYMENTS_MAX:
            raise InvalidRequest(f"a code takes 1 to {MAX_PAYMENTS_MAX} payments", param="max_payments")
        if None not in (self.valid_from, self.valid_until) and self.valid_until <= self.valid_from:  # type: ignore[operator]
            raise InvalidRequest("a code ends after it has begun", param="valid_until")

    def _check_amounts(self) -> None:
        given = {"amount": self.amount_minor, "daily_cap": self.daily_cap_minor}
        for param, minor in (given | {"min_amount": self.min_minor, "max_amount": self.max_minor}).items():
            if minor is not None and not 1 <= minor <= MINOR_MAX:
                raise InvalidRequest(
                    f"an amount is 1 to {MINOR_MAX} minor units", code="amount_out_of_range", param=param
                )
        if self.min_minor > self.max_minor:
            raise InvalidRequest("the least amount is not above the most", param="max_amount")
        if self.preset_minor is not None and not self.min_minor <= self.preset_minor <= self.max_minor:
            raise InvalidRequest("is not between the least and the most", param="preset_amount")
        if len(self.suggested) > SUGGESTED_MAX or len(set(self.suggested)) < len(self.suggested):
            raise InvalidRequest(
                f"suggest up to {SUGGESTED_MAX} different amounts", param="suggested_amounts"
            )
        if not all(self.min_minor <= minor <= self.max_minor for minor in self.suggested):
            raise InvalidRequest("one is not between the least and the most", param="suggested_amounts")

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Terms:
        """The terms of a stored code."""
        return cls(**{name: getattr(row, name) for name in TERMS})

    def values(self) -> dict[str, Any]:
        """For the table."""
        return {name: getattr(self, name) for name in TERMS} | {
            "name": self.name.strip(),
            "label_text": self.label_text.strip(),
            "suggested": list(self.suggested),
        }


TERMS = tuple([field.name for field in fields(Terms)])


def check_amount(row: sa.Row[Any], amount: Money) -> None:
    """Whether a shopper may pay so much here.  Raises InvalidRequest."""
    least, most = limits_of(row)
    if amount.currency != row.currency:
        raise InvalidRequest("the code asks for another currency", param="amount")
    if amount.minor < least:
        raise InvalidRequest("too little for this code", code="amount_too_small", param="amount")
    if amount.minor > most:
        raise InvalidRequest("too much for this code", code="amount_too_large", param="amount")


def limits_of(row: sa.Row[Any]) -> tuple[int, int]:
    """The least and the most that can be paid; equal where the price is fixed."""
    if row.amount_minor is not None:
        return row.amount_minor, row.amount_minor
    return row.min_minor, row.max_minor


def standing_of(row: sa.Row[Any], now: datetime) -> Standing:
    """Whether a code can be paid at, as far as its row tells: not how often it was."""
    if row.disabled_at is not None:
        return Standing.DISABLED
    if row.valid_from is not None and now < row.valid_from:
        return Standing.EARLY
    if row.valid_until is not None and now >= row.valid_until:
        return Standing.ENDED
    return Standing.ACTIVE


def _check_text(text: str, param: str, most: int, least: int = 0) -> None:
    if not least <= len(text.strip()) <= most:
        raise InvalidRequest(f"has {least} to {most} characters", param=param)
    if not LINE.fullmatch(text):
        raise InvalidRequest("text holds a control character", param=param)
