"""A merchant of WeChat Pay at the sandbox: wechatpayv3, which shares no code with us, speaks for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.core import Core
from wechatpayv3.utils import build_authorization

PHONE = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"
WECHAT = f"{PHONE} XWEB/1260059 MMWEBSDK/20240404 MicroMessenger/8.0.49.2600(0x28003133) WeChat/arm64"


@dataclass(frozen=True)
class Mail:
    """A notification as it came."""

    headers: dict[str, str]
    body: bytes
    at_s: float


@dataclass
class Postbox:
    """A merchant's callback address: what it heard, and what it will say."""

    url: str = ""
    heard: list[Mail] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # then 204

    def wait(self, count: int, within_s: float = 8.0) -> list[Mail]:
        deadline = time.monotonic() + within_s
        while len(self.heard) < count:
            assert time.monotonic() < deadline, f"heard {len(self.heard)} of {count}"
            time.sleep(0.01)
        return self.heard


@dataclass
class WechatMerchant:
    """A registered merchant and its independent client."""

    facts: dict[str, Any]
    client: WeChatPay
    key: rsa.RSAPrivateKey
    far: Any

    @property
    def mchid(self) -> str:
        return str(self.facts["mchid"])

    def pay(self, number: str, total: int = 1000, kind: str = "native", **more: Any) -> tuple[int, Any]:
        """Place an order; answers (status, JSON)."""
        if kind == "jsapi":
            more.setdefault("payer", {"openid": self.facts["openid"]})
        if kind == "h5":
            scene = {"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Wap"}}
            more.setdefault("scene_info", scene)
        pay_type = WeChatPayType[kind.upper()]
        more.setdefault("description", "s")
        return self._read(
            self.client.pay(out_trade_no=number, amount={"total": total}, pay_type=pay_type, **more)
        )

    def query(self, number: str = "", transaction_id: str = "") -> tuple[int, Any]:
        return self._read(self.client.query(out_trade_no=number, transaction_id=transaction_id))

    def state(self, number: str) -> str:
        return str(self.query(number)[1]["trade_state"])

    def close(self, number: str) -> int:
        return int(self.client.close(number)[0])

    def refund(self, number: str, refund_no: str, refund: int, total: int = 1000, **more: Any) -> Any:
        amount = {"refund": refund, "total": total, "currency": "CNY"}
        return self._read(self.client.refund(refund_no, amount, out_trade_no=number, **more))

    def query_refund(self, refund_no: str) -> tuple[int, Any]:
        return self._read(self.client.query_refund(refund_no))

    def read(self, mail: Mail) -> Any:
        """A notification as the independent client reads it; None when it does not believe it."""
        try:
            return self.client.callback(mail.headers, mail.body)
        except Exception:  # noqa: BLE001  # It raises nothing narrower for headers that it does not know.
            return None

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Any:
        """A raw request, signed by the independent package; a header "" is left out."""
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        signed = build_authorization(
            target, method, self.mchid, self.facts["merchant_serial"], self.key, data=text
        )
        sent = {"Accept": "application/json", "User-Agent": "test", "Authorization": signed}
        if text:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.far.ask(
            method, target, text.encode() or None, {name: value for name, value in sent.items() if value}
        )

    def _read(self, answer: tuple[int, Any]) -> tuple[int, Any]:
        status, text = answer
        return status, json.loads(text) if text else None


def join(far: Any, key: rsa.RSAPrivateKey, notify_url: str = "", **wish: str) -> WechatMerchant:
    """Register a merchant and make the client that speaks for it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    answer = far.post("/control/wechatpay/merchants", {"public_key": public, **wish})
    assert answer.status in (200, 201), answer.text
    facts = answer.json
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with _gateway(facts["api_base"]):
        client = WeChatPay(
            wechatpay_type=WeChatPayType.NATIVE,
            mchid=facts["mchid"],
            private_key=private,
            cert_serial_no=facts["merchant_serial"],
            apiv3_key=facts["apiv3_key"],
            appid=facts["appid"],
            notify_url=notify_url or "http://127.0.0.1:1/nobody",
            public_key=None if facts["mode"] == "cert" else facts["public_key"],
            public_key_id=None if facts["mode"] == "cert" else facts["public_key_id"],
        )
    client._core._gate_way = facts["api_base"]
    return WechatMerchant(facts, client, key, far)


@contextmanager
def _gateway(base: str) -> Iterator[None]:
    """In certificate mode the client fetches certificates while it is made, before it is told where."""
    patch = pytest.MonkeyPatch()
    core = cast("Any", Core)
    patch.setattr(core, "__setattr__", lambda self, name, value: _set(self, name, value, base))
    try:
        yield
    finally:
        patch.undo()


def _set(core: object, name: str, value: object, base: str) -> None:
    object.__setattr__(core, name, base if name == "_gate_way" else value)


@contextmanager
def postbox() -> Iterator[Postbox]:
    """A callback address on a free port."""
    box = Postbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers: Message = self.headers
            box.heard.append(Mail(dict(headers.items()), body, time.monotonic()))
            self.send_response(box.answers.pop(0) if box.answers else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box.url = f"http://127.0.0.1:{server.server_port}/callback"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serial_of(answer: Any) -> str:
    """Who signed an answer."""
    return str(answer.headers.get("wechatpay-serial", ""))


__all__ = ["PHONE", "WECHAT", "Mail", "Postbox", "WechatMerchant", "join", "postbox", "serial_of"]
