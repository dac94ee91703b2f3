"""Shifts: what belongs to which, sums that agree with the books, and a closing that nothing slips past."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app import clock
from app.charges import cashup, overview, refunds, shifts, till
from app.charges.cashup import Line, Report
from app.charges.commands import NewCharge, NewRefund
from app.charges.models import Charge, Refund, Shift
from app.charges.states import ChargeState, RefundState
from app.db import table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from app.merchants import team
from app.merchants.actor import SERVER, Actor
from app.merchants.models import AuditEntry, User
from app.merchants.roles import Role, permissions_of
from app.merchants.sessions import Browser
from app.merchants.team import NewPerson
from app.money import Money
from app.providers.base import Outcome
from tests import books
from tests.conftest import Shop

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LATTE = NewCharge(Money(1250, "CNY"), "一杯拿铁", expires_in_s=15 * 86400)


def hire(shop: Shop, name: str, role: Role = Role.CASHIER) -> Actor:
    """Somebody of the team, as services know them."""
    new = NewPerson.of(f"{name}@team.example", name, role)
    team.join(team.invite(shop.id, new, by=SERVER), "another good password", Browser())
    user = books.row_of(User, email=new.email)
    return Actor(new.email, permissions_of(role), role, user.id)


def begin(shop: Shop, by: Actor, float_minor: int = 20000) -> str:
    return shifts.open_shift(shop.id, livemode=False, float_minor=float_minor, by=by).id


def close(shop: Shop, shift_id: str, by: Actor, counted: int | None = None, note: str = ""):
    return shifts.close_shift(shop.id, shift_id, counted_minor=counted, note=note, by=by)


def sell(shop: Shop, by: Actor, minor: int = 1250) -> str:
    with transaction() as tx:
        new = replace(LATTE, amount=Money(minor, "CNY"))
        return till.sell(tx, shop.id, livemode=False, new=new, by=by).id


def give_back(shop: Shop, charge_id: str, minor: int, by: Actor) -> str:
    with transaction() as tx:
        return refunds.create_refund(tx, shop.id, NewRefund(charge_id, minor), by=by).id


def test_a_shift_adds_up_what_its_person_took_and_gave_back(merchant: Shop) -> None:
    wang, li = hire(merchant, "wang", Role.MANAGER), hire(merchant, "li")
    before = sell(merchant, wang)
    shift_id = begin(merchant, wang)
    mine, waiting, others = sell(merchant, wang, 3000), sell(merchant, wang), sell(merchant, li)
    for charge_id in (before, mine, others):
        books.pay(charge_id)
    give_back(merchant, mine, 1000, wang)
    failed = give_back(merchant, mine, 500, wang)
    books.end_refund(merchant, failed, Outcome.FAILED)
    give_back(merchant, others, 100, SERVER)
    assert books.charge_of(merchant, mine).taken_by == wang.name
    assert books.charge_of(merchant, before).shift_id is None
    assert books.charge_of(merchant, waiting).shift_id == shift_id
    seen = shifts.see(merchant.id, shift_id, by=wang)
    assert seen.now == Report((Line("alipay", "CNY", 1, 3000, 1, 1000),), waiting=1)
    assert [entry.minor for entry in shifts.entries_of(merchant.id, shift_id)] == [3000, 0, -1000, -500]


def test_a_person_has_one_open_shift_and_needs_no_float(merchant: Shop) -> None:
    wang = hire(merchant, "wang")
    shift_id = begin(merchant, wang, 0)
    with pytest.raises(Conflict, match="open shift"):
        begin(merchant, wang)
    close(merchant, shift_id, wang)
    assert begin(merchant, wang) != shift_id
    with pytest.raises(InvalidRequest):
        begin(merchant, hire(merchant, "li"), -1)
    with pytest.raises(PermissionDenied):
        begin(merchant, SERVER)
    with pytest.raises(PermissionDenied):
        begin(merchant, hire(merchant, "zhao", Role.ACCOUNTANT))


def test_what_is_paid_after_the_closing_is_told_beside_the_report(merchant: Shop) -> None:
    wang = hire(merchant, "wang", Role.MANAGER)
    shift_id = begin(merchant, wang)
    early, late = sell(merchant, wang, 100), sell(merchant, wang, 700)
    books.pay(early)
    refund_id = give_back(merchant, early, 40, wang)
    closed = close(merchant, shift_id, wang, counted=19950, note="少了五毛")
    books.pay(late)
    books.end_refund(merchant, refund_id, Outcome.FAILED)
    seen = shifts.see(merchant.id, shift_id, by=wang)
    assert seen.z == Report((Line("alipay", "CNY", 1, 100, 1, 40),), waiting=1)
    assert seen.after == Report((Line("alipay", "CNY", 1, 700, -1, -40),), waiting=0)
    assert (seen.difference_minor, closed.note, closed.closed_by) == (-50, "少了五毛", wang.name)
    deeds = [row.action for row in books.rows_of(AuditEntry, object_id=shift_id)]
    assert deeds == ["shift.opened", "shift.closed"]
    with transaction() as tx:  # and a new sale is in no shift
        assert till.sell(tx, merchant.id, livemode=False, new=LATTE, by=wang).shift_id is None


def test_a_closed_shift_never_changes(merchant: Shop) -> None:
    wang = hire(merchant, "wang")
    shift_id = begin(merchant, wang)
    first = close(merchant, shift_id, wang, counted=20000)
    with pytest.raises(Conflict, match="stays as it is"):
        close(merchant, shift_id, wang, counted=1)
    with pytest.raises(sa.exc.DatabaseError, match="never changed"), transaction() as tx:
        tx.execute(sa.update(table_of(Shift)).values(counted_minor=1))
    assert books.row_of(Shift, id=shift_id) == first


def test_a_forgotten_shift_is_closed_by_who_may_and_by_nobody_else(merchant: Shop) -> None:
    wang, li = hire(merchant, "wang"), hire(merchant, "li")
    boss, reader = hire(merchant, "boss", Role.MANAGER), hire(merchant, "reader", Role.ACCOUNTANT)
    shift_id = begin(merchant, wang)
    with pytest.raises(NotFound):
        close(merchant, shift_id, li)
    with pytest.raises(NotFound):
        shifts.see(merchant.id, shift_id, by=li)
    with pytest.raises(PermissionDenied):
        close(merchant, shift_id, reader)
    assert shifts.see(merchant.id, shift_id, by=reader).z is None
    assert close(merchant, shift_id, boss, note="忘了交班").closed_by == boss.name
    listed = {
        who.name: len(shifts.list_shifts(merchant.id, livemode=False, by=who, limit=9)[0])
        for who in (wang, li, boss, reader)
    }
    assert listed == {wang.name: 1, li.name: 0, boss.name: 1, reader.name: 1}


def test_nothing_that_is_begun_while_a_shift_is_closed_slips_past_its_report(merchant: Shop, app) -> None:
    """Eight tills of one person sell and settle while the shift is closed: each sale is in it, or in none."""
    wang = hire(merchant, "wang")
    shift_id = begin(merchant, wang)
    start = threading.Barrier(9)

    def work() -> None:
        with app.app_context():
            start.wait()
            for _ in range(3):
                books.pay(sell(merchant, wang))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.wait()
    close(merchant, shift_id, wang)
    for thread in threads:
        thread.join()
    seen = shifts.see(merchant.id, shift_id, by=wang)
    inside = books.rows_of(Charge, shift_id=shift_id)
    assert seen.z is not None
    assert seen.after is not None
    counted = sum(line.payments for line in seen.z.lines) + seen.z.waiting
    assert counted == len(inside)
    assert seen.now.totals == cashup.totals_of([*seen.z.lines, *seen.after.lines])
    assert len(books.rows_of(Charge)) == 24


stories = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "sell", "sell", "pay", "refund", "fail", "sleep"]),
        st.integers(0, 1),
        st.integers(1, 5000),
    ),
    min_size=12,
    max_size=25,
)


@one_database
@examples(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories)
def test_the_shifts_of_a_day_and_the_rest_are_the_days_takings(merchant: Shop, at, story) -> None:
    """Whoever sells, closes, is paid late or gives back in whatever order: nothing is lost."""
    people = [hired(merchant, name) for name in ("wang", "li")]
    for deed, who, minor in story:
        if deed == "sleep":
            at(timedelta(hours=9))
        else:
            DEEDS[deed](merchant, people[who], minor)
    first = min([row.created_at for row in books.rows_of(Charge)], default=clock.now())
    day, today = overview.day_of(first), overview.day_of(clock.now())
    shares: list[cashup.Share] = []
    while day <= today:
        begins, ends = overview.start_of(day), overview.start_of(day + timedelta(days=1))
        of_day = cashup.shares_of(merchant.id, begins, ends, livemode=False)
        shares += of_day
        day += timedelta(days=1)
    totals = cashup.totals_of([line for share in shares for line in share.lines])
    assert sum(line.paid_minor for line in totals) == sum(
        row.paid_minor or 0 for row in books.rows_of(Charge)
    )
    assert sum(line.refunded_minor for line in totals) == sum(
        row.amount_minor for row in books.rows_of(Refund) if row.state != RefundState.FAILED
    )
    takings = overview.overview_of(merchant.id, livemode=False).today
    assert sum(line.paid_minor for share in of_day for line in share.lines) == takings[0].so_far.takings.minor
    for row in books.rows_of(Shift):
        shift = shifts.see(merchant.id, row.id, by=SERVER)
        mine = [share for share in shares if share.shift is not None and share.shift.id == row.id]
        assert cashup.added([line for share in mine for line in share.lines]) == list(shift.now.lines)
        if shift.z is not None and shift.after is not None:
            both = [*shift.z.lines, *shift.after.lines]
            assert [x for x in cashup.added(both) if x != Line(x.provider, x.currency)] == list(
                shift.now.lines
            )


def hired(shop: Shop, name: str) -> Actor:
    known = books.rows_of(User, email=f"{name}@team.example")
    if not known:
        return hire(shop, name, Role.MANAGER)
    return Actor(known[0].email, permissions_of(Role.MANAGER), Role.MANAGER, known[0].id)


def _open(shop: Shop, by: Actor, minor: int) -> None:
    if shifts.find_open(shop.id, by, livemode=False) is None:
        begin(shop, by, minor)


def _close(shop: Shop, by: Actor, minor: int) -> None:
    open_id = shifts.find_open(shop.id, by, livemode=False)
    if open_id is not None:
        close(shop, open_id, by, counted=minor)


def _pay(shop: Shop, by: Actor, minor: int) -> None:
    for charge in books.rows_of(Charge, state=ChargeState.PENDING)[-1:]:
        if charge.expires_at > clock.now():
            books.pay(charge.id)


def _refund(shop: Shop, by: Actor, minor: int) -> None:
    paid = [row for row in books.rows_of(Charge) if (row.paid_minor or 0) > row.refunded_minor]
    for charge in paid[-1:]:
        give_back(shop, charge.id, min(minor, charge.paid_minor - charge.refunded_minor), by)


def _fail(shop: Shop, by: Actor, minor: int) -> None:
    for refund in books.rows_of(Refund, state=RefundState.RESERVED)[:1]:
        books.end_refund(shop, refund.id, Outcome.FAILED)


def _sell(shop: Shop, by: Actor, minor: int) -> None:
    sell(shop, by, minor)


DEEDS = {"open": _open, "close": _close, "sell": _sell, "pay": _pay, "refund": _refund, "fail": _fail}
