"""``make prove-reconciliation``: a day of 20,000 for each network, every mistake planted 50 times.

Each network has a process and a database of its own.  What is asked of it: everything is found, nothing is
invented, going through it again adds nothing, in under a minute, and with memory that does not grow with
the bill.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from app import clock
from app.db import db
from app.reconciliation import days
from app.reconciliation.models import Reconciliation
from app.reconciliation.proof import read_stored
from app.reconciliation.reconcile import reconcile
from tests.books import row_of
from tests.conftest import add_shop
from tests.reconciliation.planted import SETTINGS, Maker
from tests.reconciliation.test_planted import everything, found_by_type, is_as_planted
from tests.simulator_campaign import stage_on

DAY = date(2026, 1, 15)
EACH, SMALL = 50, 2000
SECONDS_MAX = 60.0
# Beyond what a bill of SMALL lines takes: the file itself is held, and what Python does not give back.
GROWTH_MB_MAX = 64.0


@dataclass(frozen=True)
class Report:
    """How a day went."""

    database: str
    provider: str
    lines: int
    planted: int
    first_s: float
    again_s: float
    growth_mb: float

    def __str__(self) -> str:
        return (
            f"{self.database:10}  {self.provider:9}  {self.lines:6} lines, {self.planted} planted: "
            f"all found, none invented; {self.first_s:.1f} s, again {self.again_s:.1f} s, "
            f"+{self.growth_mb:.0f} MB"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every day is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    asked = parser.parse_args(arguments)
    failed = False
    for database in asked.database or ["sqlite", "postgresql"]:
        for provider in SETTINGS:
            small, large = (_apart(database, provider, count) for count in (SMALL, asked.count))
            _say(str(large))
            more_mb = large.growth_mb - small.growth_mb
            if large.first_s > SECONDS_MAX or more_mb > GROWTH_MB_MAX:
                _say(f"  too slow, or too large: {more_mb:.0f} MB more than for {small.lines} lines")
                failed = True
    return 1 if failed else 0


def go(database: str, provider: str, count: int) -> Report:
    """Make a day and go through it, twice.  Raises AssertionError."""
    logging.disable(logging.CRITICAL)
    with stage_on(database):
        made = Maker(add_shop(), provider, DAY, count=count, each=EACH)
        planted, fed = made.planted, made.fed
        made.forget()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")  # tables that have lived for a while are so
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what making the day took is no room for what reads it
        _set_clock(days.ready_at(DAY))
        fed_before_mb = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        began_s = time.monotonic()
        result = reconcile(planted.account_id, DAY)
        first_s = time.monotonic() - began_s
        growth_mb = _memory_mb("VmHWM") - fed_before_mb
        assert result.lines == planted.lines
        is_as_planted(found_by_type(), planted)
        run = row_of(Reconciliation, day=DAY, account_id=planted.account_id)
        assert read_stored(run.summary).is_proven
        before = everything(planted)
        began_s = time.monotonic()
        reconcile(planted.account_id, DAY)
        again_s = time.monotonic() - began_s
        assert everything(planted) == before
        _set_clock(days.ready_at(DAY + timedelta(days=1)))
        reconcile(planted.account_id, DAY + timedelta(days=1))
        assert fed.asked
        count_planted = sum(len(subjects) for subjects in planted.subjects.values())
    return Report(database, provider, result.lines, count_planted, first_s, again_s, growth_mb)


def _apart(database: str, provider: str, count: int) -> Report:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(go, database, provider, count).result()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _set_clock(to: datetime) -> None:
    ahead = to - datetime.now(to.tzinfo)
    clock.now = lambda: datetime.now(to.tzinfo) + ahead  # type: ignore[assignment]


def _memory_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {name}")


if __name__ == "__main__":
    sys.exit(main())
