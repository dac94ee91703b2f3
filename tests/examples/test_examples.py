"""The examples as their READMEs say: beside a running demo, fed by ``flask listen``, graded by ourselves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, sync_playwright

from app.addresses import NEARBY
from app.cli import grade as grading
from app.cli import listen
from app.cli.grade import CHECKS, grade
from app.webhooks.signature import headers_for
from tests.checkout.test_browser import CHROMIUM, FLAGS
from tests.cli.test_serve import House, free_ports, running_house
from tests.conftest import ROOT
from tests.live import PHONE, Browser, wait_until

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
NODE_MODULES = EXAMPLES / "receiver-node" / "node_modules" / "standardwebhooks"


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """The demo, as ``make run`` starts it."""
    port, sandbox_port = free_ports(2)
    plan = House(tmp_path_factory.mktemp("house") / "data", port, sandbox_port)
    with running_house(plan) as found:
        yield found


@dataclass
class Example:
    """One that is running, and what it has said."""

    url: str
    secret: str
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def is_told(self, event_id: str, body: bytes) -> int:
        """A webhook made by hand; the status of the answer."""
        headers = headers_for([self.secret], event_id, int(time.time()), body)
        return requests.post(f"{self.url}/hook", data=body, headers=headers, timeout=10).status_code


@contextmanager
def started(house: House, folder: Path, *command: str, is_fed: bool = True) -> Iterator[Example]:
    """The example under ``flask listen``, ended as with Ctrl-C; by itself if it is not to be fed."""
    [port] = free_ports(1)
    url, log, secret = f"http://127.0.0.1:{port}", folder / "log", listen.stable_secret(house.folder)
    more = {
        "SHOP_PORT": str(port),
        "RECEIVER_PORT": str(port),
        "SHOP_DB": str(folder / "shop.sqlite3"),
        "EVENTS_DB": str(folder / "events.sqlite3"),
        "MEMBER_APP_PORT": str(port),
        "MEMBER_APP_DB": str(folder / "member_app.sqlite3"),
        "SANDBOX_URL": house.demo["sandbox_url"],
        "PYTHONPATH": str(ROOT / "clients" / "python"),
        "MAFU_URL": house.demo["base_url"],
        "MAFU_KEY": house.demo["api_key"],
        "MAFU_WEBHOOK_SECRET": secret,
    }
    if is_fed:
        command = *house.command("listen", "--forward-to", f"{url}/hook", "--"), *command
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=house.environment | more,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: is_up(port) or process.poll() is not None, 30.0)
        yield Example(url, secret, log)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(40) in ((0,) if is_fed else (0, 1, -signal.SIGINT)), log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _patience(monkeypatch) -> None:
    """How long an answer takes says how busy this machine is."""
    monkeypatch.setattr(grading, "PROMPT_MS", 60_000)


def failed(example: Example) -> list[str]:
    """What our own grader finds wrong with it."""
    url = f"{example.url}/hook"
    return [check.name for check in CHECKS if not grade(check, url, example.secret, NEARBY).passed]


def pay(link: str) -> None:
    """What a shopper does with a phone."""
    phone = Browser(PHONE)
    phone.open(link)
    phone.press("provider", "alipay")
    phone.press("action", "approve")
    wait_until(lambda: phone.poll()["status"] == "paid")


def python(name: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name)]


RECEIVERS = {
    "python": python("receiver-python/receiver.py"),
    "node": ["node", str(EXAMPLES / "receiver-node" / "receiver.mjs")],
}


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_hears_of_a_real_payment_and_falls_for_no_trick(house, tmp_path, name):
    if name == "node" and not (shutil.which("node") and NODE_MODULES.is_dir()):
        pytest.skip("the Node receiver is not installed: make strangers")
    with started(house, tmp_path, *RECEIVERS[name]) as receiver:
        came = house.flask("trigger", "charge.paid", "--json")
        assert came.returncode == 0, came.stdout + came.stderr
        charge_id = json.loads(came.stdout)["object"]
        wait_until(lambda: f"charge.paid {charge_id}" in receiver.said)
        assert f"charge.created {charge_id}" in receiver.said
        assert failed(receiver) == []
        assert receiver.said.count("charge.turned_blue") == 1

        [event] = house.api(f"events?object_id={charge_id}&type=charge.paid")["data"]
        assert receiver.is_told(event["id"], json.dumps(event).encode()) == 204
        assert receiver.said.count(f"charge.paid {charge_id}") == 1, "it acts once"


@pytest.mark.parametrize("event", ["refund.succeeded", "refund.failed"])
def test_refunds_are_triggered_for_real(house, event):
    came = house.flask("trigger", event, "--json")
    assert came.returncode == 0, came.stdout + came.stderr
    assert [one["type"] for one in json.loads(came.stdout)["events"]] == ["refund.created", event]


def test_an_account_fails_and_recovers_for_real(house):
    came = house.flask("trigger", "provider_account.recovered", "--json")
    assert came.returncode == 0, came.stdout + came.stderr
    told = [one["type"] for one in json.loads(came.stdout)["events"]]
    assert told == ["provider_account.unhealthy", "provider_account.recovered"]


class TestShop:
    def test_what_is_paid_is_shipped_once_however_often_the_news_comes(self, house, tmp_path):
        with started(house, tmp_path, *python("shop/shop.py")) as shop:
            order, link = buy(shop)
            no = order.rpartition("/")[2]
            assert "等待付款" in look(order, "zh")
            pay(link)
            wait_until(lambda: f"shipping {no}" in shop.said)
            assert "已付款" in look(order, "zh")
            assert "Paid. We are preparing it" in look(order, "en")

            [charge] = house.api(f"charges?merchant_order_no={no}")["data"]
            assert charge["return_url"].startswith(order)
            [event] = house.api(f"events?object_id={charge['id']}&type=charge.paid")["data"]
            for _ in range(3):
                assert shop.is_told(event["id"], json.dumps(event).encode()) == 204
            assert failed(shop) == []
            assert shop.said.count("shipping") == 1

    def test_no_webhook_is_needed_and_none_is_believed_about_another_amount(self, house, tmp_path):
        with started(house, tmp_path, *python("shop/shop.py"), is_fed=False) as shop:
            order, link = buy(shop, "tea")
            no = order.rpartition("/")[2]
            [charge] = house.api(f"charges?merchant_order_no={no}")["data"]
            for fault in ({"amount": 1}, {"currency": "jpy"}, {"status": "pending"}):
                told = {**charge, "status": "paid", **fault}
                event = {"id": "evt_1", "type": "charge.paid", "created_at": charge["created_at"]}
                event |= {"livemode": False, "sequence": 2, "data": {"object": told}}
                assert shop.is_told("evt_1", json.dumps(event).encode()) == 204
            assert "shipping" not in shop.said

            pay(link)
            assert "shipping" not in shop.said, "nobody has told it, and nobody has come back"
            for _ in range(2):
                assert "Paid. We are preparing it" in look(order, "en")
            assert shop.said.count(f"shipping {no}") == 1


def buy(shop: Example, item: str = "latte") -> tuple[str, str]:
    """Order from the menu; the order's page and the payment link."""
    menu = requests.get(shop.url, headers={"Accept-Language": "en"}, timeout=10)
    assert f'value="{item}"' in menu.text
    assert 'name="viewport"' in menu.text
    answer = requests.post(f"{shop.url}/buy", data={"item": item}, allow_redirects=False, timeout=20)
    assert answer.status_code == 303, answer.text
    with closing(sqlite3.connect(shop.log.parent / "shop.sqlite3")) as db:
        [(no,)] = db.execute("SELECT no FROM orders")
    return f"{shop.url}/orders/{no}", answer.headers["location"]


def look(order: str, language: str) -> str:
    """The order's page as its shopper sees it."""
    answer = requests.get(order, params={"lang": language}, timeout=20)
    assert answer.status_code == 200
    return answer.text


BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture
def phone() -> Iterator[Callable[[Example], Page]]:
    """Opens an app on a phone; whatever it complains about fails the test."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def open_app(app: Example, language: str = "en") -> Page:
            context = chromium.new_context(viewport={"width": 390, "height": 844}, base_url=app.url)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"/?lang={language}")
            page.wait_for_selector("#topup")
            return page

        yield open_app
        chromium.close()
    assert complaints == []


def begin(page: Page, yuan: int = 50, method: str = "alipay", news: str = "") -> None:
    """As far as the wallet."""
    page.check(f'[name=news][value="{news}"]', force=True)
    page.click("#topup")
    page.check(f'[name=amount][value="{yuan * 100}"]', force=True)
    page.check(f"[value={method}]", force=True)
    page.click("#pay")


def title(page: Page, wanted: str) -> str:
    """The sheet, once it has this title."""
    page.wait_for_selector(f"[data-title={wanted}]")
    return page.inner_text("#sheet")


def balance(page: Page) -> str:
    """Once the sheet is gone."""
    page.click("#deed-fine")
    page.wait_for_selector("#sheet", state="hidden")
    return page.inner_text("#balance")


class TestMemberApp:
    pytestmark = BROWSER

    def test_a_member_fails_tries_again_is_credited_and_spends(self, house, tmp_path, phone):
        with started(house, tmp_path, *python("member_app/app.py")) as app:
            page = phone(app, "zh")
            begin(page, 100)
            page.click("#wallet-decline")
            assert "没有扣款" in title(page, "failed")
            page.click("#deed-retry")
            page.click("#wallet-cancel")
            assert "没有扣款" in title(page, "canceled")
            page.click("#deed-retry")
            page.click("#wallet-approve")
            assert "¥100.00 已到账，另送 ¥10.00" in title(page, "done")
            wait_until(lambda: "topup.succeeded" in app.said)
            assert balance(page) == "¥110.00"

            page.click("[data-item=class]")
            assert "余额不足" in page.inner_text(".say")
            page.click("[data-item=tea]")
            page.wait_for_selector(".say.good")
            assert page.inner_text("#balance") == "¥42.00"
            assert "+¥110.00" in page.inner_text("#lines")
            assert app.said.count("credited T") == 1

    def test_lost_late_and_doubled_callbacks_credit_once_each_and_no_webhook_is_needed(
        self, house, tmp_path, phone
    ):
        with started(house, tmp_path, *python("member_app/app.py"), is_fed=False) as app:
            page = phone(app)
            cases = [
                ("drop", "alipay"),
                ("delay", "wechatpay"),
                ("duplicate", "unionpay"),
                ("drop", "unionpay"),
            ]
            for number, (news, method) in enumerate(cases, 1):
                begin(page, 50, method, news)
                page.click("#wallet-approve")
                assert "¥50.00 is on your balance." in title(page, "done")
                assert balance(page) == f"¥{50 * number}.00", (news, method)
            assert app.said.count("credited T") == len(cases)

            # Killed in the moment of the payment: the app that comes up again finds out by itself.
            begin(page, 50, "alipay", "drop")
            page.click("#wallet-lose")
            title(page, "done")
            assert balance(page) == "¥250.00"
            assert app.said.count("credited T") == len(cases) + 1

    def test_while_nothing_is_known_it_says_so_and_asks_for_no_second_payment(self, house, tmp_path, phone):
        with started(house, tmp_path, *python("member_app/app.py"), is_fed=False) as app:
            page = phone(app)
            page.clock.install()
            # The order is placed, and its answer lost: trying again goes on with the same one.
            page.route("**/api/topups", lambda route: (route.fetch(), route.abort()))
            begin(page)
            assert "same order" in title(page, "away")
            page.unroute("**/api/topups")
            page.route("**/api/topups/*", lambda route: route.abort())
            page.click("#deed-retry")
            page.click("#wallet-approve")
            title(page, "checking")
            page.clock.fast_forward(11_000)
            said = title(page, "slow")
            assert "wallet says it is paid" in said
            assert "Do not pay again" in said
            page.click("#deed-later")
            assert "being checked" in page.inner_text("#app")
            assert page.inner_text("#balance") == "¥0.00"

            page.unroute("**/api/topups/*")
            page.reload()  # another day
            title(page, "done")
            assert balance(page) == "¥50.00"
            assert "being checked" not in page.inner_text("#app")
            topups = house.api("topups?limit=100")["data"]
            mine = [one for one in topups if one["account"] == topups[0]["account"]]
            assert [one["status"] for one in mine] == ["succeeded"]
