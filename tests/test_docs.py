"""What the documentation tells people to type is typed here, against a running demo."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from app.factory import create_app
from tests.cli.test_serve import House, free_ports, running_house
from tests.conftest import ROOT, settings_for

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/*.md", "examples/*/README.md", "clients/*/README.md")
    for path in ROOT.glob(pattern)
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|`|\.venv/bin/)flask ((?:[a-z]+ ?){1,2})", re.MULTILINE)
_FILE = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


def blocks() -> list[tuple[str, str, str]]:
    """Page, language and text of each block of code."""
    return [(page, *found) for page in PAGES for found in _BLOCK.findall((ROOT / page).read_text())]


WITH_CURL = [block for block in blocks() if "curl" in block[2]]
PAGES_WITH_CURL = sorted({page for page, _, _ in WITH_CURL})


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """The demo, as ``make run`` starts it."""
    port, sandbox_port = free_ports(2)
    with running_house(House(tmp_path_factory.mktemp("house") / "data", port, sandbox_port)) as found:
        yield found


def test_there_is_something_to_type():
    assert {"README.md", "docs/sandbox.md"} <= set(PAGES_WITH_CURL)


def test_what_is_to_be_typed_is_marked_as_such():
    assert [(page, text) for page, language, text in WITH_CURL if language != "sh"] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_CURL)
def test_every_curl_of_a_page_works_as_it_stands(house, tmp_path, page):
    """One block after the other, in one folder, as somebody would who reads the page to its end."""
    typed = "".join(text for of, _, text in WITH_CURL if of == page)
    places = {
        "http://127.0.0.1:8000": house.demo["base_url"],
        "http://127.0.0.1:9000": house.demo["sandbox_url"],
        "instance/": f"{house.folder}/",
        ".venv/bin/flask": f"{sys.executable} -m flask --app {ROOT / 'wsgi.py'}",
    }
    for said, here in places.items():
        typed = typed.replace(said, here)
    # An answer that is an error is one here, although curl would only print it.
    script = f'set -euo pipefail\ncurl() {{ command curl --fail-with-body "$@"; }}\n{typed}'
    environment = house.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_that_is_named_exists(tmp_path):
    app = create_app(settings_for(f"sqlite:///{tmp_path}/x.sqlite3", tmp_path))
    named = {(page, words) for page in PAGES for words in _COMMAND.findall((ROOT / page).read_text())}
    unknown = [(page, words) for page, words in named if not exists(app, words.split())]
    assert unknown == []


def exists(app: Flask, words: list[str]) -> bool:
    command = app.cli.commands.get(words[0])
    if command is None:
        return words[0] in ("run", "shell", "routes", "db")
    return not isinstance(command, click.Group) or len(words) == 1 or words[1] in command.commands


def test_every_file_that_is_linked_is_there():
    missing = [
        (page, target)
        for page in PAGES
        for target in _FILE.findall((ROOT / page).read_text())
        if not ((ROOT / page).parent / target).exists()
    ]
    assert missing == []
