"""Every lever bends WeChat Pay as its name says, and its notifications keep WeChat's own schedule."""

from __future__ import annotations

import http.client
import itertools
import sqlite3
import time
from typing import Any

import pytest
from wechatpayv3.utils import build_authorization

from sandbox.store import Store
from sandbox.wechatpay import WechatPay, news
from tests.sandbox import wechat

SPEED = 1200.0
GENUINELY_SIGNED = ("other_app", "other_secret", "wrong_amount", "stale")


def paid(far: Any, mch: Any, number: str = "T00001", total: int = 1000) -> None:
    assert mch.pay(number, total)[0] == 200
    assert far.act(number, "pay").status == 200


@pytest.mark.parametrize("kind", news.FORGERIES)
def test_a_forged_notification_is_followed_by_a_genuine_retry(
    far: Any, mch: Any, mail: Any, kind: str
) -> None:
    mail.answers = [401]
    far.pull("forge", value=kind)
    paid(far, mch)
    forged, retry = mail.wait(2)
    read = mch.read(forged)
    assert bool(read) is (kind in ("other_app", "wrong_amount", "stale"))  # the client checks no time
    if kind == "other_app":
        assert read["resource"]["mchid"] != mch.mchid
    if kind == "wrong_amount":
        assert read["resource"]["amount"]["total"] == 1001
    if kind == "stale":
        assert int(forged.headers["Wechatpay-Timestamp"]) < time.time() - 500
    if kind == "signtest":
        assert forged.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
    if kind == "unsigned":
        assert not [name for name in forged.headers if name.startswith("Wechatpay")]
    if kind == "other_secret":
        assert mch.client._core._verify_signature(forged.headers, forged.body.decode())
    genuine = mch.read(retry)["resource"]
    assert (genuine["mchid"], genuine["amount"]["total"]) == (mch.mchid, 1000)


def test_alipay_takes_an_unknown_forgery_for_a_bad_signature(far: Any, merchant: Any, shop: Any) -> None:
    shop.answers = [(401, b"fail")]
    far.pull("forge", value="signtest")
    merchant.client.api_alipay_trade_precreate("s", "T00001", "10.00", notify_url=shop.url)
    far.act("T00001", "pay")
    forged, retry = shop.wait(2)
    assert not merchant.genuine(forged)
    assert merchant.genuine(retry)


@pytest.mark.parametrize("kind", ["bad_signature", "other_key", "unknown_serial", "other_app"])
def test_a_payment_that_never_happened_can_be_claimed(far: Any, mch: Any, mail: Any, kind: str) -> None:
    mch.pay("T00001")
    assert far.act("T00001", "forge", kind=kind).status == 200
    (heard,) = mail.wait(1)
    assert bool(mch.read(heard)) is (kind == "other_app")
    assert mch.state("T00001") == "NOTPAY"
    assert far.act("T00001", "forge", kind="nonsense").status == 400


@pytest.mark.parametrize(
    "kind", ["bad_signature", "other_key", "unsigned", "signtest", "stale", "unknown_serial"]
)
def test_a_forged_answer_is_noticed_and_the_call_took_effect(far: Any, mch: Any, kind: str) -> None:
    far.pull("forge_answer", value=kind)
    if kind == "stale":
        assert mch.pay("T00001")[0] == 200  # the client checks no time
    else:
        with pytest.raises(Exception, match=r"signature|algorithm|invalid literal"):
            mch.pay("T00001")
    assert mch.state("T00001") == "NOTPAY"


def test_any_gateway_error_can_be_asked_for(far: Any, mch: Any) -> None:
    far.pull("gateway_error", value="429:FREQUENCY_LIMITED", method="refund")
    paid(far, mch)
    assert mch.refund("T00001", "R1", 1) == (429, {"code": "FREQUENCY_LIMITED", "message": "频率超限"})
    assert mch.refund("T00001", "R1", 1)[0] == 200
    far.pull("gateway_error")
    assert mch.pay("T00002")[1]["code"] == "SYSTEM_ERROR"
    assert far.get("/control/trades/T00002").status == 404
    far.pull("gateway_error", value="202:ACCEPTED")
    assert mch.pay("T00002")[0] == 202  # signed: the client verified it
    far.pull("gateway_error", value="20000:isp.unknow-error")
    assert mch.pay("T00002")[0] == 500


def test_a_front_server_hides_what_happened(far: Any, mch: Any) -> None:
    far.pull("outage", value="503")
    assert mch.ask("GET", f"/v3/pay/transactions/out-trade-no/T00001?mchid={mch.mchid}").status == 503
    far.pull("server_error", value="502", method="native")
    assert mch.client.pay(description="s", out_trade_no="T00001", amount={"total": 1})[0] == 502
    assert mch.state("T00001") == "NOTPAY"


def test_a_hanging_gateway_has_done_what_it_was_asked(far: Any, mch: Any) -> None:
    paid(far, mch)
    far.pull("hang", value="1.2", method="refund")
    target = "/v3/refund/domestic/refunds"
    body = (
        '{"out_trade_no":"T00001","out_refund_no":"R1","amount":{"refund":400,"total":1000,"currency":"CNY"}}'
    )
    signed = build_authorization(target, "POST", mch.mchid, mch.facts["merchant_serial"], mch.key, data=body)
    headers = {
        "Accept": "*/*",
        "User-Agent": "t",
        "Content-Type": "application/json",
        "Authorization": signed,
    }
    connection = http.client.HTTPConnection("127.0.0.1", int(far.url.rpartition(":")[2]), timeout=0.5)
    connection.request("POST", target, body, headers)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert mch.query_refund("R1")[1]["amount"]["refund"] == 400


def test_queries_lie_a_number_of_times(far: Any, mch: Any) -> None:
    paid(far, mch)
    mch.refund("T00001", "R1", 1)
    far.pull("query_error", out_trade_no="T00001", times=2)
    assert mch.query("T00001") == (500, {"code": "SYSTEM_ERROR", "message": "系统异常，请稍后重试"})
    assert mch.query_refund("R1")[0] == 500
    assert mch.query("T00001")[0] == 200


def test_a_refused_refund_moves_nothing(far: Any, mch: Any) -> None:
    paid(far, mch)
    far.pull("refund_fail")
    assert mch.refund("T00001", "R1", 1000)[1]["code"] == "NOT_ENOUGH"
    assert mch.state("T00001") == "SUCCESS"
    assert mch.query_refund("R1")[0] == 404
    assert mch.refund("T00001", "R1", 1000)[0] == 200


def test_a_pending_refund_arrives_later_and_counts_at_once(far: Any, mch: Any, mail: Any) -> None:
    paid(far, mch)
    far.pull("refund_pending", value="0.8")
    assert mch.refund("T00001", "R1", 600)[1]["status"] == "PROCESSING"
    pending = mch.query_refund("R1")[1]
    assert pending["status"] == "PROCESSING"
    assert "success_time" not in pending
    assert mch.state("T00001") == "REFUND"
    assert mch.refund("T00001", "R2", 600)[1]["code"] == "INVALID_REQUEST"
    assert mch.read(mail.wait(2)[1])["resource"]["refund_status"] == "SUCCESS"
    assert mch.query_refund("R1")[1]["status"] == "SUCCESS"


@pytest.mark.parametrize(("end", "free"), [("closed", True), ("abnormal", False)])
def test_an_accepted_refund_can_end_badly(far: Any, mch: Any, mail: Any, end: str, free: bool) -> None:
    paid(far, mch)
    far.pull("refund_end", value=end)
    far.pull("refund_pending", value="0.3")
    assert mch.refund("T00001", "R1", 600)[1]["status"] == "PROCESSING"
    told = mch.read(mail.wait(2)[1])
    assert told["event_type"] == f"REFUND.{end.upper()}"
    assert told["resource"]["refund_status"] == end.upper()
    assert "success_time" not in told["resource"]
    assert mch.query_refund("R1")[1]["status"] == end.upper()
    assert far.trade("T00001")["refunded_minor"] == 0
    assert (mch.refund("T00001", "R2", 600)[0] == 200) is free


def test_slow_payment_is_userpaying_meanwhile(far: Any, mch: Any, mail: Any) -> None:
    far.pull("slow_payment", value="0.5")
    mch.pay("T00001")
    assert far.act("T00001", "pay").json["outcome"] == "processing"
    assert mch.state("T00001") == "USERPAYING"
    assert mch.read(mail.wait(1)[0])["resource"]["trade_state"] == "SUCCESS"


def test_a_declined_payment_stays_open(far: Any, mch: Any) -> None:
    far.pull("decline")
    mch.pay("T00001")
    assert far.act("T00001", "pay").json["outcome"] == "declined"
    assert mch.state("T00001") == "NOTPAY"
    assert far.act("T00001", "pay").json["outcome"] == "paid"


def test_wrong_amount_is_genuinely_signed_everywhere(far: Any, mch: Any, mail: Any) -> None:
    far.pull("wrong_amount", value="-9.99")
    paid(far, mch)
    assert mch.read(mail.wait(1)[0])["resource"]["amount"]["total"] == 1
    assert mch.query("T00001")[1]["amount"]["total"] == 1


def test_late_money_comes_in_after_closing(far: Any, mch: Any, mail: Any) -> None:
    far.pull("late", value="0.3")
    mch.pay("T00001")
    far.act("T00001", "open")
    assert mch.close("T00001") == 204
    assert mch.state("T00001") == "CLOSED"
    assert mch.read(mail.wait(1)[0])["resource"]["trade_state"] == "SUCCESS"
    assert mch.state("T00001") == "SUCCESS"


def test_stale_news_can_come_before(far: Any, mch: Any, mail: Any) -> None:
    far.pull("reorder", value="closed_before")
    paid(far, mch)
    states = [mch.read(item)["resource"]["trade_state"] for item in mail.wait(2)]
    assert states == ["CLOSED", "SUCCESS"]


def test_a_refunds_news_can_overtake_the_payments(far: Any, mch: Any, mail: Any) -> None:
    far.pull("delay", value="1", times=1)
    paid(far, mch)
    mch.refund("T00001", "R1", 1000)
    events = [mch.read(item)["event_type"] for item in mail.wait(2)]
    assert events == ["REFUND.SUCCESS", "TRANSACTION.SUCCESS"]


def test_duplicates_carry_the_same_id_and_drops_carry_nothing(far: Any, mch: Any, mail: Any) -> None:
    far.pull("drop", times=1)
    far.pull("duplicate", value="2")
    paid(far, mch)
    heard = mail.wait(1)
    assert far.trade("T00001")["notifications"][0]["sends"][0]["how"] == "dropped"
    far.pull("duplicate", value="2")
    paid(far, mch, "T00002")
    ids = [mch.read(item)["id"] for item in mail.wait(4)[1:]]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert mch.read(heard[0])["id"] != ids[0]


def test_a_desktop_can_be_given_an_http_code(far: Any, mch: Any) -> None:
    far.pull("http_code", scope="always")
    code = mch.pay("T00001")[1]["code_url"]
    assert code.startswith(f"{far.url}/qr/")
    assert far.get(code).status == 303


@pytest.mark.parametrize("answer", [201, 302, 400, 500])
def test_only_200_and_204_end_the_asking(far: Any, mch: Any, mail: Any, answer: int) -> None:
    mail.answers = [answer, 200]
    paid(far, mch)
    first, second = mail.wait(2)
    assert mch.read(first)["id"] == mch.read(second)["id"]
    assert first.headers["Wechatpay-Nonce"] != second.headers["Wechatpay-Nonce"]
    time.sleep(0.2)
    assert len(mail.heard) == 2


def test_retries_follow_wechats_schedule(far: Any, mch: Any, mail: Any) -> None:
    mail.answers = [500] * 5
    paid(far, mch)
    times = [item.at_s for item in mail.wait(6)]
    for (sooner, later), full_s in zip(itertools.pairwise(times), WechatPay.retry_gaps_s, strict=False):
        assert full_s / SPEED <= later - sooner < full_s / SPEED + 1.5
    assert sum(WechatPay.retry_gaps_s) == 24 * 3600 + 4 * 60


@pytest.mark.parametrize(("fen", "events"), [(21, ["REFUND.CLOSED"]), (22, ["REFUND.ABNORMAL"])])
def test_magic_amounts_end_refunds(far: Any, mch: Any, mail: Any, fen: int, events: list[str]) -> None:
    paid(far, mch, total=fen)
    mch.refund("T00001", "R1", fen, total=fen)
    assert [mch.read(item)["event_type"] for item in mail.wait(2)[1:]] == events


def test_magic_amounts_probe_the_merchants_eyes(far: Any, mch: Any, mail: Any) -> None:
    mail.answers = [401]
    paid(far, mch, total=23)
    assert mch.read(mail.wait(2)[0]) is None
    assert mch.read(mail.heard[1])["event_type"] == "TRANSACTION.SUCCESS"
    with pytest.raises(Exception, match="signature"):
        mch.pay("T00002", 24)
    assert mch.state("T00002") == "NOTPAY"


def test_the_panel_shows_merchants_and_their_payments(far: Any, mch: Any, mail: Any) -> None:
    paid(far, mch, total=1250)
    far.pull("refund_end", value="closed")
    mch.refund("T00001", "R1", 250, total=1250)
    mail.wait(2)
    for lang in ("zh", "en"):
        page = far.get(f"/?lang={lang}").text
        for words in (
            mch.mchid,
            mch.facts["appid"],
            "T00001",
            "¥12.50",
            "REFUND",
            "微信支付",
        ):
            assert words in page
        assert mch.facts["apiv3_key"] not in page
        assert mch.facts["app_secret"] not in page


def test_a_restart_keeps_merchants_keys_and_undelivered_news(own_far: Any, app_key: Any) -> None:
    with wechat.postbox() as mail:
        mch = wechat.join(own_far, app_key, mail.url, mode="both")
        own_far.pull("delay", value="1")
        paid(own_far, mch)
        own_far.restart()
        assert wechat.join(own_far, app_key, mail.url).facts == mch.facts
        assert mch.read(mail.wait(1)[0])["event_type"] == "TRANSACTION.SUCCESS"
        assert mch.state("T00001") == "SUCCESS"
    found = sorted((own_far.box.data_dir / "wechatpay").iterdir())
    assert [path.name for path in found if path.suffix == ".key"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_a_file_of_an_earlier_sandbox_gets_what_it_lacks(tmp_path: Any) -> None:
    path = tmp_path / "old.sqlite3"
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE apps (network TEXT, app_id TEXT, mode TEXT, created_ts REAL)")
    old.execute("INSERT INTO apps VALUES ('alipay', '9021', 'key', 1.0)")
    old.commit()
    old.close()
    for _ in range(2):
        store = Store(path)
        with store.read() as db:
            assert db.execute("SELECT details FROM apps").fetchone()["details"] == "{}"
        store.close()
