"""A browser without eyes or scripts: it follows redirects, keeps cookies and sends forms.

It goes nowhere but to the charge's own host, to this machine and to private networks: a real network's
cashier is never touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

from app.cli.pages import Form, Page, read_page
from app.http import Client
from app.providers.base import HttpAnswer

HOPS_MAX = 8
ANSWER_S = 40.0  # a cashier may dawdle on purpose

# Not ``is_private``, which holds more than the networks that people have at home.  Sources: RFC 1918, 4193.
_NEAR = tuple(
    ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
# Our client joins headers of one name with commas; one that begins a cookie is followed by a name and "=".
_NEXT_COOKIE = re.compile(r",\s*(?=[^\s;,=]+=)")
# What a policy lets another site see of where we come from; without a policy that is our origin.
_SECRETIVE = frozenset({"no-referrer", "same-origin"})


class Exit(IntEnum):
    """What a command of the shopper's exits with, besides 2 for a command typed wrongly."""

    PAID = 0
    NOT_PAID = 1
    NO_WAY = 3  # the page only helps the shopper on to another app or browser


class GaveUp(Exception):
    """The shopper can go no further; ``code`` is what the command exits with."""

    def __init__(self, why: str, code: Exit = Exit.NOT_PAID) -> None:
        super().__init__(why)
        self.code = code


@dataclass
class Browser:
    """One app's browser on one device, on a page or on none.  ``home`` is the charge's address."""

    home: str
    user_agent: str
    client: Client = field(default_factory=Client)
    _cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    _referrer: str = ""  # the origin of the page it is on, if that page lets it be told

    def open(self, address: str) -> Page:
        """Type an address or scan a code, and go on to wherever it leads."""
        self._referrer = ""
        return self._walk("GET", address, b"")

    def submit(self, form: Form, pressed: Mapping[str, str]) -> Page:
        """Send the form by the button that adds ``pressed``."""
        data = urlencode(form.fields | dict(pressed))
        if form.method == "GET":
            return self._walk("GET", f"{form.address.partition('?')[0]}?{data}", b"")
        return self._walk(form.method, form.address, data.encode())

    def ask(self, method: str, address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a page's script or an app asks for: the JSON object of a 200.  Raises GaveUp."""
        kind = {"Content-Type": "application/json"} if body is not None else {}
        sent = json.dumps(body).encode() if body is not None else b""
        answer = self._send(method, address, kind, sent)
        if answer.status != 200:
            raise GaveUp(f"{place_of(address)} answered {answer.status}")
        found = json.loads(answer.body)
        if not isinstance(found, dict):
            raise GaveUp(f"{place_of(address)} answered something else than an object")
        return found

    def _walk(self, method: str, address: str, body: bytes) -> Page:
        for _ in range(HOPS_MAX):
            address = urldefrag(address).url  # WeChat's has one, which never goes on the wire
            kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            answer = self._send(method, address, kind, body)
            self._keep_cookies(address, answer)
            if "referrer-policy" in answer.headers and answer.headers["referrer-policy"] in _SECRETIVE:
                self._referrer = ""
            if answer.status not in (301, 302, 303, 307, 308):
                if answer.status >= 400:
                    raise GaveUp(f"{place_of(address)} answered {answer.status}")
                return self._arrive(address, answer)
            address = urljoin(address, answer.headers.get("location", ""))
            if answer.status not in (307, 308):
                method, body = "GET", b""
        raise GaveUp(f"more than {HOPS_MAX} redirects")

    def _arrive(self, address: str, answer: HttpAnswer) -> Page:
        parts = urlsplit(address)
        secretive = answer.headers.get("referrer-policy", "") in _SECRETIVE
        self._referrer = "" if secretive else f"{parts.scheme}://{parts.netloc}/"
        return read_page(address, answer.body.decode(errors="replace"))

    def _send(self, method: str, address: str, more: Mapping[str, str], body: bytes) -> HttpAnswer:
        self._stay_near(address)
        headers = {"User-Agent": self.user_agent, "Accept": "text/html", "Accept-Language": "en", **more}
        kept = self._cookies.get(urlsplit(address).hostname or "", {})
        if kept:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        if self._referrer:
            headers["Referer"] = self._referrer
        return self.client.send(method, address, headers=headers, body=body, timeout_s=ANSWER_S)

    def _keep_cookies(self, address: str, answer: HttpAnswer) -> None:
        """By host, whatever the port, as browsers do.  Every cookie of ours is for all paths."""
        kept = self._cookies.setdefault(urlsplit(address).hostname or "", {})
        for text in _NEXT_COOKIE.split(answer.headers.get("set-cookie", "")):
            try:
                found = SimpleCookie(text)
            except CookieError:
                continue
            for name, cookie in found.items():
                if cookie["max-age"] == "0":
                    kept.pop(name, None)
                else:
                    kept[name] = cookie.coded_value

    def _stay_near(self, address: str) -> None:
        host = urlsplit(address).hostname or ""
        if host != urlsplit(self.home).hostname and not _is_near(host):
            raise GaveUp(f"the way leads to {host}, which is no sandbox: nothing was approved there")


def place_of(address: str) -> str:
    """An address without its query, which may carry signatures.  Pure."""
    return address.partition("?")[0]


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return any(ip_address(host) in network for network in _NEAR)
    except ValueError:
        return False
