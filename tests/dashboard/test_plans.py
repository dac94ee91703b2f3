"""Every list, search and sum of the dashboard reads an index and not the table: both planners say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from app import clock
from app.charges import export, overview, search
from app.charges.search import Turn, Wanted
from app.charges.states import ChargeState
from app.clock import day_of
from app.db import db
from tests.conftest import Shop
from tests.many import Many, fill

CHARGES = 3000
# Tables of which a merchant has very many rows; a planner may read the others whole.
LARGE = ("charges", "attempts")


@pytest.fixture
def many(merchant: Shop, other_merchant: Shop) -> Many:
    """A shop whose tables are large enough for the planners to mind, and analyzed."""
    return fill(merchant, other_merchant, CHARGES)


def plans_of(look: Callable[[], Any]) -> list[str]:
    """How the database goes about each statement that reads a large table, in its own words."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        look()
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    is_sqlite = db.engine.dialect.name == "sqlite"
    plans = []
    with db.engine.connect() as connection:
        for statement, parameters in seen:
            if not re.search(rf"\b(?:{'|'.join(LARGE)})\.", statement):
                continue
            asked = ("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + statement
            rows = connection.exec_driver_sql(asked, parameters).all()
            plans.append("\n".join(str(row[-1]) for row in rows))
    return plans


def assert_read_by_index(plans: list[str]) -> None:
    """No large table is read from end to end, and no page is sorted that an index could have in order."""
    assert plans
    for plan in plans:
        assert not re.search(rf"(?:SCAN|Seq Scan on) (?:{'|'.join(LARGE)})\b(?! USING)", plan), plan


@pytest.fixture
def page(merchant: Shop) -> Callable[..., list[str]]:
    def plans(turn: Turn | None = None, **wanted: Any) -> list[str]:
        return plans_of(
            lambda: search.page_of(
                merchant.id, livemode=False, wanted=Wanted(**wanted), turn=turn or Turn(20)
            )
        )

    return plans


def test_each_filter_page_and_number_has_an_index(many: Many, page: Callable[..., list[str]]) -> None:
    day = day_of(clock.now())
    for name, plans in {
        "ix_charges_created": page(),
        "ix_charges_created after": page(Turn(20, after=many.charge_id)),
        "ix_charges_created before": page(Turn(20, before=many.charge_id)),
        "ix_charges_created day": page(last_day=date(day.year, day.month, 1)),
        "ix_charges_state": page(state=ChargeState.CANCELED),
        "ix_charges_provider": page(provider="unionpay"),
        "ix_charges_store": page(store_id=many.store_id),
        "ix_charges_qr_code": page(qr_code_id=many.code_id),
        "ix_charges_amount": page(text="12.40"),
    }.items():
        assert_read_by_index(plans)
        assert name.split()[0] in plans[-1], (name, plans[-1])
        assert not re.search(r"TEMP B-TREE|Sort Key", plans[-1]) or "qr_code" in name, plans[-1]
    for text in (many.order_no, many.out_trade_no, many.provider_ref, many.letters, "nothing-has-this"):
        plans = page(text=text)
        assert_read_by_index(plans)
        said = "\n".join(plans)
        for index in ("ix_attempts_number", "ix_attempts_provider_ref", "ix_charges_order"):
            assert index in said, (text, said)


def test_the_home_page_and_the_file_read_what_they_show(many: Many, merchant: Shop) -> None:
    plans = plans_of(lambda: overview.overview_of(merchant.id, livemode=False))
    takings = [plan for plan in plans if "spans" in plan.lower() or "Values Scan" in plan]
    assert re.search(r"(?:COVERING INDEX|Index Only Scan using) ix_charges_paid", takings[0]), "\n".join(
        takings
    )
    # Whether there is any charge at all is the one question that a planner answers from the table itself.
    assert_read_by_index([plan for plan in plans if "InitPlan" not in plan])
    words = export.Words(dict.fromkeys(export.COLUMNS, ""), dict.fromkeys(ChargeState, ""), {})
    rows = export.csv_of(merchant.id, livemode=False, wanted=Wanted(), words=words)

    def first_batch() -> None:
        for _ in range(2):
            next(rows)

    plans = plans_of(first_batch)
    assert "ix_charges_created" in plans[0]
    assert_read_by_index(plans[:1])
