"""Shops as they exist, re-stated from the public rules of three kinds of client; none of them knows Mafu.

``CardShop`` sells codes: it puts a form into the shopper's browser, GET, a number for the money, and signs
what is not empty.  ``PanelShop`` sells months: it builds an address, signs the decoded query, and signs
*everything* that a notice brings, empty or not.  ``LibraryShop`` is a program with a library: ``mapi.php``
by POST, ``api.php`` with its key, TRADE_SUCCESS compared, money compared.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@dataclass
class Shop:
    """What all of them have: where the interface is, who they are there, where they live themselves."""

    gateway: str  # ends with a slash, as their forms ask for
    pid: str
    key: str
    home: str = "https://shop.example.com"
    delivered: list[str] = field(default_factory=list)  # order numbers, once each

    def hears(self, query: Mapping[str, str]) -> str:
        """The body of the answer to a notice."""
        if not self.believes(query):
            return "fail"
        number = query["out_trade_no"]
        if number not in self.delivered:
            self.delivered.append(number)
        return "success"

    def believes(self, query: Mapping[str, str]) -> bool:
        raise NotImplementedError


class CardShop(Shop):
    """A form by GET; the money is a float of PHP, printed as short as it can be: 12.5, or 3."""

    def form(self, number: str, title: str, price: float, wallet: str) -> tuple[str, dict[str, str]]:
        """The form's action and its fields."""
        fields = {
            "pid": self.pid,
            "type": wallet,
            "out_trade_no": number,
            "return_url": f"{self.home}/detail-order-sn/{number}",
            "notify_url": f"{self.home}/pay/notify_url",
            "name": title,
            "money": f"{price:g}",
        }
        return f"{self.gateway}submit.php", {**fields, "sign": self.sign(fields), "sign_type": "MD5"}

    def sign(self, fields: Mapping[str, str]) -> str:
        text = ""
        for name, value in sorted(fields.items()):
            if name in ("sign", "sign_type") or value == "":
                continue
            text += ("&" if text else "") + f"{name}={value}"
        return _md5(text + self.key)

    def believes(self, query: Mapping[str, str]) -> bool:
        # It never looks at trade_status: whatever is signed counts as paid.
        return bool(query.get("trade_no")) and self.sign(query) == query.get("sign")


class PanelShop(Shop):
    """An address by GET.  It joins whatever it got, empty or not, so nothing empty may be sent."""

    def address(self, number: str, fen: int) -> str:
        fields = {
            "money": f"{fen / 100:g}",
            "name": number,
            "notify_url": f"{self.home}/api/v1/guest/payment/notify/EPay/q7f3",
            "return_url": f"{self.home}/#/order/{number}",
            "out_trade_no": number,
            "pid": self.pid,
        }
        signed = {**fields, "sign": self.sign(fields), "sign_type": "MD5"}
        return f"{self.gateway}submit.php?{urlencode(signed)}"

    def sign(self, fields: Mapping[str, str]) -> str:
        return _md5(unquote_plus(urlencode(sorted(fields.items()))) + self.key)

    def believes(self, query: Mapping[str, str]) -> bool:
        rest = {name: value for name, value in query.items() if name not in ("sign", "sign_type")}
        return self.sign(rest) == query.get("sign")


class LibraryShop(Shop):
    """A program: it asks by POST, compares the money it asked for, and the one word for success."""

    def __init__(self, *args: str, **more: str) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.prices: dict[str, str] = {}

    def order(self, number: str, name: str, money: str, **more: str) -> dict[str, str]:
        """The fields for mapi.php."""
        self.prices[number] = money
        fields = {
            "pid": self.pid,
            "type": "alipay",
            "out_trade_no": number,
            "notify_url": f"{self.home}/user/epay/notify",
            "return_url": f"{self.home}/console/log",
            "name": name,
            "money": money,
            "clientip": "192.0.2.7",
            "device": "pc",
            "param": "",
            **more,
        }
        return {**fields, "sign": self.sign(fields), "sign_type": "MD5"}

    def asks(self, act: str, **more: str) -> dict[str, str]:
        """The parameters for api.php, proved with the key itself."""
        return {"act": act, "pid": self.pid, "key": self.key, **more}

    def asks_signed(self, act: str, **more: str) -> dict[str, str]:
        """The same, proved with a signature."""
        fields = {"act": act, "pid": self.pid, **more}
        return {**fields, "sign": self.sign(fields), "sign_type": "MD5"}

    def sign(self, fields: Mapping[str, str]) -> str:
        names = sorted(name for name in fields if name not in ("sign", "sign_type") and fields[name] != "")
        return _md5("&".join(f"{name}={fields[name]}" for name in names) + self.key)

    def believes(self, query: Mapping[str, str]) -> bool:
        return (
            self.sign(query) == query.get("sign")
            and query["trade_status"] == "TRADE_SUCCESS"
            and self.prices.get(query["out_trade_no"]) == query["money"]
        )


Answer = Callable[[dict[str, str]], str]


@dataclass
class Door:
    """Where a shop listens on loopback.  ``moods`` are answers to give first: a status and a body."""

    port: int
    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path, query
    moods: list[tuple[int, str]] = field(default_factory=list)
    answer: Answer = lambda _query: "success"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def listening() -> Iterator[Door]:
    """A shop's web server for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            door.heard.append((parts.path, query))
            status, body = door.moods.pop(0) if door.moods else (200, door.answer(query))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    door = Door(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
