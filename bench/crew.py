"""Workers as processes of their own: ``python -m bench.crew`` is one, its settings come from the environment.

For each line on its standard input it delivers what is due until nothing is, and says so with a line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flask import Flask

from app import db, runtime
from app.config import Settings, load_settings
from app.http import Sender
from app.webhooks.courier import Courier
from app.webhooks.endpoints import guard_of
from app.worker import desk_for
from tests.conftest import ROOT


@dataclass(frozen=True)
class Hand:
    """One worker, waiting to be told."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        """Have it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        """Until it has found nothing more to do."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "a worker has died"


@contextmanager
def crew(count: int, settings: dict[str, str]) -> Iterator[list[Hand]]:
    """So many workers on one database."""
    with ExitStack() as stack:
        hands = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.crew"],
                    cwd=ROOT,
                    env={**os.environ, **settings},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            hands.append(Hand(process))
        yield hands
        for hand in hands:
            assert hand.process.stdin is not None
            hand.process.stdin.close()


def _work(settings: Settings) -> None:
    app = Flask(__name__)
    db.init_app(app, settings.sqlalchemy_url)
    runtime.init_app(app, settings)
    with app.app_context(), desk_for(app) as desk:
        courier = Courier(Sender(guard_of(settings)), desk=desk)
        for _ in sys.stdin:
            courier.step()
            while not courier.is_idle:
                courier.step()
            print("done", flush=True)


if __name__ == "__main__":
    _work(load_settings())
