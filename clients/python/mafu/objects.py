"""What the API answers, as values.  Fields that are not here yet are kept in ``raw``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Charge:
    """What a shopper is asked to pay.  ``amount`` is in minor units: 1250 is ¥12.50.

    ``status`` is pending, paid, expired or canceled.  ``url`` is the payment link: what the QR code says.
    """

    id: str
    livemode: bool
    status: str
    amount: int
    amount_paid: int | None
    amount_refunded: int
    currency: str
    description: str
    merchant_order_no: str | None
    metadata: Mapping[str, str]
    return_url: str | None
    store: str | None
    url: str
    provider: str | None
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    paid_late: bool
    expired_at: datetime | None
    canceled_at: datetime | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Charge:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            livemode=json["livemode"],
            status=json["status"],
            amount=json["amount"],
            amount_paid=json["amount_paid"],
            amount_refunded=json["amount_refunded"],
            currency=json["currency"],
            description=json["description"],
            merchant_order_no=json["merchant_order_no"],
            metadata=json["metadata"],
            return_url=json["return_url"],
            store=json.get("store"),
            url=json["url"],
            provider=json["provider"],
            created_at=datetime.fromisoformat(json["created_at"]),
            expires_at=datetime.fromisoformat(json["expires_at"]),
            paid_at=_time(json["paid_at"]),
            paid_late=json["paid_late"],
            expired_at=_time(json["expired_at"]),
            canceled_at=_time(json["canceled_at"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class BatchLine:
    """What became of one line of a file: ``outcome`` is created, existing or failed.

    ``line`` counts as a spreadsheet does, the header being line 1.  ``error`` has code, message and param.
    """

    line: int
    merchant_order_no: str
    outcome: str
    charge: str | None
    url: str | None
    error: Json | None

    @classmethod
    def read(cls, json: Json) -> BatchLine:
        """From the API's JSON."""
        return cls(
            line=json["line"],
            merchant_order_no=json["merchant_order_no"],
            outcome=json["outcome"],
            charge=json["charge"],
            url=json["url"],
            error=json["error"],
        )


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back.  ``status`` is pending, succeeded or failed.

    ``charge`` is None for money that no charge had asked for.  ``pending_reason`` is the wallet's word for
    what you must do there.
    """

    id: str
    livemode: bool
    charge: str | None
    status: str
    amount: int
    currency: str
    reason: str | None
    metadata: Mapping[str, str]
    automatic: bool
    pending_reason: str | None
    failure_code: str | None
    created_at: datetime
    finished_at: datetime | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Refund:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            livemode=json["livemode"],
            charge=json["charge"],
            status=json["status"],
            amount=json["amount"],
            currency=json["currency"],
            reason=json["reason"],
            metadata=json["metadata"],
            automatic=json["automatic"],
            pending_reason=json["pending_reason"],
            failure_code=json["failure_code"],
            created_at=datetime.fromisoformat(json["created_at"]),
            finished_at=_time(json["finished_at"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A customer of your app.  ``available`` is what can be spent now, of ``balance`` and ``bonus``."""

    id: str
    livemode: bool
    account: str
    name: str
    currency: str
    balance: int
    bonus: int
    available: int
    blocked: bool
    created_at: datetime
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Member:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            livemode=json["livemode"],
            account=json["account"],
            name=json["name"],
            currency=json["currency"],
            balance=json["balance"],
            bonus=json["bonus"],
            available=json["available"],
            blocked=json["blocked"],
            created_at=datetime.fromisoformat(json["created_at"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of a member's statement: what came or went, and what was there after it."""

    id: str
    kind: str
    cause: str
    balance: int
    bonus: int
    balance_after: int
    bonus_after: int
    currency: str
    created_at: datetime
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Movement:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            kind=json["kind"],
            cause=json["cause"],
            balance=json["balance"],
            bonus=json["bonus"],
            balance_after=json["balance_after"],
            bonus_after=json["bonus_after"],
            currency=json["currency"],
            created_at=datetime.fromisoformat(json["created_at"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Topup:
    """Money on its way to a member.  ``status`` is pending, succeeded, expired or canceled.

    ``succeeded`` means that it is on the balance; nothing else means it.  ``app_params`` are there right
    after it was begun in an app: for the wallet's SDK, unchanged.
    """

    id: str
    livemode: bool
    member: str
    account: str
    status: str
    amount: int
    bonus: int
    currency: str
    amount_credited: int | None
    bonus_credited: int
    charge: str
    provider: str | None
    merchant_order_no: str | None
    url: str
    created_at: datetime
    expires_at: datetime
    app_params: Mapping[str, str] | None = field(repr=False)
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Topup:
        """From the API's JSON."""
        given = json.get("app_params")
        return cls(
            id=json["id"],
            livemode=json["livemode"],
            member=json["member"],
            account=json["account"],
            status=json["status"],
            amount=json["amount"],
            bonus=json["bonus"],
            currency=json["currency"],
            amount_credited=json["amount_credited"],
            bonus_credited=json["bonus_credited"],
            charge=json["charge"],
            provider=json["provider"],
            merchant_order_no=json["merchant_order_no"],
            url=json["url"],
            created_at=datetime.fromisoformat(json["created_at"]),
            expires_at=datetime.fromisoformat(json["expires_at"]),
            app_params=None if given is None else given["params"],
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Debit:
    """What a member has spent; ``debit_no`` is yours, and takes nothing twice."""

    id: str
    member: str
    debit_no: str
    amount: int
    from_balance: int
    from_bonus: int
    currency: str
    amount_reversed: int
    created_at: datetime
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Debit:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            member=json["member"],
            debit_no=json["debit_no"],
            amount=json["amount"],
            from_balance=json["from_balance"],
            from_bonus=json["from_bonus"],
            currency=json["currency"],
            amount_reversed=json["amount_reversed"],
            created_at=datetime.fromisoformat(json["created_at"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class BonusRule:
    """From which amount on how much comes on top: ``tiers`` are pairs, with rising amounts."""

    id: str
    currency: str
    tiers: tuple[tuple[int, int], ...]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> BonusRule:
        """From the API's JSON."""
        tiers = tuple((tier["amount"], tier["bonus"]) for tier in json["tiers"])
        return cls(id=json["id"], currency=json["currency"], tiers=tiers, raw=json)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.  ``object`` is the charge or refund as it was then, in JSON.

    ``sequence`` rises with each event of one object: drop what is lower than you know.
    """

    id: str
    type: str
    created_at: datetime
    livemode: bool
    sequence: int
    object: Json
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> Event:
        """From the API's JSON, or a webhook's."""
        return cls(
            id=json["id"],
            type=json["type"],
            created_at=datetime.fromisoformat(json["created_at"]),
            livemode=json["livemode"],
            sequence=json["sequence"],
            object=json["data"]["object"],
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An address that hears of every change.  ``secret`` is there only right after it was made."""

    id: str
    livemode: bool
    url: str
    description: str
    event_types: tuple[str, ...]
    status: str
    disabled_reason: str | None
    created_at: datetime
    secret: str | None = field(repr=False)
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, json: Json) -> WebhookEndpoint:
        """From the API's JSON."""
        return cls(
            id=json["id"],
            livemode=json["livemode"],
            url=json["url"],
            description=json["description"],
            event_types=tuple(json["event_types"]),
            status=json["status"],
            disabled_reason=json["disabled_reason"],
            created_at=datetime.fromisoformat(json["created_at"]),
            secret=json.get("secret"),
            raw=json,
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
