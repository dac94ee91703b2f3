"""Every transaction of UnionPay's over loopback HTTP, driven by a client that was written by hand."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from sandbox import rsakeys, timing, trades
from sandbox.trades import State
from sandbox.unionpay.merchants import NETWORK
from tests.sandbox.unionpay_hand import FORM, Client, read_answer, sign, stamp, verify


@pytest.fixture
def client(far: Any, app_key: rsa.RSAPrivateKey) -> Client:
    return Client(far, app_key)


class Page(HTMLParser):
    """The forms of a page, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found.get("action", "")
        elif tag == "input" and found.get("type") == "hidden":
            self.fields[found["name"]] = found["value"]
        elif tag == "a":
            self.links.append(found.get("href", ""))


# Merchants


def test_a_merchant_gets_everything_that_its_settings_need(far: Any, client: Client) -> None:
    facts = client.facts
    assert re.fullmatch(r"777290\d{9}", facts["mer_id"])
    held = x509.load_pem_x509_certificate(facts["merchant_cert"].encode())
    assert facts["cert_id"] == str(held.serial_number)
    assert held.public_key() == client.key.public_key()
    held.verify_directly_issued_by(x509.load_pem_x509_certificate(facts["middle_cert"].encode()))
    assert facts["gateway_url"] == f"{far.url}/gateway/api"
    assert facts["file_url"] == f"{far.url}/unionpay/files/"
    assert "PRIVATE" not in json.dumps(facts)


def test_registering_again_changes_nothing(far: Any, client: Client, app_key: rsa.RSAPrivateKey) -> None:
    assert Client(far, app_key).facts == client.facts
    assert far.get(f"/control/unionpay/merchants/{client.mer_id}").json == client.facts
    assert far.get("/control/unionpay/merchants").json["data"] == [client.facts]
    assert far.post("/control/unionpay/merchants", {"cert": client.facts["merchant_cert"]}).status == 200


def test_a_merchant_may_bring_its_number_and_certificate_and_renew_it(
    far: Any, client: Client, app_key: rsa.RSAPrivateKey
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    first = Client(far, other, mer_id="777290058110048", name="码付小店")
    assert (first.mer_id, first.facts["name"]) == ("777290058110048", "码付小店")
    first.qr("ORDER0001")
    renewed = Client(far, app_key, mer_id=first.mer_id)
    assert renewed.facts["cert_id"] != first.facts["cert_id"]
    assert renewed.qr("ORDER0002")["respCode"] == "00"
    assert first.qr("ORDER0003")["respCode"] == "11"  # the old certificate is no longer known


def test_a_new_certificate_over_the_same_key_takes_the_old_ones_place(far: Any, client: Client) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    issuer = rsakeys.Issuer(name, client.key)
    fresh = rsakeys.certificate(name, client.key.public_key(), issuer, serial=68759663125)
    answer = far.post("/control/unionpay/merchants", {"cert": fresh})
    assert (answer.status, answer.json["mer_id"]) == (200, client.mer_id)
    assert answer.json["cert_id"] == "68759663125"
    assert client.qr("ORDER0001")["respCode"] == "11"
    client.facts = answer.json
    assert client.qr("ORDER0001")["respCode"] == "00"


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"public_key": "nonsense"},
        {"cert": "nonsense"},
        {"cert": "a", "public_key": "b"},
        {"mode": "other"},
        {"mer_id": "short"},
    ],
)
def test_a_merchant_that_makes_no_sense_is_refused(far: Any, client: Client, wish: dict[str, str]) -> None:
    good = {} if wish.keys() & {"public_key", "cert"} or not wish else {"cert": client.facts["merchant_cert"]}
    answer = far.post("/control/unionpay/merchants", good | wish)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_merchant")
    assert far.get("/control/unionpay/merchants/777290000000000").status == 404


def test_the_vectors_of_unionpays_own_sdk_are_let_in_over_the_wire(far: Any) -> None:
    """Their signature holds; only their time, 2024, is refused."""
    vectors = json.loads((Path(__file__).parents[1] / "vectors" / "providers.json").read_text())
    far.post(
        "/control/unionpay/merchants", {"cert": vectors["keys"]["up_mer.cer"], "mer_id": "777290058110048"}
    )
    hosts = {"filedownload host /": "/unionpay/files/"}
    for vector in vectors["unionpay"]:
        if vector["kind"] == "request":
            path = hosts.get(vector["endpoint"], f"/gateway/api/{vector['endpoint']}")
            body = vector["form_body"].encode()
            answer = read_answer(far.ask("POST", path, body, FORM).body)
            expected = "34" if vector["id"] == "up-req-query" else "10"
            assert (answer["respCode"], "txnTime" in answer["respMsg"]) == (expected, expected == "10")
            broken = read_answer(far.ask("POST", path, body.replace(b"202401", b"202402"), FORM).body)
            assert broken["respCode"] == "11"


# Paying


def test_a_code_is_scanned_and_paid(far: Any, client: Client, shop: Any) -> None:
    made = client.qr("ORDER0001", backUrl=shop.url, orderDesc="咖啡", reqReserved="测试 保留+域/1")
    assert (made["respCode"], made["respMsg"]) == ("00", "成功[0000000]")
    assert made["qrCode"].startswith(f"{far.url}/qr/")
    assert "queryId" not in made
    assert client.state("ORDER0001") == "34"  # nobody has opened it
    sheet = far.get(made["qrCode"]).headers["location"]
    assert client.state("ORDER0001") == "05"
    assert "咖啡" in far.get(sheet).text
    far.press(sheet, "approve")
    asked = client.query("ORDER0001")
    assert {k: v for k, v in asked.items() if k not in ("signature", "signPubKeyCert", "certId")} == {
        "version": "5.1.0",
        "encoding": "UTF-8",
        "signMethod": "01",
        "accessType": "0",
        "respCode": "00",
        "respMsg": "成功[0000000]",
        "origRespCode": "00",
        "origRespMsg": "成功[0000000]",
        "txnType": "01",
        "txnSubType": "07",
        "bizType": "000000",
        "merId": client.mer_id,
        "orderId": "ORDER0001",
        "txnTime": client.times["ORDER0001"],
        "txnAmt": "1250",
        "currencyCode": "156",
        "settleAmt": "1250",
        "settleCurrencyCode": "156",
        "accNo": "6216***********0018",
        "payCardType": "01",
        "reqReserved": "测试 保留+域/1",
        **{name: asked[name] for name in ("queryId", "traceNo", "traceTime", "settleDate")},
    }
    assert re.fullmatch(r"\d{21}", asked["queryId"])
    (heard,) = shop.wait(1)
    assert client.genuine(heard)
    for name in ("queryId", "traceNo", "traceTime", "settleDate", "txnAmt", "reqReserved", "txnSubType"):
        assert heard[name] == asked[name]


def test_an_answer_is_raw_pairs_and_never_holds_an_empty_value(client: Client) -> None:
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    answer = client.post("backTransReq", fields)
    assert b"respMsg=\xe6\x88\x90\xe5\x8a\x9f[0000000]&" in answer.body
    assert b"signPubKeyCert=-----BEGIN CERTIFICATE-----\r\n" in answer.body
    assert b"qrCode=http://" in answer.body
    assert answer.headers["content-type"] == "text/html;charset=UTF-8"
    assert all(read_answer(answer.body).values())


@pytest.mark.parametrize("channel", ["07", "08"])
def test_a_form_leads_to_the_cashier_and_a_form_leads_back(
    far: Any, client: Client, shop: Any, channel: str
) -> None:
    answer = client.front("ORDER0001", channelType=channel, frontUrl=f"{shop.url}?shown=1", backUrl=shop.url)
    assert answer.status == 303
    assert client.state("ORDER0001") == "05"
    back = far.press(answer.headers["location"], "approve")
    assert (back.status, back.headers["location"].startswith("/unionpay/return/")) == (303, True)
    page = far.get(back.headers["location"])
    assert "script" not in page.text
    found = Page(page.text)
    assert found.action == f"{shop.url}?shown=1"
    assert client.genuine(found.fields)
    assert (found.fields["respCode"], found.fields["orderId"], found.fields["txnAmt"]) == (
        "00",
        "ORDER0001",
        "1250",
    )
    (heard,) = shop.wait(1)
    assert heard["queryId"] == found.fields["queryId"]


def test_a_form_may_be_sent_again_until_it_is_paid(far: Any, client: Client) -> None:
    form = client.front_form("ORDER0001")
    first, again = (client.post("frontTransReq", form) for _ in range(2))
    assert (first.status, first.headers["location"]) == (303, again.headers["location"])
    other = client.post("frontTransReq", client.front_form("ORDER0001", "1"))
    assert (other.status, "重复交易" in other.text) == (200, True)
    far.act("ORDER0001", "pay")
    paid = client.post("frontTransReq", form)
    assert (paid.status, "重复交易" in paid.text) == (200, True)


def test_a_shopper_who_leaves_can_go_back_to_the_fail_address(far: Any, client: Client) -> None:
    sheet = client.front("ORDER0001", frontFailUrl="http://127.0.0.1:1/fail").headers["location"]
    far.press(sheet, "decline")
    (way,) = [link for link in Page(far.get(sheet).text).links if link.startswith("/unionpay/return/")]
    found = Page(far.get(way).text)
    assert found.action == "http://127.0.0.1:1/fail"
    assert client.genuine(found.fields)
    assert (found.fields["respCode"], "queryId" in found.fields) == ("64", False)


def test_where_no_way_leads_back_there_is_none(far: Any, client: Client) -> None:
    sheet = client.front("ORDER0001").headers["location"]
    assert far.get(sheet.replace("/cashier/", "/unionpay/return/")).status == 404
    assert far.get("/unionpay/return/unknown").status == 404
    assert all("/unionpay/return/" not in link for link in Page(far.get(sheet).text).links)
    made = client.qr("ORDER0002")
    sheet = far.get(made["qrCode"]).headers["location"]
    assert far.press(sheet, "approve").headers["location"] == sheet


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"signature": "AAAA"}, "11"),
        ({"txnAmt": "1"}, "11"),
        ({"frontUrl": ""}, "10"),
        ({"merId": "777290000000000"}, "31"),
    ],
)
def test_a_refused_form_is_a_page_that_says_why(
    far: Any, client: Client, change: dict[str, str], code: str
) -> None:
    answer = client.post("frontTransReq", client.front_form("ORDER0001") | change)
    assert answer.status == 200
    assert f"<code>{code}</code>" in answer.text
    assert far.get("/control/trades").json["data"] == []


def test_a_form_needs_its_way_back_and_the_gateway_product(client: Client) -> None:
    form = {name: value for name, value in client.front_form("ORDER0001").items() if name != "frontUrl"}
    resigned = sign(client.key, client.facts["cert_id"], {k: v for k, v in form.items() if k != "signature"})
    assert "<code>13</code>" in client.post("frontTransReq", resigned).text
    query = client.signed(
        txnType="00", txnSubType="00", bizType="000000", orderId="ORDER0001", txnTime=stamp()
    )
    assert "<code>32</code>" in client.post("frontTransReq", query).text


@pytest.mark.parametrize(
    ("action", "word", "state"),
    [("approve", "success", "00"), ("decline", "fail", "64"), ("cancel", "cancel", "05")],
)
def test_an_app_pays_with_a_number(
    far: Any, client: Client, shop: Any, action: str, word: str, state: str
) -> None:
    made = client.app("ORDER0001", backUrl=shop.url)
    assert re.fullmatch(r"\d{21}", made["tn"])
    assert client.state("ORDER0001") == "34"
    answer = far.post("/control/unionpay/sdk_pay", {"tn": made["tn"], "action": action})
    assert answer.json == {"pay_result": word, "tn": made["tn"], "out_trade_no": "ORDER0001"}
    assert client.state("ORDER0001") == state
    assert far.trade("ORDER0001")["product"] == "app"


def test_the_sdk_refuses_what_it_cannot_do(far: Any, client: Client) -> None:
    made = client.app("ORDER0001")
    assert far.post("/control/unionpay/sdk_pay", {"tn": "0" * 21}).status == 404
    assert far.post("/control/unionpay/sdk_pay", {"tn": made["tn"], "action": "steal"}).status == 400


# Time


def test_an_unopened_code_dies_at_its_time_and_was_never_there(
    far: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.qr("ORDER0001", payTimeout=stamp(60))
    _later(monkeypatch, 61)
    assert far.get(made["qrCode"]).status == 410
    assert client.state("ORDER0001") == "34"


def test_an_opened_payment_that_nobody_finished_is_over_at_its_time(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = client.front("ORDER0001", payTimeout=stamp(60), backUrl=shop.url).headers["location"]
    _later(monkeypatch, 61)
    assert client.state("ORDER0001") == "69"
    far.press(sheet, "approve")
    assert client.state("ORDER0001") == "69"
    assert shop.heard == []  # UnionPay tells nobody of a payment that was not made


def test_a_refused_payment_may_be_tried_again_until_its_time(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = client.front("ORDER0001", payTimeout=stamp(60), backUrl=shop.url).headers["location"]
    far.press(sheet, "decline")
    assert client.state("ORDER0001") == "64"
    far.press(sheet, "approve")
    assert client.state("ORDER0001") == "00"
    client.front("ORDER0002", payTimeout=stamp(60))
    far.act("ORDER0002", "decline")
    _later(monkeypatch, 61)
    assert client.state("ORDER0002") == "64"


def test_a_payment_ended_under_the_shoppers_hand_was_taken_too_late(far: Any, client: Client) -> None:
    far.pull("close")
    client.front("ORDER0001", payTimeout=stamp(600))
    far.act("ORDER0001", "pay")
    assert client.state("ORDER0001") == "42"


# Asking


def test_a_query_finds_by_number_and_time_or_by_unionpays_number(client: Client) -> None:
    query_id = client.paid("ORDER0001")
    assert client.query("ORDER0001", txnTime=stamp(-5))["respCode"] == "34"
    assert client.query("ORDER0002")["respCode"] == "34"
    ask = {"txnType": "00", "txnSubType": "00", "bizType": "000201"}
    assert client.call("queryTrans", **ask, queryId=query_id)["origRespCode"] == "00"
    assert client.call("queryTrans", **ask, queryId="9" * 21)["respCode"] == "34"
    known = {"orderId": "ORDER0001", "txnTime": client.times["ORDER0001"]}
    assert client.call("backTransReq", **ask, **known)["origRespCode"] == "00"
    assert client.call("queryTrans", **ask, orderId="ORDER0001")["respCode"] == "13"


def test_one_merchant_sees_nothing_of_another(far: Any, client: Client) -> None:
    query_id = client.paid("ORDER0001")
    other = Client(far, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    other.times = dict(client.times)
    assert other.state("ORDER0001") == "34"
    assert other.back("04", "REFUND01", query_id, "1")["respCode"] == "35"
    assert other.qr("ORDER0001")["respCode"] == "00"  # a number is the merchant's own
    assert client.state("ORDER0001") == "00"


# Refusals


def _without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda fields: {k: v for k, v in fields.items() if k != name}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        *(
            ("13", _without(name))
            for name in ("orderId", "txnTime", "txnAmt", "currencyCode", "backUrl", "channelType")
        ),
        *(("13", _without(name)) for name in ("version", "merId", "txnType", "bizType", "accessType")),
        ("10", lambda fields: fields | {"txnAmt": "12.50"}),
        ("10", lambda fields: fields | {"txnTime": stamp(-7200)}),
        ("10", lambda fields: fields | {"txnTime": stamp(7200)}),
        ("10", lambda fields: fields | {"txnTime": "20241315100000"}),
        ("10", lambda fields: fields | {"payTimeout": stamp(-1)}),
        ("10", lambda fields: fields | {"payTimeout": "20241315100000"}),
        ("10", lambda fields: fields | {"bizType": "000201"}),
        ("10", lambda fields: fields | {"orderId": "a-b-c-d-e"}),
        ("31", lambda fields: fields | {"merId": "777290000000000"}),
        ("32", lambda fields: fields | {"txnSubType": "09"}),
    ],
)
def test_a_well_signed_order_that_is_wrong_is_refused_with_its_code(
    far: Any, client: Client, code: str, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    changed = change({k: v for k, v in fields.items() if k not in ("signature", "certId")})
    answer = read_answer(client.post("backTransReq", sign(client.key, client.facts["cert_id"], changed)).body)
    assert answer["respCode"] == code, answer
    assert client.genuine(answer)
    assert far.get("/control/trades").json["data"] == []


@pytest.mark.parametrize(
    ("code", "twist"),
    [
        ("11", lambda fields: fields | {"txnAmt": "1"}),
        ("11", lambda fields: fields | {"certId": "68759663125"}),
        ("11", lambda fields: fields | {"signature": "AAAA"}),
        ("10", lambda fields: fields | {"orderDesc": ""}),
        ("10", lambda fields: fields | {"signMethod": "11"}),
        ("13", _without("signature")),
        ("13", _without("certId")),
    ],
)
def test_a_badly_signed_order_is_refused(
    far: Any, client: Client, code: str, twist: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    answer = read_answer(client.post("backTransReq", twist(fields)).body)
    assert answer["respCode"] == code
    assert client.genuine(answer)
    assert far.get("/control/trades").json["data"] == []


def test_a_good_signature_under_a_certificate_that_is_not_registered_is_refused(client: Client) -> None:
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    kept = {k: v for k, v in fields.items() if k not in ("signature", "certId")}
    answer = read_answer(client.post("backTransReq", sign(client.key, "68759663125", kept)).body)
    assert answer["respCode"] == "11"


def test_one_hash_is_not_enough(client: Client) -> None:
    """Some clients hash once; UnionPay hashes the hash."""
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "signature").encode()
    once = base64.b64encode(client.key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    assert read_answer(client.post("backTransReq", fields | {"signature": once}).body)["respCode"] == "11"


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", FORM), (b"nonsense", FORM), (b"a=1&a=2", FORM), (b"{}", {"Content-Type": "application/json"})],
)
def test_garbage_is_answered_in_unionpays_words(
    far: Any, client: Client, body: bytes, headers: dict[str, str]
) -> None:
    for path in ("/gateway/api/backTransReq.do", "/gateway/api/queryTrans.do", "/unionpay/files/"):
        answer = far.ask("POST", path, body, headers)
        assert (answer.status, read_answer(answer.body)["respCode"] in ("10", "13")) == (200, True)
        assert client.genuine(read_answer(answer.body))
    assert far.get("/gateway/api/backTransReq.do").status == 405


def test_what_breaks_an_answer_is_not_repeated_in_it(client: Client) -> None:
    fields = client.signed(txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001"))
    answer = client.post("backTransReq", fields | {"reqReserved": "a&respCode=00"})
    assert answer.body.count(b"respCode=") == 1
    assert read_answer(answer.body)["respCode"] == "10"


def test_a_number_is_used_once_for_whatever_it_was(far: Any, client: Client) -> None:
    assert client.qr("ORDER0001")["respCode"] == "00"
    assert client.qr("ORDER0001")["respCode"] == "12"
    assert client.app("ORDER0001")["respCode"] == "12"
    query_id = client.paid("ORDER0002")
    assert client.back("04", "REFUND01", query_id, "100")["respCode"] == "00"
    assert client.back("04", "REFUND01", query_id, "100")["respCode"] == "12"
    assert client.back("04", "ORDER0002", query_id, "100")["respCode"] == "12"
    assert client.qr("REFUND01")["respCode"] == "12"
    assert far.trade("ORDER0002")["refunded_minor"] == 100


# Money going back


def test_refunds_are_transactions_of_their_own(far: Any, client: Client, shop: Any) -> None:
    query_id = client.paid("ORDER0001")
    first = client.back("04", "REFUND01", query_id, "500", backUrl=shop.url, reqReserved="ORDER0001")
    assert (first["respCode"], first["origQryId"], first["txnType"]) == ("00", query_id, "04")
    assert first["queryId"] != query_id
    asked = client.query("REFUND01")
    assert (asked["origRespCode"], asked["txnType"], asked["txnAmt"]) == ("00", "04", "500")
    assert (asked["queryId"], asked["origQryId"]) == (first["queryId"], query_id)
    by_number = client.call(
        "queryTrans", txnType="00", txnSubType="00", bizType="000000", queryId=first["queryId"]
    )
    assert by_number["orderId"] == "REFUND01"
    assert client.query("REFUND01", txnTime=stamp(-9))["respCode"] == "34"
    (heard,) = shop.wait(1)
    assert client.genuine(heard)
    assert (heard["txnType"], heard["orderId"], heard["respCode"]) == ("04", "REFUND01", "00")
    assert (heard["origQryId"], heard["queryId"], heard["txnAmt"]) == (query_id, first["queryId"], "500")
    assert heard["reqReserved"] == "ORDER0001"
    assert client.state("ORDER0001") == "00"  # the payment's own query never changes
    assert client.back("04", "REFUND02", query_id, "751")["respCode"] == "36"
    assert client.back("04", "REFUND03", query_id, "750")["respCode"] == "00"
    assert client.back("04", "REFUND04", query_id, "1")["respCode"] == "45"
    assert far.trade("ORDER0001")["refunded_minor"] == 1250


def test_a_void_is_in_full_and_on_the_day(
    far: Any, client: Client, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (client.paid(f"ORDER000{n}") for n in (1, 2, 3))
    assert client.back("31", "VOID0001", first, "1249")["respCode"] == "36"
    assert client.back("31", "VOID0002", first, "1250", backUrl=shop.url)["respCode"] == "00"
    assert client.query("VOID0002")["txnType"] == "31"
    (heard,) = shop.wait(1)
    assert (heard["txnType"], heard["respCode"], heard["origQryId"]) == ("31", "00", first)
    assert client.back("31", "VOID0003", first, "1250")["respCode"] == "45"
    assert client.back("04", "REFUND01", second, "1")["respCode"] == "00"
    assert client.back("31", "VOID0004", second, "1250")["respCode"] == "45"
    _later(monkeypatch, 86400)
    time = stamp(86400)
    assert client.back("31", "VOID0005", third, "1250", txnTime=time)["respCode"] == "35"
    assert client.back("04", "REFUND02", third, "1250", txnTime=time)["respCode"] == "00"


def test_what_was_not_paid_cannot_go_back(far: Any, client: Client) -> None:
    client.qr("ORDER0001")
    trade_no = far.trade("ORDER0001")["trade_no"]
    assert client.back("04", "REFUND01", trade_no, "1")["respCode"] == "35"
    assert client.back("04", "REFUND02", "9" * 21, "1")["respCode"] == "35"
    query_id = client.paid("ORDER0002")
    assert client.back("04", "REFUND03", query_id, "1", bizType="000201")["respCode"] == "36"
    assert client.back("04", "REFUND04", query_id, "1", txnTime=stamp(-7200))["respCode"] == "10"
    far.act("ORDER0002", "finish")
    assert client.back("04", "REFUND05", query_id, "1")["respCode"] == "35"
    with far.box.store.read() as db:
        trade = trades.find(db, NETWORK, client.mer_id, "ORDER0002")
        assert trade is not None
        assert (trade.state, trades.refunds_of(db, trade)) == (State.FINISHED, [])


def test_a_merchant_in_test_mode_hears_unionpays_test_system(
    far: Any, app_key: rsa.RSAPrivateKey, shop: Any
) -> None:
    client = Client(far, app_key, mode="test")
    made = client.qr("ORDER0001", backUrl=shop.url)
    far.act("ORDER0001", "pay")
    middle, root = client.facts["middle_cert"], client.facts["root_cert"]
    for message in (made, shop.wait(1)[0]):
        assert verify(message, middle, root, ("00040000:SIGN",))
        assert not verify(message, middle, root, ("中国银联股份有限公司",))


def test_a_new_certificate_of_unionpays_is_believed_at_once(far: Any, client: Client) -> None:
    before = client.qr("ORDER0001")
    answer = far.post("/control/unionpay/rotate_cert")
    after = client.query("ORDER0001")
    assert before["certId"] != after["certId"] == answer.json["unionpay_cert_id"]
    assert far.post("/control/unionpay/rotate_cert", {"mode": "other"}).status == 400


def test_a_registered_certificate_may_come_from_anywhere(far: Any, app_key: rsa.RSAPrivateKey) -> None:
    vectors = json.loads((Path(__file__).parents[1] / "vectors" / "providers.json").read_text())["keys"]
    answer = far.post("/control/unionpay/merchants", {"cert": vectors["up_mer.cer"]})
    assert (answer.status, answer.json["cert_id"]) == (201, "68759663125")
    key = serialization.load_pem_private_key(vectors["up_mer.pkcs8.pem"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    client = Client(far, key)
    assert client.mer_id == answer.json["mer_id"]
    assert client.qr("ORDER0001")["respCode"] == "00"


def test_requests_in_the_bytes_of_another_client_are_read_alike(client: Client) -> None:
    """Blanks as %20 instead of plus, and fields in another order."""
    fields = client.signed(
        txnType="01", txnSubType="07", bizType="000000", **client.order("ORDER0001", reqReserved="a b+c 中")
    )
    body = urlencode(dict(reversed(fields.items()))).replace("+", "%20").encode()
    path = f"{client.facts['gateway_url']}/backTransReq.do"
    answer = read_answer(client.far.ask("POST", path, body, FORM).body)
    assert (answer["respCode"], answer["reqReserved"]) == ("00", "a b+c 中")


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = timing.now
    monkeypatch.setattr(timing, "now", lambda: real() + seconds)
