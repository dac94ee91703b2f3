"""People: who may come in, how slowly a guesser is let try, and what ends a session."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app import clock
from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated, TooManyRequests
from app.merchants import people, sessions, team
from app.merchants.guessing import FREE_TRIES, WAIT_S_MAX
from app.merchants.models import Merchant, Session, SignInFailure, SignInLink, User
from app.merchants.people import LINK_LIFE
from app.merchants.sessions import SESSION_LIFE, Browser
from app.merchants.weak import is_weak
from tests.books import row_of, rows_of, set_password
from tests.merchants.guesses import count_checks

HERE, ELSEWHERE = "198.51.100.7", "203.0.113.9"


def refusal(email: str, password: str = "wrong horse battery", address: str = HERE) -> tuple[str, str]:
    """Code and text of a refused sign-in."""
    with pytest.raises((NotAuthenticated, TooManyRequests)) as caught:
        people.sign_in(email, password, address=address)
    return caught.value.code, caught.value.detail


def wait_of(email: str, address: str = HERE) -> int:
    """How long the door says to wait; 0 if it merely says no."""
    with pytest.raises((NotAuthenticated, TooManyRequests)) as caught:
        people.sign_in(email, "wrong horse battery", address=address)
    return getattr(caught.value, "retry_after_s", 0)


def together(work, ways: int = 12) -> list[object]:
    barrier, results = threading.Barrier(ways), [None] * ways

    def run(number: int) -> None:
        barrier.wait(timeout=30)
        results[number] = work()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(ways)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return results


def test_the_right_password_opens_a_session_of_its_owner(merchant, other_merchant):
    for email in (merchant.email, merchant.email.upper(), f"  {merchant.email} "):
        person = sessions.who_is(people.sign_in(email, merchant.password, address=HERE))
        assert (person.merchant_id, person.user_id) == (merchant.id, merchant.user_id)
        assert (person.email, person.merchant_name, person.role) == (merchant.email, "晨光咖啡馆", "owner")


def test_a_token_cannot_be_read_from_the_table_nor_guessed(merchant):
    tokens = {people.sign_in(merchant.email, merchant.password, address=HERE) for _ in range(3)}
    assert len(tokens) == 3
    for row in rows_of(Session):
        assert not any(token in str(row) for token in tokens)
    for wrong in ("", "x", "x" * 5000, "\x00", "\ud800", "码付", *(token[:-1] for token in tokens)):
        assert sessions.who_is(wrong) is None


def test_a_password_is_stored_as_argon2id(merchant):
    stored = row_of(User, id=merchant.user_id).password_hash
    assert stored.startswith("$argon2id$")
    assert merchant.password not in stored


def test_the_refusal_is_the_same_whoever_exists(merchant):
    with transaction() as tx:
        row = {"merchant_id": merchant.id, "id": "usr_link", "email": "link@cafe.example", "name": "x"}
        tx.execute(sa.insert(User).values(**row, role="owner", created_at=clock.now()))
    known, by_link_only, unknown = merchant.email, "link@cafe.example", "nobody@cafe.example"
    said = {refusal(email, address=email) for email in (known, by_link_only, unknown, "", "\x00", "x" * 5000)}
    assert said == {("wrong_password", "the e-mail address or the password is wrong")}


def test_nobody_is_slowed_down_before_the_fifth_wrong_password(merchant):
    for _ in range(FREE_TRIES - 1):
        assert wait_of(merchant.email) == 0
    assert people.sign_in(merchant.email, merchant.password, address=HERE)


def test_each_further_wrong_password_doubles_the_wait(merchant, at):
    for _ in range(FREE_TRIES):
        assert wait_of(merchant.email) == 0
    waits = []
    for _ in range(12):
        waits.append(wait_of(merchant.email))
        at(timedelta(seconds=waits[-1]))
        assert wait_of(merchant.email) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, WAIT_S_MAX, WAIT_S_MAX]


def test_while_it_waits_not_even_the_right_password_is_looked_at(merchant, at):
    for _ in range(FREE_TRIES):
        wait_of(merchant.email)
    assert refusal(merchant.email, merchant.password)[0] == "too_many_requests"
    at(timedelta(seconds=2))
    assert people.sign_in(merchant.email, merchant.password, address=HERE)


def test_unknown_people_are_slowed_down_alike(merchant, at):
    """Otherwise the wait itself would tell who exists."""
    waits = {}
    for email in (merchant.email, "nobody@cafe.example"):
        waits[email] = [wait_of(email, address=email) for _ in range(FREE_TRIES + 2)]
    assert waits[merchant.email] == waits["nobody@cafe.example"]


def test_an_address_that_tries_many_people_is_slowed_down(merchant):
    for number in range(FREE_TRIES):
        wait_of(f"victim{number}@cafe.example", address=HERE)
    assert wait_of(merchant.email, address=HERE) > 0
    assert people.sign_in(merchant.email, merchant.password, address=ELSEWHERE)


def test_many_addresses_that_try_one_person_are_slowed_down(merchant):
    for number in range(FREE_TRIES):
        wait_of(merchant.email, address=f"198.51.100.{number}")
    assert wait_of(merchant.email, address=ELSEWHERE) > 0


def test_a_good_sign_in_forgets_the_failures_of_the_person(merchant):
    for _ in range(FREE_TRIES - 1):
        wait_of(merchant.email, address=HERE)
    people.sign_in(merchant.email, merchant.password, address=ELSEWHERE)
    for _ in range(FREE_TRIES - 1):
        assert wait_of(merchant.email, address=ELSEWHERE) == 0


def test_failures_are_forgotten_in_a_day(merchant, at):
    for _ in range(FREE_TRIES + 1):
        wait_of(merchant.email)
    at(timedelta(days=1, hours=1))
    assert wait_of(merchant.email) == 0
    assert {row.count for row in rows_of(SignInFailure)} == {1}


def test_no_failure_names_its_person_or_address(merchant):
    wait_of(merchant.email)
    stored = str(rows_of(SignInFailure))
    assert merchant.email not in stored
    assert HERE not in stored


def test_guesses_at_the_same_time_all_count(app, merchant):
    """A dozen at once must not count as one, nor break on the row that they all want to make."""

    def guess() -> str:
        with app.app_context():
            return refusal(merchant.email)[0]

    codes = Counter(together(guess))
    assert sum(codes.values()) == 12
    assert set(codes) <= {"wrong_password", "too_many_requests"}
    assert {row.count for row in rows_of(SignInFailure)} == {codes["wrong_password"]}


def test_a_session_ends_by_itself(merchant, at):
    token = people.sign_in(merchant.email, merchant.password, address=HERE)
    at(SESSION_LIFE - timedelta(minutes=1))
    assert sessions.who_is(token)
    at(timedelta(minutes=2))
    assert sessions.who_is(token) is None
    people.sign_in(merchant.email, merchant.password, address=HERE)
    assert len(rows_of(Session)) == 1  # what has ended is swept out


def test_signing_out_ends_this_session_alone(merchant):
    here, there = (people.sign_in(merchant.email, merchant.password, address=HERE) for _ in range(2))
    sessions.sign_out(here)
    sessions.sign_out(here)
    sessions.sign_out("unknown")
    assert sessions.who_is(here) is None
    assert sessions.who_is(there)


def test_a_new_password_ends_every_session_of_its_owner_and_nobody_elses(merchant, other_merchant):
    mine = [people.sign_in(merchant.email, merchant.password, address=HERE) for _ in range(2)]
    theirs = people.sign_in(other_merchant.email, other_merchant.password, address=HERE)
    set_password(merchant, "a new horse battery")
    assert [sessions.who_is(token) for token in mine] == [None, None]
    assert sessions.who_is(theirs)
    assert refusal(merchant.email, merchant.password, ELSEWHERE)[0] == "wrong_password"
    assert people.sign_in(merchant.email, "a new horse battery", address=ELSEWHERE)


def test_a_password_changed_while_it_is_checked_opens_nothing(merchant, monkeypatch):
    """The thief's sign-in is under way when the owner changes the password: no session may survive."""
    find_user = people.find_user

    def find_and_then_change(email: str):
        user = find_user(email)
        set_password(merchant, "a new horse battery")
        return user

    monkeypatch.setattr(people, "find_user", find_and_then_change)
    assert refusal(merchant.email, merchant.password)[0] == "wrong_password"
    assert rows_of(Session) == []


@pytest.mark.parametrize("password", ["", "123456789", "x" * 201])
def test_a_password_has_10_to_200_characters(merchant, password):
    with pytest.raises(InvalidRequest) as caught:
        set_password(merchant, password)
    assert caught.value.param == "password"
    assert people.sign_in(merchant.email, merchant.password, address=HERE)


@pytest.mark.parametrize(
    "password",
    [
        "qwertyuiop",
        "1234567890",
        "9876543210",
        "abcdefghijk",
        "aaaaaaaaaaaa",
        "1212121212",
        "Password123",
        "manchester2026!",
        "woaini1314",
        "OWNER@cafe.example",
        "owner2026!!",
        "晨光咖啡馆2026!!!",
        "!!2026!!!!!",
    ],
)
def test_a_password_that_is_guessed_first_is_refused(merchant, password):
    link = team.make_reset_link(merchant.id, merchant.user_id)
    with pytest.raises(InvalidRequest) as caught:
        people.hash_password(password, (merchant.email, "晨光咖啡馆"))
    assert (caught.value.code, caught.value.param) == ("password_weak", "password")
    if "晨光" not in password:
        with pytest.raises(InvalidRequest):
            people.use_reset_link(link, password, address=HERE)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "咖啡与晨光与老王同在此地", "u7Ykq-92fLm", "\ud800" * 5 + "abcde"]
)
def test_any_other_password_is_taken(password):
    assert not is_weak(password, ("owner@cafe.example", "晨光咖啡馆"))


def test_whoever_guesses_learns_nothing_from_the_time_it_takes(merchant, monkeypatch):
    """Known, unknown, without a password, deactivated: the words are the same, and one hash is checked."""
    unknown = "nobody@cafe.example"
    shop_id, _ = people.add_merchant("x", email="linked@cafe.example")
    assert shop_id
    done = count_checks(monkeypatch)
    said = set()
    for email in (merchant.email, unknown, "linked@cafe.example", "no address", "\x00@x"):
        del done[:]
        said.add(refusal(email, address=f"198.51.100.{len(said)}{len(email)}"))
        assert done == ["verify"], email
    assert len(said) == 1


def test_an_invitation_that_is_spent_or_unknown_costs_no_hash(merchant, monkeypatch):
    done = count_checks(monkeypatch)
    for token in ("", "unknown", "x" * 300):
        with pytest.raises(NotAuthenticated):
            team.join(token, "a long enough password", Browser())
        with pytest.raises(NotAuthenticated):
            people.use_reset_link(token, "a long enough password", address=HERE)
    assert done == []


def test_a_password_is_compared_to_its_last_character(merchant):
    long = "éàüöi" * 39 + "éàüöx"
    set_password(merchant, long)
    assert people.sign_in(merchant.email, long, address=HERE)
    assert refusal(merchant.email, "éàüöi" * 39 + "éàüöy")[0] == "wrong_password"


def test_a_link_signs_in_once(merchant):
    link = people.make_sign_in_link(merchant.id, merchant.user_id)
    assert sessions.who_is(people.use_sign_in_link(link)).user_id == merchant.user_id
    for wrong in (link, "", "x" * 5000, "\x00", link[:-1]):
        with pytest.raises(NotAuthenticated, match="was used or is too old"):
            people.use_sign_in_link(wrong)
    assert link not in str(rows_of(SignInLink))


def test_a_link_ends_after_a_day(merchant, at):
    link = people.make_sign_in_link(merchant.id, merchant.user_id)
    at(LINK_LIFE + timedelta(seconds=1))
    with pytest.raises(NotAuthenticated):
        people.use_sign_in_link(link)


def test_a_link_used_by_twelve_at_once_opens_one_session(app, merchant):
    link = people.make_sign_in_link(merchant.id, merchant.user_id)

    def use() -> bool:
        with app.app_context():
            try:
                return bool(people.use_sign_in_link(link))
            except NotAuthenticated:
                return False

    assert Counter(together(use)) == {True: 1, False: 11}
    assert len(rows_of(Session)) == 1


def test_an_e_mail_address_belongs_to_one_person(merchant):
    before = len(rows_of(Merchant))
    for email in (merchant.email, merchant.email.upper(), f" {merchant.email}"):
        with pytest.raises(Conflict) as caught:
            people.add_merchant("Copy", email=email)
        assert caught.value.code == "email_taken"
    assert len(rows_of(Merchant)) == before


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[
            ("email", text)
            for text in ("", "x", "@", "a@", "@b", "a b@c", "a@b\x00", "a@b@c", "x" * 65 + "@b", "\ud800@b")
        ],
        *[("name", text) for text in ("", "  ", "x" * 81, "a\x00b", "a\nb", "\u202eevil")],
        *[("owner", text) for text in ("x" * 81, "a\x00b")],
        *[("language", text) for text in ("", "fr", "ZH")],
        *[("password", text) for text in ("", "short", "x" * 201)],
    ],
)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_merchant_that_cannot_be_is_refused_by_field(app, field, bad):
    good = {
        "name": "Shop",
        "email": "a@b.example",
        "owner": "Ann",
        "language": "en",
        "password": "correct horse",
    }
    with pytest.raises(InvalidRequest) as caught:
        people.add_merchant(**{**good, field: bad})
    assert caught.value.param == field
    assert rows_of(Merchant) == []


def test_a_new_password_ends_links_that_were_not_used(merchant):
    token = people.make_sign_in_link(merchant.id, merchant.user_id)
    set_password(merchant, "a brand new password")
    with pytest.raises(NotAuthenticated):
        people.use_sign_in_link(token)
