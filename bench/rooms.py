"""``python -m bench.rooms``: how long the dashboard's rooms take with 100,000 charges in the tables.

A person waits for these pages, so they are held against a time and not against a floor.  Requests go
straight into WSGI.  The charges are spread over 90 days: see ``tests/many.py``.  A trial of a risk rule goes
through as many attempts of another shop's last 30 days: see ``trials.py``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.test import EnvironBuilder

from app import clock
from app.clock import day_of
from app.merchants import people
from bench.house import database, house
from bench.trials import live_through_a_month, trials
from tests.conftest import add_shop
from tests.many import Many, fill
from tests.postgres import HOW_TO_GET_ONE

CHARGES = 100_000
ROUNDS = 30
DUE_MS = 150.0
TRIAL_ROUNDS, TRIAL_DUE_MS = 7, 1000.0  # for 100,000 attempts


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.rooms", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--charges", type=int, default=CHARGES, metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    chosen = parser.parse_args()
    kinds = ("sqlite", "postgresql") if chosen.database == "both" else (chosen.database,)
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="mafu-bench-") as name, database(kind, Path(name)) as url:
            if url is None:
                print(HOW_TO_GET_ONE)
                continue
            _measure(kind, url, Path(name), chosen.charges, chosen.rounds)


def _measure(kind: str, url: str, folder: Path, charges: int, rounds: int) -> None:
    with house(url, folder) as built:
        with built.app.app_context():
            many = fill(built.shop, add_shop("next@shop.example", "隔壁老王"), charges)
            token = people.use_sign_in_link(people.make_sign_in_link(built.shop.id, built.shop.user_id))
        print(f"\n{kind}, {charges:,} charges\n")
        print("| page | median ms | slowest tenth ms | due |\n|---|--:|--:|---|")
        for name, look in _looks(built.app, token, many):
            _print_row(name, look, rounds, DUE_MS)
        with built.app.app_context():
            busy = add_shop("busy@shop.example", "人来人往")
            live_through_a_month(busy, charges)
        for name, look in trials(built.app, busy):
            _print_row(name, look, min(rounds, TRIAL_ROUNDS), TRIAL_DUE_MS * charges / CHARGES)


def _print_row(name: str, look: Callable[[], float], rounds: int, due_ms: float) -> None:
    look()
    times_ms = sorted(look() for _ in range(rounds))
    middle, slow = median(times_ms), quantiles(times_ms, n=10)[-1]
    verdict = "met" if middle <= due_ms else "MISSED"
    print(f"| {name} | {middle:.1f} | {slow:.1f} | ≤ {due_ms:.0f} {verdict} |", flush=True)


def _looks(app: Flask, token: str, many: Many) -> Iterator[tuple[str, Callable[[], float]]]:
    """Name of a page, and what opens it once and says how many milliseconds that took."""
    today = day_of(clock.now())
    searched = {
        "order number": many.order_no,
        "amount": "12.40",
        "our number at the wallet": many.out_trade_no,
        "the wallet's number": many.provider_ref,
        "letters of a printed code": many.letters,
        "a text that nothing has": "nothing-has-this",
    }
    filters: dict[str, dict[str, Any]] = {
        "status": {"status": "canceled"},
        "provider": {"provider": "unionpay"},
        "store": {"store": many.store_id},
        "printed code": {"code": many.code_id},
        "one day": {"from": today - timedelta(days=60), "to": today - timedelta(days=60)},
        "status, provider, store and 30 days": {
            "status": "paid",
            "provider": "wechatpay",
            "store": many.store_id,
            "from": today - timedelta(days=60),
            "to": today - timedelta(days=30),
        },
    }
    yield "home", _page(app, token, "/")
    yield "charges", _page(app, token, "/charges")
    yield "charges, a page from the middle", _page(app, token, "/charges", after=many.charge_id)
    yield "charges in live mode, where there is none", _page(app, token, "/charges", mode="live")
    yield "a charge", _page(app, token, f"/charges/{many.charge_id}")
    for name, query in filters.items():
        yield f"charges by {name}", _page(app, token, "/charges", **query)
    for name, text in searched.items():
        yield f"search: {name}", _page(app, token, "/charges", q=text)
    yield "search: id", _page(app, token, "/charges", q=many.charge_id)
    yield "CSV, first byte", _file(app, token, pieces=1)
    yield "CSV, first 500 rows", _file(app, token, pieces=2)


def _page(app: Flask, token: str, path: str, **query: Any) -> Callable[[], float]:
    return lambda: _time(app, token, path, {"mode": "test"} | query, None)


def _file(app: Flask, token: str, *, pieces: int) -> Callable[[], float]:
    return lambda: _time(app, token, "/charges.csv", {"mode": "test"}, pieces)


def _time(app: Flask, token: str, path: str, query: dict[str, Any], pieces: int | None) -> float:
    """Milliseconds until the whole answer, or so many pieces of it, were there."""
    environ = EnvironBuilder(
        path=path,
        base_url="http://pay.example.com",
        query_string=urlencode(query),
        headers={"Cookie": f"mafu_session={token}", "Accept-Language": "en"},
        input_stream=io.BytesIO(),
    ).get_environ()
    said: list[str] = []
    start = time.perf_counter()
    chunks: Any = app.wsgi_app(environ, lambda line, *_: said.append(line))  # type: ignore[arg-type]
    with closing(chunks):
        body = [piece for number, piece in zip(range(pieces or 1000), chunks, strict=False) if number >= 0]
    took_ms = (time.perf_counter() - start) * 1000
    assert said[0][:3] in ("200", "302"), said
    assert body
    return took_ms


if __name__ == "__main__":
    main()
