"""Forged and twisted notifications at the real door: none believed, none breaks anything, nothing lost.

The messages are in the modules beside this one, one for each network.  Threats T56 to T68.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from io import BytesIO
from types import ModuleType

import pytest

from app.callbacks.models import Callback
from app.charges.models import Incident
from app.charges.states import AttemptState, ChargeState
from app.factory import BODY_BYTES_MAX
from app.merchants import accounts
from app.providers.base import Inbound
from tests.books import event_types, rows_of
from tests.callbacks import alipay_forgeries, unionpay_forgeries, wechatpay_forgeries
from tests.callbacks.town import (
    CPU_S_MAX,
    EVERYBODY,
    PARTNERS,
    REFUSALS,
    TILLS,
    Heard,
    Order,
    Till,
    Town,
    town_in,
)
from tests.callbacks.twists import with_body
from tests.conftest import fresh_database, running, settings_for
from tests.providers.contract import NOW

CORPORA: dict[str, ModuleType] = {
    "alipay": alipay_forgeries,
    "wechatpay": wechatpay_forgeries,
    "unionpay": unionpay_forgeries,
}
FORGERIES_MIN = 100
# A forgery is refused before the books are opened, so each account is tried over one database.
ON_SQLITE = ("alipay-key", "wechatpay-public-key", "unionpay")
ON_POSTGRESQL = ("alipay-certificate", "wechatpay-certificate")
# These two are one application with one key, set up in both ways.
ALIKE = {"alipay-key", "alipay-certificate"}


def _cases(table: str, tills: Iterable[str] = TILLS) -> list[object]:
    return [
        pytest.param(TILLS[till], name, id=f"{till}: {name}")
        for till in tills
        for name in getattr(CORPORA[TILLS[till].provider], table)
    ]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: dict[str, str]
) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with (
        fresh_database(request, folder, templates) as url,
        running(settings_for(url, folder, log_level="INFO")) as app,
        pytest.MonkeyPatch.context() as monkeypatch,
        town_in(app, monkeypatch) as found,
    ):
        yield found


@pytest.mark.parametrize("provider", CORPORA)
def test_the_corpus_does_not_shrink(provider: str) -> None:
    assert len(CORPORA[provider].FORGED) >= FORGERIES_MIN


@pytest.mark.parametrize("town", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("till", "name"), _cases("FORGED", ON_SQLITE))
def test_a_forgery_is_refused_and_moves_nothing(town, till, name):
    _is_refused(town, till, name)


@pytest.mark.parametrize("town", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("till", "name"), _cases("FORGED", ON_POSTGRESQL))
def test_a_forgery_is_refused_there_too(town, till, name):
    _is_refused(town, till, name)


@pytest.mark.parametrize("town", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("till", "name"),
    [
        pytest.param(till, name, id=f"{till.name}: {name}")
        for till in PARTNERS.values()
        if till.tenant == "ours"
        for name in CORPORA[till.provider].FORGED_TO_PARTNERS
    ],
)
def test_news_of_one_service_providers_other_merchants_are_refused(town, till, name):
    """Their keys are one, so no signature tells them apart."""
    _is_refused(town, till, name, "FORGED_TO_PARTNERS")


@pytest.mark.parametrize("town", ["sqlite"], indirect=True)
@pytest.mark.parametrize("till", PARTNERS.values(), ids=PARTNERS)
def test_a_service_providers_merchant_is_paid_by_its_own_news(town, till):
    order = town.open_order(till)
    assert town.post(order.account_id, CORPORA[till.provider].genuine(order)).accepted_by(till.provider)
    assert town.charge(order).state == ChargeState.PAID


@pytest.mark.parametrize(("till", "name"), _cases("MISMATCHED"))
def test_genuine_news_of_other_money_never_pays_and_is_kept(town, till, name):
    order = town.open_order(till)
    sent = CORPORA[till.provider].MISMATCHED[name](order)
    known = {row.id for row in rows_of(Incident)}
    heard = town.post(order.account_id, sent)
    assert heard.status < 500
    assert town.charge(order).state == ChargeState.PENDING
    assert "charge.paid" not in event_types(order.charge_id)
    assert _evidence(order, sent), "the message itself is kept"
    assert {row.id for row in rows_of(Incident)} - known or not heard.accepted_by(till.provider)
    _is_quick_and_discreet(town, heard)


@pytest.mark.parametrize(("till", "name"), _cases("TRUE"))
def test_genuine_news_in_odd_clothes_pays_once(town, till, name):
    order = town.open_order(till)
    sent = CORPORA[till.provider].TRUE[name](order)
    for _ in range(2):
        heard = town.post(order.account_id, sent)
        assert heard.accepted_by(till.provider)
        _is_quick_and_discreet(town, heard)
    assert town.charge(order).state == ChargeState.PAID
    assert town.attempt(order).received_minor == order.price.minor
    assert event_types(order.charge_id).count("charge.paid") == 1


@pytest.mark.parametrize(("till", "name"), _cases("NO_NEWS"))
def test_genuine_news_of_no_money_moves_nothing(town, till, name):
    order = town.open_order(till)
    heard = town.post(order.account_id, CORPORA[till.provider].NO_NEWS[name](order))
    assert heard.status < 500
    assert town.attempt(order).state == AttemptState.STARTED
    assert town.charge(order).state == ChargeState.PENDING
    _is_quick_and_discreet(town, heard)


@pytest.mark.parametrize("door", EVERYBODY)
def test_news_of_one_account_pays_nobody_at_the_door_of_another(town, door):
    """Another merchant's, another network's, the other mode's: genuine, and not for us (T61, T62)."""
    before = town.books()
    for till in (till for till in EVERYBODY.values() if till.name != door):
        order = town.orders[till.name]
        heard = town.post(town.account_ids[door], CORPORA[till.provider].genuine(order))
        after = town.books()
        if {door, till.name} != ALIKE:  # one application twice: kept as money that nobody asked for
            assert (heard.status, heard.body) == REFUSALS[EVERYBODY[door].provider], till.name
            assert after == before, till.name
        for table in ("Charge", "Refund"):
            assert after[table] == before[table], till.name
        assert town.attempt(order).state == AttemptState.STARTED
        _is_quick_and_discreet(town, heard)
        before = after


@pytest.mark.parametrize("till", TILLS.values(), ids=TILLS)
def test_a_replay_after_a_day_changes_nothing(town, till):
    order = town.open_order(till)
    sent = CORPORA[till.provider].genuine(order)
    assert town.post(order.account_id, sent).accepted_by(till.provider)
    before = town.books()
    with town.at(NOW + timedelta(days=1)):
        heard = town.post(order.account_id, sent)
    after = town.books()
    # WeChat Pay's carries a time and is stale; the others' retries repeat the same text for a day.
    assert heard.accepted_by(till.provider) == (till.provider != "wechatpay")
    if heard.accepted_by(till.provider):
        assert [kept.times for kept in _evidence(order, sent)] == [2]
        before.pop("Callback"), after.pop("Callback")
    assert after == before


@pytest.mark.parametrize("town", ["sqlite"], indirect=True)
def test_a_thousand_unknown_serials_cost_no_call(town):
    """Naming keys is free, so it must fetch nothing (T59)."""
    order = town.orders["wechatpay-certificate"]
    true, before = CORPORA["wechatpay"].genuine(order), town.books()
    for number in range(1000):
        serial = f"{number:040X}" if number % 2 else f"PUB_KEY_ID_{number:034}"
        forged = Inbound({**true.headers, "wechatpay-serial": serial}, true.body, NOW)
        assert town.post(order.account_id, forged).status == 401
    assert town.line.calls == []
    assert town.books() == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
def test_only_a_post_is_heard(town, method):
    for till in TILLS.values():
        order, before = town.orders[till.name], town.books()
        heard = town.post(order.account_id, CORPORA[till.provider].genuine(order), method)
        assert heard.status == (200 if method == "OPTIONS" else 405)
        assert heard.body != b"success"
        assert town.books() == before


@pytest.mark.parametrize(
    ("size", "status"), [(BODY_BYTES_MAX, None), (BODY_BYTES_MAX + 1, 413), (4_000_000, 413)]
)
def test_a_body_without_end_is_not_read(town, size, status):
    for till in TILLS.values():
        order, before = town.orders[till.name], town.books()
        sent = CORPORA[till.provider].genuine(order)
        heard = town.post(order.account_id, with_body(sent, sent.body.ljust(size, b"&")))
        assert heard.status == (status or REFUSALS[till.provider][0])
        assert not heard.accepted_by(till.provider)
        assert town.books() == before
        _is_quick_and_discreet(town, heard)


def test_a_hundred_thousand_fields_are_not_read(town):
    for till in TILLS.values():
        sent = with_body(CORPORA[till.provider].genuine(town.orders[till.name]), b"a=1&" * 100_000)
        heard = town.post(town.account_ids[till.name], sent)
        assert heard.status == 413
        _is_quick_and_discreet(town, heard)


def test_a_body_shorter_than_it_says_is_refused(town):
    """The sender went away, or plays at it."""
    for till in TILLS.values():
        order, before = town.orders[till.name], town.books()
        sent = CORPORA[till.provider].genuine(order)
        answer = town.app.test_client().post(
            f"/callbacks/{order.account_id}",
            input_stream=BytesIO(sent.body[:-1]),
            content_length=len(sent.body),
            headers=list(sent.headers.items()),
        )
        assert not Heard(answer.status_code, answer.data, 0).accepted_by(till.provider)
        assert answer.status_code < 500
        assert town.books() == before


def test_a_verifier_that_breaks_believes_nobody(town, monkeypatch):
    """T72: whatever fails, the answer is no yes."""
    for till in TILLS.values():
        order = town.open_order(till)
        adapter = accounts.open_account(order.account_id).provider
        with monkeypatch.context() as broken:
            broken.setattr(type(adapter), "read_callback", lambda *_: 1 / 0)
            heard = town.post(order.account_id, CORPORA[till.provider].genuine(order))
        assert heard.status == 500
        assert town.attempt(order).state == AttemptState.STARTED
        assert town.leaks() == []


def test_what_is_written_is_noticed(town):
    """So that a forgery that writes nothing is no forgery that nobody watched."""
    order = town.open_order(TILLS["unionpay"])
    town.writes.clear()
    town.post(order.account_id, CORPORA["unionpay"].genuine(order))
    assert any("callbacks" in statement for statement in town.writes)
    assert any("charges" in statement for statement in town.writes)


def test_a_refusal_is_said_in_the_log_by_account_and_reason(town):
    """So that the search for secrets in it is no search in nothing."""
    order, already = town.orders["unionpay"], len(town.said.getvalue())
    town.post(order.account_id, CORPORA["unionpay"].FORGED["certificate expired"](order))
    fresh = town.said.getvalue()[already:]
    assert "callback refused" in fresh
    assert order.account_id in fresh
    assert "is not issued under the held root" in fresh


def _is_refused(town: Town, till: Till, name: str, table: str = "FORGED") -> None:
    order = town.orders[till.name]
    forged = getattr(CORPORA[till.provider], table)[name](order)
    town.writes.clear()
    heard = town.post(order.account_id, forged)
    assert (heard.status, heard.body) == REFUSALS[till.provider]
    assert town.writes == []
    _is_quick_and_discreet(town, heard)


def _evidence(order: Order, sent: Inbound) -> list[object]:
    digest = hashlib.sha256(sent.body).hexdigest()
    return list(rows_of(Callback, account_id=order.account_id, digest=digest))


def _is_quick_and_discreet(town: Town, heard: Heard) -> None:
    assert heard.status < 500
    assert heard.cpu_s < CPU_S_MAX
    assert town.leaks() == []
