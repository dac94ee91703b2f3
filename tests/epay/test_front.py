"""The addresses of 易支付: what shops ask for and are told, by the clients that they have."""

from __future__ import annotations

import re
from contextvars import Context
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask.testing import FlaskClient

from app.charges import lifecycle
from app.charges.models import Charge, Refund
from app.charges.present import link_of
from app.epay import switch
from app.epay.models import EpayOrder
from app.merchants import policy
from app.merchants.actor import SERVER
from app.merchants.policy import Policy
from app.providers.base import Outcome
from tests import books
from tests.conftest import Shop
from tests.epay.shops import CardShop, LibraryShop, PanelShop

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LINK = r"http://pay\.example\.com/C/[0-9A-Z]{52}"


def order(client: FlaskClient, fields: dict[str, str]) -> dict[str, Any]:
    answer = client.post("/mapi.php", data=fields)
    assert answer.status_code == 200
    return dict(answer.json)


def ask(client: FlaskClient, fields: dict[str, str]) -> dict[str, Any]:
    return dict(client.get("/api.php", query_string=fields).json)


class TestSubmit:
    @ONLY_SQLITE
    def test_a_card_shops_form_leads_to_the_checkout_with_its_wallet_chosen(self, client, front):
        shop = CardShop("http://pay.example.com/", front.pid, front.key)
        action, fields = shop.form("SN20260115A", "月卡 & 30天", 12.5, "alipay")
        answer = client.get(urlsplit(action).path, query_string=fields)
        assert answer.status_code == 303
        assert re.fullmatch(LINK + r"\?wallet=alipay", answer.location)
        charge = books.row_of(Charge, merchant_order_no="SN20260115A")
        assert (charge.amount_minor, charge.currency, charge.description) == (1250, "CNY", "月卡 & 30天")
        assert "¥12.50" in client.get(answer.location).text

    @ONLY_SQLITE
    def test_a_panels_address_has_no_wallet_and_the_shopper_chooses(self, client, front):
        shop = PanelShop("http://pay.example.com/", front.pid, front.key)
        answer = client.get(shop.address("2026011523595912345", 1900))
        assert answer.status_code == 303
        assert re.fullmatch(LINK, answer.location)

    @ONLY_SQLITE
    def test_what_cannot_be_met_is_a_page_that_says_why(self, client, front):
        shop = CardShop("http://pay.example.com/", front.pid, "another key")
        _, fields = shop.form("SN1", "月卡", 12.5, "alipay")
        for language, words in (("zh", "签名"), ("en", "The signature is wrong")):
            answer = Context().run(
                client.post, "/submit.php", data=fields, headers={"Accept-Language": language}
            )
            assert answer.status_code == 400
            assert words in answer.text
        assert books.rows_of(Charge) == []


class TestMapi:
    def test_the_same_order_twice_is_one_charge_and_other_content_is_refused(self, client, shop):
        first = order(client, shop.order("A1", "月卡", "12.50"))
        assert first["code"] == 1
        assert re.fullmatch(LINK + r"\?wallet=alipay", first["payurl"])
        assert first["qrcode"] == lifecycle_link(first["trade_no"])
        # The shopper went back and chose another wallet; the shop writes the money another way.
        again = order(client, shop.order("A1", "月卡", "12.5", type="wxpay", device="mobile"))
        assert again["trade_no"] == first["trade_no"]
        assert again["payurl"].endswith("?wallet=wechatpay")
        assert "qrcode" not in again
        for other in ({"money": "12.51"}, {"name": "年卡"}, {"notify_url": f"{shop.home}/x"}, {"param": "7"}):
            refused = order(client, shop.order("A1", **({"name": "月卡", "money": "12.50"} | other)))
            assert refused["code"] == -1
            assert "订单号" in refused["msg"]
            assert "other content" in refused["msg"]
        assert len(books.rows_of(Charge)) == len(books.rows_of(EpayOrder)) == 1

    @ONLY_SQLITE
    def test_it_is_asked_by_form_by_address_or_by_both_at_once(self, client, shop):
        asked = shop.order("A1", "月卡", "12.50")
        unsigned = {name: value for name, value in asked.items() if name not in ("sign", "sign_type")}
        answers = [
            client.post("/mapi.php", data=asked),
            client.get("/mapi.php", query_string=asked),
            client.post("/mapi.php", query_string=asked),
            client.post("/mapi.php", query_string=asked, data=unsigned),
        ]
        assert len({answer.json["trade_no"] for answer in answers}) == 1
        told = shop.asks("order", out_trade_no="A1")
        answer = client.post("/api.php?act=order", data=told)
        assert (answer.json["code"], answer.json["out_trade_no"]) == (1, "A1")

    @ONLY_SQLITE
    def test_a_number_of_a_charge_that_was_made_another_way_is_taken(self, client, shop, merchant):
        books.make_charge(merchant, merchant_order_no="A1")
        assert "other content" in order(client, shop.order("A1", "一杯拿铁", "12.50"))["msg"]

    @ONLY_SQLITE
    @pytest.mark.parametrize(
        ("change", "word"),
        [
            *[
                ({"money": bad}, "money")
                for bad in ("", "0", "0.00", "-1", "1.005", "1e2", "１", "1,00", "+1")
            ],
            ({"money": "12345678901"}, "money"),
            ({"name": ""}, "name"),
            ({"name": "a\x07b"}, "name"),
            ({"out_trade_no": ""}, "out_trade_no"),
            ({"out_trade_no": "x" * 65}, "out_trade_no"),
            ({"out_trade_no": "订单"}, "out_trade_no"),
            ({"type": "qqpay"}, "type"),
            ({"notify_url": ""}, "notify_url"),
            ({"notify_url": "http://169.254.169.254/latest"}, "notify_url"),
            ({"notify_url": "http://10.0.0.8/notify"}, "notify_url"),
            ({"notify_url": "gopher://shop.example.com/"}, "notify_url"),
            ({"return_url": "javascript:alert(1)"}, "return_url"),
            ({"param": "x" * 501}, "param"),
            (
                {"notify_url": "https://shop.example.com/" + "x" * 900, "param": "长" * 200},
                "too long together",
            ),
            ({"sign_type": "RSA"}, "MD5"),
            ({"sign": "0" * 32}, "signature"),
            ({"sign": ""}, "signature"),
            ({"pid": "1"}, "pid"),
            ({"pid": "'"}, "pid"),
        ],
    )
    def test_what_is_wrong_is_said_in_the_protocols_form_and_makes_nothing(self, client, shop, change, word):
        fields = shop.order("A1", "月卡", "12.50") | change
        refused = order(client, fields if "sign" in change else fields | {"sign": shop.sign(fields)})
        assert refused["code"] < 0
        assert word in refused["msg"]
        assert re.search("[一-鿿]", refused["msg"]), "in Chinese, too"
        assert books.rows_of(Charge) == []

    @ONLY_SQLITE
    @pytest.mark.parametrize("name", ["pid", "money", "name", "notify_url", "out_trade_no", "param"])
    def test_nothing_that_was_signed_can_be_changed_on_the_way(self, client, shop, name):
        fields = shop.order("A1", "月卡", "12.50", param="user-7")
        assert order(client, fields | {name: fields[name] + "1"})["code"] < 0
        assert order(client, {**fields, "extra": "1"})["code"] < 0
        assert books.rows_of(Charge) == []

    @ONLY_SQLITE
    def test_a_request_cannot_be_cut_into_another_with_the_same_signature(self, client, shop):
        """A customer who may write into the name of the goods would pay one yuan for what costs a hundred."""
        honest = shop.order("A1", "礼物 &money=1.00&name=礼物", "100.00")
        text = "192.0.2.7&device=pc&money=100.00&name=礼物 "
        cut = {**honest, "clientip": text, "money": "1.00", "name": "礼物"}
        del cut["device"]
        assert shop.sign(cut) == shop.sign(honest), "the protocol's flaw"
        for fields in (honest, cut):
            refused = order(client, fields)
            assert refused["code"] == -1
            assert "reads like another parameter" in refused["msg"]

    @ONLY_SQLITE
    def test_a_long_name_is_cut_at_127_bytes_and_between_characters(self, client, shop):
        assert order(client, shop.order("A1", "会员" * 60, "1"))["code"] == 1
        name = books.row_of(Charge, merchant_order_no="A1").description
        assert name == ("会员" * 60)[:42]
        assert len(name.encode()) <= 127

    @ONLY_SQLITE
    def test_text_in_another_encoding_is_told_apart_from_a_wrong_key(self, client, shop):
        body = urlencode(shop.order("A1", "月卡", "12.50"), encoding="gbk")
        answer = client.post("/mapi.php", data=body, content_type="application/x-www-form-urlencoded")
        assert "UTF-8" in answer.json["msg"]

    @ONLY_SQLITE
    def test_a_paid_or_ended_order_is_said_to_be_so(self, client, shop, merchant):
        fields = shop.order("A1", "月卡", "12.50")
        books.pay(order(client, fields)["trade_no"])
        assert "paid already" in order(client, fields)["msg"]
        gone = shop.order("A2", "月卡", "12.50")
        lifecycle.cancel_charge(merchant.id, order(client, gone)["trade_no"])
        assert "was canceled" in order(client, gone)["msg"]

    @ONLY_SQLITE
    def test_what_is_off_answers_nobody(self, client, shop, merchant, other_merchant):
        fields = shop.order("A1", "月卡", "12.50")
        switch.disable(merchant.id, livemode=False)
        assert order(client, fields)["code"] == -3
        assert client.post("/submit.php", data=fields).status_code == 400
        assert ask(client, shop.asks("query"))["code"] == -3
        assert switch.enable(merchant.id, livemode=False) is None, "the key is shown once"
        assert order(client, fields)["code"] == 1
        assert switch.find_row(other_merchant.id, livemode=False) is None

    @ONLY_SQLITE
    def test_a_new_key_ends_the_old_one(self, client, shop, merchant):
        fields = shop.order("A1", "月卡", "12.50")
        key = switch.rotate(merchant.id, livemode=False)
        assert "signature" in order(client, fields)["msg"]
        assert (
            order(client, LibraryShop(shop.gateway, shop.pid, key, shop.home).order("A1", "月卡", "1"))[
                "code"
            ]
            == 1
        )

    @ONLY_SQLITE
    def test_live_has_a_pid_of_its_own(self, client, shop, merchant, door):
        key = switch.enable(merchant.id, livemode=True)
        live = switch.find_row(merchant.id, livemode=True)
        assert live.pid != shop.pid
        assert (
            order(client, LibraryShop(shop.gateway, live.pid, key, door.url).order("A1", "月卡", "1"))["code"]
            == 1
        )
        assert order(client, shop.order("A1", "月卡", "1"))["code"] == 1
        assert sorted(row.livemode for row in books.rows_of(Charge)) == [False, True]


class TestApi:
    @ONLY_SQLITE
    def test_an_order_is_told_until_and_after_it_is_paid(self, client, shop, merchant):
        made = order(client, shop.order("A1", "月卡", "12.50", param="user-7"))
        waiting = ask(client, shop.asks("order", out_trade_no="A1"))
        assert (
            waiting
            | {
                "code": 1,
                "trade_no": made["trade_no"],
                "out_trade_no": "A1",
                "type": "alipay",
                "pid": int(shop.pid),
                "name": "月卡",
                "money": "12.50",
                "status": 0,
                "param": "user-7",
                "endtime": "",
            }
            == waiting
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", waiting["addtime"])
        books.pay(made["trade_no"])
        paid = ask(client, shop.asks_signed("order", trade_no=made["trade_no"]))
        assert (paid["code"], paid["status"], paid["type"]) == (1, 1, "alipay")
        assert paid["api_trade_no"]
        assert paid["endtime"]

    @ONLY_SQLITE
    def test_lists_and_counts_are_of_this_merchant_alone(self, client, shop, other_merchant):
        for number in ("A1", "A2", "A3"):
            order(client, shop.order(number, "月卡", "1"))
        told = ask(client, shop.asks("orders", limit="2"))
        assert [row["out_trade_no"] for row in told["data"]] == ["A3", "A2"]
        rest = ask(client, shop.asks("orders", limit="2", page="2"))
        assert [row["out_trade_no"] for row in rest["data"]] == ["A1"]
        told = ask(client, shop.asks("query"))
        assert (told["orders"], told["order_today"], told["order_lastday"]) == (3, 3, 0)
        assert shop.key not in str(told)
        assert ask(client, shop.asks("settle")) | {"code": 1, "data": []} == ask(client, shop.asks("settle"))

        key = switch.enable(other_merchant.id, livemode=False)
        pid = switch.find_row(other_merchant.id, livemode=False).pid
        stranger = LibraryShop(shop.gateway, pid, key)
        assert ask(client, stranger.asks("orders"))["data"] == []
        assert "no such order" in ask(client, stranger.asks("order", out_trade_no="A1"))["msg"]

    @ONLY_SQLITE
    def test_only_the_key_or_a_signature_opens_it(self, client, shop):
        order(client, shop.order("A1", "月卡", "1"))
        asked = shop.asks("order", out_trade_no="A1")
        for wrong in (
            {"key": "x"},
            {"key": ""},
            {"key": shop.key.lower()},
            {"act": "delete"},
            {"pid": "999999999"},
        ):
            assert ask(client, asked | wrong)["code"] < 0
        del asked["key"]
        assert ask(client, asked)["code"] < 0

    def test_a_refund_is_made_once_however_often_it_is_asked_for(self, client, shop, merchant):
        trade_no = order(client, shop.order("A1", "月卡", "12.50"))["trade_no"]
        books.pay(trade_no)

        def refund(money: str, **more: str) -> dict[str, Any]:
            asked = shop.asks("refund", trade_no=trade_no, money=money, **more)
            return dict(
                client.post("/api.php?act=refund", data={k: v for k, v in asked.items() if k != "act"}).json
            )

        assert "switched off" in refund("2.00")["msg"]
        switch.allow_refunds(merchant.id, True, livemode=False)
        first = refund("2.00")
        assert first["code"] == 1
        assert refund("2.00")["refund_no"] == refund("2")["refund_no"] == first["refund_no"]
        assert refund("2.00", out_refund_no="R2")["refund_no"] != first["refund_no"]
        assert refund("20.00")["code"] == -1
        assert "not left" in refund("9.00")["msg"]
        assert [row.amount_minor for row in books.rows_of(Refund)] == [200, 200]

        books.end_refund(merchant, first["refund_no"], Outcome.FAILED)
        assert refund("2.00")["refund_no"] != first["refund_no"], "what failed is tried anew"

    @ONLY_SQLITE
    def test_a_refund_that_waits_for_approval_is_no_success(self, client, shop, merchant):
        trade_no = order(client, shop.order("A1", "月卡", "12.50"))["trade_no"]
        books.pay(trade_no)
        policy.save_policy(merchant.id, Policy(refund_limit_minor=0, refund_limit_for_keys=True), by=SERVER)
        switch.allow_refunds(merchant.id, True, livemode=False)
        told = client.post("/api.php", data=shop.asks("refund", trade_no=trade_no, money="12.50")).json
        assert told["code"] == -1
        assert "approval" in told["msg"]
        assert ask(client, shop.asks("order", trade_no=trade_no))["status"] == 2, (
            "counted as gone while it waits"
        )


class TestComeBack:
    @ONLY_SQLITE
    def test_the_way_back_is_signed_when_it_is_paid_and_bare_before(self, client, front):
        shop = PanelShop("http://pay.example.com/", front.pid, front.key)
        client.get(shop.address("A1", 1900))
        charge = books.row_of(Charge, merchant_order_no="A1")
        back = urlsplit(charge.return_url)
        assert charge.return_url.startswith("http://pay.example.com/epay/return/")
        assert client.get(back.path).location == "https://shop.example.com/#/order/A1"

        books.pay(charge.id)
        address = client.get(back.path).location
        assert address.startswith("https://shop.example.com/#/order/A1?")
        query = dict(parse_qsl(address.partition("?")[2]))
        assert shop.believes(query)
        assert (query["trade_no"], query["trade_status"]) == (charge.id, "TRADE_SUCCESS")
        assert client.get(back.path[:-1] + "x").status_code == 404

        books.refund(merchant_of(charge), charge.id)
        assert client.get(back.path).location == "https://shop.example.com/#/order/A1"


def merchant_of(charge: Any) -> Any:
    return Shop(charge.merchant_id, "", "", "", "", "")


def lifecycle_link(charge_id: str) -> str:
    return link_of(books.row_of(Charge, id=charge_id))


def test_md5_opens_nothing_else(client: FlaskClient, shop: LibraryShop) -> None:
    for key in (shop.key, f"{shop.pid}:{shop.key}"):
        answer = client.get("/v1/charges", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 401
