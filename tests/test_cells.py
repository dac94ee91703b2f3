"""Every cell of the table of scenes over the real wire: who can pay there pays, the others are helped on.

The shopper is ``flask simulate``; the web and the sandbox run as a merchant would run them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.checkout.scene import scene_of
from app.cli.wallets import USER_AGENTS
from app.providers import REGISTRY
from app.providers.base import Scene
from tests.cells import BLOCKED, CELLS, PAYABLE, WALLETS, Table, table
from tests.live import ask, wait_until


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with table(tmp_path_factory.mktemp("cells")) as found:
        yield found


def simulate(cells: Table, *words: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The exit code, and what the command says with --json."""
    result = cells.app.test_cli_runner().invoke(args=["simulate", *words, "--json"], **options)
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout)


def is_settled(cells: Table, charge: Any) -> None:
    """The network's own news has paid it, and the network knows that we heard."""
    wait_until(lambda: cells.news_of(charge) == ["succeeded"], why="no callback came")
    assert cells.state(charge) == "paid"
    [number] = cells.numbers(charge)
    wait_until(lambda: [note["state"] for note in cells.trade(number)["notifications"]] == ["delivered"])


def test_the_table_is_the_adapters_own():
    by_place = {place: scene_of(agent) for place, agent in USER_AGENTS.items()}
    assert sorted(by_place.values()) == sorted(set(Scene) - {Scene.APP})
    found = {
        place: {code for code, adapter in REGISTRY.items() if scene in adapter.info.scenes}
        for place, scene in by_place.items()
    }
    assert found == {place: set(wallets) for place, wallets in PAYABLE.items()}
    assert len(CELLS) + len(BLOCKED) == len(PAYABLE) * len(WALLETS)


@pytest.mark.parametrize(("place", "wallet"), CELLS)
def test_who_can_pay_there_pays_and_the_networks_news_settles_it(cells, place, wallet):
    charge = cells.charge()
    code, said = simulate(cells, "pay", cells.link(charge), "--as", place, "--provider", wallet)
    assert (code, said["status"]) == (0, "paid"), said["steps"]
    is_settled(cells, charge)


@pytest.mark.parametrize(("place", "wallet"), BLOCKED)
def test_who_cannot_pay_there_is_told_what_to_do_and_the_charge_stays_open(cells, place, wallet):
    charge = cells.charge()
    code, said = simulate(cells, "pay", cells.link(charge), "--as", place, "--provider", wallet)
    assert code == 3, said["steps"]
    assert len([step for step in said["steps"] if step.startswith("read: ")]) >= 2, said["steps"]
    assert cells.numbers(charge) == []
    assert cells.state(charge) == "pending"


@pytest.mark.parametrize("wallet", WALLETS)
def test_a_merchants_app_pays_through_the_wallets_sdk(cells, wallet):
    charge = cells.charge()
    address = f"{cells.house.url}/v1/charges/{charge.id}/app_params"
    answer = ask("POST", address, key=cells.shop.api_key, json_body={"provider": wallet})
    assert answer.status == 200, answer.body
    code, said = simulate(cells, "app", wallet, input=answer.body.decode())
    assert code == 0, said["steps"]
    is_settled(cells, charge)


@pytest.mark.parametrize(("place", "wallet"), CELLS)
def test_who_declines_may_pay_after_all(cells, place, wallet):
    charge = cells.charge()
    words = ("pay", cells.link(charge), "--as", place, "--provider", wallet)
    code, said = simulate(cells, *words, "--decline")
    assert (code, cells.state(charge)) == (1, "pending"), said["steps"]
    code, said = simulate(cells, *words)
    assert (code, said["status"]) == (0, "paid"), said["steps"]
    wait_until(lambda: "succeeded" in cells.news_of(charge))


def test_inside_alipay_the_pay_sheet_can_stand_on_our_own_page(cells):
    """For merchants who have JSAPI in their contract: auth_code round trip, trade.create, bridge."""
    with cells.account_saying("alipay", in_app_product="jsapi"):
        charge = cells.charge()
        code, said = simulate(cells, "pay", cells.link(charge), "--as", "alipay", "--provider", "alipay")
    assert (code, said["status"]) == (0, "paid"), said["steps"]
    assert any("AlipayJSBridge, which answered 9000" in step for step in said["steps"])
    is_settled(cells, charge)


def test_wechats_own_codes_are_read_by_wechats_camera(cells):
    """The demo has them be http addresses, for cameras of real phones; the real ones are not."""
    levers = cells.tell_sandbox("GET", "levers")["data"]
    cells.tell_sandbox("DELETE", "levers")
    try:
        charge = cells.charge()
        words = ("pay", cells.link(charge), "--as", "desktop", "--provider", "wechatpay")
        code, said = simulate(cells, *words)
    finally:
        for lever in levers:
            cells.tell_sandbox("POST", "levers", {name: lever[name] for name in ("name", "scope")})
    assert code == 0, said["steps"]
    is_settled(cells, charge)


@pytest.mark.parametrize("wallet", WALLETS)
def test_a_network_that_changes_keys_on_payment_loses_nothing(cells, wallet):
    """Whether its news can be read at once or only after a person has copied the new key."""
    charge = cells.charge(minor=29)
    code, said = simulate(cells, "pay", cells.link(charge), "--as", "browser", "--provider", wallet)
    assert (code, said["status"]) == (0, "paid"), said["steps"]
    cells.copy_keys_again()
    is_settled(cells, charge)
