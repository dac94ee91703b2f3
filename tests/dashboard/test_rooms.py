"""What holds in every room: a door, guarded forms, walls between merchants, two languages, no inline code."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask import Flask

from app import clock
from app.callbacks import inbox
from app.charges import saved_views, shifts, till
from app.charges.commands import NewCharge
from app.charges.incidents import raise_incident
from app.charges.models import Attempt, Charge, Incident, Refund, SavedView
from app.charges.search import Wanted
from app.codes import codes
from app.codes.models import QRCode
from app.codes.scan import begin_charge
from app.codes.terms import LabelKind, Terms
from app.db import table_of, transaction
from app.epay import orders, switch, wire
from app.epay.models import EpayFront
from app.errors import PaymentStopped
from app.ids import new_id
from app.merchants import accounts, keys, people, risk, risk_rules, routing_rules, stores, team
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.models import ApiKey, Invitation, Merchant, Passkey, Session, User
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from app.merchants.sessions import Browser
from app.merchants.stores import StoreTerms
from app.merchants.team import NewPerson
from app.money import Money
from app.providers.base import Outcome
from app.purses import bonus
from app.purses.bonus import NewRule
from app.webhooks import endpoints
from app.webhooks.models import Delivery, WebhookEndpoint
from tests import books
from tests.conftest import Shop
from tests.dashboard.person import Person, rules
from tests.far_side import AlipayFarSide
from tests.members import purse
from tests.qr.print.samples import needs_poppler, told_by
from tests.reconciliation.plain import reconcile_a_day
from tests.review.rounds import hear

ROOT = Path(__file__).parents[2]
PUBLIC = {
    *(
        "/sign-in",
        "/sign-in/<token>",
        "/second-factor",
        "/passkey",
        "/join/<token>",
        "/reset/<token>",
        "/forgot",
    )
}
OUTSIDE = ("/sign-in", "/second-factor", "/join", "/reset", "/forgot")
CANARY = "Kanarienvogel"  # in everything that a merchant can name
NASTY = "<script>alert(1)</script>\"'&{{7*1234567}}"


def full_shop(shop: Shop, far_side: AlipayFarSide, text: str = "一杯拿铁") -> dict[str, str]:
    """One of everything, by the name that addresses give it."""
    endpoint, _ = endpoints.create_endpoint(
        shop.id, livemode=False, url="http://127.0.0.1:9/hook", description=text
    )
    charge = books.make_charge(shop, metadata={"note": text}, merchant_order_no=f"NO-{shop.id[-6:]}")
    books.make_attempt(shop, charge.id)
    paid = books.make_charge(shop)
    number = books.make_attempt(shop, paid.id)
    far_side.pay(number)
    inbox.receive(accounts.open_account(shop.account_id), far_side.notice(number))
    with transaction() as tx:
        raise_incident(
            tx, shop.id, kind="amount_mismatched", subject_id="at_1", charge_id=paid.id, detail=text
        )
    refund = books.refund(shop, paid.id, 100, reason=text)
    books.end_refund(shop, refund.id, Outcome.FAILED)
    wrong = books.make_attempt(shop, books.make_charge(shop).id)
    hear(shop.account_id, wrong, 1000)
    key_id, _ = keys.create_key(shop.id, livemode=False, name=text)
    request_id = books.log_call(shop.id, key_id, text)
    with transaction() as tx:
        store = stores.add_store(tx, shop.id, StoreTerms(text, text), livemode=False)
        terms = Terms(text, store_id=store.id, label_kind=LabelKind.TABLE, label_text=text[:40])
        [code] = codes.create_series(tx, shop.id, terms, [text[:40]], livemode=False, series=text)
    with transaction() as tx:
        begin_charge(tx, code, Money(1250, "CNY"))
    share = Share(shop.account_id, 1)
    route = RuleTerms("alipay", text[:80], (share,), currency="CNY", min_minor=10**9, store_id=store.id)
    owner = Actor(shop.email, ALL, "owner", shop.user_id)
    shift_id = shifts.open_shift(shop.id, livemode=False, float_minor=100, by=owner).id
    with transaction() as tx:
        new = NewCharge(Money(1250, "CNY"), text)
        till.sell(tx, shop.id, livemode=False, new=new, by=owner)
    order = f"HELD-{shop.id[-6:]}"
    terms = risk.Terms(on=risk.On.ORDER, entries=(order,))
    rule = risk.Rule(risk.RuleKind.BLOCK_LIST, risk.Action.REVIEW, terms, name=text)
    with transaction() as tx:
        rule_id = risk_rules.add_rule(tx, shop.id, rule, livemode=False, by=owner).id
    with suppress(PaymentStopped):
        books.start(shop, books.make_charge(shop, merchant_order_no=order).id)
    shifts.close_shift(shop.id, shift_id, counted_minor=0, note=text, by=owner)
    saved_views.save_view(shop.id, shop.user_id, text[:40], Wanted(text=text))
    switch.enable(shop.id, livemode=False)
    front = switch.front_of(books.row_of(EpayFront, merchant_id=shop.id))
    asked = {"out_trade_no": f"E-{shop.id[-6:]}", "money": "1.00", "name": text[:40], "param": text}
    order = orders.place(front, wire.read_order({**asked, "notify_url": "http://127.0.0.1:9/notify"}))
    delivery = books.rows_of(Delivery, merchant_id=shop.id)[0]
    colleague = NewPerson.of(f"zhang@{shop.id[-6:]}.example", "张三", "cashier")
    team.join(team.invite(shop.id, colleague, by=SERVER), "correct horse battery", Browser("198.51.100.9"))
    team.invite(shop.id, NewPerson.of(f"li@{shop.id[-6:]}.example", "李四", "cashier"), by=SERVER)
    user = books.row_of(User, email=colleague.email)
    passkey = {"merchant_id": shop.id, "id": new_id("pk"), "user_id": user.id, "name": text[:80]}
    with transaction() as tx:
        more = {"credential_id": shop.id, "public_key": "", "sign_count": 0, "created_at": clock.now()}
        tx.execute(sa.insert(table_of(Passkey)).values(**passkey, **more))
    day = reconcile_a_day(shop.account_id)
    member = purse.add_member(shop, "user-42", name=text[:80])
    rule = NewRule("CNY", ((100, 10),), clock.now() + timedelta(days=1))
    purse.begin_topup(shop, member.id)
    purse.adjust(shop, member.id, (100, 100), text, by=owner)
    return {
        **day,
        "item_id": day["discrepancy_id"],
        "member_id": member.id,
        "rule_id": bonus.add_rule(shop.id, rule, livemode=False).id,
        "charge_id": charge.id,
        "paid_id": paid.id,
        "endpoint_id": endpoint.id,
        "event_id": delivery.event_id,
        "delivery_id": delivery.id,
        "key_id": key_id,
        "code_id": code.id,
        "series_id": code.series_id,
        "store_id": store.id,
        "shift_id": shift_id,
        "account_id": shop.account_id,
        "routing_rule_id": routing_rules.add_rule(shop.id, route, livemode=False),
        "request_id": request_id,
        "order_id": order.id,
        "risk_rule_id": rule_id,
        "view_id": books.row_of(SavedView, merchant_id=shop.id).id,
        "refund_id": refund.id,
        "incident_id": books.row_of(Incident, merchant_id=shop.id, subject_id="at_1").id,
        "attempt_id": books.row_of(Attempt, out_trade_no=wrong).id,
        "user_id": user.id,
        "passkey_id": passkey["id"],
        "session_id": books.row_of(Session, user_id=user.id).id,
        "invitation_id": books.rows_of(Invitation, merchant_id=shop.id)[1].id,
        "token": people.make_sign_in_link(shop.id, shop.user_id),
    }


def filled(rule: str, things: dict[str, str]) -> str:
    """``("/charges/<charge_id>", …) -> "/charges/ch_01…"``."""
    return re.sub(r"<(\w+)>", lambda found: things[found[1]], rule)


def all_pages(app: Flask, things: dict[str, str]) -> list[str]:
    pages = [filled(rule.rule, things) for rule in rules(app, "GET")]
    return [
        *pages,
        f"/charges/{things['paid_id']}",
        f"/charges/{things['paid_id']}/callbacks",
        f"/charges/{things['paid_id']}/refund",
        f"/charges/{things['paid_id']}/refund?amount=1&reason={NASTY.replace('&', '%26')}",
        "/refunds?status=attention",
        "/charges?q=none",
        "/risk/rules/new?kind=block_list",
        f"/risk/rules/new?kind=payment_amount&max_amount=1&action=note&name={NASTY.replace('&', '%26')}",
    ]


@pytest.mark.parametrize(("language", "word"), [("zh", "订单"), ("en", "Charges")])
def test_every_page_speaks_both_languages(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, language: str, word: str
) -> None:
    things = full_shop(merchant, far_side)
    person = Person(app, language)
    person.sign_in(merchant)
    for path in all_pages(app, things):
        response = person.get(path)
        if "html" not in response.content_type or path.startswith(OUTSIDE):
            continue
        assert response.status_code == 200, path
        assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in response.text
        assert word in response.text, path


def test_a_choice_of_language_is_remembered(owner: Person) -> None:
    owner.get("/?lang=zh")
    assert '<html lang="zh-CN">' in owner.get("/charges").text


def test_every_text_of_the_dashboard_is_translated() -> None:
    translated = set()
    for path in (ROOT / "translations").rglob("*.po"):
        with path.open("rb") as file:
            translated |= {
                (m.id, m.context) for m in read_po(file) if m.id and m.string and "fuzzy" not in m.flags
            }
    keywords = {"_": None, "_l": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    places = [
        (ROOT / "templates", f"{name}/**.html", "jinja2") for name in ("dashboard", "codes", "print", "epay")
    ]
    places += [
        (ROOT / "app", pattern, "python")
        for pattern in (
            *("merchants/**views.py", "charges/**views.py", "codes/**views.py", "callbacks/**.py"),
            *("webhooks/**views.py", "epay/**views.py", "paper.py"),
        )
    ]
    texts = [
        (text, context)
        for folder, pattern, method in places
        for _, _, text, _, context in extract_from_dir(folder, [(pattern, method)], keywords=keywords)
    ]
    assert len(texts) > 200
    assert [text for text in texts if text not in translated] == []


def test_nobody_enters_without_a_session(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, passer_by: Person
) -> None:
    things = full_shop(merchant, far_side)
    passer_by.get("/sign-in")
    seen = 0
    for rule in rules(app):
        if rule.rule in PUBLIC:
            continue
        path = filled(rule.rule, things)
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            response = passer_by.get(path) if method == "GET" else passer_by.post(path)
            assert response.status_code == 302, (method, path)
            assert response.location.startswith("/sign-in"), (method, path)
            assert method == "POST" or path == "/" or path in response.location.replace("%2F", "/")
            seen += 1
    assert seen > 25
    assert books.charge_of(merchant, things["charge_id"]).state == "pending"


def test_every_form_needs_its_guard(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, owner: Person
) -> None:
    things = full_shop(merchant, far_side)
    posts = list(rules(app, "POST"))
    assert len(posts) > 12
    for rule in posts:
        response = owner.post(
            filled(rule.rule, things), {"name": "x", "amount": "1", "description": "x"}, guarded=False
        )
        assert response.status_code == 400, rule.rule
    assert books.charge_of(merchant, things["charge_id"]).state == "pending"
    assert len(books.rows_of(Charge)) == 8
    assert owner.get("/").status_code == 200


def test_looking_changes_nothing(app: Flask, merchant: Shop, far_side: AlipayFarSide, owner: Person) -> None:
    things = full_shop(merchant, far_side)
    tables = (Attempt, Charge, Refund, ApiKey, WebhookEndpoint, Delivery, Incident, Merchant, Session)
    before = [books.rows_of(table) for table in tables]
    for path in all_pages(app, things):
        if not path.startswith(OUTSIDE):
            assert owner.get(path).status_code in (200, 302), path
    assert [books.rows_of(table) for table in tables] == before


def test_another_merchants_things_do_not_exist(
    app: Flask, merchant: Shop, other_merchant: Shop, far_side: AlipayFarSide, owner: Person
) -> None:
    theirs = full_shop(other_merchant, far_side)
    tables = (Attempt, Charge, Refund, ApiKey, WebhookEndpoint, Delivery, Incident)
    before = [books.rows_of(table, merchant_id=other_merchant.id) for table in tables]
    seen = 0
    for rule in rules(app):
        if "<" not in rule.rule or rule.rule in PUBLIC:
            continue
        path = filled(rule.rule, theirs)
        response = owner.get(path) if "GET" in (rule.methods or ()) else owner.post(path)
        assert response.status_code == 404, path
        assert "隔壁老王" not in response.text
        seen += 1
    assert seen > 12
    assert [books.rows_of(table, merchant_id=other_merchant.id) for table in tables] == before
    asked = ("charge_id", "code_id", "store_id")  # stand in the addresses that ask for them
    for path in (
        "/",
        "/charges",
        "/refunds",
        "/keys",
        "/webhooks",
        "/incidents",
        "/unclaimed",
        "/codes",
        "/stores",
        f"/codes?series={theirs['code_id']}&store={theirs['store_id']}",
        "/settings",
        f"/charges?q={theirs['charge_id']}",
        f"/charges?code={theirs['code_id']}",
    ):
        page = owner.get(path, follow_redirects=True).text
        assert not [thing for name, thing in theirs.items() if name not in asked and thing in page], path
        assert f"NO-{other_merchant.id[-6:]}" not in page


@needs_poppler
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_page_file_or_search_lets_another_merchants_canary_out(
    app: Flask, merchant: Shop, other_merchant: Shop, far_side: AlipayFarSide, owner: Person
) -> None:
    theirs, mine = full_shop(other_merchant, far_side, CANARY), full_shop(merchant, far_side)
    order_no = f"NO-{other_merchant.id[-6:]}"
    numbers = [order_no, books.row_of(QRCode, merchant_id=other_merchant.id).code, "12.50", CANARY[1:6]]
    for attempt in books.rows_of(Attempt, merchant_id=other_merchant.id):
        numbers += [attempt.out_trade_no, attempt.provider_ref or attempt.id]
    numbers += [row.out_refund_no for row in books.rows_of(Refund, merchant_id=other_merchant.id)]
    numbers += theirs.values()
    lists = ("/charges", "/charges.csv", "/refunds", "/codes", "/logs")
    paths = [*all_pages(app, mine), *[f"{path}?q={number}" for path in lists for number in numbers]]
    paths += [f"{path}?code={theirs['code_id']}&store={theirs['store_id']}" for path in lists]
    printed = ""
    for path in paths:
        answer = owner.get(path)
        assert answer.status_code in (200, 302, 303, 404, 410), path
        words = (CANARY, other_merchant.email, "隔壁老王")
        assert not [word for word in words if word.encode() in answer.data], path
        if answer.mimetype == "application/pdf":
            text = "".join(told_by("pdftotext", answer.data).split())  # lines may break anywhere
            assert not [word for word in words if word in text], path
            printed += text
    assert "一杯拿铁" in printed  # it is read at all
    assert "晨光咖啡馆" in printed
    shown = owner.get("/charges.csv").data.decode()
    assert mine["charge_id"] in shown
    assert theirs["charge_id"] not in shown
    assert order_no not in shown


def test_markup_in_names_stays_text(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, owner: Person
) -> None:
    things = full_shop(merchant, far_side, NASTY)
    owner.post("/settings", {"form": "shop", "name": NASTY, "language": "zh"})
    owner.get("/charges/new")
    owner.post("/charges/new", {"amount": NASTY, "description": NASTY, "merchant_order_no": NASTY})
    made = owner.post("/charges/new", {"amount": "1", "currency": "CNY", "description": NASTY})
    assert made.status_code == 303
    for path in [
        *all_pages(app, things),
        made.location,
        f"{made.location}/print",
        f"{made.location}/callbacks",
    ]:
        page = owner.get(path)
        if "html" in page.content_type:
            assert "<script>alert" not in page.text, path
            assert "8641969" not in page.text or "{{7*1234567}}" in page.text, path
    assert "&lt;script&gt;alert" in owner.get("/keys").text
    echoed = owner.get(f"/charges?q={NASTY}&status={NASTY}")
    assert "<script>alert" not in echoed.text
    assert "<script>alert" not in owner.get(f"/sign-in/{NASTY.replace('/', '')}").text


def test_no_page_carries_script_or_style_of_its_own(
    app: Flask, merchant: Shop, far_side: AlipayFarSide, owner: Person
) -> None:
    for path in all_pages(app, full_shop(merchant, far_side)):
        page = owner.get(path)
        if "html" not in page.content_type:
            continue
        assert (
            re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=\"|javascript:", page.text) == []
        ), path
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert len(re.findall(r"<h1[ >]", page.text)) == 1 or page.status_code == 302, path


def test_an_unreadable_cursor_is_refused_on_a_page(
    owner: Person, merchant: Shop, far_side: AlipayFarSide
) -> None:
    things = full_shop(merchant, far_side)
    for path in (
        "/charges?after=x",
        "/charges?before=1%27",
        "/refunds?after=x",
        "/incidents?after=x",
        "/unclaimed?after=x",
        "/codes?after=x",
        f"/webhooks/{things['endpoint_id']}?after=x",
    ):
        assert owner.get(path).status_code == 400, path


def test_an_ended_session_opens_nothing(owner: Person, at: Callable[[datetime | timedelta], None]) -> None:
    assert owner.get("/keys").status_code == 200
    at(timedelta(days=15))
    assert owner.get("/keys").status_code == 302


def test_forms_work_over_https_where_the_browser_must_say_where_it_comes_from(
    app: Flask, merchant: Shop
) -> None:
    person = Person(app, origin="https://pay.example.com")
    assert person.get("/sign-in").headers["Referrer-Policy"] == "same-origin"
    assert person.sign_in(merchant).status_code == 303
