"""Processes of ours do not stay down, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cli import children, signals
from app.cli.children import ROOT, Child

READY = "import pathlib, signal, sys, time; pathlib.Path(sys.argv[1]).touch(); "
SLEEPS = READY + "time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a program and wait until it runs."""
    made: list[Child] = []

    def make(program: str, **more) -> Child:
        flag = tmp_path / f"ready{len(made)}"
        child = Child(f"child{len(made)}", [sys.executable, "-c", program, str(flag)], os.environ, **more)
        made.append(child)
        children.start(child)
        eventually(flag.exists)
        return child

    yield make
    for child in made:
        if child.process is not None:
            child.process.kill()
            child.process.wait()


def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.01)


def test_one_that_falls_is_started_again_after_a_pause(make, told):
    child = make(SLEEPS, pause_s=0.3)
    first = child.process
    assert first is not None
    first.kill()
    first.wait()
    children.mend([child], told.append)
    children.mend([child], told.append)
    assert not child.is_alive, "not at once"
    eventually(lambda: children.mend([child], told.append) or child.is_alive)
    assert child.process is not first
    assert told == ["child0 ended (code -9); starting it again in 0 s"]
    assert child.pause_s == 0.6, "the next pause is longer"


def test_pauses_do_not_grow_for_ever_and_a_long_life_makes_them_short_again(make, told):
    child = make(SLEEPS, pause_s=children.PAUSE_S_MAX)
    child.process.kill()
    child.process.wait()
    children.mend([child], told.append)
    assert child.pause_s == children.PAUSE_S_MAX
    children.start(child)
    child.started_s -= children.SOUND_AFTER_S + 1
    child.process.kill()
    child.process.wait()
    children.mend([child], told.append)
    assert child.start_at_s <= time.monotonic() + children.PAUSE_S_MIN


def test_all_are_asked_to_end(make, told):
    both = [make(SLEEPS), make(SLEEPS)]
    children.stop(both, told.append)
    assert [child.process.returncode for child in both] == [-signal.SIGTERM] * 2
    assert told == []


def test_one_that_does_not_listen_is_killed(make, told, monkeypatch):
    monkeypatch.setattr(children, "STOP_S", 0.3)
    child = make(STUBBORN)
    children.stop([child], told.append)
    assert child.process.returncode == -signal.SIGKILL
    assert "is killed" in told[0]


def test_stopping_those_that_are_gone_is_harmless(make, told):
    child = make(SLEEPS)
    children.stop([child], told.append)
    children.stop([child], told.append)
    children.stop([Child("never", [], {})], told.append)


def test_they_end_when_their_parent_is_killed(tmp_path):
    flag = tmp_path / "ready"
    parent_program = (
        "import os, sys, time; from app.cli import children; "
        "child = children.Child('x', [sys.executable, '-c', sys.argv[1], sys.argv[2]], os.environ); "
        "children.start(child); print(child.process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", parent_program, SLEEPS, str(flag)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually(flag.exists)
        parent.kill()
    eventually(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_noticed_and_afterwards_act_as_before(number):
    before = signal.getsignal(number)
    with signals.noticed() as is_over:
        assert not is_over()
        os.kill(os.getpid(), number)
        eventually(is_over)
    assert signal.getsignal(number) == before
