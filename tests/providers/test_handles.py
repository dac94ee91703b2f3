"""A handle is never said to be good for longer than it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.errors import NumberTaken
from app.providers import handles
from tests.providers.contract import NOW

LIFE = timedelta(hours=2)


@pytest.mark.parametrize(("age_s", "left_s"), [(0, 7180), (1, 7179), (1.5, 7178), (7179, 1)])
def test_a_handle_is_good_for_the_rest_of_its_life(age_s: float, left_s: int) -> None:
    assert handles.left_s(LIFE, NOW, NOW + timedelta(seconds=age_s)) == left_s


@pytest.mark.parametrize("age_s", [7179.5, 7180, 7200, 86_400])
def test_after_it_the_number_is_taken(age_s: float) -> None:
    with pytest.raises(NumberTaken):
        handles.left_s(LIFE, NOW, NOW + timedelta(seconds=age_s))
