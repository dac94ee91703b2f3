"""A courier's work until nothing is left, for tests that look at what came of it."""

from __future__ import annotations

from app.http import Sender
from app.webhooks.courier import BATCH, Courier


def deliver_due(sender: Sender, *, batch: int = BATCH) -> int:
    """Deliver everything that is due now, and wait for the outcome; how much was claimed and answered."""
    courier = Courier(sender, batch=batch)
    seen = courier.step()
    while not courier.is_idle:
        seen += courier.step()
    return seen
