"""From one command to a paid charge and a verified webhook, in real processes; and down again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from standardwebhooks import Webhook

from tests.cli.test_children import eventually, is_running
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

START_S, STOP_S = 90.0, 20.0  # on a machine that is busy with other tests


@dataclass
class House:
    """A running ``flask serve`` and what it has said."""

    folder: Path
    port: int
    sandbox_port: int
    process: subprocess.Popen[str] = field(init=False)
    lines: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        places = {"PORT": str(self.port), "SANDBOX_PORT": str(self.sandbox_port), "HOST": "127.0.0.1"}
        mine = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAFU_", "DATABASE"))
        }
        return mine | places | {"MAFU_DATA": str(self.folder), "MAFU_WEB_WORKERS": "1"}

    @property
    def demo(self) -> dict[str, str]:
        return json.loads((self.folder / "demo.json").read_text())

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command("serve"),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        self.process.stdout.close()
        return code

    def flask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*words)
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", "wsgi", *words]

    def api(self, path: str, **body: object) -> dict:
        headers = {"Authorization": f"Bearer {self.demo['api_key']}"}
        url = f"{self.demo['base_url']}/v1/{path}"
        answer = requests.request(
            "POST" if body else "GET", url, headers=headers, json=body or None, timeout=20
        )
        assert answer.ok, answer.text
        return answer.json()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)


@contextmanager
def running_house(house: House) -> Iterator[House]:
    house.lines.clear()
    house.start()
    try:
        eventually(lambda: "Ctrl-C" in house.said or house.process.poll() is not None, within_s=START_S)
        assert house.process.poll() is None, house.said
        yield house
    finally:
        if house.process.poll() is None:
            house.stop()


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> House:
    port, sandbox_port = free_ports(2)
    return House(tmp_path_factory.mktemp("house") / "data", port, sandbox_port)


@pytest.fixture(scope="module")
def house(plan: House) -> Iterator[House]:
    with running_house(plan) as found:
        yield found


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def test_the_banner_says_where_to_go_and_nothing_comes_before_it(house):
    said, demo = house.said, house.demo
    for fact in ("sign_in_url", "api_key", "charge_url", "sandbox_url"):
        assert demo[fact] in said
    before = [line for line in said.partition("Mafu is running")[0].splitlines() if line.strip()]
    assert before == ["preparing the database …", "starting sandbox, web, worker …"]
    assert "\x1b" not in said, "nobody looks, so there are no colours"


def test_a_charge_is_paid_and_the_merchant_hears_of_it_verifiably(house):
    charge_id = house.demo["charge_id"]
    paid = house.flask("simulate", "pay")
    assert paid.returncode == 0, paid.stdout + paid.stderr
    assert paid.stdout.splitlines()[-1].endswith("the charge is paid")
    charge = house.api(f"charges/{charge_id}")
    assert (charge["status"], charge["provider"], charge["amount"]) == ("paid", "alipay", 1250)

    eventually(lambda: hooks(house, "charge.paid", charge_id))
    [hook] = hooks(house, "charge.paid", charge_id)
    told = Webhook(house.demo["webhook_secret"]).verify(hook["body"], hook["headers"])
    assert told["data"]["object"]["status"] == "paid"
    assert hook["status"] == 204


@pytest.mark.parametrize(("place", "code"), [("alipay", 0), ("desktop", 0), ("wechat", 3)])
def test_a_link_opened_anywhere(house, place, code):
    charge = house.api("charges", amount=990, currency="cny", description="Espresso")
    assert house.flask("simulate", "pay", charge["url"], "--as", place).returncode == code
    assert house.api(f"charges/{charge['id']}")["status"] == ("paid" if code == 0 else "pending")


def test_who_declines_may_still_pay(house):
    charge = house.api("charges", amount=990, currency="cny", description="Espresso")
    assert house.flask("simulate", "pay", charge["url"], "--decline").returncode == 1
    assert house.api(f"charges/{charge['id']}")["status"] == "pending"
    assert house.flask("simulate", "pay", charge["url"]).returncode == 0


def test_the_doctor_finds_it_well(house):
    examined = json.loads(house.flask("doctor", "--json").stdout)
    assert examined["ok"], examined
    assert [check["name"] for check in examined["checks"] if check["level"] != "ok"] == []


def test_a_second_one_is_told_which_port_is_busy(house):
    second = house.flask("serve")
    assert second.returncode == 1
    assert f"port {house.port} is in use" in second.stderr
    assert "make run" in second.stderr
    assert house.process.poll() is None


def test_a_child_that_is_killed_comes_back(house):
    before = house.children()
    [worker] = [pid for pid in before if "worker" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(set(house.children()) - {worker}) == len(before))
    assert "worker ended (code -9); starting it again in 1 s" in house.said


def test_told_to_end_it_takes_everybody_along_and_keeps_the_data(house, plan):
    family, before = house.children(), house.demo
    assert house.stop(signal.SIGINT) == 0
    assert [pid for pid in family if is_running(pid)] == []
    assert house.said.endswith("stopped\n")
    for port in (plan.port, plan.sandbox_port):
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "nobody listens"

    with running_house(plan) as again:
        assert again.demo["api_key"] == before["api_key"]
        assert again.demo["webhook_secret"] == before["webhook_secret"]
        assert again.demo["charge_id"] != before["charge_id"], "the last one was paid"
        assert again.api(f"charges/{before['charge_id']}")["status"] == "paid"
        assert again.stop(signal.SIGTERM) == 0


def test_a_port_that_cannot_be_had_stops_everything_with_a_sentence(plan, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = House(tmp_path / "data", *free_ports(1), taken.getsockname()[1])
        result = other.flask("serve")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"Error: port {other.sandbox_port} is in use by another program: stop that, or choose another port, "
        f"for instance SANDBOX_PORT={other.sandbox_port + 10} make run"
    )


def hooks(house: House, kind: str, charge_id: str) -> list[dict]:
    events = requests.get(f"{house.demo['sandbox_url']}/receiver/events", timeout=20).json()["data"]
    return [event for event in events if event["type"] == kind and charge_id in event["body"]]
