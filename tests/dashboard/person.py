"""A person at the dashboard: opens pages, fills in forms with the guards that those carried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import Context
from typing import Any

from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.conftest import Shop

ROOMS = (
    *("merchants", "door", "security", "policy", "team", "audit", "branding", "provider_accounts", "routing"),
    *("charges", "lists", "printing", "batch", "code_printing", "simulator"),
    *("reconciliation", "reconciliation_papers", "discrepancies"),
    *("till", "shifts", "refunds", "ledger", "statements", "members", "risk"),
    *("codes", "stores", "webhooks", "keys", "request_logs", "epay"),
)


class Person:
    """One browser.  Each request has a context of its own, as on a server: nothing leaks into the next."""

    def __init__(self, app: Flask, language: str = "en", origin: str = "http://pay.example.com") -> None:
        self.client = app.test_client()
        self.language = language
        self.origin = origin
        self.page = ""

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._open("GET", path, **options)

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, guarded: bool = True, **options: Any
    ) -> TestResponse:
        """Send a form with the CSRF token of the page seen last, or without."""
        guard = {"csrf_token": token_of(self.page)} if guarded else {}
        return self._open("POST", path, data=guard | (fields or {}), **options)

    def sign_in(self, shop: Shop, password: str | None = None, onward: str = "") -> TestResponse:
        self.get("/sign-in")
        return self.post(
            "/sign-in", {"email": shop.email, "password": password or shop.password, "next": onward}
        )

    def _open(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Accept-Language": self.language, "Referer": f"{self.origin}/"} | options.pop(
            "headers", {}
        )
        # Read to its end in there: a file is made while it is sent.
        options = {"method": method, "headers": headers, "base_url": self.origin, "buffered": True} | options
        response = Context().run(self.client.open, path, **options)
        if 'name="csrf_token"' in (response.text if "html" in (response.content_type or "") else ""):
            self.page = response.text
        return response


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, "the page has no form"
    return found[1]


def rules(app: Flask, method: str | None = None) -> Iterator[Rule]:
    """The addresses of the dashboard."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] in ROOMS and (method is None or method in (rule.methods or ())):
            yield rule
