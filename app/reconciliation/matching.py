"""Going through a day's lines in slices: each is judged, its fee booked, and what differs written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.charges import fees
from app.db import reading, table_of, transaction
from app.merchants.accounts import OpenAccount
from app.reconciliation import asking, books, items, news
from app.reconciliation.asking import Answers
from app.reconciliation.items import Item
from app.reconciliation.judge import Around, Finding, item_subject, judge
from app.reconciliation.lines import SLICE, slices_of
from app.reconciliation.models import BillRow, Reconciliation
from app.reconciliation.states import MATCHED, Resolution, Sort

_lines, _days = table_of(BillRow), table_of(Reconciliation)
_UNSETTLED: sa.Select[Any] = (
    sa.select(*_lines.c)
    .where(
        _lines.c.merchant_id == sa.bindparam("merchant_id"),
        _lines.c.account_id == sa.bindparam("account_id"),
        _lines.c.day == sa.bindparam("day"),
        _lines.c.number > sa.bindparam("after"),
        sa.or_(_lines.c.verdict.is_(None), _lines.c.verdict != MATCHED, _lines.c.here_day.is_(None)),
    )
    .order_by(_lines.c.number)
    .limit(SLICE)
)
_WRITE = (
    sa.update(BillRow)
    .where(
        _lines.c.merchant_id == sa.bindparam("of_merchant_id"),
        _lines.c.account_id == sa.bindparam("of_account_id"),
        _lines.c.day == sa.bindparam("of_day"),
        _lines.c.number == sa.bindparam("of_number"),
    )
    .values(
        verdict=sa.bindparam("new_verdict"),
        subject=sa.bindparam("new_subject"),
        cause_id=sa.bindparam("new_cause_id"),
        here_minor=sa.bindparam("new_here_minor"),
        here_fee_minor=sa.bindparam("new_here_fee_minor"),
        here_day=sa.bindparam("new_here_day"),
    )
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What going through was good for.  ``unanswered``: asked about, and the provider said nothing of use."""

    lines: int = 0
    settled: int = 0
    unclaimed: int = 0
    unanswered: int = 0


def match_lines(account: OpenAccount, run: Any, hold: Callable[[], None]) -> Tally:
    """Judge every line of a day that is not settled yet; ``hold`` raises where somebody else has the day."""
    tally = Tally()

    def read(after: int) -> list[sa.Row[Any]]:
        which = {"merchant_id": run.merchant_id, "account_id": run.account_id, "day": run.day}
        with reading() as connection:
            return list(connection.execute(_UNSETTLED, {**which, "after": after}))

    for lines in slices_of(read):
        hold()
        answers = _ask(account, run, lines)
        with transaction() as tx:
            judge_lines(tx, account, run, lines, answers)
        ends = list(answers.ended.values())
        tally = Tally(
            tally.lines + len(lines),
            tally.settled + ends.count(Resolution.SETTLED),
            tally.unclaimed + ends.count(Resolution.UNCLAIMED),
            tally.unanswered + answers.unanswered,
        )
    return tally


def judge_lines(
    tx: Connection, account: OpenAccount, run: Any, lines: Sequence[Any], answers: Answers
) -> None:
    """Judge some lines of one day as our books are now.  A step.

    Verdicts, fees, what differs and what has come right are written in the one transaction: a worker that
    dies before its end leaves these lines to the next.
    """
    around = books.look_around(tx, account, lines)
    judged = [(line, judge(line, around[line.number])) for line in lines]
    _book_fees(tx, run.merchant_id, judged)
    tx.execute(_WRITE, [_written(line, finding) for line, finding in judged])
    found = [
        item
        for line, finding in judged
        for item in _items_of(line, finding, around[line.number], answers.ended.get(line.number))
    ]
    subjects = {each.subject for each in found} | {finding.subject for _, finding in judged}
    known = items.known_of(tx, run, subjects | {f"{line.subject[:68]}#{line.number}" for line in lines})
    wanted = {(each.subject, str(each.sort)) for each in found}
    booked = {finding.subject for _, finding in judged if finding.here_day is not None}
    items.end(tx, [(row, Resolution.HEALED) for row in items.outdated(known, run.day, wanted, booked)])
    items.end(tx, _ended_by_asking(known, found, run))
    news.tell_opened(tx, run, items.write(tx, run, found, known))


def _ask(account: OpenAccount, run: Any, lines: Sequence[Any]) -> Answers:
    """What the provider says of these lines; an unknown number is asked about UNKNOWN_MAX times a day."""
    answers = asking.ask_about_open(account, lines)
    with reading() as connection:
        around = books.look_around(connection, account, lines)
        left = asking.UNKNOWN_MAX - connection.execute(_asked_of(run)).scalar_one()
    unknown = [line for line in lines if judge(line, around[line.number]).verdict == Sort.MISSING_HERE]
    if unknown[:left]:
        with transaction() as tx:
            tx.execute(sa.update(_days).where(*_own(run)).values(asked=_days.c.asked + len(unknown[:left])))
        answers.ended |= asking.ask_about_unknown(account, unknown[:left]).ended
    return answers


def _book_fees(tx: Connection, merchant_id: str, judged: Sequence[tuple[Any, Finding]]) -> None:
    for kind, book in (("payment", fees.correct_fees), ("refund", fees.give_back)):
        billed = {
            finding.cause_id: finding.fee_minor
            for line, finding in judged
            if line.kind == kind and finding.cause_id is not None and finding.fee_minor is not None
        }
        if billed:
            book(tx, merchant_id, billed)


def _items_of(line: Any, finding: Finding, around: Around, asked: Resolution | None) -> list[Item]:
    """What is written down of a line: what is wrong, and what was, until the provider was asked."""
    found = []
    if finding.sort is not None:
        found.append(_item(line, finding, around, finding.sort, item_subject(line, finding), finding.detail))
    if asked is not None:
        sort = Sort.STATUS if asked is Resolution.SETTLED else Sort.MISSING_HERE
        if sort != finding.sort:
            detail = "done on the bill, and open here until its provider was asked"
            item = _item(line, finding, around, sort, finding.subject, detail)
            found.append(items.with_end(item, asked))
    return found


def _item(line: Any, finding: Finding, around: Around, sort: Sort, subject: str, detail: str) -> Item:
    row = None if around.ours is None else around.ours.row
    here_minor = None if finding.here_day is None else finding.here_minor
    there_minor, currency = (None if line.kind in ("unread", "totals") else line.amount_minor), line.currency
    if sort is Sort.CURRENCY and row is not None:
        here_minor, there_minor, currency = _other_money(line, row)
    elif sort is Sort.FEE and row is not None:
        foreseen = row.fee_minor if line.kind == "payment" else None
        here_minor = finding.here_fee_minor if foreseen is None else -foreseen
        there_minor = line.fee_minor
    is_payment = line.kind == "payment"
    return Item(
        sort=sort,
        subject=subject,
        currency=currency,
        detail=detail,
        here_minor=here_minor,
        there_minor=there_minor,
        line=line.number,
        out_trade_no=line.out_trade_no,
        provider_ref=line.provider_ref,
        attempt_id=None if row is None else row.id if is_payment else row.attempt_id,
        refund_id=None if row is None or is_payment else row.id,
        charge_id=None if row is None else row.charge_id,
    )


def _other_money(line: Any, row: Any) -> tuple[int, None, str]:
    """What our books have, in their own currency; what the bill has is in words."""
    if line.kind == "payment":
        return row.received_minor, None, row.received_currency
    return -row.amount_minor, None, row.currency


def _ended_by_asking(known: Sequence[Any], found: Sequence[Item], run: Any) -> list[tuple[Any, Resolution]]:
    ends = {(each.subject, str(each.sort)): each.resolution for each in found if each.resolution is not None}
    return [
        (row, end)
        for row in known
        if row.day == run.day and (end := ends.get((row.subject, row.sort))) is not None
    ]


def _written(line: Any, finding: Finding) -> dict[str, Any]:
    return {
        "of_merchant_id": line.merchant_id,
        "of_account_id": line.account_id,
        "of_day": line.day,
        "of_number": line.number,
        "new_verdict": finding.verdict,
        "new_subject": finding.subject,
        "new_cause_id": finding.cause_id,
        "new_here_minor": finding.here_minor,
        "new_here_fee_minor": finding.here_fee_minor,
        "new_here_day": finding.here_day,
    }


def _asked_of(run: Any) -> sa.Select[Any]:
    return sa.select(_days.c.asked).where(*_own(run))


def _own(run: Any) -> tuple[sa.ColumnElement[bool], ...]:
    return _days.c.merchant_id == run.merchant_id, _days.c.id == run.id
