"""What must hold after every commit of a story, and what must be true when it has come to rest.

The numbers are those of ``docs/invariants.md``.  The networks' own ledgers are the other witness: what
they took and gave back is compared with the books to the last fen.
"""

from __future__ import annotations

from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app.charges import proving, unclaimed
from app.charges.approvals import DECLINED
from app.charges.states import AttemptState, ChargeState, RefundState
from app.db import reading, snapshot
from app.ledger.accounts import balance_of, kind_of
from app.webhooks.models import DeliveryState
from tests.far_side import REVERSED, Network, Trade, Way
from tests.simulator import Simulation

_TABLES = {
    "charges": "merchant_id, id, state, amount_minor, paid_minor, paid_late, paid_attempt_id, refunded_minor,"
    " sequence",
    "attempts": "merchant_id, id, charge_id, provider, out_trade_no, state, settles, received_minor,"
    " credited_minor, outside_minor, refunded_minor, given_up_at",
    "refunds": "merchant_id, id, charge_id, attempt_id, out_refund_no, state, amount_minor, automatic,"
    " failure_code",
    "decisions": "merchant_id, attempt_id, charge_id",
    "incidents": "merchant_id, kind, subject_id, charge_id",
    "events": "merchant_id, id, type, object_id, sequence",
    "deliveries": "merchant_id, event_id, state",
}  # each begins with whose it is
_SELECTS = {table: f"SELECT {columns} FROM {table} ORDER BY id" for table, columns in _TABLES.items()}
_ROWS: dict[str, Any] = {
    table: namedtuple(table, columns)  # noqa: PYI024 - the columns are named once, above
    for table, columns in _TABLES.items()
}
MONEY_IN = (AttemptState.SUCCEEDED, AttemptState.MISMATCHED)
OPEN = (ChargeState.PENDING,)
CLOSED = (ChargeState.EXPIRED, ChargeState.CANCELED)


def read_rows() -> dict[str, list[Any]]:
    """What the rules look at, by table, read at one moment.

    By the driver's own cursor, because it is read after every commit.
    """
    with reading() as connection:
        cursor = connection.connection.cursor()
        if connection.dialect.name == "postgresql":  # all in one round trip
            cursor.execute("; ".join(_SELECTS.values()))
            found = {table: _fetched(cursor) for table in _SELECTS}
        else:
            found = {table: cursor.execute(select).fetchall() for table, select in _SELECTS.items()}
        cursor.close()
    return found


def _fetched(cursor: Any) -> list[Any]:
    """What one of several statements has found; goes on to the next."""
    rows: list[Any] = cursor.fetchall()
    cursor.nextset()
    return rows


class Books:
    """Every row that a story has written."""

    def __init__(self, found: dict[str, list[Any]], besides: str) -> None:
        """``besides`` is a merchant whose rows are left out."""
        rows = {
            table: [_ROWS[table]._make(row) for row in found[table] if row[0] != besides] for table in found
        }
        self.charges = {row.id: row for row in rows["charges"]}
        self.attempts = rows["attempts"]
        self.refunds = rows["refunds"]
        self.decisions = rows["decisions"]
        # What a person decided about: these attempts, and the charges that they pay.
        self.decided = {row.attempt_id for row in self.decisions}
        self.decided |= {row.charge_id for row in self.decisions if row.charge_id}
        self.incidents = rows["incidents"]
        self.events = rows["events"]
        self.deliveries = rows["deliveries"]
        self.tries = _by(self.attempts, "charge_id")
        self.refunds_of = _by(self.refunds, "attempt_id")
        self.told = _by(self.events, "object_id")
        self.alarms = Counter((row.kind, row.subject_id) for row in self.incidents)

    def types(self, object_id: str) -> list[str]:
        """What was said of an object, in order; the sequence must have no gap."""
        events = sorted(self.told[object_id], key=lambda row: row.sequence)
        assert [row.sequence for row in events] == list(range(1, len(events) + 1)), "I-39"
        return [row.type for row in events]

    def alarm(self, kind: str, subject_id: str) -> int:
        return self.alarms[kind, subject_id]


@dataclass
class Rules:
    """Checked again and again over one story; ``last`` is how each charge and refund stood before."""

    simulation: Simulation
    last: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[Any]] = field(default_factory=dict)
    heard: dict[str, bytes] = field(default_factory=dict)  # by the merchants' systems, by event
    times: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)  # a process died, or lost its lease, holding it

    def check_news(self) -> None:
        """What holds at every moment, if a commit has changed anything of it."""
        rows = read_rows()
        if rows != self.seen:
            self.seen = rows
            self.check(self._books(rows))

    def check(self, books: Books) -> None:
        """Raises AssertionError that begins with the number of the rule."""
        for charge in books.charges.values():
            self._check_charge(books, charge)
        for attempt in books.attempts:
            self._check_attempt(books, attempt)
        for refund in books.refunds:
            self._check_refund(books, refund)
        self._check_networks(books)
        wanted = Counter(row.id for row in books.events)
        assert Counter(row.event_id for row in books.deliveries) == wanted, (
            "I-33: one delivery for each event"
        )

    def _books(self, rows: dict[str, list[Any]]) -> Books:
        return Books(rows, besides=self.simulation.stage.twin.merchant_id)

    def _check_charge(self, books: Books, charge: Any) -> None:
        types, tries = books.types(charge.id), books.tries[charge.id]
        settling = [attempt for attempt in tries if attempt.settles]
        is_paid = charge.state == ChargeState.PAID
        assert len(settling) <= 1, "I-1: settled twice"
        assert len(settling) == types.count("charge.paid") == int(is_paid), "I-2: paid, once, and said"
        assert charge.sequence == len(types), "I-32: an event for each change"
        assert {event.merchant_id for event in books.told[charge.id]} == {charge.merchant_id}, "I-42"
        if is_paid:
            assert settling[0].id == charge.paid_attempt_id, "I-2"
            assert settling[0].credited_minor == charge.paid_minor, "I-2"
            is_whole = settling[0].received_minor == charge.paid_minor == charge.amount_minor
            assert is_whole or charge.id in books.decided, "I-4: paid with another amount"
            assert types.count("charge.paid_late") >= int(bool(charge.paid_late)), "I-11"
        before = self.last.get(charge.id)
        if before is not None and before != charge.state:
            by_person = before == ChargeState.CANCELED and charge.id in books.decided
            assert by_person or before in (ChargeState.PENDING, ChargeState.EXPIRED), (
                f"I-9: {before} is final"
            )
            assert is_paid or before == ChargeState.PENDING, f"I-9: {before} became {charge.state}"
        if before != charge.state and charge.state in CLOSED:
            self._check_closing(tries)
        self.last[charge.id] = charge.state
        back = sum(row.amount_minor for row in self._live(books, settling) if not row.automatic)
        assert charge.refunded_minor == back, "I-25: what a charge says went back is what its refunds say"

    def _check_closing(self, tries: list[Any]) -> None:
        """I-16: whoever ended this charge has just been told, of each open attempt, that it is not paid."""
        task = self.simulation.running
        assert task is not None
        for attempt in tries:
            if attempt.state == AttemptState.STARTED:
                said = self.simulation.networks[attempt.provider].unpaid_answers
                assert attempt.out_trade_no in said[task.marks[attempt.provider] :], "I-16: closed by guess"

    def _check_attempt(self, books: Books, attempt: Any) -> None:
        trade = self._trade(attempt)
        if attempt.charge_id is not None:
            assert books.charges[attempt.charge_id].merchant_id == attempt.merchant_id, "I-42"
        if attempt.state in MONEY_IN:
            assert trade is not None, "I-3: only proof moves money"
            assert trade.paid is not None, "I-3: only proof moves money"
            assert trade.paid.minor == attempt.received_minor, "I-4: what was booked is what was taken"
        held = books.alarm("amount_mismatched", attempt.id)
        assert held == int(attempt.state == AttemptState.MISMATCHED), "I-7: one incident for wrong money"
        live = sum(row.amount_minor for row in self._live(books, [attempt]))
        assert attempt.refunded_minor == live, "I-21: a reservation without its refund, or the reverse"
        assert live <= (attempt.received_minor or 0), "I-19: more goes back than came"
        if attempt.charge_id is None or attempt.id in books.decided:
            return
        automatic = [row for row in books.refunds_of[attempt.id] if row.automatic]
        unneeded = attempt.state == AttemptState.SUCCEEDED and not attempt.settles
        assert len(automatic) == int(unneeded), "I-12: unneeded money goes back once, other money never"
        for refund in automatic:
            assert refund.amount_minor == attempt.received_minor, "I-12: in full"

    def _check_refund(self, books: Books, refund: Any) -> None:
        before = self.last.get(refund.id)
        if before == RefundState.SUCCEEDED:
            assert refund.state == RefundState.SUCCEEDED, "I-9: a refund that is done is done"
        self.last[refund.id] = refund.state
        types = books.types(refund.id)
        assert types[0] == "refund.created", "I-32"
        assert types.count("refund.succeeded") == int(refund.state == RefundState.SUCCEEDED), "I-32"
        failed = books.alarm("refund_failed", refund.id)
        is_news = refund.state == RefundState.FAILED and refund.failure_code != DECLINED
        assert failed >= int(is_news), "I-21: a refund that failed is shown"
        attempt = next(row for row in books.attempts if row.id == refund.attempt_id)
        trade = self._trade(attempt)
        back = trade.backs.get(refund.out_refund_no) if trade else None
        if back is None and trade is not None and attempt.given_up_at is not None:
            back = trade.backs.get(REVERSED)
        if refund.state == RefundState.SUCCEEDED:
            assert back is not None, "I-3: only proof moves money"
            assert back.way is Way.DONE, "I-3: only proof moves money"
            assert back.amount.minor == refund.amount_minor, "I-20"

    def _check_networks(self, books: Books) -> None:
        """I-15, I-20: they hold nothing that we did not write down first, and give no money back twice."""
        known = {(row.provider, row.out_trade_no): row for row in books.attempts}
        numbers = {row.out_refund_no: row for row in books.refunds}
        for network, trade in self._trades():
            is_known = trade.is_stray or (network.code, trade.out_trade_no) in known
            assert is_known, "I-15: an order without a stored intent"
            assert trade.gone <= (trade.paid.minor if trade.paid else 0), "I-19: over there"
            for number, back in trade.backs.items():
                if number == REVERSED:
                    given_up = known[network.code, trade.out_trade_no].given_up_at
                    assert given_up is not None, "I-15: a reversal without a stored intent"
                    continue
                assert number in numbers, "I-15: a refund without a stored intent"
                assert numbers[number].amount_minor == back.amount.minor, "I-20"

    def account(self) -> Counter[str]:
        """When all is at rest: every fen that a network took is kept, was given back, or waits (I-12a, I-45).

        How often what happened, to see that stories are about something.
        """
        books = self._books(read_rows())
        self.check(books)
        self._check_rest(books)
        attempts = {(row.provider, row.out_trade_no): row for row in books.attempts}
        inbox = {item.row.id: item.waiting.minor for shop in self._shops() for item in _inbox_of(shop)}
        taken = Counter[str]()
        for network, trade in self._trades():
            attempt = attempts[network.code, trade.out_trade_no]
            by_person = attempt.id in books.decided
            assert not (attempt.given_up_at and attempt.settles) or by_person, (
                "I-46: paid by what was given up"
            )
            if trade.paid is None:
                assert attempt.state in (AttemptState.CLOSED, AttemptState.FAILED), "I-45: undecided"
                continue
            taken[attempt.merchant_id] += trade.paid.minor
            self._check_explained(books, attempt, trade, inbox.pop(attempt.id, 0))
        assert not inbox, "I-12a: money waits that nobody took"
        for shop in self._shops():
            accounts = unclaimed.account_for(shop, livemode=False)
            assert all(account.is_balanced for account in accounts), "I-12a"
            assert sum(account.received.minor for account in accounts) == taken[shop], "I-12a: money in"
        self._check_ledger(taken)
        return self._tally(books)

    def _check_ledger(self, taken: Counter[str]) -> None:
        """I-24, I-25: every entry and every row agree, and entries alone say where all money is."""
        faults = [str(fault) for part in proving.check_all(snapshot) for fault in part.faults]
        assert not faults, f"I-25: {faults}"
        for shop in self._shops():
            came, sums = _of_entries(shop)
            assert came == taken[shop], "I-24: money in, by entries"
            purses = sums["members"] - sums["bonus"] - sums["adjustments"]  # what members paid in and have
            kept = sums["sales"] - sums["refunds"] + purses
            assert sums["clearing"] == kept + sums["unclaimed"] + sums["elsewhere"], (
                "I-24: money that is left"
            )
            accounts = unclaimed.account_for(shop, livemode=False)
            assert kept == sum(account.credited.minor for account in accounts), "I-25: kept"
            waiting = sum(account.waiting.minor - account.overdrawn.minor for account in accounts)
            assert sums["unclaimed"] == waiting, "I-25: waiting"

    def _check_explained(self, books: Books, attempt: Any, trade: Trade, waiting: int) -> None:
        """What a trade took is kept by a charge, was given back, was settled elsewhere, or waits."""
        assert attempt.state in MONEY_IN, f"I-11: {attempt.provider} has money that the books do not know"
        given_back = sum(money.minor for money in trade.refunds.values())
        refunds = [row for row in books.refunds_of[attempt.id] if row.state == RefundState.SUCCEEDED]
        assert given_back == sum(row.amount_minor for row in refunds) == trade.gone, "I-20: given back"
        of_charge = sum(row.amount_minor for row in refunds if not row.automatic)
        kept = attempt.credited_minor - of_charge
        assert kept >= 0, "I-19"
        explained = kept + given_back + attempt.outside_minor + waiting
        assert explained == attempt.received_minor, "I-12a: money that is nowhere, or twice"

    def _tally(self, books: Books) -> Counter[str]:
        told = Counter(row.type for row in books.events)
        told += Counter(f"incident {row.kind}" for row in books.incidents)
        told += Counter(f"attempt {row.state} at {row.provider}" for row in books.attempts)
        told += Counter(
            f"paid by code at {network.code}"
            for network, trade in self._trades()
            if trade.by_code and trade.paid
        )
        told["decisions of people"] = len(books.decisions)
        told["processes killed"] = self.simulation.deaths
        told["calls to networks"] = sum(len(network.calls) for network in self.simulation.networks.values())
        told["events heard more than once"] = sum(times > 1 for times in self.times.values())
        return told

    def unknown_money(self) -> list[tuple[Network, Trade]]:
        """Trades whose money the books do not have; each was taken after its network had said "closed"."""
        books = self._books(read_rows())
        known = {(row.provider, row.out_trade_no) for row in books.attempts if row.state in MONEY_IN}
        unknown = [
            (network, trade)
            for network, trade in self._trades()
            if trade.paid and (network.code, trade.out_trade_no) not in known
        ]
        for _, trade in unknown:
            assert trade.is_late or trade.is_stray, "I-11: paid in time, and nobody found out"
        return unknown

    def _explained(self, books: Books, attempt: Any, trade: Trade) -> int:
        """How much of what a trade took is credited, given back, or before a person's eyes."""
        assert attempt.state in MONEY_IN, f"I-11: {attempt.provider} has money that the books do not know"
        given_back = sum(money.minor for money in trade.refunds.values())
        done = sum(r.amount_minor for r in books.refunds_of[attempt.id] if r.state == RefundState.SUCCEEDED)
        assert given_back == done == trade.gone, "the network gave back what the books say"
        failed = sum(
            row.amount_minor
            for row in books.refunds_of[attempt.id]
            if row.automatic and row.state == RefundState.FAILED and books.alarm("refund_failed", row.id)
        )
        if attempt.settles:
            return attempt.received_minor
        if attempt.state == AttemptState.MISMATCHED:
            return attempt.received_minor if books.alarm("amount_mismatched", attempt.id) else 0
        return given_back + failed

    def _check_rest(self, books: Books) -> None:
        """I-45: nothing is under way; I-33, I-34, I-36: every event was heard, and always the same."""
        with reading() as connection:
            left = connection.execute(sa.text("SELECT kind, subject_id FROM jobs")).all()
            bodies = dict(connection.execute(sa.text("SELECT id, body FROM events")).all())
        assert not left, f"I-45: still {left}"
        assert all(charge.state not in OPEN for charge in books.charges.values()), "I-45"
        assert all(attempt.state != AttemptState.STARTED for attempt in books.attempts), "I-45"
        assert all(refund.state != RefundState.RESERVED for refund in books.refunds), "I-45"
        assert {row.state for row in books.deliveries} <= {DeliveryState.DELIVERED}, "I-33"
        assert self.heard == {event_id: body.encode() for event_id, body in bodies.items()}, "I-33, I-34"
        again = {event_id: times - 1 for event_id, times in self.times.items() if times > 1}
        assert all(times <= self.excused[event_id] for event_id, times in again.items()), "I-36"

    def _live(self, books: Books, attempts: list[Any]) -> list[Any]:
        """Refunds of these attempts that count against what was received."""
        return [
            row for each in attempts for row in books.refunds_of[each.id] if row.state != RefundState.FAILED
        ]

    def _shops(self) -> list[str]:
        return [shop.merchant_id for shop in self.simulation.stage.shops]

    def _trade(self, attempt: Any) -> Trade | None:
        return self.simulation.networks[attempt.provider].trades.get(attempt.out_trade_no)

    def _trades(self) -> list[tuple[Network, Trade]]:
        networks = self.simulation.networks.values()
        return [(network, trade) for network in networks for trade in network.trades.values()]


def _inbox_of(merchant_id: str) -> list[unclaimed.Item]:
    return unclaimed.list_unclaimed(merchant_id, livemode=False, limit=100)[0]


def _by(rows: list[Any], column: str) -> defaultdict[str, list[Any]]:
    found = defaultdict[str, list[Any]](list)
    for row in rows:
        found[getattr(row, column)].append(row)
    return found


def _of_entries(shop: str) -> tuple[int, Counter[str]]:
    """What a shop's payments brought in, and its balances by kind of account: from entries alone."""
    query = sa.text(
        "SELECT event, debit, credit, amount_minor FROM ledger_entries WHERE merchant_id = :merchant_id"
    )
    with reading() as connection:
        entries = connection.execute(query, {"merchant_id": shop}).all()
    sums = Counter[str]()
    for entry in entries:
        sums[kind_of(entry.debit)] += balance_of(entry.debit, entry.amount_minor, 0)
        sums[kind_of(entry.credit)] += balance_of(entry.credit, 0, entry.amount_minor)
    return sum(entry.amount_minor for entry in entries if entry.event == "payment"), sums
