"""Every lever does what its name says, at the payment it was meant for, as often as it was told."""

from __future__ import annotations

import http.client
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandbox import levers, words


def order(merchant: Any, number: str, shop: Any = None, amount: str = "10.00") -> dict[str, Any]:
    made: dict[str, Any] = merchant.client.api_alipay_trade_precreate(
        "s", number, amount, notify_url=shop.url if shop else None
    )
    return made


def test_a_next_lever_moves_one_payment_only(far: Any, merchant: Any) -> None:
    far.pull("decline", times=5)
    order(merchant, "T1")
    order(merchant, "T2")
    assert far.act("T1", "pay").json["outcome"] == "declined"
    assert far.act("T2", "pay").json["outcome"] == "paid"


def test_a_lever_of_one_number_leaves_the_others_alone(far: Any, merchant: Any) -> None:
    far.pull("decline", out_trade_no="T2")
    order(merchant, "T1")
    order(merchant, "T2")
    assert far.act("T1", "pay").json["outcome"] == "paid"
    assert far.act("T2", "pay").json["outcome"] == "declined"
    assert far.act("T2", "pay").json["outcome"] == "paid"  # it worked once


def test_an_always_lever_works_until_it_is_taken_off(far: Any, merchant: Any) -> None:
    far.pull("decline", scope="always")
    for number in ("T1", "T2"):
        order(merchant, number)
        assert far.act(number, "pay").json["outcome"] == "declined"
    assert far.ask("DELETE", "/control/levers").json == {"released": 1}
    assert far.act("T1", "pay").json["outcome"] == "paid"


def test_the_narrowest_lever_wins(far: Any, merchant: Any) -> None:
    far.pull("decline", value="risk", scope="always")
    far.pull("decline", value="password", out_trade_no="T1")
    order(merchant, "T1")
    assert far.act("T1", "pay").json["failure"] == "password"
    assert far.act("T1", "pay").json["failure"] == "risk"


def test_approve_pays_on_scanning(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("approve")
    made = order(merchant, "T1", shop)
    far.get(made["qr_code"])
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"
    shop.wait(1)


def test_close_ends_the_trade_under_the_shoppers_hand(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("close")
    order(merchant, "T1", shop)
    assert far.act("T1", "pay").status == 409
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_CLOSED"
    assert shop.wait(1)[0]["trade_status"] == "TRADE_CLOSED"


def test_slow_payment_waits(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("slow_payment", value="0.5")
    order(merchant, "T1", shop)
    assert far.act("T1", "pay").json["outcome"] == "processing"
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "WAIT_BUYER_PAY"
    assert shop.wait(1)[0]["trade_status"] == "TRADE_SUCCESS"
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"


def test_wrong_amount_is_genuinely_signed_everywhere(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("wrong_amount", value="-9.99")
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    (heard,) = shop.wait(1)
    assert merchant.genuine(heard)
    assert heard["total_amount"] == "0.01"
    assert merchant.client.api_alipay_trade_query("T1")["total_amount"] == "0.01"


def test_another_amount_can_be_paid_by_hand(far: Any, merchant: Any, shop: Any) -> None:
    order(merchant, "T1", shop)
    far.act("T1", "pay", amount="12.34")
    assert shop.wait(1)[0]["total_amount"] == "12.34"


def test_late_money_comes_in_after_closing_by_hand(far: Any, merchant: Any, shop: Any) -> None:
    order(merchant, "T1", shop)
    far.act("T1", "open")
    merchant.client.api_alipay_trade_close("T1")
    assert far.act("T1", "pay").status == 409
    assert far.act("T1", "pay", late=True).json["outcome"] == "paid"
    assert sorted(note["trade_status"] for note in shop.wait(2)) == ["TRADE_CLOSED", "TRADE_SUCCESS"]


def test_the_late_lever_pays_by_itself_after_closing(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("late", value="0.3")
    order(merchant, "T1", shop)
    far.act("T1", "open")
    assert merchant.client.api_alipay_trade_close("T1")["code"] == "10000"
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_CLOSED"
    assert [note["trade_status"] for note in shop.wait(2)] == ["TRADE_CLOSED", "TRADE_SUCCESS"]
    assert all(merchant.genuine(note) for note in shop.heard)
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"


def test_the_late_lever_without_seconds_lets_the_shopper_pay_a_closed_trade(far: Any, merchant: Any) -> None:
    far.pull("late", out_trade_no="T1")
    order(merchant, "T1")
    far.act("T1", "open")
    far.act("T1", "close")
    assert far.trade("T1")["state"] == "closed"
    assert far.act("T1", "pay").json["outcome"] == "paid"


def test_delayed_notifications_come_late(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("delay", value="0.6")
    order(merchant, "T1", shop)
    begun = time.monotonic()
    far.act("T1", "pay")
    shop.wait(1)
    assert shop.times[0] - begun >= 0.6


def test_dropped_notifications_never_arrive(far: Any, merchant: Any, shop: Any, sandbox_tools: Any) -> None:
    far.pull("drop")
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    sandbox_tools.wait_until(lambda: len(far.trade("T1")["notifications"][0]["sends"]) >= 3)
    assert shop.heard == []
    assert {send["how"] for send in far.trade("T1")["notifications"][0]["sends"]} == {"dropped"}


def test_a_number_of_drops_delays_until_the_retry(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("drop", times=2)
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    shop.wait(1)
    hows = [send["how"] for send in far.trade("T1")["notifications"][0]["sends"]]
    assert hows[:2] == ["dropped", "dropped"]


def test_duplicates_carry_the_same_notify_id(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("duplicate", value="3")
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    heard = shop.wait(4)
    assert len({note["notify_id"] for note in heard}) == 1
    time.sleep(0.5)
    assert len(shop.heard) == 4


@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        ("waiting_after", ["TRADE_SUCCESS", "WAIT_BUYER_PAY"]),
        ("waiting_before", ["WAIT_BUYER_PAY", "TRADE_SUCCESS"]),
        ("closed_before", ["TRADE_CLOSED", "TRADE_SUCCESS"]),
        ("closed_after", ["TRADE_SUCCESS", "TRADE_CLOSED"]),
    ],
)
def test_stale_news_comes_before_or_after(
    far: Any, merchant: Any, shop: Any, value: str, statuses: list[str]
) -> None:
    far.pull("reorder", value=value)
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    heard = shop.wait(2)
    assert [note["trade_status"] for note in heard] == statuses
    assert all(merchant.genuine(note) for note in heard)


@pytest.mark.parametrize("kind", ["bad_signature", "other_key", "other_app", "wrong_amount"])
def test_a_forged_notification_is_followed_by_a_genuine_retry(
    far: Any, merchant: Any, shop: Any, kind: str
) -> None:
    shop.answers = [(401, b"fail")]
    far.pull("forge", value=kind)
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    forged, retry = shop.wait(2)
    assert merchant.genuine(forged) is (kind in ("other_app", "wrong_amount"))
    assert (forged["app_id"] != merchant.app_id) is (kind == "other_app")
    assert (forged["total_amount"] != "10.00") is (kind == "wrong_amount")
    assert merchant.genuine(retry)
    assert (retry["app_id"], retry["total_amount"]) == (merchant.app_id, "10.00")


@pytest.mark.parametrize("kind", ["bad_signature", "other_key"])
def test_a_payment_that_never_happened_can_be_claimed(far: Any, merchant: Any, shop: Any, kind: str) -> None:
    order(merchant, "T1", shop)
    far.act("T1", "forge", kind=kind)
    (heard,) = shop.wait(1)
    assert heard["trade_status"] == "TRADE_SUCCESS"
    assert not merchant.genuine(heard)
    assert far.trade("T1")["state"] == "offered"


def test_a_hanging_gateway_has_done_what_it_was_asked(far: Any, merchant: Any) -> None:
    order(merchant, "T1")
    far.act("T1", "pay")
    far.pull("hang", value="1.2", method="alipay.trade.refund")
    query = merchant.client.build_body(
        "alipay.trade.refund", {"out_trade_no": "T1", "refund_amount": "4.00", "out_request_no": "R1"}
    )
    path = f"/gateway.do?{merchant.client.sign_data(query)}"
    port = int(far.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
    connection.request("GET", path)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    again = merchant.client.api_alipay_trade_refund("4.00", "T1", out_request_no="R1")
    assert (again["fund_change"], again["refund_fee"]) == ("N", "4.00")


def test_a_server_error_hides_a_success(far: Any, merchant: Any) -> None:
    far.pull("server_error")
    query = merchant.client.build_body(
        "alipay.trade.precreate", {"out_trade_no": "T1", "total_amount": "1.00", "subject": "s"}
    )
    answer = far.get(f"/gateway.do?{merchant.client.sign_data(query)}")
    assert answer.status == 502
    assert "sign" not in answer.text
    assert far.trade("T1")["state"] == "offered"


def test_an_outage_has_no_effect(far: Any, merchant: Any) -> None:
    far.pull("outage", value="503")
    query = merchant.client.build_body(
        "alipay.trade.precreate", {"out_trade_no": "T1", "total_amount": "1.00", "subject": "s"}
    )
    assert far.get(f"/gateway.do?{merchant.client.sign_data(query)}").status == 503
    assert far.get("/control/trades/T1").status == 404
    assert order(merchant, "T1")["code"] == "10000"


def test_any_gateway_error_can_be_asked_for(far: Any, merchant: Any) -> None:
    far.pull("gateway_error", value="40005:isv.app-call-limited", method="alipay.trade.precreate")
    assert merchant.client.api_alipay_trade_query("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    limited = order(merchant, "T1")
    assert (limited["code"], limited["sub_code"]) == ("40005", "isv.app-call-limited")
    assert order(merchant, "T1")["code"] == "10000"


def test_queries_lie_a_number_of_times(far: Any, merchant: Any) -> None:
    order(merchant, "T1")
    far.act("T1", "pay")
    far.pull("query_error", times=2)
    answers = [merchant.client.api_alipay_trade_query("T1") for _ in range(3)]
    assert [node.get("sub_code") for node in answers] == ["ACQ.SYSTEM_ERROR", "ACQ.SYSTEM_ERROR", None]


def test_a_refund_fails_and_moves_nothing(far: Any, merchant: Any) -> None:
    order(merchant, "T1")
    far.act("T1", "pay")
    far.pull("refund_fail")
    failed = merchant.client.api_alipay_trade_refund("10.00", "T1")
    assert failed["sub_code"] == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    assert far.trade("T1")["refunds"] == []
    assert merchant.client.api_alipay_trade_refund("10.00", "T1")["fund_change"] == "Y"


def test_a_pending_refund_arrives_later_and_counts_at_once(far: Any, merchant: Any, shop: Any) -> None:
    client = merchant.client
    order(merchant, "T1", shop)
    far.act("T1", "pay")
    far.pull("refund_pending", value="0.6")
    assert client.api_alipay_trade_refund("6.00", "T1", out_request_no="R1")["fund_change"] == "N"
    assert "refund_status" not in client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no="T1")
    over = client.api_alipay_trade_refund("6.00", "T1", out_request_no="R2")
    assert over["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    heard = shop.wait(2)
    assert (heard[1]["out_biz_no"], heard[1]["refund_fee"]) == ("R1", "6.00")
    later = client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no="T1")
    assert later["refund_status"] == "REFUND_SUCCESS"


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "nonsense"},
        {"name": "delay", "value": "soon"},
        {"name": "delay", "value": "601"},
        {"name": "forge", "value": "x"},
        {"name": "decline", "scope": "trade"},
        {"name": "decline", "scope": "always", "out_trade_no": "T1"},
        {"name": "decline", "scope": "never"},
        {"name": "decline", "times": 0},
        {"name": "decline", "times": "3"},
        {"name": ["decline"]},
    ],
)
def test_a_lever_that_makes_no_sense_is_refused(far: Any, wish: dict[str, Any]) -> None:
    assert far.post("/control/levers", wish).status == 400
    assert far.get("/control/levers").json["data"] == []


def test_one_lever_can_be_taken_off(far: Any) -> None:
    far.pull("drop", scope="always")
    (lever,) = far.get("/control/levers").json["data"]
    assert far.ask("DELETE", f"/control/levers/{lever['id']}").status == 200
    assert far.ask("DELETE", f"/control/levers/{lever['id']}").status == 404


@pytest.mark.parametrize(
    ("fen", "outcome"), [(1, "paid"), (2, "declined"), (18, "closed"), (17, "processing"), (20, "paid")]
)
def test_magic_amounts_pull_levers(far: Any, merchant: Any, fen: int, outcome: str) -> None:
    order(merchant, "T1", amount=str(Decimal(fen) / 100))
    answer = far.act("T1", "pay").json
    assert answer.get("outcome", answer.get("error", {}).get("code")) == outcome


@pytest.mark.parametrize("fen", sorted(levers.MAGIC))
def test_every_magic_amount_plants_the_levers_it_promises(far: Any, merchant: Any, fen: int) -> None:
    query = merchant.client.api_alipay_trade_wap_pay("s", "T1", str(Decimal(fen) / 100))
    far.get(f"/gateway.do?{query}")
    pulled = far.get("/control/levers").json["data"]
    assert [(one["name"], one["value"], one["times_left"]) for one in pulled] == list(levers.MAGIC[fen])
    assert {one["out_trade_no"] for one in pulled} == {"T1"}


def test_every_lever_has_a_valid_default_two_names_and_a_place_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    for kind in levers.KINDS.values():
        assert re.fullmatch(kind.form, kind.default)
        assert f"lever_{kind.name}" in words.WORDS
        assert f"`{kind.name}`" in manual
    for fen in levers.MAGIC:
        assert f"¥{fen / 100:.2f}" in manual
