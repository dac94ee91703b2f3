"""UnionPay's side of the wire, written apart from the adapter: it signs, answers, notifies and makes files.

Keys, certificates and known answers come from the vectors, which UnionPay's own SDK made.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

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
from app.providers.unionpay import UnionPay
from tests.providers.contract import NOW, PRICE, REF, REFUND, Verb, Wire

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "providers.json").read_text(encoding="utf-8")
)
KEYS: dict[str, str] = VECTORS["keys"]
BY_ID: dict[str, Any] = {vector["id"]: vector for vector in VECTORS["unionpay"]}
MER_ID = "777290058110048"
STRANGER_ID = "777290058110097"
QUERY_ID = "202401151000000000001"
REFUND_QUERY_ID = "202401151005000000009"
QR_CODE = "https://qr.95516.com/00010001/62000000000000000000000000000001"
TN = "823147102458012345601"
CERT_ID = "68759663125"

PAIR = {
    "mer_id": MER_ID,
    "private_key": KEYS["up_mer.pkcs8.pem"],
    "sign_cert": KEYS["up_mer.cer"],
    "middle_cert": KEYS["up_middle.cer"],
    "root_cert": KEYS["up_root.cer"],
    "gateway_url": "https://unionpay.example/gateway/api",
    "file_url": "https://files.unionpay.example/",
}
PFX = {name: text for name, text in PAIR.items() if name not in ("private_key", "sign_cert")} | {
    "pfx": VECTORS["pfx_base64"]["up_mer.pfx"],
    "pfx_password": VECTORS["pfx_password"],
}
CODE = {Outcome.PENDING: "05", Outcome.SUCCEEDED: "00", Outcome.FAILED: "42"}

# Column widths as UnionPay's sample code gives them.
ZM_WIDTHS = [
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1),
    *(15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
]
ZME_WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135]


@cache
def private_key(name: str) -> RSAPrivateKey:
    key = serialization.load_pem_private_key(KEYS[name].encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


@cache
def connected() -> tuple[UnionPay, Wire]:
    """One adapter on a recorded line, for a whole run: it is stateless, and reading its keys takes 35 ms."""
    line = Wire()
    return UnionPay(PAIR, line), line


@dataclass(frozen=True)
class Signer:
    """A key and the certificate that goes into the message; UnionPay's own unless a test plays another."""

    key: str = "up_sign.pkcs8.pem"
    cert: str = KEYS["up_sign.cer"]

    def signed(self, fields: Mapping[str, str], encoding: str = "utf-8") -> dict[str, str]:
        """The fields with certificate and signature, hashed twice."""
        # PEM text travels with CRLF, as UnionPay sends it.
        cert = self.cert.strip().replace("\r\n", "\n").replace("\n", "\r\n")
        whole = {**fields, "signPubKeyCert": cert}
        text = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        digest = hashlib.sha256(text.encode(encoding)).hexdigest().encode()
        signature = private_key(self.key).sign(digest, padding.PKCS1v15(), hashes.SHA256())
        return {**whole, "signature": base64.b64encode(signature).decode()}


UNIONPAY = Signer()


def common(**more: str) -> dict[str, str]:
    return {
        "accessType": "0",
        "bizType": "000000",
        "certId": "68759663199",
        "encoding": "UTF-8",
        "merId": MER_ID,
        "signMethod": "01",
        "version": "5.1.0",
        **more,
    }


def answer(fields: Mapping[str, str], signer: Signer = UNIONPAY) -> HttpAnswer:
    """A synchronous answer: sorted pairs, not url-encoded."""
    whole = signer.signed(fields)
    body = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
    return HttpAnswer(200, {"content-type": "text/html;charset=UTF-8"}, body.encode())


def form(fields: Mapping[str, str], encoding: str = "utf-8") -> Inbound:
    """A form of exactly these fields, signed or not."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    return Inbound(headers, urlencode(fields, encoding=encoding).encode("ascii"), NOW)


def notice(fields: Mapping[str, str], signer: Signer = UNIONPAY, encoding: str = "utf-8") -> Inbound:
    """A signed notification with exactly these fields."""
    return form(signer.signed(fields, encoding), encoding)


def payment_fields(out_trade_no: str, code: str, amount: Money, **more: str) -> dict[str, str]:
    """The fields of a payment's notification, as the manual lists them."""
    return common(
        accNo="6216***********0018",
        currencyCode="156",
        orderId=out_trade_no,
        payCardType="01",
        queryId=QUERY_ID,
        respCode=code,
        respMsg=f"成功[{code}00000]",
        settleAmt=str(amount.minor),
        settleCurrencyCode="156",
        settleDate="0115",
        traceNo="000001",
        traceTime="0115100030",
        txnAmt=str(amount.minor),
        txnSubType="07",
        txnTime="20240115100000",
        txnType="01",
        **more,
    )


def refund_fields(order: RefundOrder, code: str, **more: str) -> dict[str, str]:
    fields = payment_fields(order.out_refund_no, code, order.amount)
    fields |= {
        "origQryId": QUERY_ID,
        "queryId": REFUND_QUERY_ID,
        "reqReserved": order.payment.out_trade_no,
        "traceTime": "0115100501",
        "txnSubType": "00",
        "txnTime": stamp(order.started_at),
        "txnType": "04",
    }
    return fields | more


def queried(number: str, started_at: datetime, code: str, amount: Money, **more: str) -> HttpAnswer:
    """A query that found something, which the original code tells about."""
    fields = payment_fields(number, "00", amount, origRespCode=code, origRespMsg=f"[{code}00000]")
    return answer({**fields, "txnTime": stamp(started_at), **more})


def paid(**more: str) -> HttpAnswer:
    return queried(REF.out_trade_no, REF.started_at, "00", PRICE, **more)


def refused(code: str, **more: str) -> HttpAnswer:
    """An answer with nothing but a code."""
    return answer(common(respCode=code, respMsg=f"[{code}00000]", **more))


def absent(number: str, started_at: datetime = NOW) -> HttpAnswer:
    return refused("34", orderId=number, txnTime=stamp(started_at))


def unknown_refund() -> HttpAnswer:
    return absent(REFUND.out_refund_no, REFUND.started_at)


def sent_back(order: RefundOrder = REFUND, code: str = "00", **more: str) -> HttpAnswer:
    """The answer to a refund that was sent."""
    fields = refund_fields(order, code, **more)
    return answer({k: v for k, v in fields.items() if k not in ("traceNo", "traceTime", "settleAmt")})


class UnionPayForge:
    """The far side for the account with a PFX file, as the contract wants it."""

    settings: Mapping[str, str] = PFX
    pay_code = "6212345678901234567"
    secrets: tuple[str, ...] = (
        PFX["pfx"][200:240],
        KEYS["up_mer.pkcs8.pem"].splitlines()[5],
        KEYS["up_mer.pkcs1.pem"].splitlines()[5],
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
        fields = payment_fields(out_trade_no, status or CODE[outcome], amount)
        if stranger:
            fields["merId"] = STRANGER_ID
        return notice(fields)

    def refund_callback(self, order: RefundOrder, outcome: Outcome) -> Inbound | None:
        return notice(refund_fields(order, "36" if outcome is Outcome.FAILED else CODE[outcome]))

    def started(self, order: PaymentOrder) -> list[HttpAnswer]:
        about = {"orderId": order.ref.out_trade_no, "txnTime": stamp(order.ref.started_at)}
        match order.scene:
            case Scene.DESKTOP:
                more = {"txnType": "01", "txnSubType": "07", "qrCode": QR_CODE}
            case Scene.APP:
                more = {"txnType": "01", "txnSubType": "01", "tn": TN}
            case _:
                return []
        return [refused("00", **about, **more)]

    def started_again(self, order: PaymentOrder) -> list[HttpAnswer]:
        """A QR code and an app's number are handed out once; a form opens the same payment."""
        about = {"orderId": order.ref.out_trade_no, "txnTime": stamp(order.ref.started_at)}
        return [refused("12", **about)] if order.scene in (Scene.DESKTOP, Scene.APP) else []

    def queried(
        self, ref: PaymentRef, outcome: Outcome, amount: Money, *, status: str | None = None
    ) -> list[HttpAnswer]:
        return [queried(ref.out_trade_no, ref.started_at, status or CODE[outcome], amount)]

    def closed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        """Nobody can close it; this one was paid after its deadline, which UnionPay undid."""
        return self.queried(ref, Outcome.FAILED, PRICE)

    def coded(self, order: CodeOrder, outcome: Outcome) -> list[HttpAnswer]:
        """Accepted, and asked about at once."""
        about = {"orderId": order.ref.out_trade_no, "txnTime": stamp(order.ref.started_at)}
        asked = queried(
            order.ref.out_trade_no, order.ref.started_at, CODE[outcome], order.amount, txnSubType="06"
        )
        return [refused("00", **about, txnType="01", txnSubType="06"), asked]

    def reversed(self, ref: PaymentRef, *, again: bool = False) -> list[HttpAnswer]:
        about = {"orderId": ref.out_trade_no, "txnTime": stamp(ref.started_at)}
        return [refused("46" if again else "00", **about, txnType="99", txnSubType="01")]

    def undone(self, ref: PaymentRef, amount: Money, *, paid: bool) -> list[HttpAnswer]:
        return [queried(ref.out_trade_no, ref.started_at, "46", amount, txnSubType="06")]

    def refunded(self, order: RefundOrder, outcome: Outcome) -> list[HttpAnswer]:
        payment = queried(order.payment.out_trade_no, order.payment.started_at, "00", order.paid)
        return [absent(order.out_refund_no, order.started_at), payment, sent_back(order)]

    def refund_queried(
        self, order: RefundOrder, outcome: Outcome, *, status: str | None = None
    ) -> list[HttpAnswer]:
        code = status or ("36" if outcome is Outcome.FAILED else CODE[outcome])
        fields = refund_fields(order, "00", origRespCode=code, origRespMsg=f"[{code}00000]")
        return [answer(fields)]

    def declined(self, verb: Verb) -> list[HttpAnswer]:
        match verb:
            case Verb.START:
                return [refused("32")]
            case Verb.CLOSE:
                return [paid()]
            case Verb.CHARGE_CODE:
                return [refused("88")]
            case Verb.REVERSE:
                return [refused("35")]
            case Verb.REFUND:
                return [unknown_refund(), paid(), refused("33"), unknown_refund()]
            case Verb.STATEMENT:
                return [refused("98", txnTime=stamp(NOW))]
            case _:
                raise AssertionError(f"UnionPay gives no definite no to {verb}")

    def statement(self, day: date, lines: Sequence[StatementLine]) -> list[HttpAnswer]:
        return [filed(day, file_of(day, [zm_line(zm_row(line)) for line in lines]))]


def filed(day: date, packed: bytes, **more: str) -> HttpAnswer:
    """The answer that brings a settlement file."""
    fields = {
        "fileContent": base64.b64encode(zlib.compress(packed)).decode(),
        "fileName": f"{MER_ID}_{day:%Y%m%d}.zip",
        "respCode": "00",
        "respMsg": "成功[0000000]",
        "settleDate": f"{day:%m%d}",
        "txnSubType": "01",
        "txnTime": stamp(NOW),
        "txnType": "76",
    }
    return answer(common(**(fields | more)))


def file_of(day: date, zm: Sequence[bytes], zme: Sequence[bytes] = (), extras: int = 0) -> bytes:
    """A day's zip: transactions, adjustments and a report for people."""
    stem = f"INN{day:%y%m%d}88"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"RD20{day:%y%m%d}88_{MER_ID}", "报表".encode("gbk"))
        archive.writestr(f"{stem}ZM_{MER_ID}", b"".join(line + b"\r\n" for line in zm))
        archive.writestr(f"{stem}ZME_{MER_ID}", b"".join(line + b"\r\n" for line in zme))
        for number in range(extras):
            archive.writestr(f"{number}.txt", "")
    return packed.getvalue()


def zm_row(line: StatementLine) -> dict[int, str]:
    """What a transaction writes into the columns of ZM, by number."""
    refund = line.kind == "refund"
    return {
        1: "S30" if refund else "S56",
        4: "000001",
        5: line.happened_at.astimezone(BEIJING).strftime("%m%d%H%M%S"),
        6: "6216***********0018",
        7: f"{abs(line.amount.minor):012}",
        10: line.provider_ref,
        12: (line.out_refund_no or "") if refund else line.out_trade_no,
        16: debit_or_credit(line.fee.minor),
        17: debit_or_credit(line.amount.minor),
        20: "04" if refund else "01",
        27: QUERY_ID if refund else "",
        28: MER_ID,
        31: "测试商户",
        33: debit_or_credit(line.amount.minor + line.fee.minor),
        41: line.out_trade_no if refund else "",
    }


def zme_row(**more: str) -> dict[int, str]:
    """An adjustment that takes 5 yuan from the merchant."""
    return {
        1: "E74",
        4: "000007",
        5: "0115090000",
        7: "000000000500",
        11: "000001",
        15: "C000000000003",
        16: "D000000000500",
        17: MER_ID,
        **{int(name.removeprefix("c")): text for name, text in more.items()},
    }


def zm_line(row: Mapping[int, str]) -> bytes:
    return _fixed(row, ZM_WIDTHS)


def zme_line(row: Mapping[int, str]) -> bytes:
    return _fixed(row, ZME_WIDTHS)


def _fixed(row: Mapping[int, str], widths: Sequence[int]) -> bytes:
    cells = [row.get(number, "").encode("gbk") for number in range(1, len(widths) + 1)]
    return b" ".join(cell.ljust(width)[:width] for cell, width in zip(cells, widths, strict=True))


def debit_or_credit(minor: int) -> str:
    return f"{'D' if minor < 0 else 'C'}{abs(minor):012}"


def stamp(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def certificate(
    common_name: str | Sequence[str] = "CFCA@SIM@中国银联股份有限公司@Z1",
    *,
    subject_key: str = "up_sign.pkcs8.pem",
    issuer: str = "up_middle",  # "" for one that vouches for itself
    begins: datetime = datetime(2024, 1, 1, tzinfo=UTC),
    lasts: timedelta = timedelta(days=3650),
    authority: bool | None = False,
) -> str:
    """A certificate of any content, as the held intermediate (or anybody) could issue it, in PEM."""
    names = [common_name] if isinstance(common_name, str) else common_name
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    issued_by = x509.load_pem_x509_certificate(KEYS[f"{issuer}.cer"].encode()).subject if issuer else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(private_key(subject_key).public_key())
        .serial_number(68759663400)
        .not_valid_before(begins)
        .not_valid_after(begins + lasts)
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    key = private_key(f"{issuer}.pkcs8.pem" if issuer else subject_key)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sent_fields(wire: Wire, which: int = -1) -> dict[str, str]:
    """The form of a request, decoded once, its signature checked with the merchant's certificate."""
    return verified_fields(dict(parse_qsl(wire.sent[which].body.decode("ascii"), strict_parsing=True)))


def verified_fields(fields: Mapping[str, str]) -> dict[str, str]:
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "signature")
    digest = hashlib.sha256(text.encode()).hexdigest().encode()
    held = x509.load_pem_x509_certificate(KEYS["up_mer.cer"].encode())
    assert fields["certId"] == str(held.serial_number)
    private_key("up_mer.pkcs8.pem").public_key().verify(
        base64.b64decode(fields["signature"]), digest, padding.PKCS1v15(), hashes.SHA256()
    )
    assert "" not in fields.values()
    return dict(fields)


def paid_notice() -> Inbound:
    return UnionPayForge().callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
