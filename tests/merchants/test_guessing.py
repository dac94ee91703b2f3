"""Wrong tries are counted by many at once, and nobody waits for somebody who waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from flask import Flask

from app.db import transaction
from app.merchants import guessing
from app.merchants.models import SignInFailure
from tests.books import rows_of


def note(*subjects: str) -> None:
    with transaction() as tx:
        guessing.note_failure(tx, subjects)


def aside(app: Flask, subjects: Sequence[str]) -> tuple[threading.Thread, list[str]]:
    """Another person's try at the same time, and whether it was counted."""
    done: list[str] = []

    def run() -> None:
        with app.app_context():
            note(*subjects)
            done.extend(subjects)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, done


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_rows_that_are_too_old_are_waited_for_by_nobody(app: Flask, at) -> None:
    note("old")
    at(timedelta(days=2))
    with transaction() as tx:
        guessing.note_failure(tx, ["a"])
        thread, done = aside(app, ["b"])
        thread.join(5)
        assert done == ["b"]
    assert [row.subject for row in rows_of(SignInFailure)] == ["a", "b"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_who_try_the_same_in_another_order_both_count(app: Flask) -> None:
    with transaction() as tx:
        guessing.note_failure(tx, ["a"])
        thread, done = aside(app, ["b", "a"])
        time.sleep(0.3)  # until it waits
        guessing.note_failure(tx, ["b"])
    thread.join(5)
    assert done
    assert [(row.subject, row.count) for row in rows_of(SignInFailure)] == [("a", 2), ("b", 2)]


def test_a_day_after_the_wait_it_is_as_if_nothing_had_been_tried(app: Flask, at) -> None:
    for _ in range(guessing.FREE_TRIES):
        note("a", "b")
    at(timedelta(days=1, seconds=5))
    note("a")
    assert [(row.subject, row.count) for row in rows_of(SignInFailure)] == [("a", 1)]
