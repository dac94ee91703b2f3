"""UnionPay's notifications, and every lever that means something to it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import timing
from tests.sandbox.unionpay_hand import Client, read_answer, stamp, verify


@pytest.fixture
def client(far: Any, app_key: rsa.RSAPrivateKey) -> Client:
    return Client(far, app_key)


QUERY = {"txnType": "00", "txnSubType": "00", "bizType": "000000"}
QR = {"txnType": "01", "txnSubType": "07", "bizType": "000000"}


# Notifications


def test_news_is_repeated_until_the_status_is_200_and_the_body_does_not_matter(
    far: Any, client: Client, shop: Any, sandbox_tools: Any
) -> None:
    shop.answers = [(500, b"success"), (302, b"ok"), (204, b""), (200, b"whatever")]
    client.paid("ORDER0001", backUrl=shop.url)
    heard = shop.wait(4)
    assert len({news["signature"] for news in heard}) == 1  # nothing in it says when it was sent
    sandbox_tools.wait_until(lambda: far.trade("ORDER0001")["notifications"][0]["state"] == "delivered")
    time.sleep(0.4)
    assert len(shop.heard) == 4


def test_news_is_given_up_after_five_attempts(
    far: Any, client: Client, shop: Any, sandbox_tools: Any
) -> None:
    shop.answers = [(500, b"")] * 9
    client.paid("ORDER0001", backUrl=shop.url)
    sandbox_tools.wait_until(lambda: far.trade("ORDER0001")["notifications"][0]["state"] == "exhausted")
    assert len(shop.heard) == 5
    gaps = [later - sooner for sooner, later in zip(shop.times, shop.times[1:], strict=False)]
    for gap, least in zip(gaps, (0.05, 0.1, 0.2, 0.25), strict=True):  # 1, 2, 4 and 5 minutes, at speed 1200
        assert gap >= least


def test_a_notification_holds_no_empty_value_and_nothing_of_ours(far: Any, client: Client, shop: Any) -> None:
    client.paid("ORDER0001", backUrl=shop.url)
    (heard,) = shop.wait(1)
    assert all(heard.values())
    assert "notify_id" not in heard
    assert heard["signPubKeyCert"].count("\r\n") > 10
    assert heard.keys() >= {
        *("version", "encoding", "signMethod", "certId", "signature", "signPubKeyCert", "accessType"),
        *("txnType", "txnSubType", "bizType", "merId", "orderId", "txnTime", "txnAmt", "currencyCode"),
        *("queryId", "respCode", "respMsg", "settleAmt", "settleCurrencyCode", "settleDate"),
        *("traceNo", "traceTime", "accNo", "payCardType"),
    }


def test_a_payment_that_was_refused_or_closed_is_news_to_nobody(far: Any, client: Client, shop: Any) -> None:
    client.qr("ORDER0001", backUrl=shop.url)
    far.act("ORDER0001", "decline")
    far.act("ORDER0001", "close")
    assert far.trade("ORDER0001")["notifications"] == []


def test_the_latest_news_can_be_sent_again(far: Any, client: Client, shop: Any) -> None:
    client.paid("ORDER0001", backUrl=shop.url)
    shop.wait(1)
    far.act("ORDER0001", "notify")
    first, again = shop.wait(2)
    assert first == again


# Levers of the shopper and of the notifications


def test_approve_pays_on_scanning(far: Any, client: Client) -> None:
    far.pull("approve")
    far.get(client.qr("ORDER0001")["qrCode"])
    assert client.state("ORDER0001") == "00"


@pytest.mark.parametrize(("reason", "code"), [("balance", "64"), ("risk", "38"), ("password", "67")])
def test_a_refusal_of_the_wallet_has_its_own_code(far: Any, client: Client, reason: str, code: str) -> None:
    far.pull("decline", value=reason)
    client.qr("ORDER0001")
    far.act("ORDER0001", "pay")
    assert client.state("ORDER0001") == code


def test_slow_payment_is_accepted_first_and_succeeds_later(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.pull("slow_payment", value="60")
    client.qr("ORDER0001", backUrl=shop.url)
    assert far.act("ORDER0001", "pay").json["outcome"] == "processing"
    assert client.state("ORDER0001") == "05"
    _later(monkeypatch, 61)
    shop.wait(1)
    assert client.state("ORDER0001") == "00"


def test_money_on_its_way_after_a_refusal_is_no_refusal(far: Any, client: Client) -> None:
    client.qr("ORDER0001")
    far.act("ORDER0001", "decline")
    far.pull("slow_payment", value="30", out_trade_no="ORDER0001")
    far.act("ORDER0001", "pay")
    assert client.state("ORDER0001") == "05"


def test_wrong_amount_is_genuinely_signed_everywhere(far: Any, client: Client, shop: Any) -> None:
    far.pull("wrong_amount", value="-12.49")
    client.paid("ORDER0001", backUrl=shop.url)
    (heard,) = shop.wait(1)
    assert client.genuine(heard)
    assert (heard["txnAmt"], heard["settleAmt"], client.query("ORDER0001")["txnAmt"]) == ("1", "1", "1")


def test_late_money_comes_in_after_closing(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.pull("late", value="60")
    client.front("ORDER0001", payTimeout=stamp(600), backUrl=shop.url)
    far.act("ORDER0001", "close")
    assert client.state("ORDER0001") == "42"
    _later(monkeypatch, 61)
    (heard,) = shop.wait(1)
    assert heard["respCode"] == "00"
    assert client.state("ORDER0001") == "00"


def test_delay_drop_and_duplicate_work_on_unionpays_news(far: Any, client: Client, shop: Any) -> None:
    far.pull("delay", value="0.5")
    begun = time.monotonic()
    client.paid("ORDER0001", backUrl=shop.url)
    shop.wait(1)
    assert shop.times[0] - begun >= 0.5
    far.pull("drop", times=1)
    far.pull("duplicate", value="2")
    client.paid("ORDER0002", backUrl=shop.url)
    heard = shop.wait(2)
    assert heard[1]["orderId"] == "ORDER0002"  # the retry: copies go with the first send, and that was lost
    hows = [send["how"] for send in far.trade("ORDER0002")["notifications"][0]["sends"]]
    assert hows[0] == "dropped"
    far.pull("duplicate", value="2")
    client.paid("ORDER0003", backUrl=shop.url)
    assert [news["orderId"] for news in shop.wait(5)[2:]] == ["ORDER0003"] * 3


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("waiting_after", ["00", "05"]),
        ("waiting_before", ["05", "00"]),
        ("closed_before", ["69", "00"]),
        ("closed_after", ["00", "69"]),
    ],
)
def test_stale_news_comes_before_or_after(
    far: Any, client: Client, shop: Any, value: str, codes: list[str]
) -> None:
    far.pull("reorder", value=value)
    client.paid("ORDER0001", backUrl=shop.url)
    heard = shop.wait(2)
    assert [news["respCode"] for news in heard] == codes
    assert all(client.genuine(news) for news in heard)


@pytest.mark.parametrize(
    ("kind", "genuine"),
    [
        ("bad_signature", False),
        ("other_key", False),
        ("wrong_cn", False),
        ("other_chain", False),
        ("expired_cert", False),
        ("other_app", True),
        ("wrong_amount", True),
        ("signtest", False),  # another network's: taken for a bad signature
    ],
)
def test_a_forged_notification_is_followed_by_a_genuine_retry(
    far: Any, client: Client, shop: Any, kind: str, genuine: bool
) -> None:
    shop.answers = [(400, b"fail")]
    far.pull("forge", value=kind)
    client.paid("ORDER0001", backUrl=shop.url)
    forged, retry = shop.wait(2)
    assert client.genuine(forged) is genuine
    assert (forged["merId"] != client.mer_id) is (kind == "other_app")
    assert (forged["txnAmt"], forged["settleAmt"]) == (
        ("1251",) * 2 if kind == "wrong_amount" else ("1250",) * 2
    )
    assert client.genuine(retry)
    assert (retry["merId"], retry["txnAmt"]) == (client.mer_id, "1250")


def test_an_unsigned_notification_bears_nothing_to_check(far: Any, client: Client, shop: Any) -> None:
    far.pull("forge", value="unsigned")
    client.paid("ORDER0001", backUrl=shop.url)
    (heard,) = shop.wait(1)
    assert heard.keys().isdisjoint({"signature", "signPubKeyCert", "certId"})


def test_another_companys_certificate_is_true_but_for_its_name(far: Any, client: Client, shop: Any) -> None:
    """What the lever is for: a verifier that forgets the name believes it."""
    far.pull("forge", value="wrong_cn")
    client.paid("ORDER0001", backUrl=shop.url)
    (heard,) = shop.wait(1)
    middle, root = client.facts["middle_cert"], client.facts["root_cert"]
    assert verify(heard, middle, root, ("某某科技有限公司",))
    assert not verify(heard, middle, root)


def test_an_expired_certificate_is_true_but_for_its_time(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.pull("forge", value="expired_cert")
    client.paid("ORDER0001", backUrl=shop.url)
    (heard,) = shop.wait(1)
    assert not client.genuine(heard)
    earlier = type("Clock", (), {"now": staticmethod(lambda zone: datetime.now(zone) - timedelta(hours=2))})
    monkeypatch.setattr("tests.sandbox.unionpay_hand.datetime", earlier)
    assert client.genuine(heard)


@pytest.mark.parametrize("kind", ["bad_signature", "wrong_cn", "other_chain"])
def test_a_payment_that_never_happened_can_be_claimed(far: Any, client: Client, shop: Any, kind: str) -> None:
    client.qr("ORDER0001", backUrl=shop.url)
    far.act("ORDER0001", "forge", kind=kind)
    (heard,) = shop.wait(1)
    assert (heard["respCode"], client.genuine(heard)) == ("00", False)
    assert client.state("ORDER0001") == "34"
    assert far.act("ORDER0001", "forge", kind="signtest").status == 400


# Levers of the gateway


def test_a_defective_success_is_one_in_query_news_and_way_back(far: Any, client: Client, shop: Any) -> None:
    client.paid("ORDER0000")
    far.pull("paid_code")
    assert client.state("ORDER0000") == "00"  # the lever waits for the next payment
    sheet = client.front("ORDER0001", backUrl=shop.url).headers["location"]
    assert client.state("ORDER0001") == "05"
    back = far.press(sheet, "approve").headers["location"]
    (heard,) = shop.wait(1)
    assert (heard["respCode"], heard["queryId"]) == ("A6", client.query("ORDER0001")["queryId"])
    assert client.state("ORDER0001") == "A6"
    assert 'name="respCode" value="A6"' in far.get(back).text
    client.paid("ORDER0002", backUrl=shop.url)
    assert shop.wait(2)[1]["respCode"] == "00"


@pytest.mark.parametrize("code", ["03", "04", "05", "06"])
def test_a_query_answers_perhaps_for_a_while(far: Any, client: Client, code: str) -> None:
    client.paid("ORDER0001")
    far.pull("query_error", value=code, times=2)
    answers = [client.query("ORDER0001") for _ in range(3)]
    assert [answer["respCode"] for answer in answers] == [code, code, "00"]
    assert "origRespCode" not in answers[0]
    far.pull("orig_resp_code", value=code, times=2)
    answers = [client.query("ORDER0001") for _ in range(3)]
    assert [answer["origRespCode"] for answer in answers] == [code, code, "00"]
    assert {answer["respCode"] for answer in answers} == {"00"}
    assert ("queryId" in answers[0], "queryId" in answers[2]) == (False, True)


@pytest.mark.parametrize("code", ["03", "05", "12"])
def test_a_call_takes_effect_behind_an_unclear_answer(far: Any, client: Client, code: str) -> None:
    far.pull("resp_code", value=code)
    made = client.qr("ORDER0001")
    assert (made["respCode"], "qrCode" in made) == (code, False)
    assert far.trade("ORDER0001")["state"] == "offered"
    query_id = client.paid("ORDER0002")
    far.pull("resp_code", value=code, method="04/00")
    assert client.state("ORDER0002") == "00"
    refund = client.back("04", "REFUND01", query_id, "100")
    assert (refund["respCode"], "queryId" in refund) == (code, False)
    assert client.state("REFUND01") == "00"


def test_a_gateway_error_has_no_effect(far: Any, client: Client) -> None:
    far.pull("gateway_error")
    assert client.qr("ORDER0001")["respCode"] == "06"
    far.pull("gateway_error", value="02", method="01/07")
    assert client.query("ORDER0001")["respCode"] == "34"
    assert client.qr("ORDER0001")["respCode"] == "02"
    assert client.qr("ORDER0001")["respCode"] == "00"


def test_outage_has_no_effect_and_server_error_hides_one(far: Any, client: Client) -> None:
    far.pull("outage")
    assert client.post("backTransReq", client.signed(**QR, **client.order("ORDER0001"))).status == 503
    assert far.get("/control/trades/ORDER0001").status == 404
    far.pull("server_error", value="500")
    answer = client.post("backTransReq", client.signed(**QR, **client.order("ORDER0001")))
    assert (answer.status, b"signature" in answer.body) == (500, False)
    assert far.trade("ORDER0001")["state"] == "offered"


def test_a_hanging_gateway_has_done_what_it_was_asked(far: Any, client: Client) -> None:
    far.pull("hang", value="0.3")
    begun = time.monotonic()
    assert client.post("backTransReq", client.signed(**QR, **client.order("ORDER0001"))).status == 504
    assert time.monotonic() - begun >= 0.3
    assert far.trade("ORDER0001")["state"] == "offered"


@pytest.mark.parametrize(
    "kind", ["bad_signature", "other_key", "wrong_cn", "other_chain", "expired_cert", "stale"]
)
def test_a_forged_answer_is_not_to_be_believed(far: Any, client: Client, kind: str) -> None:
    client.paid("ORDER0001")
    far.pull("forge_answer", value=kind)
    ask = {"orderId": "ORDER0001", "txnTime": client.times["ORDER0001"]}
    forged = read_answer(client.post("queryTrans", client.signed(**QUERY, **ask)).body)
    assert (forged["origRespCode"], client.genuine(forged)) == ("00", False)
    assert client.state("ORDER0001") == "00"


def test_an_answer_may_come_without_signature(far: Any, client: Client) -> None:
    far.pull("forge_answer", value="unsigned")
    answer = client.post("queryTrans", client.signed(**QUERY, orderId="ORDER0001", txnTime=stamp()))
    assert "signature" not in read_answer(answer.body)


def test_levers_of_a_payment_hold_for_its_refunds_too(far: Any, client: Client) -> None:
    query_id = client.paid("ORDER0001")
    client.back("04", "REFUND01", query_id, "100")
    far.pull("orig_resp_code", value="04", out_trade_no="ORDER0001")
    assert client.state("REFUND01") == "04"
    assert client.state("REFUND01") == "00"


def test_a_refund_can_be_refused_and_moves_nothing(far: Any, client: Client) -> None:
    query_id = client.paid("ORDER0001")
    far.pull("refund_fail")
    assert client.back("04", "REFUND01", query_id, "100")["respCode"] == "30"
    far.pull("refund_fail", value="38")
    assert client.back("31", "VOID0001", query_id, "1250")["respCode"] == "38"
    assert client.query("REFUND01")["respCode"] == "34"
    assert far.trade("ORDER0001")["refunds"] == []


def test_a_pending_refund_arrives_later_and_counts_at_once(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    query_id = client.paid("ORDER0001")
    far.pull("refund_pending", value="60")
    assert client.back("04", "REFUND01", query_id, "1000", backUrl=shop.url)["respCode"] == "00"
    asked = client.query("REFUND01")
    assert (asked["origRespCode"], "traceNo" in asked) == ("05", False)
    assert client.back("04", "REFUND02", query_id, "1000")["respCode"] == "36"
    _later(monkeypatch, 61)
    (heard,) = shop.wait(1)
    assert (heard["orderId"], heard["respCode"]) == ("REFUND01", "00")
    assert client.state("REFUND01") == "00"


def test_an_accepted_refund_can_fail_in_the_end_and_says_so(far: Any, client: Client, shop: Any) -> None:
    query_id = client.paid("ORDER0001")
    far.pull("refund_pending", value="0.2")
    far.pull("refund_end", value="closed")
    assert client.back("04", "REFUND01", query_id, "1250", backUrl=shop.url)["respCode"] == "00"
    (heard,) = shop.wait(1)
    assert client.genuine(heard)
    assert (heard["orderId"], heard["respCode"], "traceNo" in heard) == ("REFUND01", "30", False)
    assert client.state("REFUND01") == "30"
    panel = far.get("/?lang=en").text
    assert "UnionPay" in panel
    assert "refund failed: delivered" in panel
    assert client.back("04", "REFUND02", query_id, "1250")["respCode"] == "00"


def test_a_stuck_refund_stays_unknown_and_keeps_its_part(far: Any, client: Client, shop: Any) -> None:
    query_id = client.paid("ORDER0001")
    far.pull("refund_end", value="abnormal")
    assert client.back("04", "REFUND01", query_id, "1250", backUrl=shop.url)["respCode"] == "00"
    assert client.state("REFUND01") == "04"
    assert client.back("04", "REFUND02", query_id, "1")["respCode"] == "45"
    assert shop.heard == []


@pytest.mark.parametrize(
    ("amount", "story"),
    [
        ("1", ["00", "00", "00", "00"]),
        ("2", ["64", "64", "64", "64"]),
        ("14", ["06", "06", "06", "00"]),
        ("18", ["42", "42", "42", "42"]),
        ("25", ["A6", "A6", "A6", "A6"]),
        ("26", ["04", "04", "04", "00"]),
        ("27", ["03", "00", "00", "00"]),
    ],
)
def test_magic_amounts_pull_levers(far: Any, client: Client, amount: str, story: list[str]) -> None:
    client.front("ORDER0001", amount)
    far.act("ORDER0001", "pay")
    assert [client.state("ORDER0001") for _ in story] == story


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The far side's clock jumps: nobody waits, and a busy machine changes nothing."""
    real = timing.now
    monkeypatch.setattr(timing, "now", lambda: real() + seconds)
