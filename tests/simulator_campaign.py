"""Many seeds: ``make prove-story ROUNDS=10000``, or one seed once more: ``make prove-story SEED=7 ROUNDS=1``.

Each seed is a story (``simulator_world``).  Every fourth is told on PostgreSQL, the others on SQLite, so
that a seed alone says everything.  A story that goes wrong is told again with ever more steps, and the
shortest telling that goes wrong is printed.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests import postgres
from tests.conftest import _migrate, running, settings_for
from tests.simulator import Stage, stage
from tests.simulator_world import StoryWentWrong, shortest, tell

BATCH = 250  # seeds that a process tells before it reports
POSTGRESQL_EVERY = 4
WRONG_MAX = 5  # a batch with as many has shown enough


@dataclass
class Report:
    """What became of some seeds."""

    database: str
    told: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the seeds; 0 if all ended well."""
    asked = _arguments(arguments)
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    batches = _batches(range(seed, seed + asked.rounds), asked.database)
    _say(f"SEED={seed} ROUNDS={asked.rounds}: {len(batches)} batches in {asked.workers} processes")
    began_s, reports = time.monotonic(), []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(tell_all, *batch) for batch in batches]):
            report = done.result()
            reports.append(report)
            _say(f"{sum(each.told for each in reports)} told, {report.database} {report.seconds:.0f} s")
            for wrong in report.wrong:
                _say(wrong)
    _summarise(reports, time.monotonic() - began_s)
    return 1 if any(report.wrong for report in reports) else 0


def tell_all(database: str, seeds: Sequence[int]) -> Report:
    """Tell some seeds on a database of their own, whose disk is memory."""
    report, began_s = Report(database), time.monotonic()
    logging.disable(logging.CRITICAL)  # incidents are what stories are full of
    with stage_on(database) as place:
        for seed in seeds:
            try:
                report.tally += tell(place, seed).tally
            except StoryWentWrong as wrong:
                report.wrong.append(_explain(place, wrong))
                if len(report.wrong) == WRONG_MAX:
                    break
            report.told += 1
    report.seconds = time.monotonic() - began_s
    return report


@contextmanager
def stage_on(database: str) -> Iterator[Stage]:
    """A stage on a new database of this kind, which goes with the block."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="mafu-story-", dir=memory if memory.is_dir() else None))
    try:
        with postgres.cluster() if database == "postgresql" else _nothing() as cluster:
            if database == "postgresql":
                assert cluster is not None, postgres.HOW_TO_GET_ONE
                url = cluster.new_database()
            else:
                url = f"sqlite:///{folder / 'mafu.sqlite3'}"
            _migrate(url, folder)
            with running(settings_for(url, folder)) as app, stage(app) as place:
                yield place
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _explain(place: Stage, wrong: StoryWentWrong) -> str:
    steps, short = shortest(place, wrong)
    lines = "\n".join(f"    {line}" for line in short.lines)
    again = f"make prove-story SEED={wrong.seed} ROUNDS=1"
    return f"{wrong}\n{lines}\n  {short} after {steps} steps; to see it again: {again}"


def _batches(seeds: Sequence[int], database: str | None) -> list[tuple[str, list[int]]]:
    """Seeds by database, in portions."""
    by_database: dict[str, list[int]] = {"postgresql": [], "sqlite": []}
    for seed in seeds:
        natural = "sqlite" if seed % POSTGRESQL_EVERY else "postgresql"
        by_database[database or natural].append(seed)
    return [
        (name, some[at : at + BATCH])
        for name, some in by_database.items()
        for at in range(0, len(some), BATCH)
    ]


def _summarise(reports: Sequence[Report], took_s: float) -> None:
    tally = sum((report.tally for report in reports), Counter[str]())
    told = Counter[str]()
    for report in reports:
        told[report.database] += report.told
    for what, times in sorted(tally.items()):
        _say(f"  {times:>9,}  {what}")
    wrong = sum(len(report.wrong) for report in reports)
    _say(f"{told.total()} stories ({dict(told)}) in {took_s:.0f} s: {wrong} went wrong")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, help="the first of them; any, if it is not given")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="whatever the seeds say")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
