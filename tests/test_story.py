"""Whatever happens in whatever order, the books stay right: stories told from seeds, on both databases.

A few are told here, and those that once went wrong; ``make prove-story ROUNDS=10000`` tells many more.
The numbers of the rules are those of ``docs/invariants.md``; how a story goes is in ``simulator_world``.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest

from app import queue
from app.charges import attempts, bookings, incidents, refund_sending, refunds, settle, states
from app.charges.states import AttemptState
from app.money import Money
from tests.conftest import running
from tests.simulator import stage
from tests.simulator_campaign import stage_on
from tests.simulator_world import StoryWentWrong, shortest, tell

SEEDS = range(100, 130)
# Seeds whose stories found a bug: what was wrong, each with a test of its own besides.  A seed tells
# another story once the world can do more, so this list is a memory and those tests are the guard.
FOUND = {
    8: "canceled over an attempt that began meanwhile (review/test_pressed_while_closing)",
}
OFTEN = ("charge.paid", "charge.double_paid", "charge.expired", "charge.canceled", "refund.succeeded")
FINDS_WITHIN = 100  # stories


@pytest.fixture
def place(settings):
    """A stage on an empty database of either kind."""
    with quiet(), running(settings) as app, stage(app) as made:
        yield made


@pytest.fixture(scope="module")
def one_place():
    """A stage on SQLite for what has nothing to do with the database."""
    with quiet(), stage_on("sqlite") as made:
        yield made


@contextmanager
def quiet():
    """Incidents are what stories are full of."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_whatever_happens_the_books_stay_right(place):
    """And things do happen: a story in which nobody pays proves nothing."""
    tally = sum((tell(place, seed).tally for seed in SEEDS), Counter())
    for what in (
        "charge.paid",
        "charge.double_paid",
        "charge.expired",
        "charge.canceled",
        "refund.succeeded",
    ):
        assert tally[what] > 2, what
    assert tally["processes killed"] > 10
    for provider in ("alipay", "wechatpay", "unionpay"):
        assert tally[f"attempt succeeded at {provider}"] > 2, provider
        assert tally[f"paid by code at {provider}"] > 0, provider


def test_what_went_wrong_once_goes_right(one_place):
    for seed in FOUND:
        tell(one_place, seed)


def test_a_seed_tells_the_same_story_again(one_place):
    for seed in (7, 8, 9):
        assert tell(one_place, seed).lines == tell(one_place, seed).lines


def test_a_story_that_goes_wrong_is_told_again_as_short_as_it_can_be(one_place, monkeypatch):
    close_by_guess(monkeypatch)
    wrong = first_wrong(one_place, BLUNDERS[close_by_guess][1])
    steps, short = shortest(one_place, wrong)
    with pytest.raises(StoryWentWrong):
        tell(one_place, wrong.seed, steps)
    for fewer in (steps // 2, steps - 1):
        tell(one_place, wrong.seed, fewer)  # goes well
    assert len(short.lines) <= len(wrong.lines)


def close_by_guess(patch):
    patch.setattr(attempts, "is_open_besides", lambda *_: False)


def forget_to_send_back(patch):
    patch.setattr(refunds, "reserve_unneeded", lambda *_, **__: None)


def tell_nobody(patch):
    patch.setattr(incidents, "raise_incident", lambda *_, **__: None)


def take_any_amount(patch):
    class Anything(Money):
        def __eq__(self, other):
            return True

        __hash__ = Money.__hash__

    patch.setattr(settle, "Money", Anything)


def believe_that_closed_is_final(patch):
    only = {**states._SOURCES[AttemptState], AttemptState.SUCCEEDED: [AttemptState.STARTED]}
    patch.setitem(states._SOURCES, AttemptState, only)
    patch.setattr(states, "_guarded", states._guarded.__wrapped__)  # it remembers statements


def take_a_new_refund_number_each_time(patch):
    order, numbers = refund_sending.order_of, count()
    patch.setattr(
        refund_sending, "order_of", lambda row: replace(order(row), out_refund_no=f"R{next(numbers)}")
    )


def give_up_after_one_answer(patch):
    patch.setattr(queue, "put_back", lambda tx, claim, _due_at: queue.finish(tx, claim))


def forget_to_post(patch):
    patch.setattr(bookings, "post", lambda *_: None)


# What somebody might do, the rule that sees it, and a seed shortly before one whose story does.
BLUNDERS = {
    close_by_guess: ("I-16", 5),
    forget_to_send_back: ("I-12", 5),
    tell_nobody: ("I-21", 0),
    take_any_amount: ("I-4", 45),
    believe_that_closed_is_final: ("moved while it was locked", 15),
    take_a_new_refund_number_each_time: ("I-15", 5),
    give_up_after_one_answer: ("I-45", 0),
    forget_to_post: ("I-25", 0),
}


@pytest.mark.parametrize("blunder", BLUNDERS, ids=lambda blunder: blunder.__name__)
def test_a_blunder_is_found(one_place, monkeypatch, blunder):
    blunder(monkeypatch)
    rule, seed = BLUNDERS[blunder]
    assert rule in str(first_wrong(one_place, seed))


def first_wrong(place, begin=0):
    """The first story from this seed on that goes wrong."""
    for seed in range(begin, begin + FINDS_WITHIN):
        try:
            tell(place, seed)
        except StoryWentWrong as wrong:
            return wrong
    raise AssertionError(f"{FINDS_WITHIN} stories, and none went wrong")
