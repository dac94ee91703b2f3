"""Spending: what was paid in first, then the bonus, never more than there is; and what comes back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.purses import bonus, members
from app.purses.bonus import NewRule
from app.purses.debits import parts_of, reversal_of
from app.purses.members import Changes, NewMember
from app.purses.models import Debit, Movement
from tests.books import rows_of
from tests.members.purse import add_member, faults, give_back, give_bonus, has, kinds, spend, top_up

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
minors = st.integers(-2_000, 2_000)


@given(balance=minors, on_top=minors, amount=st.integers(1, 3_000))
def test_the_parts_of_a_debit_are_all_of_it_and_take_nothing_that_is_not_there(balance, on_top, amount):
    parts = parts_of(balance, on_top, amount)
    assert (parts is None) == (balance + on_top < amount)
    if parts is not None:
        assert sum(parts) == amount
        assert min(parts) >= 0
        assert parts[0] <= max(balance, 0)
        assert parts[1] <= max(on_top, 0)


@given(balance=st.integers(0, 2_000), on_top=st.integers(0, 2_000), data=st.data())
def test_what_stays_after_a_reversal_is_what_a_smaller_debit_would_have_taken(balance, on_top, data):
    amount = data.draw(st.integers(1, max(balance + on_top, 1)))
    parts = parts_of(balance, on_top, amount)
    if parts is None:
        return
    back = data.draw(st.integers(1, amount))
    returned = reversal_of(SimpleNamespace(bonus_minor=parts[1]), back)
    left = tuple(taken - given_back for taken, given_back in zip(parts, returned, strict=True))
    assert left == ((0, 0) if back == amount else parts_of(balance, on_top, amount - back))


@given(
    credited=st.integers(1, 10**6),
    share=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 10**5), max_size=12),
)
def test_however_a_top_up_is_refunded_its_bonus_goes_in_proportion_and_at_last_whole(credited, share, cuts):
    bonus_minor = min(share, credited)
    taken = bonus_taken = 0
    for cut in [*cuts, credited]:
        taken += min(cut, credited - taken)
        bonus_taken += bonus.bonus_to_take(credited, bonus_minor, taken, bonus_taken)
        assert bonus_taken == bonus_minor * taken // credited
    assert (taken, bonus_taken) == (credited, bonus_minor)


def test_a_debit_takes_the_balance_first_and_comes_back_once(merchant):
    give_bonus(merchant)
    member = add_member(merchant)
    top_up(merchant, member.id)
    debit = spend(merchant, member.id, 10_600)
    assert (debit.balance_minor, debit.bonus_minor) == (10_000, 600)
    assert has(member.id) == (0, 400)
    give_back(merchant, debit, 700)
    assert has(member.id) == (100, 1_000)
    with pytest.raises(Conflict) as refusal:
        give_back(merchant, debit, 1)
    assert refusal.value.code == "debit_reversed"
    assert kinds(member.id) == ["topup", "debit", "reversal"]
    assert faults() == []


@one_database
def test_the_same_number_takes_once_and_other_content_is_refused(merchant):
    member, other = add_member(merchant), add_member(merchant, "user-43")
    top_up(merchant, member.id, 1_000)
    first = spend(merchant, member.id, 1_000)
    assert spend(merchant, member.id, 1_000).id == first.id
    for whose, minor in ((member, 999), (other, 1_000)):
        with pytest.raises(Conflict) as refusal:
            spend(merchant, whose.id, minor)
        assert refusal.value.code == "debit_no_taken"
    assert len(rows_of(Debit)) == 1


@one_database
@pytest.mark.parametrize("minor", [0, 301, -1])
def test_no_more_comes_back_than_was_taken(merchant, minor):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)
    debit = spend(merchant, member.id, 300)
    with pytest.raises(InvalidRequest):
        give_back(merchant, debit, minor)
    assert has(member.id) == (700, 0)


@one_database
def test_who_is_blocked_neither_tops_up_nor_spends_and_keeps_what_is_under_way(merchant):
    member = add_member(merchant)
    debit = spend(merchant, (top_up(merchant, member.id, 1_000)).member_id, 300)
    with transaction() as tx:
        members.change_member(tx, merchant.id, member.id, Changes(blocked=True), livemode=False)
    for act in (lambda: spend(merchant, member.id, 1, "d2"), lambda: top_up(merchant, member.id)):
        with pytest.raises(Conflict) as refusal:
            act()
        assert refusal.value.code == "member_blocked"
    give_back(merchant, debit)
    assert has(member.id) == (1_000, 0)


@one_database
def test_nobody_spends_what_another_merchant_or_mode_has(merchant, other_merchant):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)
    for shop, livemode in ((other_merchant, False), (merchant, True)):
        for name in (member.id, member.account):
            with pytest.raises(NotFound):
                members.find(shop.id, name, livemode=livemode)
    with pytest.raises(NotFound):
        spend(other_merchant, member.id, 1)


def test_of_two_who_take_a_phone_number_at_once_the_second_is_told(merchant, monkeypatch):
    add_member(merchant, "first", phone="13800138000")
    second = add_member(merchant, "second")
    # As if the first had taken it just after the second had looked.
    monkeypatch.setattr(members, "_check_free", lambda *_: None)
    with pytest.raises(Conflict, match="phone number"), transaction() as tx:
        members.change_member(tx, merchant.id, second.id, Changes(phone="13800138000"), livemode=False)


@one_database
def test_a_name_that_only_begins_like_an_account_is_nobodys(merchant):
    member = add_member(merchant, "x" * 64)
    top_up(merchant, member.id, 1_000)
    with pytest.raises(NotFound):
        spend(merchant, "x" * 65, 1)
    assert has(member.id) == (1_000, 0)


@pytest.mark.parametrize(
    "new",
    [
        {"account": ""},
        {"account": "a b"},
        {"account": "会员"},
        {"account": "x" * 65},
        {"account": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x"},
        {"account": "a", "phone": "+8613800138000"},
        {"account": "a", "name": "x\ny"},
        {"account": "a", "currency": "XXX"},
    ],
)
def test_what_is_no_member_is_refused(new):
    with pytest.raises(InvalidRequest):
        NewMember(**new)


@pytest.mark.parametrize(
    "tiers",
    [((100, 0),), ((100, 101),), ((100, 1), (100, 2)), ((0, 0),), tuple((n, 1) for n in range(1, 12))],
)
def test_what_is_no_rule_is_refused(tiers):
    with pytest.raises(InvalidRequest):
        NewRule("CNY", tiers)


@one_database
def test_a_movement_cannot_be_changed_or_removed(merchant):
    member = add_member(merchant)
    top_up(merchant, member.id, 1_000)
    table = Movement.__table__
    for deed in (table.update().values(balance_minor=1), table.delete()):
        with pytest.raises(Exception, match="never changed"), transaction() as tx:
            tx.execute(deed)


@pytest.mark.parametrize(
    ("name", "account", "shown"),
    [
        ("王小明", "x", "王**"),
        ("王", "x", "王*"),
        ("Jane Doe Smith", "x", "J*****"),
        ("", "user-42", "***-42"),
    ],
)
def test_a_masked_name_says_enough_and_no_more(name, account, shown):
    assert members.masked(SimpleNamespace(name=name, account=account)) == shown
