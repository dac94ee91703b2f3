"""Whatever happens in whatever order to members and their money, every purse is what its entries say."""

from __future__ import annotations

from collections import Counter

import pytest

from app.charges import crediting
from app.purses import debits
from tests.conftest import running
from tests.members.story import MembersWorld, PurseRules
from tests.simulator import stage
from tests.simulator_campaign import stage_on
from tests.simulator_world import StoryWentWrong, tell
from tests.test_story import quiet

SEEDS = range(25)
FINDS_WITHIN = 60  # stories
MEMBERS = (MembersWorld, PurseRules)


@pytest.fixture
def place(settings):
    """A stage on an empty database of either kind."""
    with quiet(), running(settings) as app, stage(app) as made:
        yield made


@pytest.mark.slow
def test_whatever_happens_a_purse_is_the_sum_of_its_entries(place):
    """And things do happen: a story in which nobody tops up proves nothing."""
    tally = sum((tell(place, seed, made_of=MEMBERS).tally for seed in SEEDS), Counter())
    assert tally["topup.succeeded"] > 5
    assert tally["topup.refunded"] > 2
    assert tally["member.balance_changed"] > tally["topup.succeeded"] + 10
    assert tally["processes killed"] > 5


def leave_what_goes_back(patch):
    patch.setattr(crediting, "take_back", lambda *_, **__: None)


def credit_nobody(patch):
    patch.setattr(crediting, "credit", lambda *_: None)


def spend_what_is_not_there(patch):
    patch.setattr(debits, "parts_of", lambda balance, bonus, amount: (min(max(balance, 0), amount), 0))


# What somebody might do, and what sees it: the rules, or the next step, which finds nothing.
BLUNDERS = {
    leave_what_goes_back: "I-25|NoResultFound",
    credit_nobody: "I-25|NoneType",
    spend_what_is_not_there: "ck_member_debits_amount",
}


@pytest.mark.parametrize("blunder", BLUNDERS, ids=lambda blunder: blunder.__name__)
def test_a_blunder_is_found(monkeypatch, blunder):
    blunder(monkeypatch)
    with quiet(), stage_on("sqlite") as made, pytest.raises(StoryWentWrong, match=BLUNDERS[blunder]):
        tell_many(made)


def tell_many(place):
    for seed in range(FINDS_WITHIN):
        tell(place, seed, made_of=MEMBERS)
