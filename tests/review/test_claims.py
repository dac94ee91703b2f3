"""What a worker takes into its hands, however the database plans the statement."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app import queue
from app.db import transaction
from app.queue import Kind
from tests.books import later

LEASE = timedelta(seconds=60)
# Without these PostgreSQL must run the inner query of a nested loop again and again.
PLANS = ("enable_hashagg", "enable_hashjoin", "enable_sort", "enable_mergejoin", "enable_material")


@pytest.mark.parametrize("limit", [1, 3])
def test_a_claim_takes_no_more_than_it_was_asked_for(merchant, limit):
    with transaction() as tx:
        for number in range(30):
            queue.put(tx, Kind.QUERY, merchant.id, f"at_{number}", later(seconds=number - 60))
    for forbidden in ((), PLANS):
        with transaction() as tx:
            if tx.dialect.name == "postgresql":
                for name in forbidden:
                    tx.execute(sa.text(f"SET LOCAL {name} = off"))
            assert len(queue.claim(tx, Kind.QUERY, limit=limit, lease=LEASE)) == limit
