"""Every kind of mistake planted in a day, for each network: all are found, none is invented, once."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

import pytest

from app.charges import proving
from app.db import snapshot
from app.ledger.models import Entry
from app.reconciliation import days, proof
from app.reconciliation.models import BillRow, Discrepancy, Reconciliation
from app.reconciliation.reconcile import reconcile
from app.reconciliation.states import DayState, ItemState, Resolution
from app.webhooks.models import Event
from tests.books import row_of, rows_of
from tests.reconciliation.planted import KINDS, Maker

DAY = date(2026, 1, 15)
EACH = 10

ALSO = {"unionpay": ["adjustment"], "wechatpay": ["totals"]}
ONE_OF_EACH = [
    ("sqlite", "alipay"),
    ("sqlite", "wechatpay"),
    ("sqlite", "unionpay"),
    ("postgresql", "alipay"),
]


def everything(planted):
    """All that a day has brought, but for how often a provider was asked."""
    run = row_of(Reconciliation, day=planted.day, account_id=planted.account_id)._asdict()
    del run["asked"]
    return rows_of(Discrepancy), rows_of(BillRow), rows_of(Entry), rows_of(Event), run


def found_by_type():
    """Subjects as they were planted: what has a line's number in its name is named by its payment."""
    found = defaultdict(set)
    for row in rows_of(Discrepancy):
        if row.resolution in (Resolution.SETTLED, Resolution.UNCLAIMED):
            found[row.resolution].add(row.subject)
        elif row.sort == "adjustment":
            found[row.sort].add(row.subject.partition("#")[2])
        elif row.sort == "malformed":
            found[row.sort].add(row.detail)
        else:
            found[row.sort].add(row.subject.partition("#")[0])
    return found


def is_as_planted(found, planted):
    """Raises AssertionError."""
    for kind, subjects in planted.subjects.items():
        if kind == "malformed":
            assert len(found[kind]) == len(subjects)
            for subject in subjects:
                assert any(subject.partition(":")[2] in detail for detail in found[kind]), subject
        else:
            assert found[kind] == subjects, kind


@pytest.mark.parametrize(("database_url", "provider"), ONE_OF_EACH, indirect=["database_url"])
def test_all_mistakes_of_a_day_are_found_and_none_is_invented(merchant, provider, at):
    made = Maker(merchant, provider, DAY, count=2000, each=EACH)
    planted = made.planted
    at(days.ready_at(DAY))
    result = reconcile(planted.account_id, DAY)
    assert (result.state, result.lines) == (DayState.DIFFERS, planted.lines)
    assert result.lines > 2000
    assert result.tally.settled == 2 * EACH  # a payment and a refund, open here and done there
    found = found_by_type()
    is_as_planted(found, planted)
    kinds = {*KINDS, Resolution.SETTLED, *ALSO.get(provider, [])}
    assert {kind for kind, subjects in found.items() if subjects} == kinds
    assert {row.state for row in rows_of(Discrepancy, sort="day_edge")} == {ItemState.POOLED}
    before = everything(planted)
    summary = proof.read_stored(before[-1]["summary"])
    assert [(each.currency, each.is_proven) for each in summary.proofs] == [("CNY", True), ("HKD", True)]
    named = {term.name for term in summary.proofs[0].sums[0].terms}
    assert {"other_day_here", "missing_here", "missing_there", "amount", "duplicate", "day_edge"} <= named

    assert reconcile(planted.account_id, DAY).state == DayState.DIFFERS
    assert everything(planted) == before

    at(days.ready_at(DAY + timedelta(days=1)))
    reconcile(planted.account_id, DAY + timedelta(days=1))
    assert {row.resolution for row in rows_of(Discrepancy, sort="day_edge")} == {Resolution.HEALED}

    faults = [fault for part in proving.check_all(snapshot, merchant.id) for fault in part.faults]
    assert {fault.table for fault in faults} == {"ledger_entries"}
    assert len(faults) == EACH  # those whose entry was planted wrong
