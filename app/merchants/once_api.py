"""A POST of the API: done once for each Idempotency-Key, and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request
from sqlalchemy import Connection

from app.answers import OnceHeader, dump, json_answer
from app.merchants.auth import caller
from app.merchants.idempotency import Answer, once, once_in_steps


def done_once(header: OnceHeader, work: Callable[[Connection], Any], status: int = 200) -> Response:
    """Answer with what ``work`` makes, which is done in one transaction with the key."""
    answer = once(caller(), header.idempotency_key, _asked(), lambda tx: Answer(dump(work(tx)), status))
    return json_answer(answer.body, answer.status, replayed=answer.replayed)


def done_once_in_steps(header: OnceHeader, work: Callable[[], Any], status: int = 200) -> Response:
    """The same for what opens its own transactions, or talks to a provider, and is harmless twice."""
    answer = once_in_steps(caller(), header.idempotency_key, _asked(), lambda: Answer(dump(work()), status))
    return json_answer(answer.body, answer.status, replayed=answer.replayed)


def _asked() -> tuple[str, str, bytes]:
    return request.method, request.path, request.get_data()
