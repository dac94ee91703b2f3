"""The statement of a day: what matched, what did not, the proof; signed, so that a copy can be checked.

The signature is HMAC-SHA256 by itsdangerous with this installation's link keys, oldest to newest, over the
statement as canonical JSON (sorted names, no blanks, ASCII).  Whoever runs the server verifies it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from itsdangerous import Signer

from app.clock import to_rfc3339
from app.errors import SignatureMismatch
from app.reconciliation import overview, worklist
from app.reconciliation.overview import Day
from app.reconciliation.present import discrepancy_json, reconciliation_json
from app.reconciliation.worklist import ItemFilter

ALGORITHM = "HMAC-SHA256"
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Statement:
    """A merchant's day, of all its accounts or one.  ``items`` are all discrepancies, resolved ones too."""

    merchant_id: str
    merchant: str
    livemode: bool
    day: Day
    items: Sequence[Any]
    as_of: datetime  # its last news: until there are others, it is the same to the letter


def statement_of(
    merchant_id: str,
    merchant: str,
    *,
    livemode: bool,
    day: date,
    account_id: str | None = None,
) -> Statement:
    """The day as it stands.  Raises NotFound."""
    found = overview.find_day(merchant_id, livemode=livemode, day=day)
    if account_id is not None:
        mine = tuple(each for each in found.accounts if each.row.account_id == account_id)
        found = Day(day, mine) if mine else found
    wanted = ItemFilter(day=day, account_id=account_id)
    items = list(items_of(merchant_id, livemode, wanted))
    moments = [each.row.finished_at or each.row.created_at for each in found.accounts]
    moments += [row.resolved_at or row.opened_at for row in items]
    return Statement(merchant_id, merchant, livemode, found, items, max(moments))


def items_of(merchant_id: str, livemode: bool, wanted: ItemFilter) -> Iterator[Any]:
    """All discrepancies of a filter, newest first, page by page."""
    cursor = None
    while True:
        page = ItemFilter(
            wanted.state, wanted.sort, wanted.account_id, wanted.day, wanted.owner, cursor, None, _PAGE
        )
        rows, has_more = worklist.search(merchant_id, livemode=livemode, wanted=page)
        yield from rows
        if not has_more:
            return
        cursor = rows[-1].id


def facts_of(statement: Statement) -> dict[str, Any]:
    """Everything that is signed, as JSON has it.  Pure."""
    return {
        "object": "reconciliation_statement",
        "merchant": statement.merchant_id,
        "merchant_name": statement.merchant,
        "livemode": statement.livemode,
        "day": statement.day.day.isoformat(),
        "as_of": to_rfc3339(statement.as_of),
        "open": statement.day.open,
        "accounts": [reconciliation_json(each.row) for each in statement.day.accounts],
        "discrepancies": [discrepancy_json(row) for row in statement.items],
    }


def signature_of(facts: dict[str, Any], keys: Sequence[str]) -> str:
    """43 letters of base 64, of the newest key.  Pure."""
    return _signer(keys).get_signature(_canonical(facts)).decode()


def signed(facts: dict[str, Any], keys: Sequence[str]) -> str:
    """The file: the statement and its signature, for people to read, too.  Pure."""
    signature = {"algorithm": ALGORITHM, "value": signature_of(facts, keys)}
    return json.dumps({"statement": facts, "signature": signature}, ensure_ascii=False, indent=2) + "\n"


def verified(document: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The statement in a file, if it is one of ours and as we wrote it.  Pure.  Raises SignatureMismatch."""
    try:
        content = json.loads(document)
        facts, value = content["statement"], content["signature"]["value"]
        if not isinstance(facts, dict) or not isinstance(value, str):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise SignatureMismatch("this is no signed statement") from None
    if not _signer(keys).verify_signature(_canonical(facts), value.encode("utf-8", "replace")):
        raise SignatureMismatch("the signature does not fit: it was altered, or is another installation's")
    return facts


def _signer(keys: Sequence[str]) -> Signer:
    return Signer(list(keys), salt="mafu.reconciliation", key_derivation="hmac", digest_method=hashlib.sha256)


def _canonical(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
