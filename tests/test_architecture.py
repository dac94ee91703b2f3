"""Who may import whom: the floors of the house, read off the imports of every file.

The rooms of a floor see the floors below and nothing above.  If you need an import that this test
forbids, or one inside a function, the design is wrong: mend the design.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the ground up; True where the rooms of one floor may know each other.
FLOORS = (
    # Values and rules without a database or a socket.  providers/base.py is the grammar that adapters and
    # the HTTP client share: values alone, so it lies here and not with the adapters.
    (
        "clock money ids errors config i18n logs metrics addresses strict_json versions rates providers.base",
        True,
    ),
    ("vault db http mail queue shared_rates heartbeat", True),  # the outside
    ("providers qr", False),  # translators
    (
        "runtime answers paper",
        False,
    ),  # what services take from the application, what faces answer and print alike
    ("merchants", False),  # who is asking
    ("webhooks ledger", False),  # facts out
    ("purses", False),  # what members have to spend
    ("charges", False),  # the books
    ("checkout callbacks codes members reconciliation epay", False),  # edges: they do not know each other
    (
        """__init__ factory frame document catalogue guide problems telemetry checkup resealing operator
        cli worker""",
        True,
    ),  # wiring: sees all
)
FLOOR_OF = {room: number for number, (rooms, _) in enumerate(FLOORS) for room in rooms.split()}
WIRING = FLOORS[-1][0].split()

# Flask is for the faces and the wiring.  Besides: the engine's extension, the language of a request, the one
# place where services find what create_app() built, and the answers that all faces share.
FLASK_FILES = {"views.py", "api.py", "auth.py"}  # and refunds_api.py, where a package has several
FLASK_ROOMS = {*WIRING, "db", "i18n", "runtime", "answers", "paper"}

HTTP_CLIENTS = ("pycurl", "requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client")
NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "common",
    "manager",
    "managers",
    "service",
    "services",
    "misc",
}


def violations(path: str, source: str) -> list[str]:
    """What a file of app/ or sandbox/ does against the rules; ``path`` is relative to the root.  Pure."""
    tree = ast.parse(source)
    place = PurePath(path)
    at_top = {node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    found = [f"the name '{part}' says nothing" for part in _stems(place) if part in NAMES_THAT_SAY_NOTHING]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if node not in at_top:
            found.append(f"line {node.lineno}: an import that is not at the top of the file")
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append(f"line {node.lineno}: a relative import")
        for target in _targets(node):
            found += [f"line {node.lineno}: {fault}" for fault in _faults(place, target)]
    if place.parts[0] == "app" and _room(_stems(place)) not in FLOOR_OF:
        found.append(f"'{place}' is on no floor: give it one in {Path(__file__).name}")
    return found


def _faults(place: PurePath, target: str) -> Iterator[str]:
    """What is wrong with a file importing ``target``, a dotted name down to what is imported."""
    side, package = place.parts[0], target.partition(".")[0]
    if {side, package} == {"app", "sandbox"}:
        yield f"{side} imports {package}: they meet on HTTP only"
        return
    if side != "app":
        return
    room = _room(_stems(place))
    if package == "flask" or package.startswith("flask_"):
        if room not in FLASK_ROOMS and place.name.rpartition("_")[2] not in FLASK_FILES:
            yield f"{target}: Flask is for the faces and the wiring"
    elif package == "sqlalchemy" and room in ("providers", "providers.base", "qr"):
        yield f"{target}: translators know no database"
    elif f"{target}.".startswith(tuple(f"{client}." for client in HTTP_CLIENTS)) and room != "http":
        yield f"{target}: HTTP goes out through app/http.py only"
    elif target == "app.clock.now":
        yield "a name for clock.now: a test that moves the clock would not move it"
    elif package == "app":
        yield from _climbs(room, _room(target.split(".")))


def _climbs(room: str, other: str) -> Iterator[str]:
    # What is no room is a name of app/__init__.py itself.
    here, there = FLOOR_OF.get(room, -1), FLOOR_OF.get(other, FLOOR_OF["__init__"])
    if room != other and (there > here or (there == here and not FLOORS[here][1])):
        yield f"{room} (floor {here}) imports {other} (floor {there}): imports go down"


def _targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _stems(place: PurePath) -> list[str]:
    return [*place.parts[:-1], place.stem]


def _room(parts: list[str]) -> str:
    """``["app", "charges", "settle"] -> "charges"``; the grammar and cli_*.py are rooms too."""
    if parts[1:3] == ["providers", "base"]:
        return "providers.base"
    name = parts[1] if len(parts) > 1 else "__init__"
    return "cli" if name.startswith("cli_") else name


FILES = sorted(
    str(path.relative_to(ROOT)) for side in ("app", "sandbox") for path in (ROOT / side).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES)
def test_every_file_keeps_to_its_floor(path):
    assert violations(path, (ROOT / path).read_text()) == []


PLANTED = [
    ("app/charges/settle.py", "from app.checkout import scene", "imports go down"),
    ("app/money.py", "from app.db import transaction", "imports go down"),
    ("app/http.py", "from app.providers import alipay", "imports go down"),
    ("app/webhooks/outbox.py", "import app.ledger.post", "imports go down"),
    ("app/codes/views.py", "from app.members.models import Member", "imports go down"),
    ("app/charges/api.py", "from app import worker", "imports go down"),
    ("app/charges/api.py", "from app import create_app", "imports go down"),
    ("app/charges/settle.py", "from .models import Charge", "relative import"),
    ("app/charges/settle.py", "def f():\n    import json", "not at the top"),
    ("sandbox/pages.py", "def f():\n    import json", "not at the top"),
    ("app/money.py", "import typing\nif typing.TYPE_CHECKING:\n    from app import clock", "not at the top"),
    ("app/charges/settle.py", "from flask import request", "Flask is for"),
    ("app/merchants/people.py", "from flask_babel import gettext", "Flask is for"),
    ("app/providers/alipay.py", "import sqlalchemy as sa", "no database"),
    ("app/qr/links.py", "from sqlalchemy import select", "no database"),
    ("app/webhooks/delivery.py", "import pycurl", "app/http.py only"),
    ("app/providers/unionpay.py", "from urllib import request", "app/http.py only"),
    ("app/providers/unionpay.py", "import http.client", "app/http.py only"),
    ("app/cli.py", "from sandbox import store", "HTTP only"),
    ("sandbox/alipay/calls.py", "from app.providers import rsa", "HTTP only"),
    ("app/charges/sweeps.py", "from app.clock import now", "clock.now"),
    ("app/charges/utils.py", "", "says nothing"),
    ("sandbox/helpers/money.py", "", "says nothing"),
    ("app/attic.py", "", "on no floor"),
]


@pytest.mark.parametrize(("path", "source", "fault"), PLANTED)
def test_a_planted_violation_is_found(path, source, fault):
    assert [text for text in violations(path, source) if fault in text]


ALLOWED = [
    ("app/charges/settle.py", "from app import clock, queue\nfrom app.charges.models import Charge"),
    ("app/charges/api.py", "from flask import Blueprint\nfrom app.webhooks import outbox"),
    (
        "app/http.py",
        "import pycurl\nfrom app.providers.base import HttpAnswer\nfrom app.db import is_writing",
    ),
    ("app/cli_demo.py", "import click\nfrom flask import current_app\nfrom app.charges import lifecycle"),
    ("app/worker.py", "from app.problems import register\nfrom app import create_app"),
    ("app/providers/alipay.py", "from urllib.parse import quote\nfrom http import HTTPStatus"),
    ("sandbox/alipay/calls.py", "import http.client\nfrom sandbox import store"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_house_allows_passes(path, source):
    assert violations(path, source) == []
