"""Lanes: who goes next, in memory, with invented times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.lanes import CAP, HOLD_S, SLOW_CAP, SLOW_S, TURN_AWAY_MAX_S, TURN_AWAY_MIN_S, Lanes


def crowd(lanes: Lanes[str], name: str, count: int, now_s: float = 0.0, *, is_ailing: bool = False) -> None:
    for number in range(count):
        lanes.join(name, f"{name}{number}", now_s, is_ailing=is_ailing)


def test_one_endpoint_gets_no_more_than_its_cap():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 10)
    assert lanes.take(64) == ["a0", "a1", "a2", "a3"]
    assert lanes.take(64) == []
    lanes.came_back("a", 0.01)
    assert lanes.take(64) == ["a4"]
    assert lanes.waiting == 5


def test_lanes_take_turns_when_slots_are_few():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 8)
    crowd(lanes, "b", 8)
    assert [item[0] for item in lanes.take(CAP)] == ["a"] * 4
    for _ in range(CAP):
        lanes.came_back("a", 0.01)
    assert [item[0] for item in lanes.take(CAP)] == ["b"] * 4


def test_all_slow_lanes_together_get_only_their_share():
    lanes: Lanes[str] = Lanes(slow_slots=4)
    for name in "abcdef":
        crowd(lanes, name, 5, is_ailing=True)
    crowd(lanes, "quick", 3)
    taken = lanes.take(64)
    assert len([item for item in taken if item.startswith("quick")]) == 3
    assert len(taken) == 3 + 4
    assert max(sum(item[0] == name for item in taken) for name in "abcdef") == SLOW_CAP


def test_lane_becomes_slow_while_it_is_still_waited_for_and_quick_by_one_quick_answer():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 30)
    lanes.take(64)
    assert lanes.turn_away(0.5) == []
    lanes.is_late("a", SLOW_S + 0.1)
    away = lanes.turn_away(SLOW_S + 0.1)
    assert len(away) == 26 - 4 * SLOW_CAP
    assert all(delay_s >= TURN_AWAY_MIN_S / 2 for _, delay_s in away)
    lanes.came_back("a", 5.0)
    assert lanes.take(64) == []  # three are still away, and a slow lane may have two
    for _ in range(3):
        lanes.came_back("a", 0.01)
    assert len(lanes.take(64)) == CAP


def test_first_in_line_stay_and_the_last_are_turned_away():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 20, is_ailing=True)
    away = [item for item, _ in lanes.turn_away(0.0)]
    assert set(away) == {f"a{number}" for number in range(4 * SLOW_CAP, 20)}
    assert lanes.take(2) == ["a0", "a1"]


def test_nobody_waits_longer_than_the_lease_allows():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 10, now_s=100.0)
    lanes.take(64)
    assert lanes.turn_away(100.0 + HOLD_S) == []
    assert len(lanes.turn_away(100.1 + HOLD_S)) == 6
    assert lanes.waiting == 0


def test_more_turned_away_wait_longer_but_not_for_ever():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 1)
    lanes.take(1)
    lanes.is_late("a", 5.0)
    delays = []
    for _ in range(40):
        crowd(lanes, "a", 200)
        delays.append(max(delay_s for _, delay_s in lanes.turn_away(0.0)))
    assert delays[0] > 60
    assert TURN_AWAY_MAX_S <= max(delays) <= 1.5 * TURN_AWAY_MAX_S


def test_nobody_is_sent_away_for_long_by_a_guess():
    """A worker that has just started knows only that the endpoint was failing, not how slow it is."""
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 200, is_ailing=True)
    delays = [delay_s for _, delay_s in lanes.turn_away(0.0)]
    assert len(delays) > 150
    assert max(delays) <= 1.5 * TURN_AWAY_MIN_S


def test_cleared_lane_is_empty_and_says_who_waited():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 6)
    crowd(lanes, "b", 1)
    lanes.take(4)
    assert sorted(lanes.clear("a")) == ["a4", "a5"]
    assert lanes.clear("nobody") == []
    assert sorted(lanes.clear_all()) == ["b0"]
    assert lanes.waiting == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["join", "take", "back", "late", "away"]))))
def test_nobody_is_lost_and_nobody_goes_twice(story):
    lanes: Lanes[int] = Lanes(slow_slots=4)
    joined, out, gone = 0, [], []
    for turn, (name, act) in enumerate(story):
        if act == "join":
            lanes.join(name, (name, turn), float(turn), is_ailing=turn % 3 == 0)
            joined += 1
        elif act == "take":
            out += lanes.take(5)
        elif act == "back" and out:
            gone.append(out.pop())
            lanes.came_back(gone[-1][0], turn % 4)
        elif act == "late" and out:
            lanes.is_late(out[0][0], 2.0)
        elif act == "away":
            gone += [item for item, _ in lanes.turn_away(float(turn))]
    everybody = out + gone + lanes.clear_all()
    assert len(everybody) == len(set(everybody)) == joined
    assert lanes.waiting == 0


def test_endpoint_is_proven_by_a_quick_answer_and_until_a_slow_one():
    lanes: Lanes[str] = Lanes(slow_slots=16)
    crowd(lanes, "a", 3)
    lanes.take(1)
    assert not lanes.is_proven("a")
    lanes.came_back("a", 0.2)
    assert lanes.is_proven("a")
    lanes.take(1)
    lanes.is_late("a", SLOW_S + 0.1)
    assert not lanes.is_proven("a")


def test_idle_endpoint_is_remembered_as_it_was():
    lanes: Lanes[str] = Lanes(slow_slots=1)
    for name, took_s in (("quick", 0.1), ("slow", 5.0)):
        lanes.join(name, name, 0.0)
        lanes.take(1)
        lanes.came_back(name, took_s)
    crowd(lanes, "quick", 9)
    crowd(lanes, "slow", 9)
    assert lanes.is_proven("quick")
    assert not lanes.is_proven("slow")
    assert [item.rstrip("0123456789") for item in lanes.take(64)].count("slow") == 1
