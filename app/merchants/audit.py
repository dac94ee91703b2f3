"""The audit log: who did what, from where, to what; each row carries the hash of the one before.

A row is written in the transaction of the deed, so there is neither a deed without a row nor a row
without its deed.  The rows of a merchant are a chain: whoever changes, removes or inserts one breaks it
from there on, and ``verify`` says where.  The database refuses UPDATE and DELETE besides (migration 0008);
the head of the chain, kept apart, gives away a cut tail.

Nothing secret goes in: callers name what they pass as before and after.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.clock import to_rfc3339
from app.db import insert_or_skip, moment, reading, table_of
from app.merchants.actor import Actor
from app.merchants.models import AuditEntry, AuditHead, Merchant

PAGE = 50
EXPORT_ROWS_MAX = 100_000
_BATCH = 1000
_START = "0" * 64
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so

_entries, _heads, _merchants = table_of(AuditEntry), table_of(AuditHead), table_of(Merchant)


class Action(StrEnum):
    """What is noted.  Stored as text: a name that is gone from here can still be read."""

    SIGNED_IN = "sign_in.succeeded"
    SIGN_IN_FAILED = "sign_in.failed"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - the name of a deed
    PASSWORD_RESET_MADE = "password.reset_link_made"  # noqa: S105
    SECOND_FACTOR_ADDED = "second_factor.added"
    SECOND_FACTOR_REMOVED = "second_factor.removed"
    RECOVERY_CODES_RENEWED = "recovery_codes.renewed"
    RECOVERY_CODE_USED = "recovery_codes.used"
    PERSON_INVITED = "person.invited"
    INVITATION_WITHDRAWN = "person.invitation_withdrawn"
    PERSON_JOINED = "person.joined"
    ROLE_CHANGED = "person.role_changed"
    PERSON_DEACTIVATED = "person.deactivated"
    PERSON_REACTIVATED = "person.reactivated"
    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_ROLLED = "key.rolled"
    KEY_REVOKED = "key.revoked"
    REFUND_ASKED = "refund.asked"
    REFUND_APPROVED = "refund.approved"
    REFUND_DECLINED = "refund.declined"
    SHIFT_OPENED = "shift.opened"
    SHIFT_CLOSED = "shift.closed"
    UNCLAIMED_DECIDED = "unclaimed.decided"
    ENDPOINT_CREATED = "webhook_endpoint.created"
    ENDPOINT_CHANGED = "webhook_endpoint.changed"
    ENDPOINT_ROTATED = "webhook_endpoint.secret_rotated"
    ENDPOINT_DELETED = "webhook_endpoint.deleted"
    EPAY_ENABLED = "epay.enabled"
    EPAY_DISABLED = "epay.disabled"
    EPAY_CHANGED = "epay.changed"
    EPAY_ROTATED = "epay.key_rotated"
    SETTINGS_CHANGED = "settings.changed"
    POLICY_CHANGED = "policy.changed"
    PROVIDER_ADDED = "provider_account.added"
    PROVIDER_CHANGED = "provider_account.changed"
    PROVIDER_ENABLED = "provider_account.enabled"
    PROVIDER_DISABLED = "provider_account.disabled"
    RATE_ADDED = "provider_account.rate_added"
    BILL_UPLOADED = "bill.uploaded"
    DISCREPANCY_CHANGED = "discrepancy.changed"
    DISCREPANCY_RESOLVED = "discrepancy.resolved"
    DISCREPANCY_REOPENED = "discrepancy.reopened"
    MEMBER_ADDED = "member.added"
    MEMBER_CHANGED = "member.changed"
    MEMBER_ADJUSTED = "member.adjusted"
    BONUS_RULE_ADDED = "bonus_rule.added"
    BONUS_RULE_WITHDRAWN = "bonus_rule.withdrawn"
    PROVIDER_LEFT = "provider_account.left"
    PROVIDER_RETURNED = "provider_account.returned"
    ROUTING_ADDED = "routing_rule.added"
    ROUTING_CHANGED = "routing_rule.changed"
    ROUTING_MOVED = "routing_rule.moved"
    ROUTING_DELETED = "routing_rule.deleted"
    RISK_RULE_ADDED = "risk_rule.added"
    RISK_RULE_REPLACED = "risk_rule.replaced"
    RISK_RULE_ENDED = "risk_rule.ended"
    REVIEW_RELEASED = "risk_review.released"
    REVIEW_REFUSED = "risk_review.refused"


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What a list is narrowed to.  ``before`` is a row's number: a page's cursor."""

    actor: str | None = None
    action: str | None = None  # whole, or its beginning up to the dot
    object_id: str | None = None
    before: int | None = None
    limit: int = PAGE


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a merchant's chain breaks first, and how."""

    merchant_id: str
    number: int
    reason: str


def append(
    tx: Connection,
    merchant_id: str,
    by: Actor,
    action: Action,
    object_id: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Note a deed.  A step, and the last one of its transaction: it locks the head of the chain."""
    tx.execute(insert_or_skip(tx, _heads), {"merchant_id": merchant_id, "number": 0, "hash": _START})
    own = _heads.c.merchant_id == merchant_id
    head = tx.execute(sa.select(_heads.c.number, _heads.c.hash).where(own).with_for_update()).one()
    row = {
        "merchant_id": merchant_id,
        "number": head.number + 1,
        "created_at": moment(tx),
        "actor": by.name[:254],
        "user_id": by.user_id,
        "address": by.address[:45],
        "action": action,
        "object_id": object_id[:64],
        "before": _text(before),
        "after": _text(after),
        "previous": head.hash,
    }
    row["hash"] = _hash(row)
    tx.execute(sa.insert(_entries), row)
    tx.execute(sa.update(_heads).where(own).values(number=row["number"], hash=row["hash"]))


def search(merchant_id: str, wanted: AuditFilter) -> tuple[list[sa.Row[Any]], bool]:
    """One page, newest first, and whether there is more."""
    query = _wanted(merchant_id, wanted).order_by(_entries.c.number.desc()).limit(wanted.limit + 1)
    with reading() as connection:
        rows = list(connection.execute(query))
    return rows[: wanted.limit], len(rows) > wanted.limit


def export_csv(merchant_id: str, wanted: AuditFilter) -> Iterator[str]:
    """The rows of a filter as a spreadsheet reads them, newest first, piece by piece, without formulas."""
    yield "\ufeff" + csv_line(["no", "time", "who", "address", "what", "object", "before", "after", "hash"])
    left, cursor = EXPORT_ROWS_MAX, wanted.before
    while left > 0:
        piece = AuditFilter(wanted.actor, wanted.action, wanted.object_id, cursor, min(_BATCH, left))
        rows, has_more = search(merchant_id, piece)
        for row in rows:
            time = to_rfc3339(row.created_at)
            facts = (row.actor, row.address, row.action, row.object_id, row.before, row.after, row.hash)
            yield csv_line([str(row.number), time, *facts])
        if not has_more:
            return
        left, cursor = left - len(rows), rows[-1].number


def verify(merchant_id: str | None = None) -> tuple[int, list[Fault]]:
    """How many rows were read, and for each merchant whose chain is broken its first broken row."""
    with reading() as connection:
        every = sa.select(_merchants.c.id).order_by(_merchants.c.id)
        if merchant_id is not None:
            every = every.where(_merchants.c.id == merchant_id)
        ids = list(connection.scalars(every))
    verdicts = [_verify_chain(each) for each in ids]
    return sum(count for count, _ in verdicts), [fault for _, fault in verdicts if fault is not None]


def _verify_chain(merchant_id: str) -> tuple[int, Fault | None]:
    # What is appended while we read lies behind the head as it was before.
    with reading() as connection:
        head = connection.execute(
            sa.select(_heads.c.number, _heads.c.hash).where(_heads.c.merchant_id == merchant_id)
        ).first()
    last, last_hash = (0, _START) if head is None else (head.number, head.hash)
    number, previous = 0, _START
    for row in _all_rows(merchant_id):
        if row.number != number + 1:
            return number, Fault(merchant_id, number + 1, "the row is missing")
        if row.previous != previous:
            return number, Fault(merchant_id, row.number, "does not follow the row before it")
        if row.hash != _hash(row._asdict()):
            return number, Fault(merchant_id, row.number, "was changed")
        number, previous = row.number, row.hash
        if number == last and previous != last_hash:
            return number, Fault(merchant_id, number, "is not the row that the head names")
    if number < last:
        return number, Fault(merchant_id, number + 1, "the row is missing")
    return number, None


def _all_rows(merchant_id: str) -> Iterator[sa.Row[Any]]:
    number = 0
    while True:
        query = (
            sa.select(*_entries.c)
            .where(_entries.c.merchant_id == merchant_id, _entries.c.number > number)
            .order_by(_entries.c.number)
            .limit(_BATCH)
        )
        with reading() as connection:
            rows = list(connection.execute(query))
        yield from rows
        if len(rows) < _BATCH:
            return
        number = rows[-1].number


def _wanted(merchant_id: str, wanted: AuditFilter) -> sa.Select[Any]:
    query = sa.select(*_entries.c).where(_entries.c.merchant_id == merchant_id)
    if wanted.actor is not None:
        query = query.where(_entries.c.actor == wanted.actor)
    if wanted.action is not None:
        whole, kind = wanted.action, f"{wanted.action}."
        query = query.where(
            sa.or_(_entries.c.action == whole, _entries.c.action.startswith(kind, autoescape=True))
        )
    if wanted.object_id is not None:
        query = query.where(_entries.c.object_id == wanted.object_id)
    if wanted.before is not None:
        query = query.where(_entries.c.number < wanted.before)
    return query


def _hash(row: Mapping[Any, Any]) -> str:
    """SHA-256 over every column but itself, unambiguous: a JSON list.  Pure."""
    moment_: datetime = row["created_at"]
    facts = [
        row["merchant_id"],
        row["number"],
        moment_.isoformat(timespec="microseconds"),
        *[row[name] for name in ("actor", "user_id", "address", "action", "object_id", "before", "after")],
        row["previous"],
    ]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()


def _text(facts: Mapping[str, Any] | None) -> str:
    return "" if facts is None else json.dumps(facts, ensure_ascii=False, sort_keys=True, default=str)


def csv_line(cells: list[str]) -> str:
    """One row of a file for spreadsheets, in which no cell begins a formula.  Pure."""
    out = io.StringIO()
    csv.writer(out).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()
