"""Two at once, each holding what the other wants."""

from __future__ import annotations

import threading

from app.db import db
from app.webhooks import endpoints


def test_two_new_endpoints_under_keys_do_not_wait_for_each_other(app, merchant, monkeypatch):
    """The foreign key of an Idempotency-Key shares the merchant's row before that row is locked."""
    together = threading.Barrier(2, timeout=5 if db.engine.dialect.name == "postgresql" else 0.3)
    refuse, statuses = endpoints._refuse_too_many, []

    def meet_first(*args):
        try:
            together.wait()
        except threading.BrokenBarrierError:
            pass  # SQLite lets one in at a time
        return refuse(*args)

    def create(key):
        answer = app.test_client().post(
            "/v1/webhook_endpoints",
            json={"url": f"http://127.0.0.1/{key}"},
            headers={**merchant.headers, "Idempotency-Key": key},
        )
        statuses.append(answer.status_code)

    monkeypatch.setattr(endpoints, "_refuse_too_many", meet_first)
    threads = [threading.Thread(target=create, args=(key,)) for key in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201, 201]
