"""Where a user agent places its shopper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkout.scene import scene_of
from app.providers.base import Scene
from tests.checkout.user_agents import CORPUS


@pytest.mark.parametrize(("user_agent", "scene"), CORPUS)
def test_a_real_user_agent_is_placed(user_agent, scene):
    assert scene_of(user_agent) is scene


def test_the_corpus_is_worth_the_name():
    assert len({user_agent for user_agent, _ in CORPUS}) >= 80


@given(st.text(max_size=3000))
def test_any_text_is_some_scene_and_never_the_merchants_app(user_agent):
    assert scene_of(user_agent) in set(Scene) - {Scene.APP}


def test_a_name_beyond_the_limit_is_not_looked_for():
    assert scene_of("x" * 1000 + " MicroMessenger/8.0") is Scene.DESKTOP
