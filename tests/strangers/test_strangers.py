"""Clients that nobody here wrote use the sandbox as they would use the networks, and judge our signatures.

Each is a program of its own that lives through one story and tells it step by step; a test looks at one
step.  What they are and what they cannot do: ``docs/strangers.md``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app import clock
from tests.sandbox.conftest import Far
from tests.strangers import case

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OWN_PYTHON = ROOT / ".venv-strangers" / "bin" / "python"
PATIENCE_S = 60

COMMON = (
    "places an order",
    "sees it unpaid",
    "hears of the payment",
    "rejects a tampered notification",
    "rejects a forged notification",
    "sees it paid",
    "refunds",
    "sees the refund",
    "hears of the refund",
    "closes",
    "hands an app its order",
    "reads the bill",
    "refuses a forged answer",
    "accepts our signatures",
    "signs what we sign alike",
    "accepts our notifications",
    "reaches nobody but the sandbox",
)
STORY = {
    "alipay": (*COMMON, "sends a browser to the cashier and reads its return"),
    "wechatpay": (*COMMON, "opens the pay sheet in WeChat"),
}
MISSING = {"wechatpay-node-v3": {"refuses a forged answer"}}  # it verifies notifications, and no answer


@dataclass(frozen=True)
class Stranger:
    """A client, and how it is set up."""

    package: str  # as its registry calls it
    program: str  # in clients/
    network: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.package}, {self.mode}"

    @property
    def steps(self) -> list[str]:
        missing = MISSING.get(self.package, set())
        return [step for step in STORY[self.network] if step not in missing]


STRANGERS = [
    Stranger(package, program, network, mode)
    for package, program, network, modes in (
        ("python-alipay-sdk", "python_alipay_sdk.py", "alipay", ("key", "cert")),
        ("alipay-sdk-python", "alipay_sdk_python.py", "alipay", ("key",)),
        ("alipay-sdk", "alipay_sdk.mjs", "alipay", ("key", "cert")),
        ("wechatpayv3", "wechatpayv3_sdk.py", "wechatpay", ("public_key", "cert")),
        ("wechatpay-axios-plugin", "wechatpay_axios_plugin.mjs", "wechatpay", ("public_key", "cert")),
        ("wechatpay-node-v3", "wechatpay_node_v3.mjs", "wechatpay", ("public_key", "cert")),
    )
    for mode in modes
]
EACH = pytest.mark.parametrize("stranger", STRANGERS, ids=lambda each: each.name)

Told = dict[str, str | None]  # step -> what went wrong
Listener = Callable[[Stranger], Told]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    far = Far(tmp_path_factory.mktemp("far"))
    far.pull("bill_now", scope="always")
    yield far
    far.stop()


@pytest.fixture(scope="module")
def tale(far: Far, tmp_path_factory: pytest.TempPathFactory) -> Listener:
    """What a stranger told; its story runs when it is first asked for."""
    told: dict[Stranger, Told] = {}

    def listen(stranger: Stranger) -> Told:
        program = _program(stranger)
        if stranger not in told:
            told[stranger] = _run(program, _case(far, stranger), tmp_path_factory.mktemp("home"))
        return told[stranger]

    return listen


@pytest.mark.parametrize(
    ("stranger", "step"),
    [
        pytest.param(stranger, step, id=f"{stranger.name}: {step}")
        for stranger in STRANGERS
        for step in stranger.steps
    ],
)
def test_a_stranger_gets_through_its_story(tale: Listener, stranger: Stranger, step: str) -> None:
    told = tale(stranger)
    assert step in told, f"the story ended before: {list(told)}"
    assert told[step] is None, told[step]


@EACH
def test_no_step_is_told_that_nobody_looks_at(tale: Listener, stranger: Stranger) -> None:
    assert sorted(tale(stranger)) == sorted(stranger.steps)


@EACH
def test_the_sandboxs_own_book_says_the_same(tale: Listener, far: Far, stranger: Stranger) -> None:
    tale(stranger)
    paid = far.trade(f"{_prefix(stranger)}PAID")
    assert paid["network"] == stranger.network
    assert (paid["paid_minor"], paid["refunded_minor"]) == (1999, 500)
    assert far.trade(f"{_prefix(stranger)}FORGED")["paid_minor"] == 0
    assert far.act(f"{_prefix(stranger)}CLOSED", "pay").status == 409


@pytest.mark.parametrize("package", sorted({stranger.package for stranger in STRANGERS}))
def test_the_documents_name_the_version_that_was_seen(package: str) -> None:
    table = (ROOT / "docs" / "strangers.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in table if f"`{package}` {_locked_version(package)}" in row and row.count("|") == 5]


def test_no_lock_file_names_a_registry() -> None:
    assert '"resolved"' not in (HERE / "package-lock.json").read_text(encoding="utf-8")
    for lock in (HERE / "requirements.lock", ROOT / "requirements-dev.lock"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock


def _program(stranger: Stranger) -> list[str]:
    """The program to start; skips when this machine lacks what it stands on."""
    client = str(HERE / "clients" / stranger.program)
    if client.endswith(".mjs"):
        node = shutil.which("node")
        if node is None:
            pytest.skip("no Node.js: apt-get install nodejs npm")
        if not (HERE / "node_modules" / stranger.package).is_dir():
            pytest.skip("the clients for Node.js are not installed: make strangers")
        return [node, client]
    if stranger.package == "alipay-sdk-python":
        if not OWN_PYTHON.exists():
            pytest.skip("alipay-sdk-python is not installed: make strangers")
        return [str(OWN_PYTHON), client]
    return [sys.executable, client]


def _case(far: Far, stranger: Stranger) -> dict[str, Any]:
    return {
        "far": far.url,
        "mode": stranger.mode,
        "prefix": _prefix(stranger),
        "today": clock.to_beijing(clock.now(), "%Y-%m-%d"),
        "account": case.account(far, stranger.network, stranger.mode),
        "ours": case.OURS[stranger.network](stranger.mode),
    }


def _prefix(stranger: Stranger) -> str:
    return f"S{STRANGERS.index(stranger):03d}"


def _run(program: list[str], given: dict[str, Any], home: Path) -> Told:
    """Let a client live through its story, in an environment without proxies and settings."""
    done = subprocess.run(
        program,
        input=json.dumps(given, ensure_ascii=False),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
        cwd=home,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "TZ": "Asia/Shanghai"},
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"after {[each['step'] for each in told]}:\n{done.stderr}"
    return {each["step"]: each["error"] for each in told}


def _locked_version(package: str) -> str:
    packages = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    if f"node_modules/{package}" in packages:
        return str(packages[f"node_modules/{package}"]["version"])
    locks = (HERE / "requirements.lock", ROOT / "requirements-dev.lock")
    lines = [line for lock in locks for line in lock.read_text(encoding="utf-8").splitlines()]
    return next(line for line in lines if line.startswith(f"{package}==")).split()[0].partition("==")[2]
