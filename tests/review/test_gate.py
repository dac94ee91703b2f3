"""The gate in front of SQLite, when the operating system refuses."""

from __future__ import annotations

import fcntl
import threading

import pytest

from app.db import _Gate


def test_a_gate_that_cannot_be_unlocked_lets_the_next_thread_in(tmp_path, monkeypatch):
    gate, flock = _Gate(tmp_path / "gate"), fcntl.flock

    def fail(file, how):
        if how == fcntl.LOCK_UN:
            raise OSError("no locks available")
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="no locks"), gate:
        pass
    monkeypatch.undo()
    entered = threading.Event()

    def enter():
        with gate:
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    assert entered.wait(10)
    thread.join(10)
    gate.close()
