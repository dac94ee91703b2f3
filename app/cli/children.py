"""Processes of ours: started together, started again when they fall, ended together."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 12.0  # longer than any child takes to finish what it has in hand
PAUSE_S_MIN, PAUSE_S_MAX = 1.0, 30.0  # before a child that fell is started again
SOUND_AFTER_S = 60.0  # one that lived so long has earned a short pause again

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)


@dataclass
class Child:
    """A program to keep running.  ``process`` is None while it waits to be started again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = PAUSE_S_MIN
    start_at_s: float = 0.0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def start(child: Child) -> None:
    """Start it in a session of its own: Ctrl-C in the terminal reaches us alone, and we pass it on."""
    child.process = subprocess.Popen(  # noqa: S603  # our own programs
        child.command,
        env=dict(child.environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_us,  # noqa: PLW1509  # called before any thread of ours exists
    )
    child.started_s = time.monotonic()


def mend(children: Sequence[Child], tell: Callable[[str], None]) -> None:
    """Notice who has fallen, and start again whose pause is over.  Call it often."""
    now_s = time.monotonic()
    for child in children:
        if child.is_alive:
            continue
        if child.process is None:
            if now_s >= child.start_at_s:
                start(child)
            continue
        code, child.process = child.process.returncode, None
        if now_s - child.started_s > SOUND_AFTER_S:
            child.pause_s = PAUSE_S_MIN
        tell(f"{child.name} ended (code {code}); starting it again in {child.pause_s:.0f} s")
        child.start_at_s = now_s + child.pause_s
        child.pause_s = min(child.pause_s * 2, PAUSE_S_MAX)


def stop(children: Sequence[Child], tell: Callable[[str], None]) -> None:
    """Ask all to end, the last started first; those that do not listen within STOP_S are killed."""
    alive = [(child.name, child.process) for child in reversed(children) if child.process and child.is_alive]
    for _, process in alive:
        process.send_signal(signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_S
    for name, process in alive:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            tell(f"{name} did not end within {STOP_S:.0f} s and is killed")
            process.kill()
            process.wait()


# Linux alone can tell a child that its parent has died; elsewhere a killed parent leaves children running.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_us() -> None:
    """In the child, before it becomes the program: be told to end when our parent dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
