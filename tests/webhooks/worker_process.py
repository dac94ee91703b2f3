"""A worker in a process of its own, to be killed or stopped.  Its settings come from the environment.

    LEASE_S=6 TEMPO=0.01 python tests/webhooks/worker_process.py

LEASE_S shortens what it claims for, and with it what may wait in a lane; TEMPO shortens every pause
after a failure.  Both only so that a test need not wait for minutes.
"""

from __future__ import annotations

import os
from datetime import timedelta

from flask import Flask

from app import db, runtime
from app.config import load_settings
from app.http import Sender
from app.webhooks import breaker, delivery, lanes
from app.webhooks.courier import Courier
from app.webhooks.endpoints import guard_of
from app.worker import desk_for


def hurry(lease: timedelta, tempo: float) -> None:
    """Shorten the times that make sense only together."""
    lanes.HOLD_S *= lease / delivery.LEASE
    delivery.GAPS = tuple(gap * tempo for gap in delivery.GAPS)
    breaker.GAPS = tuple(gap * tempo for gap in breaker.GAPS)
    breaker.BEHIND *= tempo


if __name__ == "__main__":
    settings = load_settings()
    lease = timedelta(seconds=float(os.environ.get("LEASE_S", delivery.LEASE.total_seconds())))
    hurry(lease, float(os.environ.get("TEMPO", "1")))
    app = Flask(__name__)
    db.init_app(app, settings.sqlalchemy_url)
    runtime.init_app(app, settings)
    with app.app_context(), desk_for(app) as desk:
        courier = Courier(Sender(guard_of(settings)), desk=desk, lease=lease)
        while True:
            courier.step()
