"""Floor and Mafu by turns, and what to say of them: medians, and how far the rounds spread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Block = Callable[[], Callable[[], int]]


@dataclass(frozen=True)
class Target:
    """A ratio to reach now, and one for later.  ``at_most``: of times instead of speeds."""

    due: float
    then: float
    at_most: bool = False

    def is_met(self, ratio: float, goal: float) -> bool:
        return ratio <= goal if self.at_most else ratio >= goal


@dataclass(frozen=True)
class Contest:
    """One path.  A block prepares some pieces of work and hands out the run that is timed, which says how
    many there were; what is prepared is not timed."""

    name: str
    floor: Block
    mafu: Block
    target: Target


@dataclass(frozen=True)
class Score:
    """Seconds a piece, round by round."""

    contest: Contest
    database: str
    floor_s: list[float]
    mafu_s: list[float]

    @property
    def ratios(self) -> list[float]:
        """Mafu's speed in floors, or for ``at_most`` its time in floors, of each round by itself."""
        pairs = zip(self.floor_s, self.mafu_s, strict=True)
        return [mafu / floor if self.contest.target.at_most else floor / mafu for floor, mafu in pairs]

    def cells(self) -> list[str]:
        """A line of the table."""
        ratios, target = self.ratios, self.contest.target
        ratio, sign = median(ratios), "≤" if target.at_most else "≥"
        goals = [
            f"{sign} {goal:g} {'met' if target.is_met(ratio, goal) else '-'}"
            for goal in (target.due, target.then)
        ]
        return [
            self.contest.name,
            self.database,
            f"{median(self.floor_s) * 1e6:,.0f}",
            f"{median(self.mafu_s) * 1e6:,.0f}",
            f"{ratio:.2f}",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
            *goals,
        ]


def play(contest: Contest, database: str, rounds: int) -> Score:
    """All rounds of a path, after one that only warms up."""
    floor_s: list[float] = []
    mafu_s: list[float] = []
    gc.collect()
    gc.freeze()  # what is here stays; each round clears away its own alone
    for number in range(rounds + 1):
        turns = [(contest.floor, floor_s), (contest.mafu, mafu_s)]
        for block, times in turns if number % 2 else turns[::-1]:
            taken = _time(block)
            if number:
                times.append(taken)
    return Score(contest, database, floor_s, mafu_s)


def _time(block: Block) -> float:
    run = block()
    gc.collect()  # what the other side left behind is not this one's to clear away
    start = time.perf_counter()
    count = run()
    return (time.perf_counter() - start) / count


HEAD = ["path", "database", "floor µs", "Mafu µs", "ratio", "spread", "due", "then"]


def table(scores: list[Score]) -> str:
    """The results, as people read them and as Markdown does."""
    lines = [HEAD, *[score.cells() for score in scores]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = [
        "| " + " | ".join(_cell(line[i], widths[i], right=2 <= i <= 4) for i in range(len(HEAD))) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-:"[2 <= i <= 4]) for i, width in enumerate(widths)) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])


def _cell(text: str, width: int, *, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
