"""The operator's page: who may see it, and that it says what is so."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app import clock, heartbeat, queue
from app.config import Settings
from app.db import transaction
from app.operator import BACKUP_STAMP, COOKIE
from app.queue import Kind
from tests import books
from tests.conftest import Shop, running, settings_for
from tests.dashboard.person import Person, token_of

TOKEN = "0per4tor-0123456789-abcdefghijklmn"
FAR = {"REMOTE_ADDR": "203.0.113.9"}
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_the_state_of_the_installation_is_shown(
    client: FlaskClient, settings: Settings, merchant: Shop, at: Callable[[timedelta], None]
) -> None:
    page = client.get("/operator", headers={"Accept-Language": "en"}).text
    assert "No worker has been heard of" in page
    assert "Not known. Touch this file" in page
    heartbeat.beat("wk_1", clock.now())
    (settings.data / BACKUP_STAMP).touch()
    os.utime(settings.data / BACKUP_STAMP, (1_790_000_000, 1_790_000_000))
    books.make_charge(merchant)
    with transaction() as tx:
        queue.put(tx, Kind.REFUND, merchant.id, "re_1", clock.now() - timedelta(seconds=90))
    page = client.get("/operator", headers={"Accept-Language": "en"}).text
    assert re.search(
        r'<code translate="no">migrations</code></th>\s*<td><span class="chip chip--good">', page
    )
    assert "the oldest job has been due for 90 s" in page
    assert re.search(
        r'>refund</code></th><td class="num">1</td><td class="num">1</td><td class="num">90 s', page
    )
    assert re.search(
        r'>expire</code></th><td class="num">1</td><td class="num">0</td><td class="num">–', page
    )
    assert '<span class="chip chip--good">Alive</span>' in page
    assert '<span class="bad"><time datetime="2026-09-21T' in page
    assert float(re.findall(r"<dd>([\d.]+) MB</dd>", page)[0]) > 0.1
    at(timedelta(minutes=1))
    assert '<span class="chip chip--bad">Silent</span>' in client.get("/operator?lang=en").text


@ONE_DATABASE
def test_it_shows_nothing_of_a_merchant_and_no_secret(client: FlaskClient, merchant: Shop) -> None:
    books.make_charge(merchant)
    page = client.get("/operator").text
    for word in ("晨光咖啡馆", merchant.email, merchant.id, "一杯拿铁", "tests-link-key", "tests-vault-key"):
        assert word not in page


@ONE_DATABASE
def test_without_a_token_this_machine_may_look_and_nobody_else(
    app: Flask, client: FlaskClient, merchant: Shop
) -> None:
    assert client.get("/operator").status_code == 200
    for address in ("203.0.113.9", "10.0.0.5", ""):
        assert client.get("/operator", environ_base={"REMOTE_ADDR": address}).status_code == 404, address
    assert client.get("/operator", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404
    owner = Person(app)
    owner.sign_in(merchant)
    assert owner.get("/operator", environ_base=FAR).status_code == 404
    assert owner.post("/operator", {"token": ""}, environ_base=FAR).status_code == 404
    assert "/operator" not in owner.get("/").text


@ONE_DATABASE
def test_with_a_token_only_who_brings_it_may_look(database_url: str, tmp_path: Path) -> None:
    with running(settings_for(database_url, tmp_path, operator_token=TOKEN)) as app:
        client = app.test_client()

        def post(path: str, **fields: str) -> int:
            page = client.get("/operator", environ_base=FAR).text
            form = {"csrf_token": token_of(page), **fields}
            return client.post(path, data=form, environ_base=FAR).status_code

        door = client.get("/operator?lang=en")  # not even from this machine
        assert "MAFU_OPERATOR_TOKEN" in door.text
        assert "Checkup" not in door.text
        for wrong in ("", TOKEN[:-1], f"{TOKEN}x", "ü"):
            assert post("/operator", token=wrong) == 401, wrong
        assert client.post("/operator", data={"token": TOKEN}).status_code == 400  # the form's guard
        assert post("/operator", token=TOKEN) == 303
        cookie = client.get_cookie(COOKIE, path="/operator")
        assert cookie is not None
        assert (cookie.http_only, cookie.same_site, cookie.max_age) == (True, "Strict", 8 * 3600)
        assert TOKEN not in cookie.value
        assert "Checkup" in client.get("/operator?lang=en", environ_base=FAR).text
        client.set_cookie(COOKIE, f"x{cookie.value}", path="/operator")
        assert "Checkup" not in client.get("/operator?lang=en").text
        client.set_cookie(COOKIE, cookie.value, path="/operator")
        assert post("/operator/leave") == 303
        assert "Checkup" not in client.get("/operator?lang=en").text
    with running(settings_for(database_url, tmp_path, operator_token=TOKEN[::-1])) as app:
        client = app.test_client()
        client.set_cookie(COOKIE, cookie.value, path="/operator")
        assert "Checkup" not in client.get("/operator?lang=en").text
    assert TOKEN not in repr(settings_for(database_url, tmp_path, operator_token=TOKEN))


@ONE_DATABASE
def test_guessing_is_slowed_down(database_url: str, tmp_path: Path) -> None:
    with running(settings_for(database_url, tmp_path, operator_token=TOKEN, rate_failures=2)) as app:
        client = app.test_client()
        form = {"csrf_token": token_of(client.get("/operator").text), "token": "x"}
        statuses = [client.post("/operator", data=form).status_code for _ in range(8)]
        assert statuses[0] == 401
        assert statuses[-1] == 429


@ONE_DATABASE
def test_without_tables_the_page_says_what_to_do(app: Flask, client: FlaskClient) -> None:
    with transaction() as tx:
        tx.execute(sa.text("DROP TABLE workers"))
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0011'"))
    answer = client.get("/operator?lang=en")
    assert answer.status_code == 503
    assert "flask db upgrade" in answer.text
