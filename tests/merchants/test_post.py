"""Letters: written with the deed, sealed, sent by the worker to a server on loopback, tried again, gone."""

from __future__ import annotations

import dataclasses
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

import pytest
import structlog
from cryptography import x509
from flask import Flask

from app import mail, queue
from app.config import load_settings
from app.db import NestedTransaction, transaction
from app.errors import SettingsError, TooManyRequests
from app.mail import MailDelayed, MailHalted
from app.merchants import forgotten, letter_views, letters, people, post, second_factor, sessions, team
from app.merchants.actor import Actor
from app.merchants.letters import Letter, Topic
from app.merchants.models import KnownDevice, SignInLink
from app.merchants.models import Letter as Row
from app.merchants.roles import permissions_of
from app.merchants.sessions import Browser
from app.merchants.team import NewPerson
from app.queue import Job, Kind
from tests.books import rows_of
from tests.certificates import write_certificate
from tests.conftest import Shop, add_shop, running, settings_for
from tests.merchants.guesses import count_checks
from tests.merchants.mailbox import Mailbox, open_mailbox

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LAPTOP, PHONE = (
    Browser("198.51.100.7", "Firefox Linux", "laptop"),
    Browser("198.51.100.8", "Chrome Android", "p"),
)
OWNER = Actor("owner@cafe.example", permissions_of("owner"), "owner", "usr_owner")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with open_mailbox() as found:
        yield found


@pytest.fixture
def app(database_url: str, tmp_path, box: Mailbox) -> Iterator[Flask]:
    with running(settings_for(database_url, tmp_path, **by_mail(box.port))) as application:
        yield application


def by_mail(port: int, **more: object) -> dict[str, object]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "smtp_security": "none",
        "smtp_from": "mafu@example.com",
        **more,
    }


def work() -> int:
    """The worker's turn, until nothing is due; how many letters it took in hand."""
    count = 0
    while True:
        with transaction() as tx:
            claims = queue.claim(tx, Kind.MAIL, limit=10, lease=timedelta(minutes=1))
        if not claims:
            return count
        for claim in claims:
            post.deliver(claim)
            count += 1


def link_in(box: Mailbox, number: int = -1) -> str:
    [link] = re.findall(r"http://pay\.example\.com/(?:join|reset)/(\S+)", box.mails[number].get_content())
    return str(link)


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the post says meanwhile: to a logger of its own, as its usual one remembers whom it told first."""
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as told:
        patch.setattr(post, "log", structlog.get_logger())
        yield told


def invite(shop: Shop, email: str = "anna@cafe.example") -> str:
    return team.invite(shop.id, NewPerson.of(email, "Anna", "manager"), by=OWNER)


def test_an_invitation_is_sent_and_its_link_lets_in(
    merchant: Shop, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = invite(merchant)
    [row] = rows_of(Row)
    assert token not in row.sealed
    assert "anna" not in row.sealed
    with listening(monkeypatch) as told:
        assert work() == 1
    [mail_] = box.mails
    assert (mail_["To"], box.recipients) == ("anna@cafe.example", [["anna@cafe.example"]])
    assert mail_["Subject"] == "加入晨光咖啡馆"
    assert mail_["Auto-Submitted"] == "auto-generated"
    assert link_in(box) == token
    assert [each["event"] for each in told] == ["mail sent"]
    assert token not in str(told)
    assert "anna" not in str(told)
    assert rows_of(Row) == rows_of(Job, kind=Kind.MAIL) == []
    assert team.join(link_in(box), "a long enough password", LAPTOP)


def test_a_letter_speaks_the_shops_language(app: Flask, box: Mailbox) -> None:
    shop_id, user_id = people.add_merchant("Corner", email="owner@corner.example", language="en")
    team.make_reset_link(shop_id, user_id)
    work()
    assert box.mails[0]["Subject"] == "Choose a new password"
    people.use_reset_link(link_in(box), "a long enough password", address="198.51.100.7")
    work()
    assert box.mails[1]["Subject"] == "Your password was changed"
    assert "198.51.100.7" in box.mails[1].get_content()


def test_what_is_delayed_is_tried_again_and_in_the_end_given_up(merchant: Shop, box: Mailbox, at) -> None:
    box.answers += ["451 later", "421 busy"]
    invite(merchant)
    for wait_s in (30, 60):
        assert work() == 1
        assert box.mails == []
        at(timedelta(seconds=wait_s - 5))
        assert work() == 0
        at(timedelta(seconds=6))
    assert work() == 1
    assert len(box.mails) == 1
    box.answers += ["451 later"] * 99
    invite(merchant, "bert@cafe.example")
    for _ in range(post.TRIES_MAX):
        assert work() == 1
        at(timedelta(hours=12))
    assert rows_of(Row) == rows_of(Job, kind=Kind.MAIL) == []
    assert len(box.answers) == 99 - post.TRIES_MAX


def test_what_was_taken_is_not_sent_again_for_an_odd_goodbye(merchant, box, monkeypatch) -> None:
    async def odd(*_: object) -> str:
        return "421 closing"

    monkeypatch.setattr(box, "handle_QUIT", odd, raising=False)
    invite(merchant)
    assert work() == 1
    assert len(box.mails) == 1
    assert rows_of(Row) == rows_of(Job, kind=Kind.MAIL) == []


@pytest.mark.parametrize("email", ["anna@cafe.example", "a,b@cafe.example", "<b>@x", "安娜@cafe.example"])
def test_a_definite_no_and_an_address_that_is_none_end_at_once(
    merchant: Shop, box: Mailbox, email: str
) -> None:
    box.answers.append("550 nobody of this name")
    invite(merchant, email)
    assert work() == 1
    assert box.mails == rows_of(Row) == rows_of(Job, kind=Kind.MAIL) == []


def test_a_server_that_is_away_or_hangs_holds_nobody_up(merchant, app, box, settings, monkeypatch) -> None:
    here = app.extensions["mafu.runtime"].settings
    message = letter_views.message_of(Letter(Topic.INVITATION, "a@b.example", facts=FACTS), "ml_1")
    monkeypatch.setattr(mail, "STEP_S", 0.2)
    box.pause_s = 0.5
    with pytest.raises(MailDelayed):
        mail.send(message, "a@b.example", here)
    with pytest.raises(MailDelayed):
        mail.send(message, "a@b.example", here.model_copy(update={"smtp_port": 1}))
    with transaction(), pytest.raises(NestedTransaction):
        mail.send(message, "a@b.example", here)


def drip(line: socket.socket, words: list[bytes]) -> None:
    """A server that says a little at a time, and never comes to an end."""
    with suppress(OSError):
        for word in words:
            line.sendall(word)
        while True:
            line.sendall(b"-")
            time.sleep(0.02)


@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_server_that_goes_on_and_on_is_hung_up_on(app, tmp_path, monkeypatch, security) -> None:
    monkeypatch.setattr(mail, "WHOLE_S", 0.3)
    message = letter_views.message_of(Letter(Topic.INVITATION, "a@b.example", facts=FACTS), "ml_1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as line:
                drip(line, [b"220 "] if security == "none" else [b"\x16\x03\x03\x3f\xff"])

        threading.Thread(target=answer, daemon=True).start()
        here = settings_for("", tmp_path, **by_mail(server.getsockname()[1], smtp_security=security))
        began_s = time.monotonic()
        with pytest.raises(MailDelayed):
            mail.send(message, "a@b.example", here)
        assert time.monotonic() - began_s < 2


FACTS = {"who": "x", "shop": "y", "link": "z"}


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_the_server_is_spoken_to_in_private_and_told_who_we_are(merchant, app, tmp_path, password) -> None:
    file = write_certificate(tmp_path / "mail.pem", x509.IPAddress(IPv4Address("127.0.0.1")))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    message = letter_views.message_of(Letter(Topic.INVITATION, "a@b.example", facts=FACTS), "ml_1")
    with open_mailbox(tls=tls, login=("mafu", "right")) as box:
        private = by_mail(box.port, smtp_security="starttls", smtp_user="mafu", smtp_password=password)
        here = settings_for("", tmp_path, **private, smtp_ca=str(file))
        assert password not in repr(here)
        if password == "right":
            mail.send(message, "a@b.example", here)
        else:
            with pytest.raises(MailDelayed):
                mail.send(message, "a@b.example", here)
        with pytest.raises(MailDelayed):  # who is not known to be the server is told nothing
            mail.send(message, "a@b.example", here.model_copy(update={"smtp_ca": ""}))
        assert len(box.mails) == (password == "right")


@pytest.mark.parametrize(
    "asked",
    [{"smtp_security": "starttls"}, {"smtp_user": "mafu", "smtp_password": "right"}],
    ids=["privacy", "a name"],
)
def test_a_server_that_no_longer_offers_what_is_asked_loses_no_letter(
    merchant, app, box, asked, at, monkeypatch
) -> None:
    """Nothing goes out in the clear; the letter waits, somebody is called, and then it is sent."""
    runtime = app.extensions["mafu.runtime"]
    strict = dataclasses.replace(runtime, settings=runtime.settings.model_copy(update=asked))
    invite(merchant)
    with listening(monkeypatch) as told, monkeypatch.context() as patch:
        patch.setitem(app.extensions, "mafu.runtime", strict)
        assert work() == 1
    assert [each["log_level"] for each in told if each["event"] == "mail delayed"] == ["critical"]
    assert box.mails == []
    assert len(rows_of(Row)) == 1
    at(timedelta(minutes=1))
    assert work() == 1
    assert len(box.mails) == 1


@pytest.mark.parametrize(
    ("answer", "is_the_operators"), [("530 go private first", True), ("451 later", False)]
)
def test_a_no_that_is_not_of_the_letter_loses_none(app, box, monkeypatch, answer, is_the_operators) -> None:
    async def refuse(*_: object) -> str:
        return answer

    here = app.extensions["mafu.runtime"].settings
    message = letter_views.message_of(Letter(Topic.INVITATION, "a@b.example", facts=FACTS), "ml_1")
    monkeypatch.setattr(box, "handle_MAIL", refuse, raising=False)
    with pytest.raises(MailDelayed) as caught:
        mail.send(message, "a@b.example", here)
    assert isinstance(caught.value, MailHalted) is is_the_operators


def test_an_address_that_nobody_has_is_answered_like_one_that_somebody_has(
    merchant, box, monkeypatch
) -> None:
    """Nothing is looked up while somebody waits: the same answer, the same rows, no password checked."""
    checked = count_checks(monkeypatch)
    left = []
    for email in (merchant.email, "nobody@cafe.example"):
        assert forgotten.ask(email, address="198.51.100.7") is None
        left.append(
            (len(rows_of(Row)), len(rows_of(Job, kind=Kind.MAIL)), len(rows_of(SignInLink)), len(checked))
        )
    assert left == [(1, 1, 0, 0), (2, 2, 0, 0)]
    assert {row.merchant_id for row in rows_of(Row)} == {letters.UNKNOWN}
    work()
    assert box.recipients == [[merchant.email]]
    people.use_reset_link(link_in(box), "a long enough password", address="")
    assert people.sign_in(merchant.email, "a long enough password", address="198.51.100.7")


def test_asking_too_often_has_to_wait_whoevers_address_is_asked_for(merchant: Shop) -> None:
    for number in range(5):
        forgotten.ask(f"{number}@nobody.example", address="203.0.113.1")
    with pytest.raises(TooManyRequests):
        forgotten.ask("new@nobody.example", address="203.0.113.1")


def test_strangers_who_go_on_asking_neither_fill_a_mailbox_nor_keep_its_owner_out(
    merchant: Shop, box: Mailbox, at
) -> None:
    """One letter an hour, three that open at once; and who owns it is heard and has a link that opens."""
    counts = []
    for hour in range(6):
        for number in range(20):
            forgotten.ask(merchant.email, address=f"198.51.100.{20 * hour + number}")
        work()
        counts.append(len(box.mails))
        at(timedelta(hours=1, seconds=1))
    assert counts == [1, 2, 3, 3, 3, 3]
    people.use_reset_link(link_in(box, 0), "a long enough password", address="203.0.113.9")
    work()
    before = len(box.mails)
    forgotten.ask(merchant.email, address="203.0.113.9")  # what was used counts no more
    work()
    assert len(box.mails) == before + 1
    assert people.link_owner(link_in(box), is_reset=True) == merchant.email


def test_a_person_who_is_gone_gets_no_link(merchant: Shop, box: Mailbox) -> None:
    token = invite(merchant)
    work()
    team.join(token, "a long enough password", LAPTOP)
    anna = people.find_user("anna@cafe.example")
    team.deactivate(merchant.id, anna.id, by=OWNER)
    before = len(box.mails)
    forgotten.ask("anna@cafe.example", address="")
    assert work() == 1
    assert len(box.mails) == before


def test_a_new_device_is_told_of_and_a_known_one_is_not(merchant: Shop, box: Mailbox) -> None:
    def sign_in(browser: Browser) -> int:
        with transaction() as tx:
            people.enter(tx, people.find_user(merchant.email), browser)
        work()
        return len(box.mails)

    assert [sign_in(each) for each in (LAPTOP, LAPTOP, PHONE, PHONE, LAPTOP)] == [0, 0, 1, 1, 1]
    assert box.mails[0]["Subject"] == "新设备登录：Chrome · Android"
    assert "198.51.100.8" in box.mails[0].get_content()
    assert len(rows_of(KnownDevice)) == 2


def test_a_change_of_the_second_factor_is_told_of(merchant: Shop, box: Mailbox) -> None:
    with transaction() as tx:
        token = people.enter(tx, people.find_user(merchant.email), LAPTOP)
    me = sessions.who_is(token)
    second_factor.drop_totp(me, me.actor("198.51.100.7"))
    work()
    assert box.mails[0]["Subject"] == "已移除一个二次验证方式"
    assert merchant.email in box.mails[0].get_content()


def test_a_letter_that_cannot_be_opened_any_more_is_dropped(merchant: Shop, box: Mailbox) -> None:
    with transaction() as tx:
        letters.write(tx, merchant.id, Letter(Topic.RESET, "a@b.example"))
        tx.exec_driver_sql("UPDATE letters SET sealed = 'v1.00000000.xxxx'")
    assert work() == 1
    assert box.mails == rows_of(Row) == []


def test_without_a_server_nothing_is_written(database_url: str, tmp_path) -> None:
    with running(settings_for(database_url, tmp_path)):
        shop = add_shop()
        invite(shop)
        with transaction() as tx:
            assert not letters.write(tx, shop.id, Letter(Topic.RESET, "a@b.example"))
            people.enter(tx, people.find_user(shop.email), LAPTOP)
            people.enter(tx, people.find_user(shop.email), PHONE)
        assert rows_of(Row) == rows_of(Job, kind=Kind.MAIL) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_host": "mail.example.com"},
        {"smtp_host": "mail.example.com", "smtp_from": "no address"},
        {"smtp_host": "mail.example.com", "smtp_from": "a@b.example\r\nBcc: c@d.example"},
        {"smtp_host": "mail.example.com", "smtp_from": "a@b.example", "smtp_security": "none"},
    ],
)
def test_settings_that_would_send_nothing_or_in_the_clear_are_refused(database_url, wrong) -> None:
    with pytest.raises(SettingsError):
        load_settings(**wrong)
