"""The doctor finds each illness that was planted, names the cure, and calls the healthy well."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from app import checkup, clock, queue
from app.checkup import Level
from app.config import load_settings
from app.db import transaction
from app.merchants.models import ProviderAccount
from app.queue import Kind
from tests.conftest import KEYS, add_shop, running, settings_for


@pytest.fixture
def well(house, site, monkeypatch):
    """A house in which nothing is amiss."""
    site.says("/healthz", "ok\n")
    # The tests' own PostgreSQL waits for no disk, which the doctor rightly calls ill: see the last test.
    healthy = [(name, check) for name, check in checkup.DATABASE_CHECKS if name != "durability"]
    monkeypatch.setattr(checkup, "DATABASE_CHECKS", healthy)
    return add_shop()


def examined() -> dict[str, checkup.Finding]:
    return dict(checkup.examine())


def test_a_healthy_house_is_called_well(well, run):
    found = examined()
    assert [name for name, finding in found.items() if finding.level is not Level.OK] == []
    assert list(found) == [
        *["settings", "secrets", "data", "disk", "web"],
        *["database", "migrations", "clock", "worker", "queue", "providers", "seals"],
    ]
    result = run("doctor")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == len(found)


def test_json_says_the_same(well, run):
    told = json.loads(run("doctor --json").stdout)
    assert told["ok"] is True
    assert {check["name"]: check["fact"] for check in told["checks"]}[
        "providers"
    ] == "1 account, credentials in order"


def test_a_failure_exits_1_and_names_the_cure(well, run, site):
    site.says("/healthz", "", status=502)
    result = run("doctor")
    assert result.exit_code == 1
    assert f"FAILED   web         {site.url}/healthz answered 502" in result.stdout
    assert "-> something else answers there: check MAFU_BASE_URL and the reverse proxy" in result.stdout


def test_no_secret_is_shown(house, run):
    told = run("doctor").output + run("doctor --json").output
    for keys in KEYS.values():
        assert keys[0] not in told


def test_the_databases_password_is_not_shown(tmp_path):
    settings = load_settings(data=tmp_path, database_url="postgresql://mafu:hunter2hunter2@db/mafu", **KEYS)
    assert "hunter2" not in checkup._settings(settings).fact


def test_nobody_at_the_address(tmp_path):
    finding = checkup._web(load_settings(data=tmp_path, base_url="http://127.0.0.1:1", **KEYS))
    assert (finding.level, finding.fact) == (Level.FAILED, "127.0.0.1: no connection")
    assert "make run" in finding.remedy


def test_one_key_for_two_ends(tmp_path):
    one = KEYS["secret_keys"]
    finding = checkup._secrets(load_settings(data=tmp_path, secret_keys=one, encryption_keys=one))
    assert finding.level is Level.WARNING


def test_a_data_folder_that_others_can_look_into(well, house):
    folder = house.extensions["mafu.runtime"].settings.data
    folder.chmod(0o755)
    assert examined()["data"] == checkup.Finding(
        f"others on this machine can look into {folder}", Level.WARNING, f"chmod 700 {folder}"
    )


def test_a_data_folder_that_is_not_there(tmp_path):
    settings = load_settings(data=tmp_path / "gone", **KEYS)
    assert checkup._data(settings).level is Level.FAILED
    assert checkup._disk(settings).level is Level.OK, "the disk below it is measured"


def test_a_data_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # permissions do not bind root
    assert checkup._data(load_settings(data=tmp_path, **KEYS)).level is Level.FAILED


@pytest.mark.parametrize(
    ("free", "level"), [(5 << 30, Level.OK), (500 << 20, Level.WARNING), (50 << 20, Level.FAILED)]
)
def test_a_disk_that_fills_up(tmp_path, monkeypatch, free, level):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    assert checkup._disk(load_settings(data=tmp_path, **KEYS)).level is level


def test_tables_that_are_behind(well):
    with transaction() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    finding = examined()["migrations"]
    assert finding.level is Level.FAILED
    assert "not at" in finding.fact
    assert "flask db upgrade" in finding.remedy


def test_a_database_without_tables(tmp_path):
    tmp_path.chmod(0o700)
    with running(
        settings_for(f"sqlite:///{tmp_path / 'new.sqlite3'}", tmp_path, base_url="http://127.0.0.1:1")
    ):
        found = examined()
    assert found["migrations"].level is Level.FAILED
    assert "worker" not in found


def test_a_database_that_cannot_be_reached(tmp_path):
    url = f"postgresql://mafu:hunter2hunter2@/mafu?host={tmp_path}"
    with running(settings_for(url, tmp_path, base_url="http://127.0.0.1:1")):
        finding = examined()["database"]
    assert finding.level is Level.FAILED
    assert "hunter2" not in finding.fact
    assert "DATABASE_URL" in finding.remedy


def test_work_that_nobody_does(well, at):
    with transaction() as tx:
        queue.put(tx, Kind.EXPIRE, well.id, "ch_1", clock.now() - timedelta(minutes=10))
    finding = examined()["worker"]
    assert finding.level is Level.FAILED
    assert "0:10:0" in finding.fact
    assert "flask worker" in finding.remedy


def test_work_that_is_only_just_due_is_no_fault(well):
    with transaction() as tx:
        queue.put(tx, Kind.EXPIRE, well.id, "ch_1", clock.now() - timedelta(seconds=5))
        queue.put(tx, Kind.EXPIRE, well.id, "ch_2", clock.now() + timedelta(days=5))
    found = examined()
    assert (found["worker"].level, found["worker"].fact) == (Level.OK, "5 s behind")
    assert found["queue"].fact == "2 expire"


def test_credentials_that_cannot_be_opened(well):
    with transaction() as tx:
        other = "v1.deadbeef.AAAA"
        tx.execute(sa.update(ProviderAccount).values(sealed=other))
    finding = examined()["providers"]
    assert finding.level is Level.FAILED
    assert finding.fact == f"{well.account_id}: sealed with a key that is not in MAFU_ENCRYPTION_KEYS"


def test_nobody_can_pay_without_an_account(house, site):
    assert examined()["providers"].level is Level.WARNING


def test_clocks_that_differ(house, at):
    at(timedelta(minutes=5))
    with checkup.reading() as connection:
        finding = checkup._clock(connection)
        is_alone = connection.dialect.name == "sqlite"
    assert finding.level is (Level.OK if is_alone else Level.FAILED)


def test_a_database_that_forgets_on_a_power_cut(house):
    with checkup.reading() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL" if is_sqlite else "SET synchronous_commit=off")
        finding = checkup._durability(connection)
        connection.exec_driver_sql("PRAGMA synchronous=FULL" if is_sqlite else "SET synchronous_commit=on")
    assert finding.level is Level.FAILED
