"""The worker, one round at a time, as the tests of this folder need it."""

from __future__ import annotations

from datetime import timedelta

from app import queue
from app.charges import refund_sending, sweeps
from app.charges.settle import Verdict, settle
from app.db import transaction
from app.money import Money
from app.providers.base import Outcome, PaymentResult
from app.queue import Kind

HANDLERS = {
    Kind.QUERY: sweeps.query_attempt,
    Kind.EXPIRE: sweeps.expire_charge,
    Kind.REFUND: refund_sending.pursue,
}


def work(kind: Kind, limit: int = 50) -> int:
    """Do the due jobs of a kind; how many there were."""
    with transaction() as tx:
        claims = queue.claim(tx, kind, limit=limit, lease=timedelta(seconds=60))
    for claim in claims:
        HANDLERS[kind](claim)
    return len(claims)


def hear(account_id: str, number: str, minor: int = 1250, currency: str = "CNY", ref: str = "") -> Verdict:
    """A verified success arrives."""
    result = PaymentResult(number, Outcome.SUCCEEDED, Money(minor, currency), ref or f"T{number}")
    with transaction() as tx:
        return settle(tx, account_id, result)
