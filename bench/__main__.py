"""``python -m bench``: measure, print one table."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import codes, web, webhooks
from bench.house import database, house
from bench.rounds import Score, play, table
from tests.postgres import HOW_TO_GET_ONE

DATABASES = ("sqlite", "postgresql")
ROUNDS = 50
WEBHOOK_ROUNDS = 7  # each sends thousands


def main() -> None:
    """Read the command line, run, print."""
    chosen = _parser().parse_args()
    start = time.monotonic()
    scores = list(_scores(chosen))
    print(table(scores) if scores else "nothing here has such a name")
    print(
        "\nMicroseconds a piece: medians of the rounds.  Ratio: Mafu's speed in floors (for QR codes its"
        "\ntime in floors), median and range of the rounds, in each of which floor and Mafu took turns."
        f"\n{time.monotonic() - start:.0f} s."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="How fast Mafu is, as ratios to a floor: the barest program that does the same work, "
        "measured in the same run by turns.  Databases are made for the run and removed after it.",
        epilog="Paths: QR SVG, QR PNG, create charge, open checkout, status poll, callback to settled, "
        "webhook; webhook, two workers.",
    )
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both", help="default: both")
    parser.add_argument("--only", metavar="NAME", default="", help="paths whose name contains this")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each side; more are steadier")
    return parser


def _scores(chosen: argparse.Namespace) -> Iterator[Score]:
    for contest in codes.contests():
        if chosen.only in contest.name:
            yield play(contest, "-", chosen.rounds or ROUNDS)
    for kind in DATABASES if chosen.database == "both" else (chosen.database,):
        with tempfile.TemporaryDirectory(prefix="mafu-bench-") as name, database(kind, Path(name)) as url:
            if url is None:
                print(HOW_TO_GET_ONE)
                continue
            yield from _of_house(chosen, kind, url, Path(name))


def _of_house(chosen: argparse.Namespace, kind: str, url: str, folder: Path) -> Iterator[Score]:
    with house(url, folder) as built, webhooks.town(built) as town:
        for contest in web.contests(built, folder):
            if chosen.only in contest.name:
                yield play(contest, kind, chosen.rounds or ROUNDS)
        if chosen.only in webhooks.NAME:
            with webhooks.contest(town) as contest:
                yield play(contest, kind, chosen.rounds or WEBHOOK_ROUNDS)
        # SQLite has one writer at a time, and so one worker.
        if chosen.only in webhooks.TWO and kind != "sqlite":
            with webhooks.crew_contest(town) as contest:
                yield play(contest, kind, chosen.rounds or WEBHOOK_ROUNDS)


main()
