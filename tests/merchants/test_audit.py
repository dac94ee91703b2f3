"""The audit log: every deed with its row, every row with the one before it, and no way to change one."""

from __future__ import annotations

import csv
import io
import json
import threading

import pytest
import sqlalchemy as sa
from flask import Flask

from app.db import db, table_of, transaction
from app.errors import Conflict
from app.merchants import accounts, audit, keys, people, policy, profile, team
from app.merchants.actor import ALL, SERVER, Actor
from app.merchants.audit import Action, AuditFilter
from app.merchants.keys import Caller
from app.merchants.models import AuditEntry, AuditHead
from app.merchants.policy import Policy
from app.webhooks import endpoints
from tests.books import rows_of, set_password
from tests.conftest import Shop
from tests.providers import alipay_forge

BOSS = Actor("boss@cafe.example", ALL, "owner", address="198.51.100.7")
_entries = table_of(AuditEntry)
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def write(shop: Shop, count: int = 3) -> None:
    for number in range(count):
        with transaction() as tx:
            audit.append(
                tx, shop.id, BOSS, Action.SETTINGS_CHANGED, shop.id, after={"n": number, "名": "码付"}
            )


def tampered(statement: sa.Executable) -> None:
    """What somebody does who owns the database: past the guards, then to the row."""
    with db.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for deed in ("update", "delete"):
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS audit_entries_no_{deed}"))
        else:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(statement)


def test_the_database_refuses_to_change_or_remove_a_row(merchant: Shop) -> None:
    write(merchant)
    for statement in (
        sa.update(_entries).values(actor="somebody else"),
        sa.delete(_entries).where(_entries.c.number == 1),
    ):
        with pytest.raises(sa.exc.DatabaseError, match="never changed"), transaction() as tx:
            tx.execute(statement)
    assert audit.verify() == (len(rows_of(AuditEntry)), [])


@pytest.mark.parametrize(
    ("tamper", "number", "reason"),
    [
        (lambda at: sa.update(_entries).where(at == 3).values(actor="x"), 3, "was changed"),
        (lambda at: sa.update(_entries).where(at == 3).values(after='{"n":9}'), 3, "was changed"),
        (lambda at: sa.delete(_entries).where(at == 3), 3, "the row is missing"),
        (lambda at: sa.delete(_entries).where(at >= 4), 4, "the row is missing"),
        (lambda at: sa.delete(_entries), 1, "the row is missing"),
        (
            lambda at: sa.update(_entries).where(at == 3).values(previous="0" * 64),
            3,
            "does not follow the row before it",
        ),
    ],
)
def test_the_first_broken_row_is_named(
    merchant: Shop, other_merchant: Shop, tamper, number: int, reason: str
) -> None:
    write(merchant, 4)
    write(other_merchant)
    theirs = _entries.c.merchant_id == merchant.id
    tampered(tamper(_entries.c.number).where(theirs))
    _, faults = audit.verify()
    assert [(fault.merchant_id, fault.number, fault.reason) for fault in faults] == [
        (merchant.id, number, reason)
    ]


@one_database
def test_a_chain_that_was_made_anew_does_not_end_where_its_head_says(merchant: Shop) -> None:
    """Whoever recomputes every hash still has to change the head, too; a copy of it elsewhere tells."""
    write(merchant, 2)
    head = rows_of(AuditHead, merchant_id=merchant.id)[0]
    row = rows_of(AuditEntry, merchant_id=merchant.id, number=head.number)[0]
    forged = {**row._mapping, "actor": "x"}
    tampered(
        sa.update(_entries)
        .where(_entries.c.merchant_id == merchant.id, _entries.c.number == head.number)
        .values(actor="x", hash=audit._hash(forged))
    )
    assert [fault.reason for fault in audit.verify()[1]] == ["is not the row that the head names"]


def test_rows_written_at_the_same_time_make_one_chain(app: Flask, merchant: Shop) -> None:
    before = len(rows_of(AuditEntry, merchant_id=merchant.id))
    barrier = threading.Barrier(8)

    def run() -> None:
        barrier.wait(timeout=30)
        with app.app_context():
            write(merchant, 3)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(rows_of(AuditEntry, merchant_id=merchant.id)) == before + 24
    assert audit.verify()[1] == []


@one_database
def test_a_deed_that_did_not_happen_leaves_no_row(merchant: Shop) -> None:
    before = len(rows_of(AuditEntry))
    with pytest.raises(Conflict):
        team.deactivate(merchant.id, merchant.user_id, by=SERVER)
    assert len(rows_of(AuditEntry)) == before


@one_database
def test_every_deed_names_who_did_it_and_keeps_no_secret(merchant: Shop) -> None:
    before = len(rows_of(AuditEntry))
    key_id, key = keys.create_key(merchant.id, livemode=False, name="till", by=BOSS)
    who = Caller(merchant.id, "", False)
    with transaction() as tx:
        rolled, fresh = keys.roll_key(tx, who, key_id, overlap_s=60, by=BOSS)
    keys.revoke_key(merchant.id, rolled.id, by=BOSS)
    url = "http://127.0.0.1:9/hook?token=hidden"
    endpoint, secret = endpoints.create_endpoint(merchant.id, livemode=False, url=url, by=BOSS)
    endpoints.update_endpoint(merchant.id, endpoint.id, {"description": "till"}, by=BOSS)
    _, newer = endpoints.rotate_secret(merchant.id, endpoint.id, by=BOSS)
    endpoints.delete_endpoint(merchant.id, endpoint.id, by=BOSS)
    accounts.change_account(merchant.account_id, alipay_forge.KEY_MODE, by=BOSS)
    accounts.disable_account(merchant.id, merchant.account_id, by=BOSS)
    profile.save_merchant(merchant.id, name="星光", language="en", by=BOSS)
    policy.save_policy(merchant.id, Policy(5000), by=BOSS)
    set_password(merchant, "another good password", by=BOSS)
    rows = rows_of(AuditEntry)[before:]
    assert [row.action for row in rows] == [
        *("key.created", "key.rolled", "key.revoked"),
        *("webhook_endpoint.created", "webhook_endpoint.changed"),
        *("webhook_endpoint.secret_rotated", "webhook_endpoint.deleted"),
        *("provider_account.changed", "provider_account.disabled"),
        *("settings.changed", "policy.changed", "password.changed"),
    ]
    assert {(row.actor, row.address) for row in rows} == {(BOSS.name, BOSS.address)}
    written = str(rows)
    for hidden in (key, fresh, secret, newer, "hidden", "another good password", "BEGIN", "argon2"):
        assert hidden not in written
    assert json.loads(rows[-3].before)["name"] == "晨光咖啡馆"
    assert json.loads(rows[-2].after)["refund_limit_minor"] == 5000


@one_database
def test_a_wrong_password_is_noted_in_the_shop_of_whom_it_was_tried_on(merchant: Shop) -> None:
    for email in (merchant.email, "nobody@cafe.example"):
        with pytest.raises(Exception, match="wrong"):
            people.sign_in(email, "wrong horse battery", address="203.0.113.9")
    [row] = rows_of(AuditEntry, action="sign_in.failed")
    assert (row.merchant_id, row.actor, row.address) == (merchant.id, merchant.email, "203.0.113.9")


@one_database
def test_a_spreadsheet_gets_every_row_and_no_formula(merchant: Shop, other_merchant: Shop) -> None:
    evil = Actor('=HYPERLINK("https://evil.example")', address="+1")
    with transaction() as tx:
        audit.append(tx, merchant.id, evil, Action.SETTINGS_CHANGED, "@SUM(A1)", after={"x": "\t"})
    text = "".join(audit.export_csv(merchant.id, AuditFilter()))
    lines = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert len(lines) - 1 == len(rows_of(AuditEntry, merchant_id=merchant.id))
    assert not [cell for line in lines for cell in line if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert lines[1][2] == "'" + evil.name
    assert other_merchant.id not in text


@one_database
def test_a_list_is_narrowed_by_person_deed_and_object(merchant: Shop) -> None:
    key_id, _ = keys.create_key(merchant.id, livemode=False, name="till", by=BOSS)
    write(merchant)
    for wanted, count in (
        (AuditFilter(actor=BOSS.name), 4),
        (AuditFilter(actor=BOSS.name, action="key"), 1),
        (AuditFilter(action="key.created", object_id=key_id), 1),
        (AuditFilter(action="ke"), 0),
        (AuditFilter(object_id="%"), 0),
    ):
        assert len(audit.search(merchant.id, wanted)[0]) == count, wanted
    first, has_more = audit.search(merchant.id, AuditFilter(limit=2))
    assert has_more
    rest, _ = audit.search(merchant.id, AuditFilter(before=first[-1].number))
    assert first[-1].number == rest[0].number + 1
