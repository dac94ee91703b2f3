"""wechatpayv3, which shares no code with us, uses the sandbox as it would use WeChat Pay."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import timing
from tests.sandbox import wechat
from tests.sandbox.wechat import PHONE, WECHAT


def test_a_scanned_native_code_is_paid_and_every_word_of_it_verifies(far: Any, mch: Any, mail: Any) -> None:
    status, made = mch.pay("T00001", 1999, description="测试商品 A+B/1 100%", attach='{"a":"b&c"}')
    assert status == 200
    assert made["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")

    before = mch.query("T00001")[1]
    assert before["trade_state"] == "NOTPAY"
    assert "transaction_id" not in before
    assert "amount" not in before

    scanned = far.get(f"/control/wechatpay/scan?code_url={quote(made['code_url'], safe='')}")
    assert scanned.status == 303
    opened = far.get(scanned.headers["location"])
    assert "19.99" in far.get(opened.headers["location"]).text
    assert far.press(opened.headers["location"], "approve").status == 303

    after = mch.query("T00001")[1]
    assert (after["trade_state"], after["trade_type"]) == ("SUCCESS", "NATIVE")
    assert after["amount"] == {"total": 1999, "payer_total": 1999, "currency": "CNY", "payer_currency": "CNY"}
    assert after["attach"] == '{"a":"b&c"}'
    assert mch.query(transaction_id=after["transaction_id"])[1] == after

    (heard,) = mail.wait(1)
    news = mch.read(heard)
    assert (news["event_type"], news["resource"]) == ("TRANSACTION.SUCCESS", after)
    assert len(news["id"]) == 36
    assert heard.headers["Wechatpay-Serial"] == mch.facts["public_key_id"]
    changed = wechat.Mail(heard.headers, heard.body.replace(b"SUCCESS", b"SUCCES5", 1), heard.at_s)
    assert mch.read(changed) is None


@pytest.mark.parametrize("kind", ["native", "jsapi", "h5", "app"])
def test_every_product_gives_its_handle_and_the_same_one_again(far: Any, mch: Any, kind: str) -> None:
    status, made = mch.pay("T00001", kind=kind)
    assert status == 200
    name = {"native": "code_url", "h5": "h5_url"}.get(kind, "prepay_id")
    assert list(made) == [name]
    again = mch.pay("T00001", kind=kind)[1]
    assert again[name].partition("&package")[0] == made[name].partition("&package")[0]
    assert far.act("T00001", "pay").status == 200
    assert mch.query("T00001")[1]["trade_type"] == {"h5": "MWEB"}.get(kind, kind.upper())


def authorize(far: Any, mch: Any, back: str = "http://shop.test/back?x=1", agent: str = WECHAT) -> Any:
    query = f"appid={mch.facts['appid']}&redirect_uri={quote(back, safe='')}"
    path = f"/connect/oauth2/authorize?{query}&response_type=code&scope=snsapi_base&state=abc123"
    return far.get(path, **{"User-Agent": agent})


def token(far: Any, mch: Any, code: str, **other: str) -> Any:
    args = {"appid": mch.facts["appid"], "secret": mch.facts["app_secret"], "code": code, **other}
    args.setdefault("grant_type", "authorization_code")
    return far.get("/sns/oauth2/access_token?" + "&".join(f"{k}={v}" for k, v in args.items()))


def test_oauth_gives_an_openid_with_which_the_bridge_pays(
    far: Any, mch: Any, mail: Any, sandbox_tools: Any
) -> None:
    sent = authorize(far, mch)
    assert sent.status == 302
    assert sent.headers["location"].startswith("http://shop.test/back?x=1&code=")
    fields = sandbox_tools.query_of(sent.headers["location"])
    assert fields["state"] == "abc123"

    answer = token(far, mch, fields["code"])
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.json["openid"] == mch.facts["openid"]
    assert answer.json["scope"] == "snsapi_base"
    assert token(far, mch, fields["code"]).json["errcode"] == 40163

    prepay_id = mch.pay("T00001", kind="jsapi", payer={"openid": answer.json["openid"]})[1]["prepay_id"]
    bridge = signed_bridge(mch, prepay_id)
    assert far.post("/control/wechatpay/jsapi_pay", {**bridge, "action": "cancel"}).json["err_msg"] == (
        "get_brand_wcpay_request:cancel"
    )
    paid = far.post("/control/wechatpay/jsapi_pay", bridge).json
    assert paid == {"err_msg": "get_brand_wcpay_request:ok", "out_trade_no": "T00001"}
    assert mch.read(mail.wait(1)[0])["resource"]["payer"] == {"openid": mch.facts["openid"]}


def signed_bridge(mch: Any, prepay_id: str) -> dict[str, Any]:
    package = f"prepay_id={prepay_id}"
    sign = mch.client.sign([mch.facts["appid"], "1705284000", "n0nce", package])
    names = {"appId": mch.facts["appid"], "timeStamp": "1705284000", "nonceStr": "n0nce"}
    return {**names, "package": package, "signType": "RSA", "paySign": sign}


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeStamp": 1705284000},
        {"timeStamp": "1705284001"},
        {"nonceStr": "other"},
        {"signType": "MD5"},
        {"paySign": ""},
        {"package": "prepay_id=wx0"},
        {"appId": "wx0000000000000000"},
    ],
)
def test_the_bridge_takes_only_what_the_merchant_signed(far: Any, mch: Any, wrong: dict[str, Any]) -> None:
    bridge = signed_bridge(mch, mch.pay("T00001", kind="jsapi")[1]["prepay_id"])
    answer = far.post("/control/wechatpay/jsapi_pay", {**bridge, **wrong}).json
    assert answer["err_msg"] == "get_brand_wcpay_request:fail"
    assert mch.state("T00001") == "NOTPAY"


@pytest.mark.parametrize(
    ("other", "errcode"),
    [
        ({"appid": "wx0000000000000000"}, 40013),
        ({"secret": "0" * 32}, 40125),
        ({"code": "0" * 32}, 40029),
        ({"grant_type": "refresh_token"}, 40002),
    ],
)
def test_a_code_is_exchanged_only_by_its_own_app(
    far: Any, mch: Any, sandbox_tools: Any, other: dict[str, str], errcode: int
) -> None:
    code = sandbox_tools.query_of(authorize(far, mch).headers["location"])["code"]
    assert token(far, mch, **{"code": code, **other}).json["errcode"] == errcode
    assert "openid" in token(far, mch, code).json


def test_an_old_code_and_another_apps_code_are_unknown(
    far: Any, mch: Any, app_key: Any, sandbox_tools: Any
) -> None:
    other = wechat.join(far, app_key, appid="wx00112233445566aa")
    code = sandbox_tools.query_of(authorize(far, mch).headers["location"])["code"]
    assert token(far, other, code).json["errcode"] == 40029
    with far.box.store.write() as db:
        db.execute("UPDATE tickets SET made_ts = made_ts - 301")
    assert token(far, mch, code).json["errcode"] == 40029


def test_oauth_opens_only_in_wechat_and_only_in_the_fixed_order(far: Any, mch: Any) -> None:
    assert "微信客户端" in authorize(far, mch, agent=PHONE).text
    turned = f"/connect/oauth2/authorize?redirect_uri=http%3A%2F%2Fa.test&appid={mch.facts['appid']}"
    assert far.get(turned, **{"User-Agent": WECHAT}).status == 200
    assert authorize(far, mch, back="javascript:alert(1)").status == 200


def test_a_mobile_apps_payment_is_checked_and_made(far: Any, mch: Any, mail: Any) -> None:
    prepay_id = mch.pay("T00001", kind="app")[1]["prepay_id"]
    sign = mch.client.sign([mch.facts["appid"], "1705284000", "n0nce", prepay_id])
    call = {"appid": mch.facts["appid"], "partnerid": mch.mchid, "prepayid": prepay_id, "sign": sign}
    call |= {"package": "Sign=WXPay", "noncestr": "n0nce", "timestamp": "1705284000"}

    def pays(**other: str) -> int:
        return int(far.post("/control/wechatpay/sdk_pay", {**call, **other}).json["errCode"])

    for wrong in ({"sign": "AAAA"}, {"partnerid": "1900000000"}, {"package": "WXPay"}, {"prepayid": "wx1"}):
        assert pays(**wrong) == -1
    assert pays(action="cancel") == -2
    assert pays(action="decline") == -1
    assert mch.state("T00001") == "NOTPAY"
    assert pays() == 0
    assert mch.read(mail.wait(1)[0])["resource"]["trade_type"] == "APP"


def test_an_h5_page_opens_the_cashier_and_leads_back(far: Any, mch: Any) -> None:
    address = mch.pay("T00001", kind="h5")[1]["h5_url"]
    back = "http://shop.test/back?charge=1&x=%E4%B8%AD"
    opened = far.get(f"{address}&redirect_url={quote(back, safe='')}", **{"User-Agent": PHONE})
    assert opened.status == 303
    assert "http://shop.test/back?charge=1" in far.get(opened.headers["location"]).text  # for leaving
    paid = far.press(opened.headers["location"], "approve")
    assert (paid.status, paid.headers["location"]) == (303, back)
    assert mch.state("T00001") == "SUCCESS"


def test_an_h5_page_is_refused_in_wechat_after_five_minutes_and_from_elsewhere(
    far: Any, mch: Any, app_key: Any
) -> None:
    address = mch.pay("T00001", kind="h5")[1]["h5_url"]
    assert "请在微信外打开" in far.get(address, **{"User-Agent": WECHAT}).text
    strict = wechat.join(far, app_key, mchid="1900000009", domain="shop.test")
    guarded = strict.pay("T00002", kind="h5")[1]["h5_url"]
    at_home = {"User-Agent": PHONE, "Referer": "https://pay.shop.test/c/1"}
    assert far.get(guarded, **{"User-Agent": PHONE}).status == 200
    assert far.get(guarded, **{**at_home, "Referer": "https://notshop.test/"}).status == 200
    assert far.get(f"{guarded}&redirect_url=https%3A%2F%2Felse.test%2F", **at_home).status == 200
    assert far.get(guarded, **at_home).status == 303
    with far.box.store.write() as db:
        db.execute("UPDATE tickets SET made_ts = made_ts - 301")
    assert "已失效" in far.get(address, **{"User-Agent": PHONE}).text


def test_closing_is_signed_repeatable_and_final(far: Any, mch: Any) -> None:
    assert mch.close("T00001") == 404
    mch.pay("T00001")
    assert [mch.close("T00001"), mch.close("T00001")] == [204, 204]  # the client verifies each
    assert mch.state("T00001") == "CLOSED"
    assert mch.pay("T00001")[1]["code"] == "ORDER_CLOSED"
    assert far.act("T00001", "pay").status == 409

    mch.pay("T00002")
    far.act("T00002", "open")
    assert mch.close("T00002") == 204
    mch.pay("T00003")
    far.act("T00003", "pay")
    assert mch.client.close("T00003") == (400, '{"code":"ORDERPAID","message":"订单已支付"}')
    assert mch.pay("T00003")[1]["code"] == "ORDERPAID"


def test_the_same_number_with_other_parameters_is_refused(mch: Any) -> None:
    first = mch.pay("T00001", 100)
    assert mch.pay("T00001", 100) == first
    assert mch.pay("T00001", 200) == (403, {"code": "OUT_TRADE_NO_USED", "message": "商户订单号重复"})
    assert mch.pay("T00001", 100, kind="app")[1]["code"] == "OUT_TRADE_NO_USED"


def test_refunds_count_up_to_what_was_paid_and_repeat_harmlessly(far: Any, mch: Any, mail: Any) -> None:
    assert mch.refund("T00001", "R1", 300) == (404, {"code": "RESOURCE_NOT_EXISTS", "message": "订单不存在"})
    mch.pay("T00001")
    assert mch.refund("T00001", "R1", 300)[1]["code"] == "INVALID_REQUEST"
    far.act("T00001", "pay")
    assert mch.query_refund("R1")[0] == 404

    first = mch.refund("T00001", "R1", 300, reason="坏了")[1]
    assert (first["status"], first["amount"]["refund"]) == ("PROCESSING", 300)
    again = mch.refund("T00001", "R1", 300)[1]
    assert (again["status"], again["refund_id"]) == ("SUCCESS", first["refund_id"])
    assert mch.refund("T00001", "R1", 400)[1]["code"] == "INVALID_REQUEST"
    assert mch.refund("T00001", "R2", 701)[1]["code"] == "INVALID_REQUEST"
    assert mch.refund("T00001", "R2", 700, total=999)[1]["code"] == "INVALID_REQUEST"
    assert mch.state("T00001") == "REFUND"
    by_id = mch.query("T00001")[1]["transaction_id"]
    amount = {"refund": 700, "total": 1000, "currency": "CNY"}
    assert mch.client.refund("R2", amount, transaction_id=by_id)[0] == 200
    assert mch.query_refund("R2")[1]["status"] == "SUCCESS"
    assert far.trade("T00001")["refunded_minor"] == 1000

    news = [mch.read(item) for item in mail.wait(3)]
    assert sorted(item["event_type"] for item in news) == ["REFUND.SUCCESS"] * 2 + ["TRANSACTION.SUCCESS"]
    told = next(item["resource"] for item in news if item["resource"].get("out_refund_no") == "R1")
    assert told["refund_status"] == "SUCCESS"
    assert told["amount"] == {"total": 1000, "refund": 300, "payer_total": 1000, "payer_refund": 300}
    assert "status" not in told
    assert "channel" not in told


def test_a_refund_without_an_address_is_told_to_nobody(far: Any, mch: Any, mail: Any) -> None:
    mch.pay("T00001")
    far.act("T00001", "pay")
    amount = {"refund": 1, "total": 1000, "currency": "CNY"}
    body = {"out_trade_no": "T00001", "out_refund_no": "R1", "amount": amount}
    assert mch.ask("POST", "/v3/refund/domestic/refunds", body).status == 200
    mail.wait(1)
    assert [note["kind"] for note in far.trade("T00001")["notifications"]] == ["paid"]


def test_bills_carry_payments_and_refunds_and_their_hash(far: Any, mch: Any, app_key: Any) -> None:
    for number, total in (("T00001", 1999), ("T00002", 50)):
        mch.pay(number, total, description="咖啡, 大`杯")
        far.act(number, "pay")
    mch.refund("T00001", "R1", 999, total=1999)
    today = timing.beijing(timing.now(), "%Y-%m-%d")
    assert mch.client.trade_bill(today)[0] == 400
    far.pull("bill_now", scope="always")

    applied = json.loads(mch.client.trade_bill(today)[1])
    packed = mch.client.download_bill(applied["download_url"])[1]
    plain = gzip.decompress(packed)
    assert applied["hash_value"] == hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    head, *rows, totals_head, totals = plain.decode("utf-8-sig").splitlines()
    cells = [dict(zip(head.split(","), row[1:].split(",`"), strict=True)) for row in rows]
    assert [(row["交易状态"], row["应结订单金额"], row["退款金额"], row["手续费"]) for row in cells] == [
        ("SUCCESS", "19.99", "0.00", "0.12000"),
        ("SUCCESS", "0.50", "0.00", "0.00000"),
        ("REFUND", "0.00", "9.99", "-0.06000"),
    ]
    assert cells[0]["商品名称"] == "咖啡， 大 杯"
    summary = dict(zip(totals_head.split(","), totals[1:].split(",`"), strict=True))
    assert (summary["总交易单数"], summary["应结订单总金额"], summary["退款总金额"]) == ("3", "20.49", "9.99")

    target = json.loads(mch.client.fundflow_bill(today)[1])["download_url"]
    flow = gzip.decompress(mch.client.download_bill(target)[1]).decode("utf-8-sig").splitlines()
    assert [row.split(",`")[5:7] for row in flow[1:-2]] == [
        ["收入", "19.99"],
        ["支出", "0.12"],
        ["收入", "0.50"],
        ["支出", "0.00"],
        ["支出", "9.93"],
    ]
    assert flow[-1] == "`5,`2,`20.49,`3,`10.05"

    for sort, count in (("SUCCESS", 2), ("REFUND", 1)):
        applied = mch.ask("GET", f"/v3/bill/tradebill?bill_date={today}&bill_type={sort}").json
        path = applied["download_url"].removeprefix(far.url)
        answer = mch.ask("GET", path)
        assert len(answer.text.splitlines()) == count + 3
        assert "wechatpay-signature" not in answer.headers
        assert applied["hash_value"] == hashlib.sha1(answer.body, usedforsecurity=False).hexdigest()
        stranger = wechat.join(far, app_key, mchid="1900000009")
        assert stranger.ask("GET", path).status == 403
        assert mch.ask("GET", path[:-1]).status == 400
        assert far.get(path, Accept="*/*", **{"User-Agent": "x"}).status == 401


def test_bills_can_be_bent_and_days_without_rows_have_none(far: Any, mch: Any) -> None:
    far.pull("bill_now", scope="always")
    today = timing.beijing(timing.now(), "%Y-%m-%d")
    ask = f"/v3/bill/tradebill?bill_date={today}"
    assert mch.ask("GET", ask).json["code"] == "NO_STATEMENT_EXIST"
    for number in ("T00001", "T00002"):
        mch.pay(number)
        far.act(number, "pay")
    far.pull("bill_amount", out_trade_no="T00001")
    far.pull("bill_omit", out_trade_no="T00002")
    applied = mch.ask("GET", ask).json
    text = mch.ask("GET", applied["download_url"].removeprefix(far.url)).text
    assert "`10.01,`" in text
    assert "T00002" not in text
    future = (datetime.now(timing.BEIJING) + timedelta(days=1)).date().isoformat()
    for query, code in (
        (f"bill_date={future}", "NO_STATEMENT_EXIST"),
        ("bill_date=2020-01-01", "INVALID_REQUEST"),
        ("bill_date=2020-13-01", "PARAM_ERROR"),
        (f"bill_date={today}&bill_type=ANY", "PARAM_ERROR"),
        (f"bill_date={today}&tar_type=ZIP", "PARAM_ERROR"),
    ):
        assert mch.ask("GET", f"/v3/bill/tradebill?{query}").json["code"] == code
    assert mch.ask("GET", f"/v3/bill/fundflowbill?bill_date={today}&account_type=FEES").status == 400


def test_certificate_mode_works_from_the_first_download_on(far: Any, app_key: Any, mail: Any) -> None:
    mch = wechat.join(far, app_key, mail.url, mode="cert")
    assert "public_key" not in mch.facts
    assert mch.pay("T00001")[0] == 200
    far.act("T00001", "pay")
    (heard,) = mail.wait(1)
    assert mch.read(heard)["resource"]["out_trade_no"] == "T00001"
    assert heard.headers["Wechatpay-Serial"] == mch.facts["platform_certs"][0]["serial_no"]
    assert len(heard.headers["Wechatpay-Serial"]) == 40


def test_a_new_platform_certificate_takes_over_in_the_middle_of_traffic(
    far: Any, app_key: Any, mail: Any
) -> None:
    mch = wechat.join(far, app_key, mail.url, mode="cert")
    mch.pay("T00001")
    old = mch.facts["platform_certs"][0]["serial_no"]
    announced = far.post("/control/wechatpay/rotate", {"what": "announce"}).json["serial_no"]
    listed = [item["serial_no"] for item in mch.ask("GET", "/v3/certificates").json["data"]]
    assert listed[0] == old
    assert announced in listed
    assert wechat.serial_of(mch.ask("GET", "/v3/certificates")) == old
    far.post("/control/wechatpay/rotate", {"what": "switch"})
    assert wechat.serial_of(mch.ask("GET", "/v3/certificates")) == announced
    assert mch.state("T00001") == "NOTPAY"  # the client fetches the new one by itself
    at_once = far.post("/control/wechatpay/rotate", {"what": "cert"}).json["serial_no"]
    far.act("T00001", "pay")
    assert mch.read(mail.wait(1)[0])["event_type"] == "TRANSACTION.SUCCESS"
    assert mail.heard[0].headers["Wechatpay-Serial"] == at_once


def test_in_a_migration_the_request_chooses_and_notifications_come_both_ways(
    far: Any, app_key: Any, mail: Any
) -> None:
    cert = wechat.join(far, app_key, mail.url, mode="cert")
    both = wechat.join(far, app_key, mail.url, mode="both")
    assert both.mchid == cert.mchid
    named, serial = both.facts["public_key_id"], both.facts["platform_certs"][0]["serial_no"]
    both.pay("T00001")
    target = f"/v3/pay/transactions/out-trade-no/T00001?mchid={both.mchid}"
    assert wechat.serial_of(both.ask("GET", target)) == serial
    assert wechat.serial_of(both.ask("GET", target, Wechatpay_Serial=named)) == named
    assert wechat.serial_of(both.ask("GET", target, Wechatpay_Serial=serial)) == serial
    mail.answers = [500]
    far.act("T00001", "pay")
    heard = mail.wait(2)
    assert {item.headers["Wechatpay-Serial"] for item in heard} == {named, serial}
    readers = {named: wechat.join(far, app_key, mail.url, mode="public_key"), serial: cert}
    for item in heard:
        news = readers[item.headers["Wechatpay-Serial"]].read(item)
        assert news["resource"]["out_trade_no"] == "T00001"
    assert both.ask("GET", "/v3/certificates").json["code"] == "RESOURCE_NOT_EXISTS"  # it has arrived


def test_a_new_public_key_leaves_the_old_one_to_those_who_name_it(
    far: Any, mch: Any, app_key: Any, mail: Any
) -> None:
    mch.pay("T00001")
    far.post("/control/wechatpay/rotate", {"what": "public_key"})
    assert mch.state("T00001") == "NOTPAY"  # the client names the key it has
    renewed = wechat.join(far, app_key, mail.url)
    assert renewed.mchid == mch.mchid
    assert renewed.facts["public_key_id"] != mch.facts["public_key_id"]
    assert renewed.facts["public_key"] != mch.facts["public_key"]
    far.act("T00001", "pay")
    (heard,) = mail.wait(1)
    assert mch.read(heard) is None
    assert renewed.read(heard)["event_type"] == "TRANSACTION.SUCCESS"


def test_a_merchant_can_move_to_another_domain(far: Any, mch: Any, app_key: Any) -> None:
    moved = wechat.join(far, app_key, domain="shop.test")
    assert moved.facts == mch.facts | {"domain": "shop.test"}
    assert wechat.join(far, app_key).facts == moved.facts


def test_registering_the_same_key_finds_the_same_merchant(far: Any, mch: Any, app_key: Any) -> None:
    again = wechat.join(far, app_key)
    assert again.facts == mch.facts
    assert far.get("/control/wechatpay/merchants").json["data"] == [mch.facts]
    assert far.get(f"/control/wechatpay/merchants/{mch.mchid}").json == mch.facts
    assert far.get("/control/wechatpay/merchants/1").status == 404
    cert = mch.facts["merchant_cert"]
    assert far.post("/control/wechatpay/merchants", {"cert": cert}).json == mch.facts
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sibling = wechat.join(far, other, appid=mch.facts["appid"])
    assert sibling.mchid != mch.mchid
    assert sibling.facts["app_secret"] == mch.facts["app_secret"]
    assert sibling.facts["apiv3_key"] != mch.facts["apiv3_key"]
    own = wechat.join(far, other, mchid="1900000009", apiv3_key="k" * 32, name="晨光咖啡馆")
    assert (own.facts["apiv3_key"], own.facts["name"]) == ("k" * 32, "晨光咖啡馆")


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"public_key": "x"},
        {"cert": "x"},
        {"mode": "magic"},
        {"mchid": "12"},
        {"appid": "wx1"},
        {"apiv3_key": "short"},
        {"domain": "http://shop.test/"},
    ],
)
def test_what_cannot_be_a_merchant_is_refused(far: Any, mch: Any, wish: dict[str, str]) -> None:
    key = {} if not wish or "public_key" in wish else {"public_key": mch.facts["merchant_public_key"]}
    assert far.post("/control/wechatpay/merchants", {**key, **wish}).status == 400
    assert len(far.get("/control/wechatpay/merchants").json["data"]) == 1


def test_nobody_takes_anothers_number_as_a_merchant(far: Any, mch: Any) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(AssertionError, match="another key"):
        wechat.join(far, other, mchid=mch.mchid)
