"""The rooms of members and of bonus rules, as an owner, a developer and a cashier see them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.charges.overview import day_of
from app.merchants.models import AuditEntry
from app.purses.models import BonusRule, Member, Topup
from tests.books import make_charge, row_of, rows_of
from tests.dashboard.test_ledger import colleague
from tests.members.purse import TIERS, add_member, faults, give_bonus, has, kinds, spend, top_up

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def member(merchant):
    give_bonus(merchant)
    made = add_member(merchant, name="王小明", phone="13800138000")
    top_up(merchant, made.id)
    spend(merchant, made.id, 3_500)
    return made


def test_a_member_is_found_and_their_page_tells_everything(owner, member):
    for text in ("user-42", "user-4", "13800138000", "小明"):
        assert f"/members/{member.id}" in owner.get(f"/members?q={text}").text, text
    assert "No member fits this search." in owner.get("/members?q=nobody").text
    page = owner.get(f"/members/{member.id}").text
    for text in ("¥65.00", "¥10.00", "¥75.00", "−¥35.00", "+¥100.00", "/M/", "Spent", "Top-up"):
        assert text in page, text


@pytest.mark.parametrize("before", ["9" * 30, "9" * 5_000, "²", "-1", "x"])
def test_a_page_that_no_statement_has_is_no_fault_of_ours(owner, member, before):
    assert owner.get(f"/members/{member.id}?before={before}").status_code == 200


def test_the_statement_is_a_file_that_runs_no_formula(owner, merchant, member):
    owner.get(f"/members/{member.id}")
    owner.post(f"/members/{member.id}/adjust", {"deed": "give", "amount": "5", "reason": "=1+1"})
    sheet = owner.get(f"/members/{member.id}/statement.csv")
    lines = sheet.text.splitlines()
    assert lines[0].startswith("\ufeffTime (UTC+8),Number,What,Balance +/-")
    assert ",1,Top-up,100.00,10.00,100.00,10.00,tu_" in lines[1]
    assert ",2,Spent,-35.00,0.00,65.00,10.00,db_" in lines[2]
    assert lines[3].endswith(",'=1+1,CNY")


def test_giving_and_taking_by_hand_wants_a_reason_and_stands_in_the_log(owner, member):
    place = f"/members/{member.id}/adjust"
    owner.get(f"/members/{member.id}")
    for form in ({"amount": "5"}, {"reason": "gift"}, {"amount": "x", "reason": "gift"}):
        assert owner.post(place, {"deed": "give", **form}).status_code == 400, form
    gift = {"deed": "give", "amount": "5", "bonus": "1.50", "reason": "long wait"}
    assert owner.post(place, gift).location.endswith("notice=adjusted")
    assert has(member.id) == (7_000, 1_150)
    too_much = {"deed": "take", "amount": "70.01", "reason": "a slip"}
    assert owner.post(place, too_much).location.endswith("notice=too_low")
    assert kinds(member.id) == ["topup", "debit", "adjustment"]
    page = owner.get(f"/members/{member.id}").text
    assert "long wait · owner@cafe.example" in page
    noted = rows_of(AuditEntry)[-1]
    assert (noted.action, noted.actor, noted.object_id) == (
        "member.adjusted",
        "owner@cafe.example",
        member.id,
    )
    assert faults() == []


def test_a_member_is_added_changed_and_blocked_by_hand(owner):
    owner.get("/members")
    assert owner.post("/members", {"account": "a b"}).status_code == 400
    made = owner.post("/members", {"account": "u-1", "name": "李四", "currency": "CNY"})
    member = row_of(Member)
    assert made.location == f"/members/{member.id}?notice=saved"
    owner.post(f"/members/{member.id}", {"name": "李五", "phone": "13900139000"})
    owner.post(f"/members/{member.id}/block")
    changed = row_of(Member)
    assert (changed.name, changed.phone, changed.blocked_at is None) == ("李五", "13900139000", False)
    assert "Blocked" in owner.get(f"/members/{member.id}").text
    owner.post(f"/members/{member.id}/unblock")
    assert row_of(Member).blocked_at is None


def test_rules_are_added_by_day_and_taken_back_before_they_begin(owner):
    owner.get("/members/bonus")
    tiers = {"pay": ["100", "500", ""], "get": ["10", "80", ""]}
    assert owner.post("/members/bonus", tiers).location.endswith("notice=rule_added")
    assert row_of(BonusRule).tiers == [list(tier) for tier in TIERS]
    assert "Pay ¥100.00, get ¥10.00 on top" in owner.get("/members/bonus").text
    for wrong in ({"pay": ["100"], "get": ["101"]}, {"pay": ["x"], "get": ["1"]}, {"from": "2020-01-01"}):
        assert owner.post("/members/bonus", wrong).status_code == 400, wrong
    tomorrow = str(day_of(clock.now()) + timedelta(days=1))
    owner.post("/members/bonus", {"from": tomorrow})
    [planned] = [rule for rule in rows_of(BonusRule) if not rule.tiers]
    assert owner.post("/members/bonus", {"from": tomorrow}).location.endswith("notice=rule_exists")
    taken = owner.post(f"/members/bonus/{planned.id}/withdraw")
    assert taken.location.endswith("notice=rule_withdrawn")
    begun = row_of(BonusRule)
    assert owner.post(f"/members/bonus/{begun.id}/withdraw").location.endswith("notice=rule_begun")


def test_a_refund_of_what_is_spent_says_why_it_is_refused(owner, merchant, member):
    charge_id = row_of(Topup).charge_id
    owner.get(f"/charges/{charge_id}/refund")
    form = {"amount": "100", "reason": "", "token": "a1"}
    answer = owner.post(f"/charges/{charge_id}/refund", form)
    assert answer.status_code == 409
    assert "The member has spent it" in answer.text
    owner.post("/settings/rules", {"members_may_owe": "1"})
    assert owner.post(f"/charges/{charge_id}/refund", {**form, "token": "a2"}).status_code == 303
    assert has(member.id) == (-3_500, 0)


def test_the_page_of_a_charge_names_the_member_whose_top_up_it_is(app, merchant, owner, member):
    charge_id = row_of(Topup).charge_id
    link = f"/members/{member.id}?mode=test"
    owner.get("/?mode=live")  # where this member is nobody
    page = owner.get(f"/charges/{charge_id}").text
    assert f'<a href="{link}">王小明</a> <span class="muted" translate="no">user-42</span>' in page
    assert owner.get(link).status_code == 200
    assert "Top-up of" not in owner.get(f"/charges/{make_charge(merchant).id}").text
    cashier = colleague(app, merchant, "cashier").get(f"/charges/{charge_id}")
    assert cashier.status_code == 200
    assert "王小明" not in cashier.text


def test_a_developer_looks_and_a_cashier_does_not(app, merchant, member):
    developer, cashier = colleague(app, merchant, "developer"), colleague(app, merchant, "cashier")
    page = developer.get(f"/members/{member.id}")
    assert page.status_code == 200
    assert "/adjust" not in page.text
    assert developer.post(f"/members/{member.id}/adjust", {"amount": "1", "reason": "x"}).status_code == 403
    for path in ("/members", f"/members/{member.id}", "/members/bonus"):
        assert cashier.get(path).status_code == 403, path
