"""WeChat Pay's side of the signatures, for tests: written from the manual, sharing no line with the adapter.

WeChat Pay signs "time, nonce, body" over the bytes it sends, seals what notifications say, and writes
bills with backticks.  Its keys are those of the known-answer vectors.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app import clock
from app.clock import BEIJING
from app.money import Money
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
from tests.providers.contract import PRICE, REF, Sent, Verb

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "providers.json").read_text(encoding="utf-8")
)
KEYS: dict[str, str] = VECTORS["keys"]
BY_ID: dict[str, Any] = {vector["id"]: vector for vector in VECTORS["wechat"]}
APPID = "wxd678efh567hg6787"
MCHID = "1900000109"
MERCHANT_SERIAL = "444F4864EA9B34415D2A6B1D9E0C1B7A11223344"
API_KEY = "0123456789abcdef0123456789ABCDEF"
APP_SECRET = "c0ffee00c0ffee00c0ffee00c0ffee00"
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000001092024011500000000000001"
PLATFORM_SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
TRANSACTION_ID = "4200002024202401150000000001"
CODE_URL = "weixin://wxpay/bizpayurl?pr=p4lpSuKzz"
PREPAY_ID = "wx201410272009395522657a690389285100"
H5_URL = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016121516420242444321ca0631331346"
API = "https://wechatpay.example"

BASE = {
    "appid": APPID,
    "mchid": MCHID,
    "private_key": KEYS["wx_mch.pkcs8.pem"],
    "merchant_cert": MERCHANT_SERIAL,
    "api_v3_key": API_KEY,
    "app_secret": APP_SECRET,
    "api_url": API,
    "open_url": "https://open.example",
    "sns_url": "https://sns.example",
}
PUBLIC_KEY_MODE = {
    **BASE,
    "public_key_id": PUBLIC_KEY_ID,
    "public_key": KEYS["wx_pubkey.pub.pem"],
}
CERTIFICATE_MODE = {**BASE, "platform_certs": KEYS["wx_platform.crt"]}
BOTH_MODES = {**PUBLIC_KEY_MODE, **CERTIFICATE_MODE}

# The same keys as a service provider's, for one of its sub-merchants.
SUB_MCHID, SUB_APPID = "1600000109", "wx00000000000000aa"
SUB_MERCHANT = {**PUBLIC_KEY_MODE, "sub_mchid": SUB_MCHID}
SUB_MERCHANT_WITH_APPID = {**SUB_MERCHANT, "sub_appid": SUB_APPID}

STATES = {
    Outcome.PENDING: "NOTPAY",
    Outcome.SUCCEEDED: "SUCCESS",
    Outcome.FAILED: "PAYERROR",
    Outcome.CLOSED: "CLOSED",
}
REFUND_STATES = {
    Outcome.PENDING: "PROCESSING",
    Outcome.SUCCEEDED: "SUCCESS",
    Outcome.CLOSED: "CLOSED",
}

TRADE_HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,"
    "货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,"
    "商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TRADE_COLUMNS = TRADE_HEADER.split(",")
TRADE_TOTALS = {
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
}
FLOW_HEADER = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
FLOW_SUMMARY = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额\r\n`2,`1,`19.99,`1,`5.00\r\n"


@cache
def private_key(name: str) -> RSAPrivateKey:
    key = serialization.load_pem_private_key(KEYS[name].encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


@cache
def merchant_key() -> RSAPublicKey:
    key = serialization.load_pem_public_key(KEYS["wx_mch.pub.pem"].encode())
    assert isinstance(key, RSAPublicKey)
    return key


def signer_of(serial: str) -> RSAPrivateKey:
    return private_key("wx_pubkey.pkcs8.pem" if serial.startswith("PUB_KEY_ID_") else "wx_platform.pkcs8.pem")


def signed_headers(
    body: bytes, serial: str, *, key: RSAPrivateKey | None = None, age_s: int = 0
) -> dict[str, str]:
    """The headers with which WeChat Pay sends these bytes now, or so many seconds ago."""
    timestamp = str(int(clock.now().timestamp()) - age_s)
    nonce = "593BEC0C930BF1AFEB40B4A08C8FB242"
    message = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    signature = (key or signer_of(serial)).sign(message, padding.PKCS1v15(), hashes.SHA256())
    return {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": nonce,
        "wechatpay-serial": serial,
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        "wechatpay-signature": base64.b64encode(signature).decode(),
    }


def json_bytes(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def answer(fields: Any, status: int = 200, serial: str = PUBLIC_KEY_ID, **signing: Any) -> HttpAnswer:
    """A signed answer; ``fields`` None is an empty body."""
    body = b"" if fields is None else json_bytes(fields)
    return HttpAnswer(status, signed_headers(body, serial, **signing), body)


def unsigned(fields: Any, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {"content-type": "application/json"}, json_bytes(fields))


def refused(status: int, code: str, serial: str = PUBLIC_KEY_ID) -> HttpAnswer:
    return answer({"code": code, "message": "业务处理失败"}, status, serial)


def sealed(
    plain: bytes,
    *,
    associated: str | None = "transaction",
    nonce: str = "fdasflkja484",
    api_key: str = API_KEY,
    original_type: str = "transaction",
) -> dict[str, str]:
    """A resource as notifications carry it; ``associated`` None leaves the field out."""
    sealer = AESGCM(api_key.encode())
    ciphertext = sealer.encrypt(nonce.encode(), plain, (associated or "").encode())
    resource = {
        "original_type": original_type,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(ciphertext).decode(),
        "nonce": nonce,
    }
    return resource if associated is None else {**resource, "associated_data": associated}


def notice(event: str, resource: Mapping[str, Any], serial: str = PUBLIC_KEY_ID, **signing: Any) -> Inbound:
    """A signed notification."""
    body = json_bytes(
        {
            "id": "EV-2018022511223320873",
            "create_time": "2024-01-15T10:00:31+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "支付成功",
            "resource": resource,
        }
    )
    headers = {"content-type": "application/json", **signed_headers(body, serial, **signing)}
    return Inbound(headers, body, clock.now())


def payment_notice(fields: Mapping[str, Any], serial: str = PUBLIC_KEY_ID, **sealing: Any) -> Inbound:
    return notice("TRANSACTION.SUCCESS", sealed(json_bytes(fields), **sealing), serial)


def refund_notice(
    fields: Mapping[str, Any], event: str = "REFUND.SUCCESS", serial: str = PUBLIC_KEY_ID
) -> Inbound:
    return notice(event, sealed(json_bytes(fields), associated="refund", original_type="refund"), serial)


def transaction(out_trade_no: str, state: str, amount: Money, **more: Any) -> dict[str, Any]:
    """A payment as a query or a notification tells it; before it is paid most fields are absent."""
    fields: dict[str, Any] = {
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": out_trade_no,
        "trade_state": state,
        "trade_state_desc": "支付成功",
        "amount": {"total": amount.minor, "currency": amount.currency},
    }
    if state != "NOTPAY":
        fields |= {
            "transaction_id": TRANSACTION_ID,
            "trade_type": "NATIVE",
            "bank_type": "OTHERS",
            "attach": "",
            "success_time": "2024-01-15T10:00:30+08:00",
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {
                "total": amount.minor,
                "payer_total": amount.minor,
                "currency": amount.currency,
                "payer_currency": amount.currency,
            },
        }
    return fields | more


def as_partner(fields: Mapping[str, Any], sub_mchid: str = SUB_MCHID, sub_appid: str = "") -> dict[str, Any]:
    """A direct merchant's payment or refund as a service provider is told it: who signs, and who is paid."""
    names = {"appid": "sp_appid", "mchid": "sp_mchid"}
    told = {names.get(name, name): value for name, value in fields.items()}
    if "payer" in told:
        openid = told["payer"]["openid"]
        told["payer"] = {"sp_openid": openid} | ({"sub_openid": openid} if sub_appid else {})
    subs = {"sub_appid": sub_appid, "sub_mchid": sub_mchid}
    return told | {name: text for name, text in subs.items() if text}


def refund_fields(order: RefundOrder, status: str, name: str = "status", **more: Any) -> dict[str, Any]:
    """A refund; in notifications the state's name is ``refund_status``."""
    return {
        "refund_id": "50300002024011500000000000001",
        "out_refund_no": order.out_refund_no,
        "transaction_id": TRANSACTION_ID,
        "out_trade_no": order.payment.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "success_time": "2024-01-15T10:05:30+08:00",
        "create_time": "2024-01-15T10:05:00+08:00",
        name: status,
        "amount": {
            "total": order.paid.minor,
            "refund": order.amount.minor,
            "payer_total": order.paid.minor,
            "payer_refund": order.amount.minor,
            "currency": "CNY",
        },
        **more,
    }


def refund_notice_fields(order: RefundOrder, status: str, **more: Any) -> dict[str, Any]:
    fields = refund_fields(order, status, "refund_status", mchid=MCHID)
    amount = {name: value for name, value in fields["amount"].items() if name != "currency"}
    return {
        **{k: v for k, v in fields.items() if k not in ("channel", "create_time")},
        "amount": amount,
        **more,
    }


class WechatPayForge:
    """The far side for one account, as the contract wants it; ``serial`` says which key signs."""

    secrets: tuple[str, ...] = (
        KEYS["wx_mch.pkcs8.pem"].splitlines()[5],
        "".join(KEYS["wx_mch.pkcs8.pem"].splitlines()[1:-1])[100:140],
        API_KEY,
        APP_SECRET,
    )

    pay_code = "134567890123456789"
    stranger = "mchid"  # what another merchant's news differ in

    def __init__(self, settings: Mapping[str, str] = BOTH_MODES, serial: str = PUBLIC_KEY_ID) -> None:
        self.settings = settings
        self.serial = serial

    def told(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A payment, or the news of a refund, as this account is told of it."""
        return dict(fields)

    def callback(
        self,
        out_trade_no: str,
        outcome: Outcome,
        amount: Money,
        *,
        status: str | None = None,
        stranger: bool = False,
    ) -> Inbound:
        fields = self.told(transaction(out_trade_no, status or STATES[outcome], amount))
        if stranger:
            fields[self.stranger] = "1900000110"
        return payment_notice(fields, self.serial)

    def refund_callback(self, order: RefundOrder, outcome: Outcome) -> Inbound | None:
        if outcome is Outcome.PENDING:
            return None
        status = REFUND_STATES[outcome]
        fields = self.told(refund_notice_fields(order, status))
        return refund_notice(fields, f"REFUND.{status}", self.serial)

    def started(self, order: PaymentOrder) -> list[HttpAnswer]:
        handle = {
            Scene.DESKTOP: {"code_url": CODE_URL},
            Scene.MOBILE: {"h5_url": H5_URL},
        }.get(order.scene, {"prepay_id": PREPAY_ID})
        return [answer(handle, 200, self.serial)]

    def started_again(self, order: PaymentOrder) -> list[HttpAnswer]:
        return self.started(order)

    def queried(
        self, ref: PaymentRef, outcome: Outcome, amount: Money, *, status: str | None = None
    ) -> list[HttpAnswer]:
        state = status or STATES[outcome]
        return [answer(self.told(transaction(ref.out_trade_no, state, amount)), 200, self.serial)]

    def closed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        return [answer(None, 204, self.serial)]

    def coded(self, order: CodeOrder, outcome: Outcome) -> list[HttpAnswer]:
        number = order.ref.out_trade_no
        if outcome is Outcome.PENDING:
            asked = transaction(number, "USERPAYING", order.amount)
            return [answer(self.told(asked), 202, self.serial)]
        paid = transaction(number, "SUCCESS", order.amount, trade_type="MICROPAY")
        return [answer(self.told(paid), 200, self.serial)]

    def reversed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        if again:
            return [refused(400, "TRADE_ERROR", self.serial), *self.undone(ref, PRICE, paid=False)]
        done = {"appid": APPID, "mchid": MCHID, "out_trade_no": ref.out_trade_no}
        return [answer(self.told(done), 200, self.serial)]

    def undone(self, ref: PaymentRef, amount: Money, *, paid: bool) -> list[HttpAnswer]:
        """Reversed is reversed: WeChat Pay does not say whether it had been paid."""
        return [answer(self.told(transaction(ref.out_trade_no, "REVOKED", amount)), 200, self.serial)]

    def refunded(self, order: RefundOrder, outcome: Outcome) -> list[HttpAnswer]:
        return [answer(refund_fields(order, REFUND_STATES[outcome]), 200, self.serial)]

    def refund_queried(
        self, order: RefundOrder, outcome: Outcome, *, status: str | None = None
    ) -> list[HttpAnswer]:
        return [answer(refund_fields(order, status or REFUND_STATES[outcome]), 200, self.serial)]

    def declined(self, verb: Verb) -> list[HttpAnswer]:
        match verb:
            case Verb.START:
                return [refused(403, "NO_AUTH", self.serial)]
            case Verb.CLOSE:
                paid = self.queried(REF, Outcome.SUCCEEDED, PRICE)
                return [refused(400, "ORDERPAID", self.serial), *paid]
            case Verb.CHARGE_CODE:
                return [refused(403, "NOT_ENOUGH", self.serial)]
            case Verb.REVERSE:
                return [
                    refused(400, "INVALID_REQUEST", self.serial),
                    *self.queried(REF, Outcome.SUCCEEDED, PRICE),
                ]
            case Verb.REFUND:
                return [refused(403, "USER_ACCOUNT_ABNORMAL", self.serial)]
            case Verb.STATEMENT:
                return [refused(400, "NO_STATEMENT_EXIST", self.serial)]
            case _:
                raise AssertionError(f"WeChat Pay gives no definite no to {verb}")

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        return bill_answers(trade_bill(trade_rows(lines)), serial=self.serial)


class SubMerchantForge(WechatPayForge):
    """The far side for a service provider's account of one sub-merchant: its strangers are other ones."""

    stranger = "sub_mchid"

    def told(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return as_partner(fields, self.settings["sub_mchid"], self.settings.get("sub_appid", ""))

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        rows = [row | {"特约商户号": self.settings["sub_mchid"]} for row in trade_rows(lines)]
        return bill_answers(trade_bill(rows), serial=self.serial)


def bill_answers(
    plain: bytes, *, packed: bool = True, serial: str = PUBLIC_KEY_ID, **announced: str
) -> list[HttpAnswer]:
    """The announcement of a bill, and its file, which is not signed."""
    fields = {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(plain).hexdigest(),
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=6jcNHt%2B9&tartype=gzip",
        **announced,
    }
    return [answer(fields, 200, serial), HttpAnswer(200, {}, gzip.compress(plain) if packed else plain)]


def trade_rows(lines: Sequence[StatementLine]) -> list[dict[str, str]]:
    """Rows of a trade bill: amounts are positive, the fee of a refund is negative."""
    rows = []
    for line in lines:
        row = dict.fromkeys(TRADE_COLUMNS, "")
        is_refund = line.kind == "refund"
        row |= {
            "交易时间": beijing(line.happened_at),
            "公众账号ID": APPID,
            "商户号": MCHID,
            "特约商户号": "0",
            "微信订单号": line.provider_ref,
            "商户订单号": line.out_trade_no,
            "用户标识": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "交易类型": "NATIVE",
            "交易状态": "REFUND" if is_refund else "SUCCESS",
            "付款银行": "OTHERS",
            "货币种类": "CNY",
            "应结订单金额": "0.00" if is_refund else line.amount.major(),
            "代金券金额": "0.00",
            "微信退款单号": "50300002024011500000000000001" if is_refund else "0",
            "商户退款单号": line.out_refund_no or "0",
            "退款金额": line.amount.major().lstrip("-") if is_refund else "0.00",
            "充值券退款金额": "0.00",
            "退款类型": "ORIGINAL" if is_refund else "",
            "退款状态": "SUCCESS" if is_refund else "",
            "商品名称": "测试商品",
            "手续费": f"{-line.fee.minor / 100:.5f}",
            "费率": "0.60%",
            "订单金额": "0.00" if is_refund else line.amount.major(),
            "申请退款金额": line.amount.major().lstrip("-") if is_refund else "0.00",
        }
        rows.append(row)
    return rows


def trade_bill(
    rows: Sequence[Mapping[str, str]],
    *,
    columns: Sequence[str] = TRADE_COLUMNS,
    summary: str | None = None,
) -> bytes:
    cells = [[row[column] for column in columns] for row in rows]
    return table(columns, cells, trade_summary(rows) if summary is None else summary)


def trade_summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The totals below the table; what is no amount counts as nothing."""
    totals = [str(len(rows))]
    for column in TRADE_TOTALS.values():
        amounts = [row[column] for row in rows if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", row[column])]
        totals.append(str(sum((Decimal(amount) for amount in amounts), Decimal("0.00"))))
    names = ",".join(["总交易单数", *TRADE_TOTALS])
    return f"{names}\r\n{','.join(f'`{total}' for total in totals)}\r\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], summary: str) -> bytes:
    """UTF-8 with a mark, CRLF, a backtick before each data cell."""
    lines = [",".join(columns), *(",".join(f"`{cell}" for cell in row) for row in rows)]
    return ("\ufeff" + "".join(f"{line}\r\n" for line in lines) + summary).encode()


def beijing(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def certificates_answer(
    *entries: tuple[str, str], serial: str = PLATFORM_SERIAL, api_key: str = API_KEY, **signing: Any
) -> HttpAnswer:
    """An answer to GET /v3/certificates with these (number, PEM)."""
    data = [
        {
            "serial_no": number,
            "effective_time": "2024-01-01T08:00:00+08:00",
            "expire_time": "2044-01-01T08:00:00+08:00",
            "encrypt_certificate": {
                name: value
                for name, value in sealed(
                    pem.encode(), associated="certificate", nonce="61f9c719728a", api_key=api_key
                ).items()
                if name != "original_type"
            },
        }
        for number, pem in entries
    ]
    return answer({"data": data}, 200, serial, **signing)


def checked(sent: Sent) -> dict[str, Any]:
    """The JSON of a request, once its Authorization was checked as WeChat Pay would."""
    scheme, _, rest = sent.headers["authorization"].partition(" ")
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    fields = dict(part.split("=", 1) for part in rest.split(","))
    said = {name: value.strip('"') for name, value in fields.items()}
    assert set(said) == {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}
    assert (said["mchid"], said["serial_no"]) == (MCHID, MERCHANT_SERIAL)
    assert said["timestamp"] == str(int(clock.now().timestamp()))
    assert len(said["nonce_str"]) == 32
    parts = urlsplit(sent.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    message = (
        f"{sent.method}\n{path}\n{said['timestamp']}\n{said['nonce_str']}\n".encode() + sent.body + b"\n"
    )
    signature = base64.b64decode(said["signature"])
    merchant_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"]
    assert ("content-type" in sent.headers) == bool(sent.body)
    fields_sent: dict[str, Any] = json.loads(sent.body) if sent.body else {}
    return fields_sent
