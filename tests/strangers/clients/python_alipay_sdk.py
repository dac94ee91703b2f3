"""python-alipay-sdk, which merchants use, at the sandbox: key and certificate mode."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import urlsplit
from urllib.request import urlopen

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayValidationError
from story import Story, fields_of, refused

SUBJECT = "测试商品 A+B/1 100%"
BILL = "alipay.data.dataservice.bill.downloadurl.query"

story = Story(answer=(200, b"success"))
account, ours = story.case["account"], story.case["ours"]


def client_of(mode: str) -> AliPay:
    if mode == "cert":
        return DCAliPay(
            appid=account["app_id"],
            app_private_key_string=ours["private_key"],
            app_public_key_cert_string=account["app_cert"],
            alipay_public_key_cert_string=account["alipay_cert"],
            alipay_root_cert_string=account["alipay_root_cert"],
        )
    return verifier_of(account["alipay_public_key"])


def verifier_of(public_key: str) -> AliPay:
    return AliPay(
        appid=account["app_id"],
        app_private_key_string=ours["private_key"],
        alipay_public_key_string=public_key,
    )


def genuine(fields: dict[str, str], verifier: AliPay | None = None) -> bool:
    rest = dict(fields)
    return (verifier or client).verify(rest, rest.pop("sign"))


client = client_of(story.case["mode"])
client._gateway = account["gateway_url"]
paid, refund = story.number("PAID"), story.number("REFUND")


@story.step("places an order")
def _() -> None:
    made = client.api_alipay_trade_precreate(SUBJECT, paid, "19.99", notify_url=story.address("paid"))
    assert made["code"] == "10000", made
    assert made["qr_code"].startswith(f"{story.case['far']}/qr/"), made


@story.step("sees it unpaid")
def _() -> None:
    assert client.api_alipay_trade_query(paid)["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    story.control(f"trades/{paid}/open")
    assert client.api_alipay_trade_query(paid)["trade_status"] == "WAIT_BUYER_PAY"


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
    client.api_alipay_trade_precreate(SUBJECT, forged, "19.99", notify_url=story.address("forged"))
    for count, kind in enumerate(("bad_signature", "other_key"), start=1):
        story.control(f"trades/{forged}/forge", {"kind": kind})
        assert not genuine(story.heard("forged", count)[-1].fields), kind


@story.step("sees it paid")
def _() -> None:
    node = client.api_alipay_trade_query(paid)
    assert (node["trade_status"], node["total_amount"]) == ("TRADE_SUCCESS", "19.99"), node


@story.step("refunds")
def _() -> None:
    first = client.api_alipay_trade_refund("5.00", paid, out_request_no=refund, refund_reason="坏了")
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "5.00"), first
    again = client.api_alipay_trade_refund("5.00", paid, out_request_no=refund)
    assert (again["fund_change"], again["refund_fee"]) == ("N", "5.00"), again


@story.step("sees the refund")
def _() -> None:
    node = client.api_alipay_trade_fastpay_refund_query(refund, out_trade_no=paid)
    assert (node["refund_status"], node["refund_amount"]) == ("REFUND_SUCCESS", "5.00"), node


@story.step("hears of the refund")
def _() -> None:
    fields = story.heard("paid", 2)[1].fields
    assert genuine(fields), fields
    assert (fields["out_biz_no"], fields["refund_fee"]) == (refund, "5.00"), fields


@story.step("closes")
def _() -> None:
    closed = story.number("CLOSED")
    client.api_alipay_trade_precreate(SUBJECT, closed, "19.99")
    story.control(f"trades/{closed}/open")
    assert client.api_alipay_trade_close(closed)["code"] == "10000"
    assert client.api_alipay_trade_query(closed)["trade_status"] == "TRADE_CLOSED"


@story.step("sends a browser to the cashier and reads its return")
def _() -> None:
    number = story.number("PAGE")
    query = client.api_alipay_trade_page_pay(SUBJECT, number, "8.88", return_url=story.address("back"))
    back = fields_of(urlsplit(story.approve(f"{account['gateway_url']}?{query}")).query)
    assert back["out_trade_no"] == number
    assert genuine(back), back
    assert not genuine({**back, "total_amount": "0.01"})


@story.step("hands an app its order")
def _() -> None:
    order = client.api_alipay_trade_app_pay(SUBJECT, story.number("APP"), "8.88")
    done = story.control("alipay/sdk_pay", {"order_string": order})
    assert done["resultStatus"] == "9000", done


@story.step("reads the bill")
def _() -> None:
    node = client.server_api(BILL, {"bill_type": "trade", "bill_date": story.case["today"]})
    with urlopen(node["bill_download_url"]) as file, zipfile.ZipFile(io.BytesIO(file.read())) as bundle:
        text = "".join(bundle.read(name).decode("gbk") for name in bundle.namelist())
    rows = [row.split(",") for row in text.splitlines() if f"{paid}\t" in row]
    assert [row[11] for row in rows] == ["19.99", "-5.00"], rows


@story.step("refuses a forged answer")
def _() -> None:
    story.control("levers", {"name": "forge_answer"})
    error = refused(lambda: client.api_alipay_trade_query(paid))
    assert isinstance(error, AliPayValidationError), error


@story.step("accepts our signatures")
def _() -> None:
    judge = verifier_of(ours["public_key"])
    for request in ours["requests"]:
        rest = dict(request["params"])
        signature = rest.pop("sign")
        text = "&".join(f"{name}={value}" for name, value in judge._ordered_data(rest))
        assert judge._verify(text, signature), request["name"]
        assert not judge._verify(text + "0", signature), request["name"]


@story.step("signs what we sign alike")
def _() -> None:
    for request in ours["requests"]:
        unsigned = {name: value for name, value in request["params"].items() if name != "sign"}
        assert fields_of(client.sign_data(unsigned)) == request["params"], request["name"]


@story.step("accepts our notifications")
def _() -> None:
    reader = verifier_of(ours["network_key"])
    for notice in ours["notices"]:
        fields = fields_of(notice["body"])
        assert genuine(fields, reader), notice["name"]
        assert not genuine({**fields, "total_amount": "0.01"}, reader), notice["name"]


story.end()
