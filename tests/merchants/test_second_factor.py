"""The second factor: one use per code, five tries, recovery codes, and no way around it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pyotp
import pytest
from flask import Flask

from app import clock
from app.errors import InvalidRequest, NotAuthenticated, PermissionDenied, TooManyRequests
from app.merchants import people, proofs, second_factor, sessions, team
from app.merchants.actor import ALL, Actor
from app.merchants.models import RecoveryCode, Session, User
from app.merchants.sessions import Browser
from tests.books import row_of, rows_of
from tests.conftest import Shop

HERE = Browser("198.51.100.7", "Firefox")
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def code_now(secret: str, steps: int = 0) -> str:
    """What the app shows, or showed or will show some steps of 30 seconds away."""
    return pyotp.TOTP(secret).at(clock.now() + timedelta(seconds=30 * steps))


def set_up(shop: Shop, at) -> tuple[str, list[str]]:
    """A secret in use, a minute ago, so that this moment's code is fresh; and the recovery codes."""
    person = sessions.who_is(people.sign_in(shop.email, shop.password, address="x"))
    secret = pyotp.parse_uri(second_factor.begin_totp(person)).secret
    codes = second_factor.confirm_totp(person, code_now(secret), person.actor())
    at(timedelta(minutes=1))
    return secret, codes


def half(shop: Shop) -> str:
    token = people.sign_in(shop.email, shop.password, address="x")
    assert sessions.who_is(token) is None
    return token


def test_a_secret_is_in_use_after_its_first_code_and_sealed(merchant: Shop, at) -> None:
    person = sessions.who_is(people.sign_in(merchant.email, merchant.password, address="x"))
    secret = pyotp.parse_uri(second_factor.begin_totp(person)).secret
    assert sessions.who_is(people.sign_in(merchant.email, merchant.password, address="x"))  # not yet
    with pytest.raises(InvalidRequest):
        second_factor.confirm_totp(person, "000000" if code_now(secret) != "000000" else "1", person.actor())
    codes = second_factor.confirm_totp(person, code_now(secret), person.actor())
    assert len(set(codes)) == 10
    assert secret not in row_of(User, id=merchant.user_id).totp_sealed
    assert not any(code in str(rows_of(RecoveryCode)) for code in codes)
    half(merchant)


def test_a_right_code_opens_a_session_under_another_token(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    token = half(merchant)
    whole = second_factor.finish_sign_in(token, f" {code_now(secret)[:3]} {code_now(secret)[3:]} ", HERE)
    assert whole != token
    assert sessions.who_is(whole).has_totp
    assert sessions.half_of(token) is None


def test_a_code_opens_once_and_so_does_none_before_it(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    used, earlier = code_now(secret), code_now(secret, -1)
    second_factor.finish_sign_in(half(merchant), used, HERE)
    for code in (used, earlier):
        with pytest.raises(NotAuthenticated):
            second_factor.finish_sign_in(half(merchant), code, HERE)


@pytest.mark.parametrize(("steps", "opens"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_a_clock_may_be_half_a_minute_off(merchant: Shop, at, steps: int, opens: bool) -> None:
    secret, _ = set_up(merchant, at)
    try:
        did = bool(second_factor.finish_sign_in(half(merchant), code_now(secret, steps), HERE))
    except NotAuthenticated:
        did = False
    assert did == opens


def test_one_code_used_by_eight_at_once_opens_one_session(app: Flask, merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    tokens, code = [half(merchant) for _ in range(8)], code_now(secret)
    barrier, won = threading.Barrier(8), []

    def use(token: str) -> None:
        barrier.wait(timeout=30)
        with app.app_context():
            try:
                won.append(bool(second_factor.finish_sign_in(token, code, HERE)))
            except (NotAuthenticated, TooManyRequests):
                won.append(False)

    threads = [threading.Thread(target=use, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert Counter(won)[True] == 1


def test_after_five_wrong_codes_one_signs_in_anew_and_waits(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    token = half(merchant)
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            second_factor.finish_sign_in(token, "abcdef", HERE)
    assert sessions.half_of(token) is None
    with pytest.raises(NotAuthenticated) as ended:
        second_factor.finish_sign_in(token, code_now(secret), HERE)
    assert ended.value.code == "sign_in_again"
    with pytest.raises(TooManyRequests):  # who knows the password begins again, and waits
        second_factor.finish_sign_in(half(merchant), code_now(secret), HERE)


def test_a_half_session_ends_in_ten_minutes(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    token = half(merchant)
    at(sessions.HALF_LIFE + timedelta(seconds=1))
    with pytest.raises(NotAuthenticated):
        second_factor.finish_sign_in(token, code_now(secret), HERE)


def test_a_recovery_code_opens_once_however_it_is_typed(merchant: Shop, at) -> None:
    _, codes = set_up(merchant, at)
    typed = codes[0].upper().replace("-", " ")
    assert sessions.who_is(second_factor.finish_sign_in(half(merchant), typed, HERE))
    with pytest.raises(NotAuthenticated):
        second_factor.finish_sign_in(half(merchant), codes[0], HERE)
    person = sessions.who_is(second_factor.finish_sign_in(half(merchant), codes[1], HERE))
    assert second_factor.count_recovery_codes(person) == 8
    second_factor.renew_recovery_codes(person, person.actor())
    with pytest.raises(NotAuthenticated):
        second_factor.finish_sign_in(half(merchant), codes[2], HERE)


def test_neither_a_reset_nor_a_link_goes_around_it(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    people.use_reset_link(
        team.make_reset_link(merchant.id, merchant.user_id), "yet another password", address="x"
    )
    for token in (
        people.sign_in(merchant.email, "yet another password", address="x"),
        people.use_sign_in_link(people.make_sign_in_link(merchant.id, merchant.user_id)),
    ):
        assert sessions.who_is(token) is None
        assert sessions.half_of(token) is not None
    assert sessions.who_is(second_factor.finish_sign_in(token, code_now(secret), HERE))


def test_only_the_server_takes_it_off_for_somebody(merchant: Shop, at) -> None:
    set_up(merchant, at)
    owner = people.find_user(merchant.email)
    with pytest.raises(PermissionDenied):
        team.make_reset_link(
            merchant.id, owner.id, by=Actor("boss@cafe.example", ALL, "owner"), drops_second_factor=True
        )
    team.make_reset_link(merchant.id, owner.id, drops_second_factor=True)
    assert sessions.who_is(people.sign_in(merchant.email, merchant.password, address="x"))
    assert rows_of(RecoveryCode) == []


def test_a_proof_wants_the_second_factor_where_there_is_one(merchant: Shop, at) -> None:
    secret, _ = set_up(merchant, at)
    token = second_factor.finish_sign_in(half(merchant), code_now(secret), HERE)
    at(sessions.PROOF_LIFE + timedelta(seconds=1))
    person = sessions.who_is(token)
    assert not person.is_fresh
    with pytest.raises(NotAuthenticated):
        proofs.prove(person, token, password=merchant.password, code="", browser=HERE)
    renewed = proofs.prove(person, token, password="", code=code_now(secret), browser=HERE)
    assert sessions.who_is(renewed).is_fresh
    assert sessions.who_is(token) is None
    assert len([row for row in rows_of(Session) if not row.is_half]) == 2  # the first one, and this
