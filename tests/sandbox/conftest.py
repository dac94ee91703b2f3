"""A sandbox on a loopback port, a shop that hears its notifications, and an independent Alipay client."""

from __future__ import annotations

import http.client
import json
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from alipay import AliPay, DCAliPay
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox import create_sandbox
from sandbox.box import Box
from tests.sandbox import wechat

SPEED = 1200.0  # Four minutes become 0.2 seconds.


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Far:
    """A running sandbox.  Keeps its files over ``restart``."""

    def __init__(self, folder: Path, speed: float = SPEED) -> None:
        self._folder = folder
        self._speed = speed
        self._port = 0
        self.start()

    def start(self) -> None:
        self.app = create_sandbox(str(self._folder), public_url="http://127.0.0.1:1", speed=self._speed)
        self._server: BaseWSGIServer = make_server("127.0.0.1", self._port, self.app, threaded=True)
        self._port = self._server.port
        self.box.public_url = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.app.extensions["sandbox_notifier"].stop()
        self.box.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def box(self) -> Box:
        box = self.app.extensions["sandbox"]
        assert isinstance(box, Box)
        return box

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One exchange; no redirects are followed.  ``path`` may be a whole address of the sandbox."""
        path = path.removeprefix(self.url)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.ask("POST", path, json.dumps(body or {}).encode(), {"Content-Type": "application/json"})

    def press(self, path: str, action: str) -> Answer:
        """The shopper presses a button of the cashier."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, f"action={action}".encode(), kind)

    def pull(self, name: str, **wish: Any) -> None:
        """Put a lever in place."""
        answer = self.post("/control/levers", {"name": name, **wish})
        assert answer.status == 201, answer.text

    def trade(self, out_trade_no: str) -> dict[str, Any]:
        answer = self.get(f"/control/trades/{out_trade_no}")
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    def act(self, out_trade_no: str, act: str, **body: Any) -> Answer:
        return self.post(f"/control/trades/{out_trade_no}/{act}", body)


@dataclass
class Shop:
    """A merchant's callback address: what it heard, and what it will say."""

    url: str = ""
    heard: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # then 200 success
    slow_s: float = 0.0

    def wait(self, count: int, within_s: float = 5.0) -> list[dict[str, str]]:
        wait_until(lambda: len(self.heard) >= count, within_s)
        return self.heard


def wait_until(done: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@dataclass
class Merchant:
    """An app registered at the sandbox, and the client that signs for it."""

    facts: dict[str, Any]
    client: AliPay
    key: rsa.RSAPrivateKey

    @property
    def app_id(self) -> str:
        return str(self.facts["app_id"])

    def genuine(self, heard: dict[str, str]) -> bool:
        """Whether the independent client accepts a notification's signature."""
        fields = dict(heard)
        return bool(self.client.verify(fields, fields.pop("sign")))


@pytest.fixture(scope="session")
def app_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def far_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of Alipay's keys for all tests: making them is slow, and they are not what is tested."""
    return tmp_path_factory.mktemp("far")


@pytest.fixture(scope="session")
def _one_far(far_folder: Path) -> Iterator[Far]:
    far = Far(far_folder)
    yield far
    far.stop()


@pytest.fixture
def far(_one_far: Far) -> Iterator[Far]:
    yield _one_far
    _one_far.post("/control/reset", {"apps": True})


@pytest.fixture
def own_far(tmp_path: Path, far_folder: Path, _one_far: Far) -> Iterator[Far]:
    """A sandbox of one's own that may be restarted; slower than ``far``."""
    far = Far(tmp_path / "own")
    yield far
    far.stop()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            charset = (self.headers.get_content_charset() or "utf-8").lower()
            shop.times.append(time.monotonic())
            shop.heard.append(dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding=charset)))
            status, words = shop.answers.pop(0) if shop.answers else (200, b"success")
            if shop.slow_s:
                time.sleep(shop.slow_s)
            self.send_response(status)
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            try:
                self.wfile.write(words)
            except OSError:
                pass  # The notifier gave up waiting, as it should.

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_port}/callback"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield shop
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def merchant(far: Far, app_key: rsa.RSAPrivateKey) -> Merchant:
    return register(far, app_key)


@pytest.fixture
def cert_merchant(far: Far, app_key: rsa.RSAPrivateKey) -> Merchant:
    return register(far, app_key, mode="cert")


@pytest.fixture
def mail() -> Iterator[wechat.Postbox]:
    """Where a merchant of WeChat Pay hears of its payments."""
    with wechat.postbox() as box:
        yield box


@pytest.fixture
def mch(far: Far, app_key: rsa.RSAPrivateKey, mail: wechat.Postbox) -> wechat.WechatMerchant:
    """A merchant of WeChat Pay in public-key mode."""
    return wechat.join(far, app_key, mail.url)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def register(far: Far, key: rsa.RSAPrivateKey, mode: str = "key", **more: str) -> Merchant:
    """Register an app and make the independent client that speaks for it."""
    answer = far.post("/control/alipay/apps", {"mode": mode, "public_key": public_pem(key), **more})
    assert answer.status in (200, 201), answer.text
    facts = answer.json
    if mode == "cert":
        client: AliPay = DCAliPay(
            appid=facts["app_id"],
            app_private_key_string=private_pem(key),
            app_public_key_cert_string=facts["app_cert"],
            alipay_public_key_cert_string=facts["alipay_cert"],
            alipay_root_cert_string=facts["alipay_root_cert"],
        )
    else:
        client = AliPay(
            appid=facts["app_id"],
            app_private_key_string=private_pem(key),
            alipay_public_key_string=facts["alipay_public_key"],
        )
    client._gateway = facts["gateway_url"]
    return Merchant(facts, client, key)


@pytest.fixture
def sandbox_tools() -> Any:
    """What test modules need besides fixtures; they cannot import a conftest."""
    return types.SimpleNamespace(
        register=register,
        wait_until=wait_until,
        query_of=lambda address: dict(parse_qsl(urlsplit(address).query, keep_blank_values=True)),
    )
