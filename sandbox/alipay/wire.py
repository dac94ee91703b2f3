"""Alipay's wire: requests in every transport, answers signed over their exact text.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gbk", "gb2312": "gbk", "gb18030": "gb18030"}

MESSAGES = {
    "10000": "Success",
    "20000": "Service Currently Unavailable",
    "20001": "Insufficient Token Permissions",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40003": "Insufficient Conditions",
    "40004": "Business Failed",
    "40005": "Call Limited",
    "40006": "Insufficient Permissions",
}

Node = dict[str, Any]


class Refusal(Exception):
    """A definite answer other than Success: Alipay's code, sub_code and words."""

    def __init__(self, code: str, sub_code: str, sub_msg: str = "") -> None:
        super().__init__(sub_code)
        self.code = code
        self.sub_code = sub_code
        self.sub_msg = sub_msg or sub_code

    def node(self) -> Node:
        """The answer's node."""
        return {
            "code": self.code,
            "msg": MESSAGES.get(self.code, "Failed"),
            "sub_code": self.sub_code,
            "sub_msg": self.sub_msg,
        }


def business(sub_code: str, sub_msg: str = "") -> Refusal:
    """``business("ACQ.TRADE_NOT_EXIST", "交易不存在")``: code 40004."""
    return Refusal("40004", sub_code, sub_msg)


@dataclass(frozen=True, slots=True)
class Params:
    """A request's parameters, each value as the bytes that were sent (one latin-1 letter a byte).

    Signatures are over bytes; text comes out only by ``text``, in the request's own charset.
    """

    raw: Mapping[str, str]

    @property
    def charset(self) -> str:
        """Python's name of the request's charset; utf-8 unless it names another we know."""
        return CHARSETS.get(self.raw.get("charset", "utf-8").lower(), "utf-8")

    def text(self, name: str) -> str:
        """A value as text; "" if absent.  Raises Refusal when its bytes are not in the charset."""
        try:
            return self.raw.get(name, "").encode("latin-1").decode(self.charset)
        except UnicodeDecodeError:
            raise Refusal("40002", "isv.invalid-charset", f"{name} is not {self.charset}") from None

    def signed_bytes(self) -> bytes:
        """Every non-empty parameter except ``sign``, sorted, joined; sign_type stays in."""
        kept = sorted((name, value) for name, value in self.raw.items() if name != "sign" and value)
        return "&".join(f"{name}={value}" for name, value in kept).encode("latin-1")


def read(query: bytes, form: bytes) -> Params:
    """Merge what came in the query and in the form body, however the client split it."""
    merged: dict[str, str] = {}
    for part in (query, form):
        pairs = parse_qsl(
            part.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=200
        )
        for name, value in pairs:
            merged.setdefault(name, value)
    return Params(merged)


def biz_of(params: Params) -> Node:
    """The request's biz_content; numbers stay the text they were.  Raises Refusal."""
    text = params.text("biz_content")
    if not text:
        return {}
    try:
        biz = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        raise Refusal("40002", "isv.invalid-parameter", "biz_content is not JSON") from None
    if not isinstance(biz, dict):
        raise Refusal("40002", "isv.invalid-parameter", "biz_content is not a JSON object")
    return biz


def node_text(node: Node) -> str:
    """A node as Alipay writes it: compact, letters unescaped, every slash as ``\\/``."""
    return json.dumps(node, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def answer(name: str, node: str, cert_sn: str = "", sign: str = "") -> str:
    """The whole answer around a node's exact text; the certificate's sn stands before the signature."""
    parts = [f'"{name}":{node}']
    if cert_sn:
        parts.append(f'"alipay_cert_sn":"{cert_sn}"')
    if sign:
        parts.append(f'"sign":"{sign}"')
    return "{" + ",".join(parts) + "}"


def notice_bytes(fields: Mapping[str, str], charset: str) -> bytes:
    """What is signed in a notification and on the way back to the shop: no sign, no sign_type."""
    kept = sorted((name, value) for name, value in fields.items() if name not in ("sign", "sign_type"))
    return "&".join(f"{name}={value}" for name, value in kept).encode(charset)


def form(fields: Mapping[str, str], charset: str) -> bytes:
    """A form body in the charset."""
    return urlencode(dict(fields), encoding=charset).encode("ascii")
