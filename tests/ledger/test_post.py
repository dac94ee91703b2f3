"""What the database itself refuses: changing an entry, posting a cause twice, an amount of nothing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.db import transaction
from app.ledger.models import Entry
from app.ledger.post import Posting, Transfer, post
from tests.books import rows_of

_entries = Entry.__table__
SALE = Transfer("payment", "at_1", "clearing:pa_1", "sales", 1250)


def put(shop, *transfers):
    with transaction() as tx:
        post(tx, Posting(shop.id, False, "CNY", "at_1", transfers))


@pytest.mark.parametrize("deed", [sa.update(_entries).values(amount_minor=1), sa.delete(_entries)])
def test_an_entry_is_never_changed(merchant, deed):
    put(merchant, SALE)
    with pytest.raises(DBAPIError, match="the ledger is never changed"), transaction() as tx:
        tx.execute(deed)
    assert [row.amount_minor for row in rows_of(Entry)] == [1250]


@pytest.mark.parametrize(
    "wrong",
    [
        SALE,
        Transfer("payment", "at_2", "clearing:pa_1", "sales", 0),
        Transfer("payment", "at_2", "sales", "sales", 1250),
    ],
    ids=["twice", "of nothing", "to itself"],
)
def test_what_is_wrong_takes_all_of_its_posting_with_it(merchant, wrong):
    put(merchant, SALE)
    with pytest.raises(IntegrityError):
        put(merchant, Transfer("fee", "at_1", "fees", "clearing:pa_1", 8), wrong)
    assert [row.event for row in rows_of(Entry)] == ["payment"]
