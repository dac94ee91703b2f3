"""wechatpayv3, which merchants use, at the sandbox: public-key and certificate mode."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

from story import Mail, Story, refused
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.core import Core
from wechatpayv3.utils import load_certificate, load_public_key, rsa_sign, rsa_verify

DESCRIPTION = "测试商品 A+B/1 100%"

story = Story(answer=(204, b""))
account, ours = story.case["account"], story.case["ours"]

# In certificate mode the client fetches certificates while it is made, before it can be told where.
Core._gate_way = property(lambda _: account["api_base"], lambda *_: None)


def client_of(mode: str) -> WeChatPay:
    own = {} if mode == "cert" else {name: account[name] for name in ("public_key", "public_key_id")}
    return WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=account["mchid"],
        private_key=ours["private_key"],
        cert_serial_no=account["merchant_serial"],
        apiv3_key=account["apiv3_key"],
        appid=account["appid"],
        notify_url=story.address("paid"),
        **own,
    )


client = client_of(story.case["mode"])
paid, refund = story.number("PAID"), story.number("REFUND")


def said(answer: tuple[int, Any], status: int = 200) -> Any:
    """What an answer says, once it has the right status."""
    assert answer[0] == status, answer
    return json.loads(answer[1]) if answer[1] else None


def place(number: str, **more: Any) -> Any:
    order = {"description": DESCRIPTION, "out_trade_no": number, "amount": {"total": 1999}, **more}
    return said(client.pay(**order))


def query(number: str = paid) -> Any:
    return said(client.query(out_trade_no=number))


def read(mail: Mail) -> Any:
    """A notification as the client reads it; None when it does not believe it."""
    return client.callback(mail.headers, mail.body)


@story.step("places an order")
def _() -> None:
    assert place(paid)["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")


@story.step("sees it unpaid")
def _() -> None:
    assert query()["trade_state"] == "NOTPAY"


@story.step("hears of the payment")
def _() -> None:
    story.control(f"trades/{paid}/pay")
    news = read(story.heard("paid")[0])
    assert news["event_type"] == "TRANSACTION.SUCCESS", news
    told = news["resource"]
    assert (told["out_trade_no"], told["trade_state"]) == (paid, "SUCCESS"), told
    assert (told["mchid"], told["amount"]["total"]) == (account["mchid"], 1999), told


@story.step("rejects a tampered notification")
def _() -> None:
    mail = story.heard("paid")[0]
    assert not read(Mail(mail.headers, mail.body.replace(b"TRANSACTION", b"TRANSACTI0N", 1)))
    assert not read(Mail({**mail.headers, "Wechatpay-Nonce": "another"}, mail.body))
    assert not read(Mail({**mail.headers, "Wechatpay-Timestamp": "1705284000"}, mail.body))


@story.step("rejects a forged notification")
def _() -> None:
    forged = story.number("FORGED")
    place(forged, notify_url=story.address("forged"))
    for count, kind in enumerate(("bad_signature", "other_key", "signtest"), start=1):
        story.control(f"trades/{forged}/forge", {"kind": kind})
        assert not read(story.heard("forged", count)[-1]), kind


@story.step("sees it paid")
def _() -> None:
    told = query()
    assert (told["trade_state"], told["amount"]["payer_total"]) == ("SUCCESS", 1999), told
    assert said(client.query(transaction_id=told["transaction_id"])) == told


@story.step("refunds")
def _() -> None:
    amount = {"refund": 500, "total": 1999, "currency": "CNY"}
    address = story.address("refund")
    made = said(client.refund(refund, amount, out_trade_no=paid, reason="坏了", notify_url=address))
    assert (made["status"], made["amount"]["refund"]) == ("PROCESSING", 500), made
    again = said(client.refund(refund, amount, out_trade_no=paid, reason="坏了", notify_url=address))
    assert again["refund_id"] == made["refund_id"], again


@story.step("sees the refund")
def _() -> None:
    told = said(client.query_refund(refund))
    assert (told["status"], told["amount"]["refund"]) == ("SUCCESS", 500), told


@story.step("hears of the refund")
def _() -> None:
    news = read(story.heard("refund")[0])
    assert news["event_type"] == "REFUND.SUCCESS", news
    assert (news["resource"]["out_refund_no"], news["resource"]["refund_status"]) == (refund, "SUCCESS")


@story.step("closes")
def _() -> None:
    closed = story.number("CLOSED")
    place(closed)
    said(client.close(closed), 204)
    assert query(closed)["trade_state"] == "CLOSED"


@story.step("opens the pay sheet in WeChat")
def _() -> None:
    number = story.number("BRIDGE")
    made = place(number, pay_type=WeChatPayType.JSAPI, payer={"openid": account["openid"]})
    package = f"prepay_id={made['prepay_id']}"
    sign = client.sign([account["appid"], "1705284000", "n0nce", package])
    names = {"appId": account["appid"], "timeStamp": "1705284000", "nonceStr": "n0nce"}
    call = {**names, "package": package, "signType": "RSA", "paySign": sign}
    done = story.control("wechatpay/jsapi_pay", call)
    assert done == {"err_msg": "get_brand_wcpay_request:ok", "out_trade_no": number}, done


@story.step("hands an app its order")
def _() -> None:
    prepay_id = place(story.number("APP"), pay_type=WeChatPayType.APP)["prepay_id"]
    sign = client.sign([account["appid"], "1705284000", "n0nce", prepay_id])
    call = {"appid": account["appid"], "partnerid": account["mchid"], "prepayid": prepay_id, "sign": sign}
    call |= {"package": "Sign=WXPay", "noncestr": "n0nce", "timestamp": "1705284000"}
    assert story.control("wechatpay/sdk_pay", call)["errCode"] == 0


@story.step("reads the bill")
def _() -> None:
    made = said(client.trade_bill(story.case["today"]))
    status, packed = client.download_bill(made["download_url"])
    assert status == 200, packed
    plain = gzip.decompress(packed)
    assert made["hash_value"] == hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    rows = [row.split(",`") for row in plain.decode("utf-8-sig").splitlines() if f"`{paid}" in row]
    assert [(row[9], row[12], row[16]) for row in rows] == [
        ("SUCCESS", "19.99", "0.00"),
        ("REFUND", "0.00", "5.00"),
    ], rows


@story.step("refuses a forged answer")
def _() -> None:
    for kind in ("bad_signature", "other_key", "signtest"):
        story.control("levers", {"name": "forge_answer", "value": kind})
        assert "failed to verify the signature" in str(refused(query)), kind


@story.step("accepts our signatures")
def _() -> None:
    key = load_public_key(ours["public_key"])
    for request in ours["requests"]:
        # It only joins three lines by itself; a request has five.
        head = f"{request['method']}\n{request['path']}\n{request['timestamp']}"
        rest = (request["nonce"], request["body"], request["signature"], key)
        assert rsa_verify(head, *rest), request["name"]
        assert not rsa_verify(head + "0", *rest), request["name"]


@story.step("signs what we sign alike")
def _() -> None:
    for paper in ours["papers"]:
        assert client.sign(paper["lines"]) == paper["signature"], paper["name"]
    for request in ours["requests"]:
        names = ("method", "path", "timestamp", "nonce", "body")
        text = "".join(f"{request[name]}\n" for name in names)
        assert rsa_sign(client._core._private_key, text) == request["signature"], request["name"]


@story.step("accepts our notifications")
def _() -> None:
    # A second merchant: the one that our side's keys belong to.
    core = client._core
    core._apiv3_key, core._public_key_id = ours["apiv3_key"], ours["network_key_id"]
    core._public_key = load_public_key(ours["network_key"])
    core._certificates = [load_certificate(ours["network_cert"])]
    for notice in ours["notices"]:
        mail = Mail(notice["headers"], notice["body"].encode())
        assert read(mail)["resource"] == notice["resource"], notice["name"]
        assert not read(Mail(mail.headers, mail.body + b" ")), notice["name"]


story.end()
