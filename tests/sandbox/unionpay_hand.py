"""A UnionPay client written by hand from the manual, to judge the sandbox: it shares nothing with it.

Source: UnionPay ACP 5.1.0, signing, verification, synchronous answers, file transfer.
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

BEIJING = timezone(timedelta(hours=8))
NAMES = ("中国银联股份有限公司", "00040000:SIGN")
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}

# 20 lines: what a merchant has to write.


def digest_of(fields: dict[str, str]) -> bytes:
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "signature")
    return hashlib.sha256(text.encode("utf-8")).hexdigest().encode("ascii")


def sign(key: rsa.RSAPrivateKey, cert_id: str, fields: dict[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in fields.items() if v} | {"certId": cert_id}
    signature = key.sign(digest_of(kept), padding.PKCS1v15(), hashes.SHA256())
    return kept | {"signature": base64.b64encode(signature).decode()}


def verify(fields: dict[str, str], middle_pem: str, root_pem: str, names: tuple[str, ...] = NAMES) -> bool:
    leaf = x509.load_pem_x509_certificate(fields["signPubKeyCert"].encode())
    middle, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in (middle_pem, root_pem))
    now = datetime.now(UTC)
    try:
        leaf.verify_directly_issued_by(middle)
        middle.verify_directly_issued_by(root)
        signature = base64.b64decode(fields["signature"])
        leaf.public_key().verify(signature, digest_of(fields), padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type]
    except (ValueError, TypeError, InvalidSignature):
        return False
    name = str(leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    fresh = all(one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in (leaf, middle, root))
    return fresh and name.split("@")[2] in names


def read_answer(body: bytes) -> dict[str, str]:
    """Raw pairs; only the certificate's base64 and the signature hold an equals sign."""
    return dict(pair.split("=", 1) for pair in body.decode("utf-8").split("&"))  # type: ignore[misc]


def read_file(content: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(zlib.decompress(base64.b64decode(content)))) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def stamp(offset_s: float = 0) -> str:
    return datetime.fromtimestamp(time.time() + offset_s, BEIJING).strftime("%Y%m%d%H%M%S")


class Client:
    """A merchant at the sandbox.  ``far`` is the sandbox under test."""

    def __init__(self, far: Any, key: rsa.RSAPrivateKey, **wish: str) -> None:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
        answer = far.post("/control/unionpay/merchants", {"public_key": pem, **wish})
        assert answer.status in (200, 201), answer.text
        self.far, self.key, self.facts = far, key, answer.json
        self.mer_id: str = self.facts["mer_id"]
        self.times: dict[str, str] = {}

    def signed(self, **fields: str) -> dict[str, str]:
        common = {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "accessType": "0",
            "merId": self.mer_id,
        }
        return sign(self.key, self.facts["cert_id"], common | fields)

    def post(self, endpoint: str, fields: dict[str, str]) -> Any:
        url = self.facts["file_url"] if endpoint == "files" else f"{self.facts['gateway_url']}/{endpoint}.do"
        return self.far.ask("POST", url, urlencode(fields).encode(), FORM)

    def call(self, endpoint: str, **fields: str) -> dict[str, str]:
        """One call and its answer, whose signature holds."""
        answer = self.post(endpoint, self.signed(**fields))
        assert answer.status == 200, answer.text
        found = read_answer(answer.body)
        assert self.genuine(found), found
        return found

    def genuine(self, fields: dict[str, str]) -> bool:
        return verify(fields, self.facts["middle_cert"], self.facts["root_cert"])

    def order(self, number: str, amount: str = "1250", **more: str) -> dict[str, str]:
        self.times[number] = more.get("txnTime") or stamp()
        common = {
            "channelType": "08",
            "orderId": number,
            "txnTime": self.times[number],
            "txnAmt": amount,
            "currencyCode": "156",
            "backUrl": "http://127.0.0.1:1/notify",
        }
        return common | more

    def qr(self, number: str, amount: str = "1250", **more: str) -> dict[str, str]:
        fields = self.order(number, amount, **more)
        return self.call("backTransReq", txnType="01", txnSubType="07", bizType="000000", **fields)

    def app(self, number: str, amount: str = "1250", **more: str) -> dict[str, str]:
        fields = self.order(number, amount, **more)
        return self.call("appTransReq", txnType="01", txnSubType="01", bizType="000201", **fields)

    def front_form(self, number: str, amount: str = "1250", **more: str) -> dict[str, str]:
        fields = {"frontUrl": "http://127.0.0.1:1/back"} | self.order(number, amount, **more)
        return self.signed(txnType="01", txnSubType="01", bizType="000201", **fields)

    def front(self, number: str, amount: str = "1250", **more: str) -> Any:
        return self.post("frontTransReq", self.front_form(number, amount, **more))

    def query(self, number: str, **more: str) -> dict[str, str]:
        fields = {"orderId": number, "txnTime": self.times.get(number, stamp())} | more
        return self.call("queryTrans", txnType="00", txnSubType="00", bizType="000000", **fields)

    def state(self, number: str) -> str:
        """The code of the transaction: its own, or the query's when that failed."""
        found = self.query(number)
        return found.get("origRespCode", found["respCode"])

    def back(self, kind: str, number: str, of: str, amount: str, **more: str) -> dict[str, str]:
        """A refund (04) or a void (31) of the payment ``of``."""
        self.times[number] = more.get("txnTime") or stamp()
        fields = {
            "bizType": "000000",
            "channelType": "08",
            "orderId": number,
            "txnTime": self.times[number],
            "txnAmt": amount,
            "origQryId": of,
            "backUrl": "http://127.0.0.1:1/notify",
        }
        return self.call("backTransReq", txnType=kind, txnSubType="00", **fields | more)

    def paid(self, number: str, amount: str = "1250", **more: str) -> str:
        """A payment by QR code that the shopper made; answers UnionPay's number for it."""
        assert self.qr(number, amount, **more)["respCode"] == "00"
        assert self.far.act(number, "pay").status == 200
        return self.query(number)["queryId"]

    def file(self, day: str, **more: str) -> dict[str, str]:
        fields = {"settleDate": day, "fileType": "00", "txnTime": stamp()} | more
        return self.call("files", txnType="76", txnSubType="01", bizType="000000", **fields)
