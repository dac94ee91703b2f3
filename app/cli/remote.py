"""A running Mafu, spoken to as a merchant's system would: by its address and one of the merchant's keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import click

from app import runtime
from app.cli import demo
from app.errors import InvalidRequest, PlatformError, ProviderUnreachable
from app.http import Client
from app.providers.base import HttpAnswer

ANSWER_S = 5.0  # who presses Ctrl-C waits for the call that is under way
ANSWER_MAX_BYTES = 8 << 20  # a page of a hundred events of 70 kB each

url_option = click.option(
    "--url", envvar="MAFU_URL", default="", help="Where Mafu is reached; the running demo if left out."
)
key_option = click.option(
    "--key", envvar="MAFU_KEY", default="", help="A secret key of the merchant; the demo's if left out."
)


class Refused(PlatformError):
    """The API said no.  ``status`` is its HTTP status."""

    code = "refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Away(PlatformError):
    """There was no answer, or one that asks for patience: try again."""

    code = "away"


@dataclass(frozen=True, slots=True)
class Remote:
    """The merchant's side of the API."""

    url: str
    key: str = field(repr=False)
    client: Client = field(default_factory=Client, repr=False)

    def get(self, path: str, **query: str) -> HttpAnswer:
        """``get("/events", limit="1")``.  Raises Refused, Away."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """``post("/charges", {"amount": 1, …})``; the object that comes back.  Raises Refused, Away."""
        answer: dict[str, Any] = json.loads(self._call("POST", path, body).body)
        return answer

    def delete(self, path: str) -> None:
        """``delete("/webhook_endpoints/we_1")``.  Raises Refused, Away."""
        self._call("DELETE", path, None)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> HttpAnswer:
        headers = {"Authorization": f"Bearer {self.key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            answer = self.client.send(
                method,
                f"{self.url}/v1{path}",
                headers=headers,
                body=sent,
                timeout_s=ANSWER_S,
                answer_max_bytes=ANSWER_MAX_BYTES,
            )
        except ProviderUnreachable as error:
            raise Away(error.detail) from None
        if answer.status == 429 or answer.status >= 500:
            raise Away(f"{self.url} answered {answer.status}")
        if answer.status >= 400:
            raise Refused(answer.status, _why(answer))
        return answer


def remote_of(url: str, key: str) -> Remote:
    """By what was typed, else the demo as last started.  Raises UsageError when neither names a key."""
    found = demo.load(runtime.settings())
    if not key and found is not None and url in ("", found.base_url):
        url, key = found.base_url, found.api_key
    if not key:
        raise click.UsageError("say --url and --key; there is no demo in this data folder")
    remote = Remote((url or runtime.settings().origin).rstrip("/"), key)
    if not key.isascii() or not key.isprintable():
        raise InvalidRequest("is no key", param="key")
    return remote


def _why(answer: HttpAnswer) -> str:
    try:
        error = json.loads(answer.body)["error"]
        about = f"{error['param']} " if error.get("param") else ""
        return f"the API answered {answer.status}: {about}{error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"the API answered {answer.status}, and not as Mafu would: check --url"
