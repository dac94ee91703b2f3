"""How often a password is checked: what takes long, and would tell a guesser who has an account."""

from __future__ import annotations

from typing import Any

import pytest

from app.merchants import people


def count_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the name of each hashing and each check from here on."""
    done: list[str] = []
    real = people._hasher

    class Counting:
        def __getattr__(self, name: str) -> Any:
            done.append(name)
            return getattr(real, name)

    monkeypatch.setattr(people, "_hasher", Counting())
    return done
