"""A shop that speaks 易支付, end to end: web, worker and Alipay's far side in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from app.epay import switch
from app.merchants import accounts, people
from tests import live
from tests.conftest import running
from tests.epay.shops import CardShop, Door, LibraryShop, Shop, listening
from tests.live import PHONE, Browser, House, ask, wait_until
from tests.providers import alipay_forge

pytestmark = pytest.mark.slow


def test_a_shop_moves_here_by_changing_an_address(database_url: str, tmp_path: Path) -> None:
    with live.house(database_url, tmp_path) as mafu, listening() as door:
        mafu.start("sandbox", "web", "worker")
        pid, key = a_merchant_switches_it_on(mafu)
        program = LibraryShop(f"{mafu.url}/", pid, key, door.url)
        cards = CardShop(f"{mafu.url}/", pid, key, door.url)
        door.answer = lambda query: whose(query, program, cards).hears(query)

        a_program_orders_and_hears(mafu, program, door)
        a_form_leads_from_the_shop_to_the_wallet_and_back(mafu, cards)
        the_shop_is_down_for_a_moment(program, door)


def a_merchant_switches_it_on(mafu: House) -> tuple[str, str]:
    ours = alipay_forge.KEYS
    console = lever(mafu, "alipay/apps", {"public_key": ours["app.pub.pem"]})
    with running(mafu.settings):
        merchant_id, _ = people.add_merchant("晨光数码", email="owner@cafe.example")
        shown = {name: console[name] for name in ("app_id", "seller_id", "gateway_url", "alipay_public_key")}
        credentials = shown | {"private_key": ours["app.pkcs8.pem"]}
        accounts.add_account(merchant_id, "alipay", livemode=False, name="支付宝", settings=credentials)
        key = switch.enable(merchant_id, livemode=False)
        row = switch.find_row(merchant_id, livemode=False)
    assert key is not None
    assert row is not None
    return row.pid, key


def a_program_orders_and_hears(mafu: House, shop: LibraryShop, door: Door) -> None:
    lever(mafu, "levers", {"name": "duplicate", "value": "3"})  # Alipay tells it four times
    made = ask("POST", f"{shop.gateway}mapi.php", form=shop.order("L1", "会员月卡", "12.50", param="u7")).json
    assert made["code"] == 1
    assert asked(shop, "L1")["status"] == 0
    approve(made["payurl"])
    wait_until(lambda: shop.delivered == ["L1"])
    told = asked(shop, "L1")
    assert (told["status"], told["trade_no"]) == (1, made["trade_no"])
    assert [query["out_trade_no"] for _, query in door.heard] == ["L1"], "paid once, said once"


def a_form_leads_from_the_shop_to_the_wallet_and_back(mafu: House, shop: CardShop) -> None:
    action, fields = shop.form("C1", "点卡 & 50元", 49.9, "alipay")
    answer = ask("POST", action, form=fields)
    assert answer.status == 303
    phone = approve(answer.headers["location"])
    wait_until(lambda: shop.delivered == ["C1"])
    page = phone.open(phone.address)
    back = page.partition(f'href="{mafu.url}/epay/return/')[2].partition('"')[0]
    location = ask("GET", f"{mafu.url}/epay/return/{back}").headers["location"]
    assert location.startswith(f"{shop.home}/detail-order-sn/C1?")
    query = dict(parse_qsl(location.partition("?")[2]))
    assert shop.believes(query)
    assert query["money"] == "49.9"


def the_shop_is_down_for_a_moment(shop: LibraryShop, door: Door) -> None:
    door.moods = [(502, "Bad Gateway")]
    approve(ask("POST", f"{shop.gateway}mapi.php", form=shop.order("L2", "会员年卡", "99")).json["payurl"])
    wait_until(lambda: shop.delivered == ["L1", "L2"], 60.0)
    assert [query["out_trade_no"] for _, query in door.heard][-2:] == ["L2"] * 2


def approve(link: str) -> Browser:
    """What a shopper does with a phone."""
    phone = Browser(PHONE)
    phone.open(link)
    phone.press("provider", "alipay")
    phone.press("action", "approve")
    wait_until(lambda: phone.poll()["status"] == "paid")
    return phone


def asked(shop: LibraryShop, number: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in shop.asks("order", out_trade_no=number).items())
    answer: dict[str, Any] = ask("GET", f"{shop.gateway}api.php?{query}").json
    assert answer["code"] == 1
    return answer


def whose(query: dict[str, str], program: LibraryShop, cards: CardShop) -> Shop:
    return cards if query["out_trade_no"].startswith("C") else program


def lever(mafu: House, path: str, body: Any = None) -> dict[str, Any]:
    """A tester's hand in the sandbox."""
    method = "GET" if body is None else "POST"
    answer = ask(method, f"{mafu.sandbox_url}/control/{path}", json_body=body)
    assert answer.status in (200, 201), answer.body
    return dict(json.loads(answer.body))
