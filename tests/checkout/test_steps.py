"""Which page for which state: pure, so every corner is cheap to look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.checkout.steps import (
    Face,
    Opened,
    Status,
    Try,
    choices_of,
    is_due,
    seconds_left,
    status_of,
    version_of,
    view_of,
)
from app.providers.base import CallBridge, Redirect, Scene, ShowQR

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CHARGE = Opened(
    charge_id="ch_1",
    merchant_id="me_1",
    merchant_name="晨光咖啡馆",
    merchant_language="zh",
    livemode=False,
    state="pending",
    amount_minor=1250,
    currency="CNY",
    description="一杯拿铁",
    merchant_order_no=None,
    return_url=None,
    created_at=NOW - timedelta(minutes=1),
    expires_at=NOW + timedelta(hours=2),
    paid_at=None,
    paid_minor=None,
    refunded_minor=0,
    provider=None,
    accent=None,
    logo_version=None,
    review=None,
    providers=frozenset({"alipay"}),
    tries=(),
)
LINK = Redirect("https://cashier.example/1")
CODE = ShowQR("https://qr.example/1")
BRIDGE = CallBridge("WeixinJSBridge", {"package": "prepay_id=1"})


def tried(*tries, **more):
    """Newest first."""
    return replace(CHARGE, tries=tries, **more)


def attempt(state="started", scene="mobile", provider="alipay", number=1, **more):
    return Try(f"at_{number}", provider, scene, state, **more)


@pytest.mark.parametrize(
    ("opened", "status"),
    [
        (CHARGE, Status.PENDING),
        (tried(attempt()), Status.PROCESSING),
        (tried(attempt("failed")), Status.FAILED),
        (tried(attempt("closed")), Status.FAILED),
        (tried(attempt("failed", number=2), attempt("started")), Status.PROCESSING),
        (tried(attempt("mismatched")), Status.REVIEW),
        (tried(attempt("succeeded"), state="paid"), Status.PAID),
        (tried(attempt("mismatched", number=2), attempt("succeeded"), state="paid"), Status.PAID),
        (tried(state="canceled"), Status.CANCELED),
        (tried(state="expired"), Status.EXPIRED),
        (tried(attempt(), state="expired"), Status.EXPIRED),
        (tried(attempt("mismatched"), state="expired"), Status.REVIEW),
        (replace(CHARGE, expires_at=NOW), Status.EXPIRED),
        (tried(attempt(), expires_at=NOW), Status.PROCESSING),
    ],
)
def test_the_status_is_the_charge_in_one_word(opened, status):
    assert status_of(opened, NOW) is status


def test_an_open_attempt_here_waits_and_a_wallets_code_is_shown():
    assert view_of(tried(attempt(step=LINK)), Scene.MOBILE, NOW).face is Face.WAIT
    assert view_of(tried(attempt(scene="desktop", step=CODE)), Scene.DESKTOP, NOW).face is Face.SCAN


def test_an_attempt_on_another_device_does_not_take_this_page_away():
    view = view_of(tried(attempt(scene="mobile", step=LINK)), Scene.DESKTOP, NOW)
    assert (view.face, view.elsewhere, view.attempt) == (Face.PAY, True, None)


def test_coming_back_is_patience_and_never_payment():
    opened = tried(attempt(scene="mobile", step=LINK))
    for scene in (Scene.MOBILE, Scene.ALIPAY, Scene.DESKTOP):
        assert view_of(opened, scene, NOW, came_back=True).face is Face.WAIT
    assert view_of(CHARGE, Scene.MOBILE, NOW, came_back=True).face is Face.PAY


def test_the_chosen_wallets_open_attempt_counts_although_another_is_newer():
    older = attempt(scene="desktop", step=CODE, number=1)
    newer = attempt("closed", scene="desktop", provider="wechatpay", number=2)
    assert view_of(tried(newer, older), Scene.DESKTOP, NOW, chosen="alipay").attempt is older
    assert view_of(tried(newer, older), Scene.DESKTOP, NOW).face is Face.FAILED


def test_what_another_payer_began_here_is_elsewhere_and_never_ones_own():
    theirs = attempt(scene="wechat", provider="wechatpay", payer_key="k", step=BRIDGE)
    opened = tried(theirs, providers=frozenset({"wechatpay"}))
    stranger = view_of(opened, Scene.WECHAT, NOW)
    assert (stranger.face, stranger.elsewhere, stranger.step) == (Face.PAY, True, None)
    mine = view_of(opened, Scene.WECHAT, NOW, held=frozenset({theirs.id}))
    assert (mine.face, mine.elsewhere, mine.step) == (Face.WAIT, False, BRIDGE)
    back = view_of(opened, Scene.WECHAT, NOW, came_back=True)
    assert (back.face, back.step) == (Face.WAIT, None)


def test_another_payers_failure_is_not_told_to_this_one():
    opened = tried(attempt("failed", scene="wechat", provider="wechatpay", payer_key="k"))
    assert view_of(opened, Scene.WECHAT, NOW, held=frozenset({"at_2"}), how="x").face is not Face.FAILED


def test_a_stale_step_is_not_shown_and_changes_the_version():
    ends = NOW + timedelta(minutes=5)
    opened = tried(attempt(scene="desktop", step=CODE, step_expires_at=ends))
    before = view_of(opened, Scene.DESKTOP, NOW)
    assert (before.face, before.step, before.stale) == (Face.SCAN, CODE, False)
    after = view_of(opened, Scene.DESKTOP, ends)
    assert (after.face, after.step, after.stale) == (Face.WAIT, None, True)
    assert version_of(opened, NOW) != version_of(opened, ends)


def test_after_the_deadline_no_step_is_shown():
    view = view_of(tried(attempt(step=LINK), expires_at=NOW), Scene.MOBILE, NOW)
    assert (view.step, view.unsure) == (None, True)


def test_help_is_about_a_wallet_that_cannot_work_here():
    both = replace(CHARGE, providers=frozenset({"alipay", "wechatpay"}))
    view = view_of(both, Scene.WECHAT, NOW, how="alipay")
    assert view.face is Face.HELP
    assert view.how is not None
    assert view.how.code == "alipay"
    assert view_of(both, Scene.WECHAT, NOW, how="wechatpay").face is Face.PAY
    assert view_of(both, Scene.WECHAT, NOW).face is Face.PAY
    assert view_of(CHARGE, Scene.WECHAT, NOW).face is Face.HELP  # nothing else could be done
    over = tried(attempt("succeeded"), state="paid")
    assert view_of(over, Scene.WECHAT, NOW, how="alipay").face is Face.PAID


def test_a_failure_offers_another_try():
    view = view_of(tried(attempt("failed")), Scene.MOBILE, NOW)
    assert (view.face, view.status) == (Face.FAILED, Status.FAILED)


def test_after_the_deadline_an_open_attempt_is_checked_and_not_called_expired():
    view = view_of(tried(attempt(step=LINK), expires_at=NOW), Scene.MOBILE, NOW)
    assert (view.face, view.unsure) == (Face.WAIT, True)
    assert view_of(tried(attempt(), state="expired"), Scene.MOBILE, NOW).unsure
    assert not view_of(tried(attempt("closed"), state="expired"), Scene.MOBILE, NOW).unsure


def test_a_wallet_that_cannot_work_here_is_named_as_such():
    [inside] = choices_of(CHARGE, Scene.WECHAT)
    assert (inside.info.code, inside.works) == ("alipay", False)
    assert choices_of(CHARGE, Scene.MOBILE)[0].works
    assert choices_of(replace(CHARGE, currency="JPY"), Scene.MOBILE) == []
    assert choices_of(replace(CHARGE, providers=frozenset({"gone"})), Scene.MOBILE) == []


def test_the_version_changes_with_everything_a_page_shows():
    states = [
        CHARGE,
        tried(attempt()),
        tried(attempt(step=LINK)),
        tried(attempt("failed")),
        tried(attempt("succeeded"), state="paid"),
        tried(attempt("succeeded"), state="paid", refunded_minor=100),
        replace(CHARGE, expires_at=NOW),
    ]
    assert len({version_of(opened, NOW) for opened in states}) == len(states)
    assert version_of(CHARGE, NOW) == version_of(CHARGE, NOW + timedelta(minutes=5))


def test_an_attempt_is_asked_about_when_nobody_has_for_a_while():
    every = timedelta(seconds=3)
    assert not is_due(CHARGE, NOW, every)
    assert is_due(tried(attempt()), NOW, every)
    assert not is_due(tried(attempt(asked_at=NOW - timedelta(seconds=2))), NOW, every)
    assert is_due(tried(attempt(asked_at=NOW - every)), NOW, every)
    assert not is_due(tried(attempt("failed")), NOW, every)


def test_seconds_left_never_go_below_nothing():
    assert seconds_left(CHARGE, NOW) == 7200
    assert seconds_left(CHARGE, NOW + timedelta(days=1)) == 0
