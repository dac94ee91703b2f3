"""Alipay's side of the signatures, for tests: written from the manual, sharing no line with the adapter.

Alipay writes JSON with escaped slashes, signs a node's exact text, and notifies with a form.  Its keys
are those of the known-answer vectors.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app.clock import BEIJING
from app.money import Money
from app.providers import rsa
from app.providers.base import (
    CodeOrder,
    HttpAnswer,
    Inbound,
    Outcome,
    PaymentOrder,
    PaymentRef,
    RefundOrder,
    Scene,
    StatementLine,
)
from tests.providers.contract import NOW, PRICE, REF, Verb, Wire

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "providers.json").read_text(encoding="utf-8")
)
KEYS: dict[str, str] = VECTORS["keys"]
BY_ID: dict[str, Any] = {vector["id"]: vector for vector in VECTORS["alipay"]}
APP_ID = "2021000000000001"
SELLER_ID = "2088000000000000"
TRADE_NO = "2024011522001400000000000001"
QR_CODE = "https://qr.alipay.com/bax03431ljhokirwl38f00a7"

STATUS = {
    Outcome.PENDING: "WAIT_BUYER_PAY",
    Outcome.SUCCEEDED: "TRADE_SUCCESS",
    Outcome.CLOSED: "TRADE_CLOSED",
}
KEY_MODE = {
    "app_id": APP_ID,
    "private_key": KEYS["app.pkcs8.pem"],
    "alipay_public_key": KEYS["alipay.pub.pem"],
    "seller_id": SELLER_ID,
    "gateway_url": "https://alipay.example/gateway.do",
}
# A merchant that lets the application above act for it, and how news name that merchant.
AUTHORISED = {"app_auth_token": "202401BB8f3b1d6e2c5a49f7b0c1d2e3f4a5b6c7", "seller_id": "2088000000000001"}
TOLD = {"seller_id": AUTHORISED["seller_id"], "auth_app_id": "2021000000000098"}
# The seller's number is not checked unless it is set; most tests leave it out.
SETTINGS = {name: value for name, value in KEY_MODE.items() if name != "seller_id"}
CERT_MODE = {
    "app_id": APP_ID,
    "private_key": KEYS["app.pkcs1.pem"],
    "app_cert": KEYS["app_public.crt"],
    "alipay_cert": KEYS["alipay_public.crt"],
    "alipay_root_cert": KEYS["alipay_root_bundle.crt"],
}

# The numbers of the certificates above, as two independent packages compute them.
HELD: dict[str, str] = BY_ID["ali-cert-sn"]["expected"]

BILL_HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
BILL_COLUMNS = BILL_HEADER.split(",")


@cache
def private_key(name: str) -> RSAPrivateKey:
    key = serialization.load_pem_private_key(KEYS[name].encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


def sign(message: bytes, key: RSAPrivateKey | None = None) -> str:
    """Alipay's signature of some bytes."""
    signer = key or private_key("alipay.pkcs8.pem")
    return base64.b64encode(signer.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def node_text(fields: Mapping[str, Any]) -> str:
    """JSON as Alipay writes it: compact, Chinese as it is, slashes escaped."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def envelope(
    method: str,
    fields: Mapping[str, Any],
    *,
    key: RSAPrivateKey | None = None,
    cert_number: str = "",
    signature: str | None = None,  # "" for an unsigned answer
    node: str = "",
) -> HttpAnswer:
    """A synchronous answer to a method."""
    text = node_text(fields)
    name = node or method.replace(".", "_") + "_response"
    parts = [f'"{name}":{text}']
    if cert_number:
        parts.append(f'"alipay_cert_sn":"{cert_number}"')
    signature = sign(text.encode(), key) if signature is None else signature
    if signature:
        parts.append(f'"sign":"{signature}"')
    body = "{" + ",".join(parts) + "}"
    return HttpAnswer(200, {"content-type": "text/html;charset=utf-8"}, body.encode())


def accepted(method: str, **fields: Any) -> HttpAnswer:
    return envelope(method, {"code": "10000", "msg": "Success", **fields})


def refused(method: str, sub_code: str, code: str = "40004") -> HttpAnswer:
    fields = {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "业务处理失败"}
    return envelope(method, {k: v for k, v in fields.items() if v})


def notice(fields: Mapping[str, str], *, key: RSAPrivateKey | None = None, charset: str = "utf-8") -> Inbound:
    """A signed notification with exactly these fields."""
    message = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    signature = sign(message.encode(charset), key)
    body = urlencode({**fields, "sign": signature, "sign_type": "RSA2"}, encoding=charset)
    headers = {"content-type": f"application/x-www-form-urlencoded; charset={charset}"}
    return Inbound(headers, body.encode("ascii"), NOW)


def notice_fields(out_trade_no: str, status: str, amount: Money, **more: str) -> dict[str, str]:
    """The fields of a trade notification, as the manual lists them."""
    return {
        "app_id": APP_ID,
        "auth_app_id": APP_ID,
        "buyer_id": "2088101117955611",
        "buyer_logon_id": "159****5620",
        "charset": "utf-8",
        "fund_bill_list": json.dumps([{"amount": amount.major(), "fundChannel": "ALIPAYACCOUNT"}]),
        "gmt_create": "2024-01-15 10:00:10",
        "notify_id": "2024011500222100030000000000000001",
        "notify_time": "2024-01-15 10:00:31",
        "notify_type": "trade_status_sync",
        "out_trade_no": out_trade_no,
        "seller_id": SELLER_ID,
        "subject": "测试商品 A+B 100%",
        "total_amount": amount.major(),
        "trade_no": TRADE_NO,
        "trade_status": status,
        "version": "1.0",
        **more,
    }


def refund_notice_fields(order: RefundOrder, **more: str) -> dict[str, str]:
    """The fields of a trade notification that tells of a refund in part."""
    return notice_fields(
        order.payment.out_trade_no,
        "TRADE_SUCCESS",
        order.paid,
        gmt_payment="2024-01-15 10:00:30",
        gmt_refund="2024-01-15 10:05:01.123",
        out_biz_no=order.out_refund_no,
        refund_fee=order.amount.major(),
        **more,
    )


class AlipayForge:
    """The far side for the key-mode account, as the contract wants it."""

    settings: Mapping[str, str] = KEY_MODE
    pay_code = "2876543210987654"
    opening = "alipay.trade.precreate"  # the method that ``start`` calls where the contract looks
    secrets: tuple[str, ...] = (
        KEYS["app.pkcs8.pem"].splitlines()[5],
        "".join(KEYS["app.pkcs8.pem"].splitlines()[1:-1])[100:140],
    )

    def callback(
        self,
        out_trade_no: str,
        outcome: Outcome,
        amount: Money,
        *,
        status: str | None = None,
        stranger: bool = False,
    ) -> Inbound:
        fields = notice_fields(out_trade_no, status or STATUS[outcome], amount)
        if outcome is Outcome.SUCCEEDED:
            fields["gmt_payment"] = "2024-01-15 10:00:30"
        if stranger:
            fields["app_id"] = fields["auth_app_id"] = "2021000000000002"
        return notice(fields)

    def refund_callback(self, order: RefundOrder, outcome: Outcome) -> Inbound | None:
        if outcome is not Outcome.SUCCEEDED:
            return None
        return notice(refund_notice_fields(order))

    def started(self, order: PaymentOrder) -> list[HttpAnswer]:
        if order.scene is not Scene.DESKTOP:
            return []
        number = order.ref.out_trade_no
        return [accepted("alipay.trade.precreate", out_trade_no=number, qr_code=QR_CODE)]

    def started_again(self, order: PaymentOrder) -> list[HttpAnswer]:
        return self.started(order)

    def queried(
        self, ref: PaymentRef, outcome: Outcome, amount: Money, *, status: str | None = None
    ) -> list[HttpAnswer]:
        method = "alipay.trade.query"
        fields = {
            "out_trade_no": ref.out_trade_no,
            "trade_no": TRADE_NO,
            "trade_status": status or STATUS[outcome],
            "total_amount": amount.major(),
            "buyer_logon_id": "159****5620",
        }
        if outcome is Outcome.SUCCEEDED:
            fields["send_pay_date"] = "2024-01-15 10:00:30"
        return [accepted(method, **fields)]

    def closed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        if again:
            no = refused("alipay.trade.close", "ACQ.TRADE_STATUS_ERROR")
            return [no, *self.queried(ref, Outcome.CLOSED, Money(1999, "CNY"))]
        return [accepted("alipay.trade.close", out_trade_no=ref.out_trade_no, trade_no=TRADE_NO)]

    def coded(self, order: CodeOrder, outcome: Outcome) -> list[HttpAnswer]:
        method, number = "alipay.trade.pay", order.ref.out_trade_no
        if outcome is Outcome.PENDING:
            asked = {"code": "10003", "msg": " order success pay inprocess", "out_trade_no": number}
            return [envelope(method, asked)]
        return [
            accepted(
                method,
                out_trade_no=number,
                trade_no=TRADE_NO,
                total_amount=order.amount.major(),
                gmt_payment="2024-01-15 10:00:30",
                buyer_logon_id="159****5620",
            )
        ]

    def reversed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        action = {} if again else {"action": "close"}
        numbers = {"out_trade_no": ref.out_trade_no, "trade_no": TRADE_NO}
        return [accepted("alipay.trade.cancel", retry_flag="N", **numbers, **action)]

    def undone(self, ref: PaymentRef, amount: Money, *, paid: bool) -> list[HttpAnswer]:
        if not paid:
            return self.queried(ref, Outcome.CLOSED, amount)
        return self.queried(ref, Outcome.SUCCEEDED, amount, status="TRADE_CLOSED")

    def refunded(self, order: RefundOrder, outcome: Outcome) -> list[HttpAnswer]:
        moved = outcome is Outcome.SUCCEEDED
        answer = accepted(
            "alipay.trade.refund",
            out_trade_no=order.payment.out_trade_no,
            trade_no=TRADE_NO,
            fund_change="Y" if moved else "N",
            refund_fee=order.amount.major(),
            gmt_refund_pay="2024-01-15 10:05:01",
        )
        return [answer] if moved else [answer, *self.refund_queried(order, outcome)]

    def refund_queried(
        self, order: RefundOrder, outcome: Outcome, *, status: str | None = None
    ) -> list[HttpAnswer]:
        method = "alipay.trade.fastpay.refund.query"
        if outcome is Outcome.PENDING and status is None:
            return [accepted(method)]
        return [
            accepted(
                method,
                out_trade_no=order.payment.out_trade_no,
                out_request_no=order.out_refund_no,
                trade_no=TRADE_NO,
                total_amount=order.paid.major(),
                refund_amount=order.amount.major(),
                refund_status=status or "REFUND_SUCCESS",
                gmt_refund_pay="2024-01-15 10:05:01",
            )
        ]

    def declined(self, verb: Verb) -> list[HttpAnswer]:
        match verb:
            case Verb.START:
                return [refused(self.opening, "ACQ.ACCESS_FORBIDDEN")]
            case Verb.CLOSE:
                no = refused("alipay.trade.close", "ACQ.TRADE_STATUS_ERROR")
                paid = self.queried(
                    PaymentRef("20240115100000000001", NOW), Outcome.SUCCEEDED, Money(1999, "CNY")
                )
                return [no, *paid]
            case Verb.CHARGE_CODE:
                return [refused("alipay.trade.pay", "ACQ.PAYMENT_AUTH_CODE_INVALID")]
            case Verb.REVERSE:
                return [refused("alipay.trade.cancel", "ACQ.TRADE_HAS_FINISHED")]
            case Verb.REFUND:
                return [refused("alipay.trade.refund", "ACQ.TRADE_NOT_ALLOW_REFUND")]
            case Verb.STATEMENT:
                method = "alipay.data.dataservice.bill.downloadurl.query"
                return [refused(method, "isp.bill_not_exist")]
            case _:
                raise AssertionError(f"Alipay gives no definite no to {verb}")

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        url = "http://dwbillcenter.alipay.example/downloadBillFile.resource?bizType=trade&fileId=1"
        method = "alipay.data.dataservice.bill.downloadurl.query"
        return [accepted(method, bill_download_url=url), HttpAnswer(200, {}, bill(day, bill_rows(lines)))]


class AuthorisedForge(AlipayForge):
    """The far side for a service provider's application, acting for a merchant that authorised it.

    News come under the provider's app_id and name the merchant's application and the merchant who sells.
    """

    settings: Mapping[str, str] = {**KEY_MODE, **AUTHORISED}
    secrets: tuple[str, ...] = (*AlipayForge.secrets, AUTHORISED["app_auth_token"])

    def callback(
        self,
        out_trade_no: str,
        outcome: Outcome,
        amount: Money,
        *,
        status: str | None = None,
        stranger: bool = False,
    ) -> Inbound:
        whose = {"seller_id": "2088000000000009", "auth_app_id": "2021000000000099"} if stranger else TOLD
        fields = notice_fields(out_trade_no, status or STATUS[outcome], amount, **whose)
        if outcome is Outcome.SUCCEEDED:
            fields["gmt_payment"] = "2024-01-15 10:00:30"
        return notice(fields)

    def refund_callback(self, order: RefundOrder, outcome: Outcome) -> Inbound | None:
        if outcome is not Outcome.SUCCEEDED:
            return None
        return notice(refund_notice_fields(order, **TOLD))

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        announced, _ = super().statement(day, lines)
        file = bill(day, bill_rows(lines), seller_id=self.settings["seller_id"])
        return [announced, HttpAnswer(200, {}, file)]


class InAppForge(AlipayForge):
    """The far side for an account that pays by the pay sheet inside Alipay's app."""

    settings: Mapping[str, str] = {**KEY_MODE, "in_app_product": "jsapi"}
    opening = "alipay.trade.create"

    def started(self, order: PaymentOrder) -> list[HttpAnswer]:
        if order.scene is not Scene.ALIPAY:
            return super().started(order)
        return [accepted(self.opening, out_trade_no=order.ref.out_trade_no, trade_no=TRADE_NO)]


def bill_rows(lines: Sequence[StatementLine]) -> list[list[str]]:
    """Detail rows of a bill: numbers end with a tab, refunds are negative, as Alipay writes them."""
    rows = []
    for line in lines:
        row = dict.fromkeys(BILL_COLUMNS, "")
        row |= {
            "支付宝交易号": f"{line.provider_ref}\t",
            "商户订单号": f"{line.out_trade_no}\t",
            "业务类型": "退款" if line.kind == "refund" else "交易",
            "商品名称": "测试商品",
            "创建时间": beijing(line.happened_at),
            "完成时间": beijing(line.happened_at),
            "对方账户": "*三(159****5620)",
            "订单金额（元）": line.amount.major(),
            "商家实收（元）": line.amount.major(),
            "退款批次号/请求号": f"{line.out_refund_no}\t" if line.out_refund_no else "",
            "服务费（元）": line.fee.major(),
            "分润（元）": "0.00",
        }
        rows.append([row[column] for column in BILL_COLUMNS])
    return rows


def bill_totals(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines below the table, as Alipay words them; what is no amount counts as nothing."""
    totals = []
    for kind, word in (("交易", ""), ("退款", "退款")):
        some = [row for row in rows if kind in row]
        yuan = sum(Decimal(row[BILL_COLUMNS.index("商家实收（元）")]) for row in some if len(row) > 12)
        totals.append(f"#{kind}合计：{len(some)}笔，商家实收{word}共{yuan:.2f}元，商家优惠{word}共0.00元")
    return totals


def bill(
    day: date,
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] = BILL_COLUMNS,
    extras: int = 0,
    seller_id: str = SELLER_ID,
    totals: Sequence[str] | None = None,
) -> bytes:
    """A day's zip: a detail and a summary table in GBK, entries named in GBK without saying so."""
    stamp = f"{day:%Y%m%d}"
    detail = table(
        [
            "#支付宝业务明细查询",
            f"#账号：[{seller_id}0156]",
            f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{day:%Y年%m月%d日} 24:00:00]",
            "#-----------------------------------------业务明细列表----------------------------------------",
            list(header),
            *rows,
            "#-----------------------------------------业务明细列表结束------------------------------------",
            *(bill_totals(rows) if totals is None else totals),
            f"#导出时间：[{day:%Y年%m月%d日} 09:00:00]",
        ]
    )
    summary = table(["#支付宝业务汇总查询", ["门店编号", "门店名称", "交易订单总笔数"], ["合计", "", "2"]])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("业务明细(汇总)", summary), ("业务明细", detail)):
            archive.writestr(gbk_entry(f"{seller_id}0156_{stamp}_{name}.csv"), content)
        for number in range(extras):
            archive.writestr(f"{number}.txt", "")
    return packed.getvalue()


def gbk_entry(name: str) -> zipfile.ZipInfo:
    """An entry whose name goes into the zip as GBK bytes without the flag for UTF-8."""
    entry = _GbkEntry(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


class _GbkEntry(zipfile.ZipInfo):
    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the library's own hook
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def table(lines: Sequence[str | Sequence[str]]) -> bytes:
    """Lines of text and of cells, as GBK with CRLF and nothing quoted."""
    return "".join(f"{line if isinstance(line, str) else ','.join(line)}\r\n" for line in lines).encode("gbk")


def beijing(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def method_of(verb: Verb) -> str:
    return {
        Verb.START: "alipay.trade.precreate",
        Verb.QUERY: "alipay.trade.query",
        Verb.CLOSE: "alipay.trade.close",
        Verb.REFUND: "alipay.trade.refund",
        Verb.QUERY_REFUND: "alipay.trade.fastpay.refund.query",
    }[verb]


def sent_params(wire: Wire, which: int = 0) -> dict[str, str]:
    """The parameters of a request, from its address and its form together, as the gateway merges them."""
    sent = wire.sent[which]
    pairs = parse_qsl(urlsplit(sent.url).query) + parse_qsl(sent.body.decode("ascii"))
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def verified_params(params: dict[str, str]) -> dict[str, str]:
    """The parameters, once their signature was checked with the application's public key."""
    message = "&".join(f"{k}={params[k]}" for k in sorted(params) if k != "sign")
    rsa.verify(rsa.public_key(KEYS["app.pub.pem"], "x"), message.encode(), params["sign"])
    assert "" not in params.values()
    return params


def paid_notice() -> Inbound:
    return AlipayForge().callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)


def query_answer(**more: Any) -> HttpAnswer:
    fields = {
        "code": "10000",
        "msg": "Success",
        "out_trade_no": REF.out_trade_no,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "19.99",
        "trade_no": TRADE_NO,
        "send_pay_date": "2024-01-15 10:00:30",
    }
    return envelope("alipay.trade.query", fields, **more)
