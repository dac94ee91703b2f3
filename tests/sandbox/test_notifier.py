"""Notifications: asked again on Alipay's schedule until the seven bytes come, and not lost by a restart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sandbox import outgoing
from sandbox.alipay import Alipay

SPEED = 1200.0


def pay(far: Any, merchant: Any, shop: Any, number: str = "T1") -> None:
    merchant.client.api_alipay_trade_precreate("s", number, "10.00", notify_url=shop.url)
    assert far.act(number, "pay").status == 200


def notifications(far: Any, number: str = "T1") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = far.trade(number)["notifications"]
    return found


def test_retries_follow_the_schedule_with_one_id_and_a_fresh_signature(
    far: Any, merchant: Any, shop: Any
) -> None:
    shop.answers = [(200, b"fail")] * 3
    pay(far, merchant, shop)
    heard = shop.wait(4)
    assert len({note["notify_id"] for note in heard}) == 1
    assert all(merchant.genuine(note) for note in heard)
    gaps = [later - sooner for sooner, later in itertools.pairwise(shop.times)]
    for gap, full in zip(gaps, Alipay.retry_gaps_s, strict=False):
        assert full / SPEED <= gap < full / SPEED + 1.0


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"SUCCESS"),
        (200, b"success\n"),
        (200, b"\xef\xbb\xbfsuccess"),
        (200, b'"success"'),
        (200, b"<html>success</html>"),
        (200, b""),
        (204, b""),
        (302, b"success"),
        (500, b"success"),
    ],
)
def test_only_the_seven_bytes_end_the_asking(
    far: Any, merchant: Any, shop: Any, answer: tuple[int, bytes]
) -> None:
    shop.answers = [answer]
    pay(far, merchant, shop)
    shop.wait(2)
    assert len(shop.heard) == 2


def test_success_ends_the_asking(far: Any, merchant: Any, shop: Any, sandbox_tools: Any) -> None:
    pay(far, merchant, shop)
    sandbox_tools.wait_until(lambda: notifications(far)[0]["state"] == "delivered")
    assert notifications(far)[0]["sends"][0]["answer"] == "success"
    assert len(shop.heard) == 1


def test_after_eight_tries_it_gives_up(far: Any, merchant: Any, shop: Any, sandbox_tools: Any) -> None:
    far.box.speed = 200_000.0
    try:
        shop.answers = [(200, b"fail")] * 20
        pay(far, merchant, shop)
        sandbox_tools.wait_until(lambda: notifications(far)[0]["state"] == "exhausted")
    finally:
        far.box.speed = SPEED
    assert len(shop.heard) == 8


def test_an_address_where_nobody_listens_is_asked_again(
    far: Any, merchant: Any, shop: Any, sandbox_tools: Any
) -> None:
    shop.url = "http://127.0.0.1:1/nobody"
    pay(far, merchant, shop)
    sandbox_tools.wait_until(lambda: len(notifications(far)[0]["sends"]) >= 2)
    assert notifications(far)[0]["sends"][0]["status"] is None


def test_a_shop_that_hangs_does_not_hold_up_the_others(
    far: Any, merchant: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 0.3)
    shop.slow_s = 0.6
    for number in ("T1", "T2", "T3"):
        pay(far, merchant, shop, number)
    shop.wait(3)
    assert shop.times[2] - shop.times[0] < 0.5
    shop.slow_s = 0.0


def test_redirects_are_not_followed(far: Any, merchant: Any, shop: Any, sandbox_tools: Any) -> None:
    shop.answers = [(302, b"")]
    pay(far, merchant, shop)
    sandbox_tools.wait_until(lambda: notifications(far)[0]["state"] == "delivered")
    assert [send["status"] for send in notifications(far)[0]["sends"]] == [302, 200]


def test_sent_again_by_hand_it_keeps_its_id(far: Any, merchant: Any, shop: Any) -> None:
    pay(far, merchant, shop)
    shop.wait(1)
    assert far.act("T1", "notify").status == 200
    first, again = shop.wait(2)
    assert first["notify_id"] == again["notify_id"]


def test_without_an_address_nothing_is_sent(far: Any, merchant: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "10.00")
    far.act("T1", "pay")
    assert notifications(far) == []
    assert far.act("T1", "notify").status == 409


def test_a_restart_keeps_apps_keys_trades_levers_and_undelivered_news(
    own_far: Any, app_key: Any, shop: Any, sandbox_tools: Any
) -> None:
    merchant = sandbox_tools.register(own_far, app_key)
    own_far.pull("decline", out_trade_no="T2")
    own_far.pull("delay", value="1")
    pay(own_far, merchant, shop)
    merchant.client.api_alipay_trade_precreate("s", "T2", "10.00")
    own_far.restart()

    again = sandbox_tools.register(own_far, app_key)
    assert again.facts == merchant.facts
    (heard,) = shop.wait(1)
    assert merchant.genuine(heard)
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"
    assert own_far.act("T2", "pay").json["outcome"] == "declined"


def test_what_a_killed_process_was_sending_is_sent_after_the_restart(
    own_far: Any, app_key: Any, shop: Any, sandbox_tools: Any
) -> None:
    merchant = sandbox_tools.register(own_far, app_key)
    own_far.pull("delay", value="0.5")
    pay(own_far, merchant, shop)
    with own_far.box.store.write() as db:
        db.execute("UPDATE notes SET leased_until_ts = due_ts + 3600")
    own_far.restart()
    assert merchant.genuine(shop.wait(1)[0])


def test_a_trade_that_nobody_asks_about_closes_on_time_and_says_so(
    far: Any, merchant: Any, shop: Any
) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "10.00", notify_url=shop.url)
    far.act("T1", "open")
    with far.box.store.write() as db:
        db.execute("UPDATE trades SET expires_ts = opened_ts + 0.1")
    (heard,) = shop.wait(1)
    assert heard["trade_status"] == "TRADE_CLOSED"
    assert merchant.genuine(heard)


def test_a_notes_id_is_never_used_twice(far: Any, merchant: Any, shop: Any) -> None:
    """A send may outlive a reset; its answer must not be booked on the next trade's note."""
    ids = []
    for _ in range(2):
        pay(far, merchant, shop)
        with far.box.store.read() as db:
            ids.append(db.execute("SELECT max(id) FROM notes").fetchone()[0])
        far.post("/control/reset")
    assert ids[1] > ids[0]


def test_private_keys_are_for_the_owner_only(own_far: Any, app_key: Any, sandbox_tools: Any) -> None:
    sandbox_tools.register(own_far, app_key, mode="cert")
    folder = own_far.box.data_dir / "alipay"
    found = sorted(folder.iterdir())
    assert [path.name for path in found if path.suffix == ".key"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    listed = own_far.get("/control/alipay/apps").text + own_far.get("/").text
    assert "PRIVATE" not in listed
