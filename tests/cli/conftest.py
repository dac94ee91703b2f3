"""What the tests of commands share: a way to type them, a house with an address, pages made to order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from tests.conftest import running, settings_for
from tests.networks import served

Run = Callable[..., Result]


@dataclass
class Site:
    """A web site made to order: path -> (status, headers, body).  ``seen`` is what was asked of it."""

    port: int = 0
    pages: dict[str, tuple[int, dict[str, str], str]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, path: str, body: str = "", status: int = 200, **headers: str) -> None:
        self.pages[path] = (status, headers, body)


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = self.path.partition("?")[0]
            found.seen.append((self.command, path, headers, body))
            status, more, text = found.pages.get(f"{self.command} {path}") or found.pages.get(
                path, (404, {}, "")
            )
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    yield from served(server, found)


@pytest.fixture
def house(database_url: str, tmp_path: Path, site: Site) -> Iterator[Flask]:
    """The application on an empty database; ``site`` stands where the links lead."""
    (tmp_path / "data").mkdir(mode=0o700)
    with running(settings_for(database_url, tmp_path / "data", base_url=site.url)) as app:
        yield app


@pytest.fixture
def run(house: Flask) -> Run:
    """Type a command: ``run("charge create --amount 1 …")`` or ``run("merchant", "add", "晨光")``."""

    def type_in(*words: str, **options: Any) -> Result:
        given = words[0].split() if len(words) == 1 else list(words)
        return house.test_cli_runner().invoke(args=given, **options)

    return type_in


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
