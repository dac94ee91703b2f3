"""alipay-sdk-python, Alipay's own, at the sandbox: it knows key mode only.

It cannot coexist with python-alipay-sdk, since both are the module ``alipay``.
"""

from __future__ import annotations

import io
import json
import zipfile
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import rsa
from alipay.aop.api.AlipayClientConfig import AlipayClientConfig
from alipay.aop.api.DefaultAlipayClient import DefaultAlipayClient
from alipay.aop.api.domain.AlipayDataDataserviceBillDownloadurlQueryModel import (
    AlipayDataDataserviceBillDownloadurlQueryModel,
)
from alipay.aop.api.domain.AlipayTradeAppPayModel import AlipayTradeAppPayModel
from alipay.aop.api.domain.AlipayTradeCloseModel import AlipayTradeCloseModel
from alipay.aop.api.domain.AlipayTradeFastpayRefundQueryModel import AlipayTradeFastpayRefundQueryModel
from alipay.aop.api.domain.AlipayTradePagePayModel import AlipayTradePagePayModel
from alipay.aop.api.domain.AlipayTradePrecreateModel import AlipayTradePrecreateModel
from alipay.aop.api.domain.AlipayTradeQueryModel import AlipayTradeQueryModel
from alipay.aop.api.domain.AlipayTradeRefundModel import AlipayTradeRefundModel
from alipay.aop.api.exception.Exception import ResponseException
from alipay.aop.api.request.AlipayDataDataserviceBillDownloadurlQueryRequest import (
    AlipayDataDataserviceBillDownloadurlQueryRequest,
)
from alipay.aop.api.request.AlipayTradeAppPayRequest import AlipayTradeAppPayRequest
from alipay.aop.api.request.AlipayTradeCloseRequest import AlipayTradeCloseRequest
from alipay.aop.api.request.AlipayTradeFastpayRefundQueryRequest import AlipayTradeFastpayRefundQueryRequest
from alipay.aop.api.request.AlipayTradePagePayRequest import AlipayTradePagePayRequest
from alipay.aop.api.request.AlipayTradePrecreateRequest import AlipayTradePrecreateRequest
from alipay.aop.api.request.AlipayTradeQueryRequest import AlipayTradeQueryRequest
from alipay.aop.api.request.AlipayTradeRefundRequest import AlipayTradeRefundRequest
from alipay.aop.api.util import WebUtils
from alipay.aop.api.util.SignatureUtils import get_sign_content, sign_with_rsa2, verify_with_rsa
from story import Story, fields_of, refused

SUBJECT = "测试商品 A+B/1 100%"

story = Story(answer=(200, b"success"))
account, ours = story.case["account"], story.case["ours"]
gateway = urlsplit(account["gateway_url"])


def connection(url: str, query: str, timeout: float) -> tuple[str, HTTPConnection]:
    """The client's own drops the port of an address, and joins a number to a text."""
    return f"{gateway.path}?{query}", HTTPConnection(gateway.hostname or "", gateway.port, timeout=timeout)


WebUtils.get_http_connection = connection
config = AlipayClientConfig()
config.server_url = account["gateway_url"]
config.app_id = account["app_id"]
config.app_private_key = ours["private_key_pkcs1"]
config.alipay_public_key = account["alipay_public_key"]
client = DefaultAlipayClient(config)
paid, refund = story.number("PAID"), story.number("REFUND")


def model(kind: Any, **fields: str) -> Any:
    made = kind()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def ask(kind: Any, biz: Any, **more: str) -> dict[str, Any]:
    """One call; the client verifies the answer and hands on the node that was signed."""
    request = kind(biz_model=biz)
    for name, value in more.items():
        setattr(request, name, value)
    node: dict[str, Any] = json.loads(client.execute(request))
    return node


def order(number: str, amount: str = "19.99", kind: Any = AlipayTradePrecreateModel, **more: str) -> Any:
    return model(kind, out_trade_no=number, total_amount=amount, subject=SUBJECT, **more)


def query() -> dict[str, Any]:
    return ask(AlipayTradeQueryRequest, model(AlipayTradeQueryModel, out_trade_no=paid))


def genuine(fields: dict[str, str], key: str = account["alipay_public_key"]) -> bool:
    """As the client's own examples verify a notification."""
    rest = {name: value for name, value in fields.items() if name not in ("sign", "sign_type")}
    return holds(get_sign_content(rest), fields["sign"], key)


def holds(text: str, signature: str, key: str) -> bool:
    try:
        return bool(verify_with_rsa(key, text.encode(), signature))
    except rsa.VerificationError:
        return False


@story.step("places an order")
def _() -> None:
    made = ask(AlipayTradePrecreateRequest, order(paid), notify_url=story.address("paid"))
    assert made["code"] == "10000", made
    assert made["qr_code"].startswith(f"{story.case['far']}/qr/"), made


@story.step("sees it unpaid")
def _() -> None:
    assert query()["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    story.control(f"trades/{paid}/open")
    assert query()["trade_status"] == "WAIT_BUYER_PAY"


@story.step("hears of the payment")
def _() -> None:
    story.control(f"trades/{paid}/pay")
    fields = story.heard("paid")[0].fields
    assert genuine(fields), fields
    told = [fields[name] for name in ("out_trade_no", "trade_status", "total_amount", "subject", "app_id")]
    assert told == [paid, "TRADE_SUCCESS", "19.99", SUBJECT, account["app_id"]]


@story.step("rejects a tampered notification")
def _() -> None:
    fields = story.heard("paid")[0].fields
    for name in ("total_amount", "out_trade_no", "trade_status", "app_id"):
        assert not genuine({**fields, name: fields[name] + "0"}), name
    assert not genuine({**fields, "refund_fee": "1.00"})


@story.step("rejects a forged notification")
def _() -> None:
    forged = story.number("FORGED")
    ask(AlipayTradePrecreateRequest, order(forged), notify_url=story.address("forged"))
    for count, kind in enumerate(("bad_signature", "other_key"), start=1):
        story.control(f"trades/{forged}/forge", {"kind": kind})
        assert not genuine(story.heard("forged", count)[-1].fields), kind


@story.step("sees it paid")
def _() -> None:
    node = query()
    assert (node["trade_status"], node["total_amount"]) == ("TRADE_SUCCESS", "19.99"), node


@story.step("refunds")
def _() -> None:
    biz = model(AlipayTradeRefundModel, out_trade_no=paid, out_request_no=refund, refund_amount="5.00")
    first = ask(AlipayTradeRefundRequest, biz)
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "5.00"), first
    again = ask(AlipayTradeRefundRequest, biz)
    assert (again["fund_change"], again["refund_fee"]) == ("N", "5.00"), again


@story.step("sees the refund")
def _() -> None:
    biz = model(AlipayTradeFastpayRefundQueryModel, out_trade_no=paid, out_request_no=refund)
    node = ask(AlipayTradeFastpayRefundQueryRequest, biz)
    assert (node["refund_status"], node["refund_amount"]) == ("REFUND_SUCCESS", "5.00"), node


@story.step("hears of the refund")
def _() -> None:
    fields = story.heard("paid", 2)[1].fields
    assert genuine(fields), fields
    assert (fields["out_biz_no"], fields["refund_fee"]) == (refund, "5.00"), fields


@story.step("closes")
def _() -> None:
    closed = story.number("CLOSED")
    ask(AlipayTradePrecreateRequest, order(closed))
    story.control(f"trades/{closed}/open")
    assert ask(AlipayTradeCloseRequest, model(AlipayTradeCloseModel, out_trade_no=closed))["code"] == "10000"
    node = ask(AlipayTradeQueryRequest, model(AlipayTradeQueryModel, out_trade_no=closed))
    assert node["trade_status"] == "TRADE_CLOSED", node


@story.step("sends a browser to the cashier and reads its return")
def _() -> None:
    number = story.number("PAGE")
    biz = order(number, "8.88", AlipayTradePagePayModel, product_code="FAST_INSTANT_TRADE_PAY")
    request = AlipayTradePagePayRequest(biz_model=biz)
    request.return_url = story.address("back")
    back = fields_of(urlsplit(story.approve(client.page_execute(request, http_method="GET"))).query)
    assert back["out_trade_no"] == number
    assert genuine(back), back
    assert not genuine({**back, "total_amount": "0.01"})


@story.step("hands an app its order")
def _() -> None:
    biz = order(story.number("APP"), "8.88", AlipayTradeAppPayModel, product_code="QUICK_MSECURITY_PAY")
    text = client.sdk_execute(AlipayTradeAppPayRequest(biz_model=biz))
    done = story.control("alipay/sdk_pay", {"order_string": text})
    assert done["resultStatus"] == "9000", done


@story.step("reads the bill")
def _() -> None:
    asked = {"bill_type": "trade", "bill_date": story.case["today"]}
    biz = model(AlipayDataDataserviceBillDownloadurlQueryModel, **asked)
    node = ask(AlipayDataDataserviceBillDownloadurlQueryRequest, biz)
    with urlopen(node["bill_download_url"]) as file, zipfile.ZipFile(io.BytesIO(file.read())) as bundle:
        text = "".join(bundle.read(name).decode("gbk") for name in bundle.namelist())
    rows = [row.split(",") for row in text.splitlines() if f"{paid}\t" in row]
    assert [row[11] for row in rows] == ["19.99", "-5.00"], rows


@story.step("refuses a forged answer")
def _() -> None:
    story.control("levers", {"name": "forge_answer"})
    error = refused(query)
    assert isinstance(error, ResponseException), error
    assert "sign verify failed" in str(error)


@story.step("accepts our signatures")
def _() -> None:
    for request in ours["requests"]:
        rest = dict(request["params"])
        signature = rest.pop("sign")
        assert holds(get_sign_content(rest), signature, ours["public_key"]), request["name"]
        assert not holds(get_sign_content(rest) + "0", signature, ours["public_key"]), request["name"]


@story.step("signs what we sign alike")
def _() -> None:
    for request in ours["requests"]:
        rest = dict(request["params"])
        signature = rest.pop("sign")
        assert sign_with_rsa2(config.app_private_key, get_sign_content(rest), "utf-8") == signature


@story.step("accepts our notifications")
def _() -> None:
    for notice in ours["notices"]:
        fields = fields_of(notice["body"])
        assert genuine(fields, ours["network_key"]), notice["name"]
        assert not genuine({**fields, "total_amount": "0.01"}, ours["network_key"]), notice["name"]


story.end()
