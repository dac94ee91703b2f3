"""A member's own page, and a printed code for top-ups: what they say, to whom, and what paying there does."""

from __future__ import annotations

import re

import pytest

from app.charges.models import Charge
from app.codes import codes
from app.codes.terms import CodePurpose, Terms
from app.db import transaction
from app.purses.models import Topup
from app.purses.present import link_of
from tests.books import pay, row_of, rows_of
from tests.members.purse import add_member, give_bonus, has, spend, top_up

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def path_of(member):
    return "/M/" + link_of(member).rpartition("/")[2]


@pytest.fixture
def member(merchant):
    give_bonus(merchant)
    return add_member(merchant, name="王小明", phone="13800138000")


@pytest.fixture
def sign(merchant):
    """A printed code for top-ups; its path."""
    with transaction() as tx:
        code = codes.create_code(
            tx, merchant.id, Terms("会员充值", purpose=CodePurpose.TOPUP), livemode=False
        )
    return f"/P/{code.code}"


def token_of(page):
    return re.search(r'name="token" value="(\w+)"', page.text)[1]


@pytest.mark.parametrize(("language", "question"), [("en", "How much do you top up?"), ("zh", "充值金额")])
def test_a_page_says_what_its_member_has_and_what_comes_on_top(client, merchant, member, language, question):
    top_up(merchant, member.id)
    spend(merchant, member.id, 3_500)
    page = client.get(f"{path_of(member)}?lang={language}")
    assert page.status_code == 200
    for text in (question, "¥75.00", "¥65.00", "¥10.00", "王**", "¥500.00", "+¥80.00"):
        assert text in page.text, text
    assert "小明" not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


def test_a_form_that_is_sent_twice_begins_one_top_up(client, merchant, member):
    page = client.get(path_of(member))
    form = {"token": token_of(page), "pick": "100.00"}
    answers = [client.post(path_of(member), data=form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].location == answers[1].location
    assert answers[0].location.startswith("/C/")
    [topup] = rows_of(Topup)
    assert (topup.member_id, topup.amount_minor, topup.bonus_minor) == (member.id, 10_000, 1_000)
    back = row_of(Charge).return_url
    assert back.endswith("?back=1")
    assert "支付渠道尚未确认 ¥100.00 已付款" in client.get(path_of(member) + "?back=1").text
    pay(topup.charge_id)
    assert "¥100.00 已到账。 另赠送 ¥10.00。" in client.get(path_of(member) + "?back=1").text


@pytest.mark.parametrize("typed", ["", "abc", "0.99", "5000.01", "12,50", "-5"])
def test_an_amount_that_is_none_comes_back_with_a_reason(client, member, typed):
    answer = client.post(path_of(member), data={"token": "a1", "amount": typed})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert rows_of(Topup) == []


def test_another_link_opens_nothing(client, merchant, other_merchant, member):
    theirs = add_member(other_merchant)
    token = path_of(member)
    mixed = path_of(theirs)[:29] + token[29:]
    for path in (mixed, token[:-1] + ("0" if token[-1] != "0" else "1"), "/M/x"):
        assert client.get(path).status_code == 404, path


def test_who_is_blocked_reads_so(client, merchant, member, api):
    api.post("/v1/members/user-42", {"blocked": True})
    assert "blocked" in client.get(path_of(member) + "?lang=en").text
    assert client.post(path_of(member), data={"amount": "100"}).status_code == 409


def test_a_sign_asks_who_and_says_no_more_than_a_letter(client, merchant, member, sign):
    top_up(merchant, member.id)
    asked = client.get(sign + "?lang=en")
    assert "Whose balance do you top up?" in asked.text
    for who in ("13800138000", "138 0013 8000", "user-42", " +86 13800138000"):
        named = client.post(sign, data={"who": who})
        assert named.status_code == 200, who
        assert "王**" in named.text
        assert "小明" not in named.text
        assert "¥110.00" not in named.text
    nobody = client.post(sign, data={"who": "user-4"})
    assert nobody.status_code == 404
    assert "Nobody here is called that" in nobody.text


def test_paying_at_a_sign_fills_the_purse(client, member, sign):
    named = client.post(sign, data={"who": "13800138000"})
    form = {"token": token_of(named), "who": "13800138000", "amount": "100"}
    begun = client.post(sign, data=form)
    assert begun.status_code == 303
    charge = row_of(Charge)
    assert (charge.topup_id, charge.description) == (row_of(Topup).id, "会员充值")
    assert charge.qr_code_id is not None
    pay(charge.id)
    assert has(member.id) == (10_000, 1_000)


def test_a_sign_makes_nothing_for_who_is_not_there_blocked_or_of_another_currency(
    client, merchant, member, sign, api
):
    add_member(merchant, "usd", currency="USD")
    api.post("/v1/members/user-42", {"blocked": True})
    for who in ("nobody", "usd", "user-42"):
        answer = client.post(sign, data={"token": "a1", "who": who, "amount": "100"})
        assert answer.status_code == 404, who
    assert client.post(sign, data={"token": "a1", "amount": "100"}).status_code == 200
    assert rows_of(Charge) == []
