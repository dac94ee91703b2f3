"""WeChat Pay's wire: what is signed, how it is sealed, and the words of its errors.  Pure but for nonces.

Source: WeChat Pay API v3, 签名生成, 签名验证, 证书和回调报文解密, 错误码.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox import rsakeys, timing
from sandbox.wechatpay.keys import Signer

SCHEME = "WECHATPAY2-SHA256-RSA2048"
SKEW_MAX_S = 300
SEALED = "AEAD_AES_256_GCM"
PROBE = "WECHATPAY/SIGNTEST/"

# What each code is answered with, and says.
_ERRORS: dict[str, tuple[int, str]] = {
    "PARAM_ERROR": (400, "参数错误"),
    "INVALID_REQUEST": (400, "无效请求"),
    "APPID_MCHID_NOT_MATCH": (400, "AppID和mch_id不匹配"),
    "MCH_NOT_EXISTS": (400, "商户号不存在"),
    "ORDER_CLOSED": (400, "订单已关闭"),
    "ORDERPAID": (400, "订单已支付"),
    "NO_STATEMENT_EXIST": (400, "账单文件不存在"),
    "STATEMENT_CREATING": (400, "账单生成中"),
    "SIGN_ERROR": (401, "签名错误，请检查后再试"),
    "NO_AUTH": (403, "商户无权限"),
    "OUT_TRADE_NO_USED": (403, "商户订单号重复"),
    "RULE_LIMIT": (403, "业务规则限制"),
    "TRADE_ERROR": (403, "交易错误"),
    "ACCOUNT_ERROR": (403, "账号异常"),
    "USER_ACCOUNT_ABNORMAL": (403, "退款请求失败，用户账号异常"),
    "NOT_ENOUGH": (403, "基本账户余额不足，请充值后重新发起"),
    "ORDER_NOT_EXIST": (404, "订单不存在"),
    "RESOURCE_NOT_EXISTS": (404, "请求的资源不存在"),
    "FREQUENCY_LIMITED": (429, "频率超限"),
    "RATELIMIT_EXCEEDED": (429, "请求超过频率限制"),
    "SYSTEM_ERROR": (500, "系统异常，请稍后重试"),
    "BANK_ERROR": (500, "银行系统异常"),
    "SERVICE_UNAVAILABLE": (503, "服务不可用"),
}
_AUTHORIZATION = re.compile(r'\s*([a-z_]+)="([^"]*)"\s*', re.ASCII)
_AUTHORIZATION_FIELDS = frozenset(("mchid", "nonce_str", "signature", "timestamp", "serial_no"))

Node = dict[str, Any]


class Refusal(Exception):
    """A definite answer other than the one hoped for: WeChat's code and words, and where the fault is."""

    def __init__(
        self, code: str, message: str = "", detail: Mapping[str, Any] | None = None, status: int = 0
    ) -> None:
        super().__init__(code)
        usual_status, usual_message = _ERRORS.get(code, (400, code))
        self.code = code
        self.status = status or usual_status
        self.message = message or usual_message
        self.detail = detail

    def node(self) -> Node:
        """The answer's body."""
        node: Node = {"code": self.code, "message": self.message}
        if self.detail is not None:
            node["detail"] = dict(self.detail)
        return node


def bad_field(field: str, value: object, issue: str, location: str = "body") -> Refusal:
    """``bad_field("/amount/total", 0, "值低于最小值 1")``: PARAM_ERROR that says where."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    detail = {"field": field, "value": shown[:128], "issue": issue, "location": location}
    return Refusal("PARAM_ERROR", f"参数错误: {field} {issue}", detail)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header says of itself; nothing of it is checked yet."""

    mchid: str
    nonce_str: str
    signature: str
    timestamp: str
    serial_no: str


def claim_of(header: str) -> Claim:
    """Read an Authorization header, its fields in any order.  Raises Refusal SIGN_ERROR."""
    scheme, _, rest = header.partition(" ")
    if scheme != SCHEME:
        raise Refusal("SIGN_ERROR", "Http头Authorization认证类型不正确")
    found: dict[str, str] = {}
    for part in rest.split(","):
        match = _AUTHORIZATION.fullmatch(part)
        if match is None or match[1] in found:
            raise Refusal("SIGN_ERROR", "Http头Authorization格式不正确")
        found[match[1]] = match[2]
    if found.keys() != _AUTHORIZATION_FIELDS or not 1 <= len(found["nonce_str"]) <= 32:
        raise Refusal("SIGN_ERROR", "Http头Authorization格式不正确")
    return Claim(**found)


def request_message(method: str, target: str, claim: Claim, body: bytes) -> bytes:
    """What a merchant signs; ``target`` is path and query exactly as they came."""
    head = f"{method}\n{target}\n{claim.timestamp}\n{claim.nonce_str}\n".encode("latin-1")
    return head + body + b"\n"


def check_age(claim: Claim, now: float) -> None:
    """Raises Refusal SIGN_ERROR for a clock that is more than five minutes off."""
    if re.fullmatch(r"\d{1,12}", claim.timestamp, re.ASCII) is None:
        raise Refusal("SIGN_ERROR", "Http头Authorization中的timestamp不正确")
    if abs(now - int(claim.timestamp)) > SKEW_MAX_S:
        raise Refusal("SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")


def answer_message(timestamp: str, nonce: str, body: bytes) -> bytes:
    """What WeChat Pay signs, in answers and in notifications alike."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def signed_headers(signer: Signer, body: bytes, forge: str, stranger: RSAPrivateKey) -> dict[str, str]:
    """The ``Wechatpay-*`` headers over a body; forged as the levers ``forge`` and ``forge_answer`` say."""
    if forge == "unsigned":
        return {}
    key, serial = signer.key, signer.serial
    timestamp = str(int(timing.now()) - (2 * SKEW_MAX_S if forge == "stale" else 0))
    nonce = secrets.token_hex(16)
    if forge == "other_key":
        key = stranger
    if forge == "unknown_serial":
        named = serial.startswith("PUB_KEY_ID_")
        serial = f"PUB_KEY_ID_{'9' * 28}" if named else f"{secrets.randbits(158) | 1 << 157:X}"
    signed = body + b" " if forge == "bad_signature" else body
    signature = rsakeys.sign(key, answer_message(timestamp, nonce, signed))
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": PROBE + signature[len(PROBE) :] if forge == "signtest" else signature,
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": SCHEME,
    }


def seal(apiv3_key: str, text: str, associated_data: str) -> dict[str, str]:
    """Encrypt for one merchant: AES-256-GCM, the 16-byte tag behind the text."""
    nonce = secrets.token_hex(6)
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), text.encode(), associated_data.encode())
    return {
        "algorithm": SEALED,
        "nonce": nonce,
        "associated_data": associated_data,
        "ciphertext": base64.b64encode(sealed).decode(),
    }


def text_of(node: Node) -> str:
    """A node as it goes out: compact, letters unescaped."""
    return json.dumps(node, ensure_ascii=False, separators=(",", ":"))


def node_of(body: bytes) -> Node:
    """A request's JSON object.  Raises Refusal PARAM_ERROR."""
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refusal("PARAM_ERROR", "请求体不是合法的JSON") from None
    if not isinstance(found, dict):
        raise Refusal("PARAM_ERROR", "请求体不是JSON对象")
    return found
