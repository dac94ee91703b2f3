"""Stories in which members top up, spend and are refunded, beside everything that stories are full of.

A story goes as in ``simulator_world``; most charges are top-ups.  After every commit every purse is the sum
of its movements and of its entries; at the end the whole of it is proved from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from app.charges import approvals, topups
from app.charges.models import Refund
from app.charges.states import RefundState
from app.charges.topups import NewTopup
from app.db import reading, transaction
from app.merchants import policy
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.policy import Policy
from app.purses import adjustments, bonus, debits, members
from app.purses.adjustments import NewAdjustment
from app.purses.bonus import NewRule
from app.purses.debits import NewDebit
from app.purses.members import NewMember
from tests.books import rows_of
from tests.simulator import Shop
from tests.simulator_rules import Rules
from tests.simulator_world import CHARGES_MAX, LIVES_S, Nothing, World

ACCOUNTS = ("user-1", "user-2")
CHEF = Actor("chef@cafe.example", ALL, "owner")
TIERS = (((1, 1),), ((99, 10), (1250, 333)), ((1250, 1250),), ())
_PURSES = sa.text(
    "SELECT id, balance_minor, bonus_minor,"
    " (SELECT coalesce(sum(v.balance_minor), 0) FROM member_movements v"
    "  WHERE v.merchant_id = m.merchant_id AND v.member_id = m.id) AS moved,"
    " (SELECT coalesce(sum(v.bonus_minor), 0) FROM member_movements v"
    "  WHERE v.merchant_id = m.merchant_id AND v.member_id = m.id) AS bonus_moved,"
    " (SELECT coalesce(sum(CASE WHEN e.credit = 'members' THEN e.amount_minor ELSE -e.amount_minor END), 0)"
    "  FROM ledger_entries e WHERE e.merchant_id = m.merchant_id AND e.member_id = m.id) AS entered,"
    " (SELECT coalesce(sum(CASE WHEN e.debit = 'bonus' THEN e.amount_minor ELSE -e.amount_minor END), 0)"
    "  FROM ledger_entries e WHERE e.merchant_id = m.merchant_id AND e.member_id = m.id"
    "  AND 'bonus' IN (e.debit, e.credit)) AS bonus_entered,"
    " (SELECT count(*) FROM member_movements v WHERE v.merchant_id = m.merchant_id AND v.member_id = m.id"
    "  AND v.kind = 'topup_taken_again') AS taken_again"
    " FROM members m"
)


@dataclass
class PurseRules(Rules):
    """What holds of purses after every commit, beside everything else; ``may_owe`` is this story's policy."""

    may_owe: bool = False

    def check_news(self) -> None:
        super().check_news()
        with reading() as connection:
            purses = connection.execute(_PURSES).all()
        for row in purses:
            assert (row.balance_minor, row.bonus_minor) == (row.moved, row.bonus_moved), "I-48: movements"
            assert row.entered == row.balance_minor + row.bonus_minor, "I-48: entries"
            assert row.bonus_entered == row.bonus_minor, "I-48: entries of the bonus"
            if not self.may_owe and not row.taken_again:
                assert min(row.balance_minor, row.bonus_minor) >= 0, "I-50: below zero"


@dataclass
class MembersWorld(World):
    """A world in which shops have members."""

    rules: PurseRules
    debits: list[tuple[Shop, str, str]] = field(default_factory=list)
    numbers: int = 0
    is_open: bool = False

    @property
    def deeds(self) -> dict[Callable[[Any], Nothing | None], int]:
        mine: dict[Callable[[Any], Nothing | None], int] = {
            World.press_pay: 24,
            World.visit_and_pay: 28,  # whose purse is empty has no story
            MembersWorld.spend: 12,
            MembersWorld.give_back: 6,
            MembersWorld.adjust: 6,
            MembersWorld.promise: 2,
            MembersWorld.decide_refund: 6,
        }
        return {**super().deeds, **mine}

    def step(self) -> None:
        if not self.is_open:
            self.is_open, self.rules.may_owe = True, self.rng.random() < 0.4
            rules = Policy(self.rng.choice((None, 0)), members_may_owe=self.rules.may_owe)
            for shop in self.stage.shops:
                policy.save_policy(shop.merchant_id, rules, by=SERVER)
            self.promise()
        super().step()

    def create(self) -> Nothing | None:
        """Mostly a top-up."""
        if self.rng.random() < 0.2:
            return super().create()
        if len(self.charges) >= CHARGES_MAX:
            return Nothing.TO_DO
        shop, account = (
            self.rng.choice(self.stage.shops[:1] * 3 + self.stage.shops),
            self.rng.choice(ACCOUNTS),
        )
        amount, life_s = self.rng.choice((1, 99, 1250)), self.rng.choice(LIVES_S)

        def work() -> None:
            with transaction() as tx:
                members.put(tx, shop.merchant_id, NewMember(account), livemode=False)
            with transaction() as tx:
                new = NewTopup(account, amount, expires_in_s=life_s)
                known = topups.begin(tx, shop.merchant_id, new, livemode=False)
            self.charges.append((shop, known.charge.id))

        return self._begin("web", f"{account} of {shop.name} tops up {amount} for {life_s} s", work)

    def spend(self) -> Nothing | None:
        """The same debit, once or two at once; now and then under a number that was used before."""
        shop, account = self.stage.shops[0], self.rng.choice(ACCOUNTS)
        self.numbers += self.rng.random() < 0.8
        new = NewDebit(account, f"d{self.numbers}", self.rng.choice((1, 50, 99, 1300)))

        def work() -> None:
            with transaction() as tx:
                debit = debits.take(tx, shop.merchant_id, new, livemode=False)
            if (shop, account, debit.id) not in self.debits:
                self.debits.append((shop, account, debit.id))

        for which in self.rng.choice((("once",), ("first", "again"))):
            self._begin("web", f"{account} spends {new.amount_minor} as {new.debit_no}, {which}", work)
        return None

    def give_back(self) -> Nothing | None:
        if not self.debits:
            return Nothing.TO_DO
        shop, account, debit_id = self.rng.choice(self.debits)
        minor = self.rng.choice((None, None, 1, 60))

        def work() -> None:
            with transaction() as tx:
                debits.reverse(tx, shop.merchant_id, account, debit_id, minor, livemode=False)

        return self._begin("web", f"{account} gets {minor or 'all'} of {self._name(debit_id)} back", work)

    def adjust(self) -> Nothing | None:
        shop, account = self.stage.shops[0], self.rng.choice(ACCOUNTS)
        move = self.rng.choice(((500, 0), (-5, 0), (0, 70), (-1, -1)))

        def work() -> None:
            new = NewAdjustment(account, *move, "by hand")
            with transaction() as tx:
                adjustments.adjust(tx, shop.merchant_id, new, livemode=False, by=SERVER)

        return self._begin("web", f"somebody gives {account} {move}", work)

    def decide_refund(self) -> Nothing | None:
        """A second person approves a refund that waits for it, or declines it."""
        waiting = rows_of(Refund, state=RefundState.AWAITING)
        if not waiting:
            return Nothing.TO_DO
        refund, decide = self.rng.choice(waiting), self.rng.choice((approvals.approve, approvals.decline))
        work = partial(decide, refund.merchant_id, refund.id, by=CHEF)
        return self._begin("web", f"the chef has a refund {decide.__name__}d", work)

    def calm_down(self) -> None:
        self._finish_tasks()
        for refund in rows_of(Refund, state=RefundState.AWAITING):
            approvals.approve(refund.merchant_id, refund.id, by=CHEF)
        super().calm_down()

    def promise(self) -> Nothing | None:
        """Other tiers from now on."""
        tiers = self.rng.choice(TIERS)
        for shop in self.stage.shops:
            bonus.add_rule(shop.merchant_id, NewRule("CNY", tiers), livemode=False)
        return self._say(f"the bonus is {tiers}")
