"""What two may do to rules and to an account's health at one moment, on the database where they meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.db import reading, table_of, transaction
from app.merchants import audit, health, routing_rules
from app.merchants.actor import SERVER
from app.merchants.audit import Action
from app.merchants.models import AccountHealth, AuditHead
from app.merchants.routing import Share
from app.merchants.routing_rules import RuleTerms
from tests.books import rows_of
from tests.conftest import Shop

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
A_MOMENT_S = 0.3
_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def add(shop: Shop, name: str) -> str:
    return routing_rules.add_rule(
        shop.id, RuleTerms("alipay", name, (Share(shop.account_id, 1),)), livemode=False
    )


def meanwhile(app: Flask, work: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        with app.app_context():
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@contextmanager
def just_before(app: Flask, beginning: str, work: Callable[[], Any]) -> Iterator[list[threading.Thread]]:
    """Before this thread's first statement that begins so, another does its work, or waits for us."""
    here, others = threading.get_ident(), list[threading.Thread]()
    engine = app.extensions["sqlalchemy"].engine

    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if threading.get_ident() == here and statement.startswith(beginning) and not others:
            others.append(meanwhile(app, work))
            others[0].join(A_MOMENT_S)

    sa.event.listen(engine, "before_cursor_execute", hear)
    yield others
    sa.event.remove(engine, "before_cursor_execute", hear)
    others[0].join()


def test_a_rule_and_another_deed_do_not_wait_for_each_other(app: Flask, merchant: Shop):
    """The one holds the rules and waits for the log, the other holds the log and names the merchant."""
    add(merchant, "first")
    with transaction() as tx:
        heads = table_of(AuditHead)
        tx.execute(sa.select(heads.c.number).where(heads.c.merchant_id == merchant.id).with_for_update())
        other = meanwhile(app, lambda: add(merchant, "second"))
        with reading() as connection:
            while not connection.execute(_WAITING).scalar_one():
                pass
        tx.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
        audit.append(tx, merchant.id, SERVER, Action.SETTINGS_CHANGED, merchant.id)
    other.join()
    assert len(routing_rules.list_rules(merchant.id, livemode=False)) == 2


def test_a_rule_that_is_moved_while_another_takes_its_place_keeps_the_order(app: Flask, merchant: Shop):
    add(merchant, "first")
    second = add(merchant, "second")
    with just_before(
        app, "UPDATE routing_rules", lambda: routing_rules.switch_rule(merchant.id, second, enabled=False)
    ):
        routing_rules.move_rule(merchant.id, second, earlier=True)
    rules = routing_rules.list_rules(merchant.id, livemode=False)
    assert [(row.name, row.position) for row in rules] == [("second", 1), ("first", 2)]


def test_a_failure_beside_the_success_that_ends_the_run_counts_for_nothing(app: Flask, merchant: Shop):
    def fail() -> Any:
        with transaction() as tx:
            return health.note_failure(tx, merchant.id, merchant.account_id, "no answer")

    def succeed() -> None:
        with transaction() as tx:
            health.note_success(tx, merchant.id, merchant.account_id)

    fail()
    with just_before(app, "UPDATE account_health", succeed):
        assert fail() is None
    assert rows_of(AccountHealth) == []
