"""python-alipay-sdk, which shares no code with us, uses the sandbox as it would use Alipay."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest
from alipay.exceptions import AliPayException, AliPayValidationError
from cryptography.hazmat.primitives.asymmetric import rsa

# The client reads certificates through a layer that its own dependency has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")


def test_a_scanned_code_is_paid_and_every_word_of_it_verifies(far: Any, merchant: Any, shop: Any) -> None:
    made = merchant.client.api_alipay_trade_precreate(
        "测试商品 A+B/1 100%", "T20240001", "19.99", notify_url=shop.url, timeout_express="15m"
    )
    assert made["code"] == "10000"
    assert made["qr_code"].startswith(f"{far.url}/qr/")

    before = merchant.client.api_alipay_trade_query(out_trade_no="T20240001")
    assert before["sub_code"] == "ACQ.TRADE_NOT_EXIST"

    scanned = far.get(made["qr_code"])
    assert scanned.status == 303
    waiting = merchant.client.api_alipay_trade_query(out_trade_no="T20240001")
    assert waiting["trade_status"] == "WAIT_BUYER_PAY"

    assert "19.99" in far.get(scanned.headers["location"]).text
    assert far.press(scanned.headers["location"], "approve").status == 303

    after = merchant.client.api_alipay_trade_query(out_trade_no="T20240001")
    assert (after["trade_status"], after["total_amount"]) == ("TRADE_SUCCESS", "19.99")

    (heard,) = shop.wait(1)
    assert merchant.genuine(heard)
    assert heard["subject"] == "测试商品 A+B/1 100%"
    assert (heard["trade_status"], heard["total_amount"]) == ("TRADE_SUCCESS", "19.99")
    assert (heard["app_id"], heard["seller_id"]) == (merchant.app_id, merchant.facts["seller_id"])
    assert all(heard.values())
    assert not merchant.genuine({**heard, "total_amount": "0.01"})


@pytest.mark.parametrize("product", ["wap", "page"])
@pytest.mark.parametrize("by", ["GET", "POST"])
def test_a_browser_pays_and_comes_back_with_signed_parameters(
    far: Any, merchant: Any, shop: Any, sandbox_tools: Any, product: str, by: str
) -> None:
    order = getattr(merchant.client, f"api_alipay_trade_{product}_pay")
    query = order("subject", "T1", "8.88", return_url=f"{shop.url}?from=far", notify_url=shop.url)
    if by == "GET":
        opened = far.get(f"/gateway.do?{query}")
    else:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        opened = far.ask("POST", "/gateway.do", query.encode(), kind)
    assert opened.status == 303
    back = far.press(opened.headers["location"], "approve")
    assert back.status == 303
    assert back.headers["location"].startswith(f"{shop.url}?from=far&")

    fields = sandbox_tools.query_of(back.headers["location"])
    assert fields.pop("from") == "far"
    assert fields["out_trade_no"] == "T1"
    assert "trade_status" not in fields
    assert merchant.genuine(fields)
    assert shop.wait(1)[0]["trade_status"] == "TRADE_SUCCESS"


def test_certificate_mode_works_for_calls_notifications_and_returns(
    far: Any, cert_merchant: Any, shop: Any, sandbox_tools: Any
) -> None:
    client = cert_merchant.client
    assert client.app_cert_sn == cert_merchant.facts["app_cert_sn"]
    assert client.alipay_root_cert_sn == cert_merchant.facts["alipay_root_cert_sn"]
    assert "_" not in client.alipay_root_cert_sn  # the root of another family is skipped

    client.api_alipay_trade_precreate("s", "C1", "1.50", notify_url=shop.url)
    assert far.act("C1", "pay").status == 200
    assert client.api_alipay_trade_query("C1")["trade_status"] == "TRADE_SUCCESS"
    assert cert_merchant.genuine(shop.wait(1)[0])

    query = client.api_alipay_trade_wap_pay("s", "C2", "1.50", return_url=shop.url)
    opened = far.get(f"/gateway.do?{query}")
    back = far.press(opened.headers["location"], "approve")
    assert cert_merchant.genuine(sandbox_tools.query_of(back.headers["location"]))


def test_closing_works_once_and_only_before_payment(far: Any, merchant: Any) -> None:
    client = merchant.client
    client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert client.api_alipay_trade_close("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    far.act("T1", "open")
    assert client.api_alipay_trade_close("T1")["code"] == "10000"
    assert client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_CLOSED"
    assert client.api_alipay_trade_close("T1")["sub_code"] == "ACQ.REASON_TRADE_STATUS_INVALID"
    assert client.api_alipay_trade_precreate("s", "T1", "1.00")["sub_code"] == "ACQ.TRADE_HAS_CLOSE"
    assert far.act("T1", "pay").status == 409

    client.api_alipay_trade_precreate("s", "T2", "1.00")
    far.act("T2", "pay")
    assert client.api_alipay_trade_close("T2")["sub_code"] == "ACQ.REASON_TRADE_STATUS_INVALID"
    assert client.api_alipay_trade_precreate("s", "T2", "1.00")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


def test_the_same_number_with_other_parameters_is_refused(far: Any, merchant: Any) -> None:
    client = merchant.client
    first = client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert client.api_alipay_trade_precreate("s", "T1", "1.00")["qr_code"] == first["qr_code"]
    again = client.api_alipay_trade_precreate("s", "T1", "2.00")
    assert again["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"


def test_refunds_count_up_to_what_was_paid_and_repeat_harmlessly(far: Any, merchant: Any, shop: Any) -> None:
    client = merchant.client
    client.api_alipay_trade_precreate("s", "T1", "10.00", notify_url=shop.url)
    assert client.api_alipay_trade_refund("1.00", "T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    far.act("T1", "open")
    assert client.api_alipay_trade_refund("1.00", "T1")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    far.act("T1", "pay")

    assert client.api_alipay_trade_refund("3.00", "T1")["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    first = client.api_alipay_trade_refund("3.00", "T1", out_request_no="R1", refund_reason="坏了")
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "3.00")
    same = client.api_alipay_trade_refund("3.00", "T1", out_request_no="R1")
    assert (same["fund_change"], same["refund_fee"]) == ("N", "3.00")
    other = client.api_alipay_trade_refund("4.00", "T1", out_request_no="R1")
    assert other["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    over = client.api_alipay_trade_refund("7.01", "T1", out_request_no="R2")
    assert over["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    assert client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_SUCCESS"
    rest = client.api_alipay_trade_refund("7.00", "T1", out_request_no="R2")
    assert (rest["fund_change"], rest["refund_fee"]) == ("Y", "10.00")
    assert client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_CLOSED"

    asked = client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no="T1")
    assert (asked["refund_status"], asked["refund_amount"]) == ("REFUND_SUCCESS", "3.00")
    assert asked["refund_reason"] == "坏了"
    never = client.api_alipay_trade_fastpay_refund_query("R9", out_trade_no="T1")
    assert never["code"] == "10000"
    assert "refund_status" not in never

    heard = shop.wait(3)
    assert [note["trade_status"] for note in heard] == ["TRADE_SUCCESS", "TRADE_SUCCESS", "TRADE_CLOSED"]
    assert [note.get("refund_fee") for note in heard] == [None, "3.00", "10.00"]
    assert [note.get("out_biz_no") for note in heard] == [None, "R1", "R2"]
    assert all(merchant.genuine(note) for note in heard)


def test_cancel_closes_refunds_or_revokes(far: Any, merchant: Any) -> None:
    client = merchant.client
    made = client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert client.api_alipay_trade_cancel("T1")["retry_flag"] == "N"
    assert far.get(made["qr_code"]).status == 410

    client.api_alipay_trade_precreate("s", "T2", "1.00")
    far.act("T2", "open")
    assert client.api_alipay_trade_cancel("T2")["action"] == "close"
    client.api_alipay_trade_precreate("s", "T3", "1.00")
    far.act("T3", "pay")
    assert client.api_alipay_trade_cancel("T3")["action"] == "refund"
    assert far.trade("T3")["refunded_minor"] == 100


def test_refund_after_the_end_of_the_window_is_refused(far: Any, merchant: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    far.act("T1", "pay")
    far.act("T1", "finish")
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "TRADE_FINISHED"
    refused = merchant.client.api_alipay_trade_refund("1.00", "T1")
    assert refused["sub_code"] == "ACQ.TRADE_HAS_FINISHED"


def test_a_strangers_signature_is_refused(far: Any, merchant: Any, sandbox_tools: Any) -> None:
    stranger = sandbox_tools.register(far, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    stranger.client._appid = merchant.app_id
    node = stranger.client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert (node["code"], node["sub_code"]) == ("40002", "isv.invalid-signature")
    assert far.get("/control/trades/T1").status == 404


def test_an_unknown_app_gets_an_unsigned_refusal(far: Any, merchant: Any) -> None:
    merchant.client._appid = "9021000000000000"
    with pytest.raises(AliPayException, match=r"isv\.invalid-app-id"):
        merchant.client.api_alipay_trade_query("T1")


def test_another_apps_trade_does_not_exist(far: Any, merchant: Any, cert_merchant: Any) -> None:
    merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    far.act("T1", "pay")
    assert cert_merchant.client.api_alipay_trade_query("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_a_forged_answer_is_noticed_by_the_client(far: Any, merchant: Any) -> None:
    far.pull("forge_answer")
    with pytest.raises(AliPayValidationError):
        merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")["code"] == "10000"


def test_a_new_certificate_is_fetched_and_verifies_what_comes_after(
    far: Any, cert_merchant: Any, sandbox_tools: Any
) -> None:
    old = cert_merchant.facts["alipay_cert_sn"]
    sn = far.post("/control/alipay/rotate_cert").json["alipay_cert_sn"]
    assert sn != old
    query = cert_merchant.client.api_alipay_open_app_alipaycert_download(sn)
    answer = far.get(f"/gateway.do?{query}").json
    assert answer["alipay_cert_sn"] == sn
    pem = base64.b64decode(answer["alipay_open_app_alipaycert_download_response"]["alipay_cert_content"])
    assert cert_merchant.client.get_cert_sn(pem) == sn

    with pytest.raises(AliPayValidationError):
        cert_merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    renewed = sandbox_tools.register(far, cert_merchant.key, mode="cert")
    assert renewed.app_id == cert_merchant.app_id
    assert renewed.client.api_alipay_trade_query("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_an_app_order_string_is_paid_by_the_wallets_sdk(far: Any, merchant: Any, shop: Any) -> None:
    order = merchant.client.api_alipay_trade_app_pay("s", "T1", "1.00", notify_url=shop.url)
    declined = far.post("/control/alipay/sdk_pay", {"order_string": order, "action": "decline"}).json
    assert declined["resultStatus"] == "4000"
    left = far.post("/control/alipay/sdk_pay", {"order_string": order, "action": "cancel"}).json
    assert left["resultStatus"] == "6001"
    paid = far.post("/control/alipay/sdk_pay", {"order_string": order}).json
    assert paid["resultStatus"] == "9000"
    raw = paid["result"].replace(',"sign_type":"RSA2"', "")
    node = merchant.client._verify_and_return_sync_response(raw, "alipay_trade_app_pay_response")
    assert node["out_trade_no"] == "T1"
    assert shop.wait(1)[0]["trade_status"] == "TRADE_SUCCESS"
    broken = order.replace("T1", "T2")
    assert (
        far.post("/control/alipay/sdk_pay", {"order_string": broken}).json["memo"] == "isv.invalid-signature"
    )


def test_a_mini_programs_trade_exists_at_once_and_is_paid_by_the_bridge(far: Any, merchant: Any) -> None:
    biz = {
        "out_trade_no": "T1",
        "total_amount": "1.00",
        "subject": "s",
        "buyer_id": merchant.facts["buyer_id"],
    }
    node = merchant.client.server_api("alipay.trade.create", dict(biz))
    assert merchant.client.api_alipay_trade_query("T1")["trade_status"] == "WAIT_BUYER_PAY"
    paid = far.post("/control/alipay/jsapi_pay", {"trade_no": node["trade_no"]}).json
    assert paid["resultCode"] == "9000"
    assert (
        merchant.client.api_alipay_trade_query(trade_no=node["trade_no"])["trade_status"] == "TRADE_SUCCESS"
    )


def test_the_qr_code_leads_to_our_own_host(far: Any, merchant: Any) -> None:
    made = merchant.client.api_alipay_trade_precreate("s", "T1", "1.00")
    assert urlsplit(made["qr_code"]).netloc == urlsplit(far.url).netloc
