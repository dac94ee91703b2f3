"""Reading on: whoever asks for what follows the last event it knows is told of every event, once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from app import ids
from app.db import transaction
from app.errors import InvalidRequest, NotFound
from app.webhooks import feed, outbox
from app.webhooks.models import Event
from app.webhooks.outbox import Fact, emit
from tests.books import rows_of

ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Reader:
    """A merchant's system that polls, and remembers the last event it was told of."""

    def __init__(self, shop_id: str, limit: int = 100) -> None:
        self.shop_id, self.limit = shop_id, limit
        self.last: str | None = None
        self.heard: list[str] = []

    def poll(self) -> list[str]:
        """What is new: the objects of the events."""
        fresh: list[str] = []
        has_more = True
        while has_more:
            rows, has_more = feed.read_on(self.shop_id, livemode=False, after=self.last, limit=self.limit)
            fresh += [row.object_id for row in rows]
            self.last = rows[-1].id if rows else self.last
        self.heard += fresh
        return fresh


@pytest.fixture
def reader(app: Flask, shop_id: str) -> Reader:
    return Reader(shop_id)


@contextmanager
def paused_writer(app: Flask, shop_id: str, object_id: str) -> Iterator[Callable[[], None]]:
    """Somebody who has stored an event and does not commit yet; call what you get to let him."""
    stored, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with app.app_context(), transaction() as tx:
            emit(tx, Fact(shop_id, False, "charge.paid", object_id, 1, {}))
            stored.set()
            may_end.wait(10)

    thread = threading.Thread(target=write)

    def end() -> None:
        may_end.set()
        thread.join()

    thread.start()
    assert stored.wait(10)
    try:
        yield end
    finally:
        end()


@ONLY_POSTGRESQL
def test_an_event_that_is_older_but_commits_later_is_not_missed(app, tell, reader, shop_id):
    """On SQLite nobody else writes in between."""
    with paused_writer(app, shop_id, "ch_paused") as commit:
        younger = tell()
        assert reader.poll() == [younger]
        commit()
    by_id = [row.object_id for row in rows_of(Event, merchant_id=shop_id)]
    assert by_id == ["ch_paused", younger]  # who went by the ids would never have seen it
    assert reader.poll() == ["ch_paused"]
    assert reader.poll() == []


@ONLY_POSTGRESQL
def test_a_reader_neither_waits_for_a_writer_nor_makes_one_wait(app, tell, reader, shop_id):
    with paused_writer(app, shop_id, "ch_paused"):
        began_s = time.monotonic()
        tell()
        reader.poll()
        assert time.monotonic() - began_s < 5


def test_a_machine_whose_clock_is_late_is_heard(tell, reader, monkeypatch):
    first = tell()
    assert reader.poll() == [first]
    monkeypatch.setattr(outbox.ids, "new_id", lambda prefix: f"{prefix}_0{ids.new_body()[1:]}")
    late = tell()
    assert reader.poll() == [late]


def test_several_writers_and_readers_agree_on_one_order(app, shop_id):
    """Every reader hears every event once, in the same order, whoever gave out the places."""
    readers = [Reader(shop_id, limit=7) for _ in range(3)]
    told: list[str] = []
    over = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        with app.app_context():
            for turn in range(15):
                object_id = f"ch_{number}_{turn}"
                with transaction() as tx:
                    emit(tx, Fact(shop_id, False, "charge.paid", object_id, 1, {}))
                    time.sleep(chance.uniform(0, 0.01))  # others store and commit meanwhile, where they can
                told.append(object_id)

    def read(reader: Reader) -> None:
        with app.app_context():
            while not over.is_set():
                reader.poll()
            reader.poll()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    listeners = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in [*listeners, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in listeners:
        thread.join()
    for reader in readers:
        assert sorted(reader.heard) == sorted(told)
        assert reader.heard == readers[0].heard


def test_places_are_given_out_in_slices(tell, reader, monkeypatch):
    monkeypatch.setattr(feed, "SLICE", 3)
    told = [tell() for _ in range(7)]
    assert reader.poll() == told
    assert [row.position for row in rows_of(Event)] == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_wanted_is_told_and_the_rest_left_out(tell, shop_id):
    paid, expired, again = tell("charge.paid"), tell("charge.expired"), tell("charge.paid")
    tell("charge.paid", livemode=True)

    def read(**more) -> list[str]:
        rows, _ = feed.read_on(shop_id, livemode=False, **{"after": None, "limit": 10, **more})
        return [row.object_id for row in rows]

    assert read() == [paid, expired, again]
    assert read(event_types=["charge.expired"]) == [expired]
    assert read(event_types=["charge.expired", "charge.paid"]) == [paid, expired, again]
    assert read(object_id=again) == [again]
    [first] = feed.read_on(shop_id, livemode=False, after=None, limit=1)[0]
    assert feed.read_on(shop_id, livemode=False, after=None, limit=1)[1] is True
    assert read(after=first.id, event_types=["charge.paid"]) == [again]


def test_only_an_event_of_ones_own_can_be_read_on_from(tell, shop_id, other_merchant):
    tell(merchant_id=other_merchant.id)
    tell(livemode=True)
    theirs, other_mode = rows_of(Event, merchant_id=other_merchant.id), rows_of(Event, livemode=True)
    for event_id in (theirs[0].id, other_mode[0].id, ids.new_id("evt")):
        with pytest.raises(NotFound):
            feed.read_on(shop_id, livemode=False, after=event_id, limit=10)
    assert feed.read_on(shop_id, livemode=False, after=None, limit=10) == ([], False)
    for limit in (0, 101):
        with pytest.raises(InvalidRequest):
            feed.read_on(shop_id, livemode=False, after=None, limit=limit)
