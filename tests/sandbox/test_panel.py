"""The tester's panel: every network's payments are bent by the same clicks, levers and magic amounts.

What each lever does on the wire of each network is in test_levers.py, test_wechatpay_levers.py and
test_unionpay_levers.py; here it is that nothing is out of reach of a hand, whatever the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import levers, trades
from tests.sandbox import wechat
from tests.sandbox.unionpay_hand import Client

# python-alipay-sdk reads certificates through a layer that its own dependency has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NUMBER = "ORDER0001"


@dataclass
class Till:
    """A merchant of one network: how it asks for money, gives it back, and hears of it."""

    network: str
    app_id: str
    ask_for: Callable[..., Any]  # an amount in fen, a number
    give_back: Callable[[int], Any]
    heard: list[Any]
    is_genuine: Callable[[Any], bool]


@pytest.fixture(params=["alipay", "wechatpay", "unionpay"])
def till(
    request: pytest.FixtureRequest, far: Any, app_key: rsa.RSAPrivateKey, shop: Any, mail: Any
) -> Iterator[Till]:
    # Modes in which a network's key can change under a merchant who knows it by an authority or fetches it.
    if request.param == "alipay":
        merchant = request.getfixturevalue("cert_merchant")
        yield Till(
            "alipay",
            merchant.app_id,
            lambda fen, number=NUMBER: merchant.client.api_alipay_trade_precreate(
                "s", number, str(Decimal(fen) / 100), notify_url=shop.url
            ),
            lambda fen: merchant.client.api_alipay_trade_refund(
                str(Decimal(fen) / 100), NUMBER, out_request_no="R1"
            ),
            shop.heard,
            lambda news: (
                request.getfixturevalue("sandbox_tools").register(far, app_key, mode="cert").genuine(news)
            ),
        )
    elif request.param == "wechatpay":
        mch = wechat.join(far, app_key, mail.url, mode="cert")
        yield Till(
            "wechatpay",
            mch.mchid,
            lambda fen, number=NUMBER: mch.pay(number, fen),
            lambda fen: mch.refund(NUMBER, "R1", fen, total=1250),
            mail.heard,
            lambda news: mch.read(news) is not None,
        )
    else:
        client = Client(far, app_key)
        yield Till(
            "unionpay",
            client.mer_id,
            lambda fen, number=NUMBER: client.qr(number, str(fen), backUrl=shop.url),
            lambda fen: client.back(
                "04", "REFUND001", client.query(NUMBER)["queryId"], str(fen), backUrl=shop.url
            ),
            shop.heard,
            client.genuine,
        )


class Panel(HTMLParser):
    """The panel as a tester sees it: every form that has a button, with the choices of its fields."""

    def __init__(self, far: Any) -> None:
        super().__init__()
        self._far = far
        self.forms: list[dict[str, Any]] = []
        self.feed(far.get("/?lang=en").text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": given["action"], "fields": {}, "choices": []})
        elif tag == "input" and self.forms and given.get("type") == "hidden":
            self.forms[-1]["fields"][given["name"]] = given["value"]
        elif tag == "option" and self.forms:
            self.forms[-1]["choices"].append(given.get("value", ""))

    def deeds(self) -> list[str]:
        """What can be done to the payment, by the last word of the address."""
        found = [form["action"].partition("?")[0].rpartition("/") for form in self.forms]
        return [deed for head, _, deed in found if head.endswith(f"/panel/trades/{NUMBER}")]

    def press(self, where: str, **filled: str) -> None:
        """Fill in the first form whose address holds ``where``, and press its button."""
        form = next(form for form in self.forms if where in form["action"])
        body = urlencode(form["fields"] | filled).encode()
        answer = self._far.ask("POST", form["action"], body, FORM)
        assert answer.status == 303, answer.text


def test_a_payment_of_every_network_is_declined_paid_and_told_again_by_click(
    far: Any, till: Till, sandbox_tools: Any
) -> None:
    till.ask_for(1250)
    assert {"pay", "decline", "close", "open", "forge"} <= set(Panel(far).deeds())
    Panel(far).press("/open")
    assert far.trade(NUMBER)["state"] == "waiting"
    Panel(far).press("/decline")
    assert far.trade(NUMBER)["failure"] == "balance"
    Panel(far).press("/pay")
    assert far.trade(NUMBER)["state"] == "paid"
    sandbox_tools.wait_until(lambda: len(till.heard) == 1)
    Panel(far).press("/notify")
    sandbox_tools.wait_until(lambda: len(till.heard) == 2)
    assert not {"pay", "decline", "close"} & set(Panel(far).deeds())
    Panel(far).press("/finish")
    assert far.trade(NUMBER)["state"] == "finished"


def test_a_closed_payment_of_every_network_is_paid_late_by_click(far: Any, till: Till) -> None:
    till.ask_for(1250)
    Panel(far).press("/open")
    Panel(far).press("/close")
    trade = far.trade(NUMBER)
    assert (trade["state"], trade["paid_minor"]) == ("closed", 0)
    Panel(far).press("/pay")
    assert (far.trade(NUMBER)["state"], far.trade(NUMBER)["paid_minor"]) == ("paid", 1250)


def test_another_amount_is_paid_by_click(far: Any, till: Till) -> None:
    till.ask_for(1250)
    Panel(far).press("/pay", amount="9.99")
    assert far.trade(NUMBER)["paid_minor"] == 999


def test_every_forgery_of_every_network_is_sent_by_click(far: Any, till: Till, sandbox_tools: Any) -> None:
    till.ask_for(1250)
    forms = [form for form in Panel(far).forms if form["action"].partition("?")[0].endswith("/forge")]
    assert len(forms) == 1
    forgeries = far.box.networks[till.network].forgeries
    for count, kind in enumerate(forgeries, 1):
        Panel(far).press("/forge", kind=kind)
        sandbox_tools.wait_until(lambda count=count: len(till.heard) == count)
    assert far.trade(NUMBER)["state"] == "offered"


def test_every_lever_is_pulled_by_click_on_one_payment(far: Any, till: Till) -> None:
    till.ask_for(1250)
    [form] = [form for form in Panel(far).forms if form["fields"].get("out_trade_no") == NUMBER]
    assert set(levers.KINDS) <= set(form["choices"])
    for name in levers.KINDS:
        body = urlencode(form["fields"] | {"name": name, "value": ""}).encode()
        assert far.ask("POST", form["action"], body, FORM).status == 303
    pulled = far.get("/control/levers").json["data"]
    assert [one["name"] for one in pulled] == list(levers.KINDS)
    assert {(one["scope"], one["out_trade_no"]) for one in pulled} == {("trade", NUMBER)}


def test_magic_amounts_pull_their_levers_at_every_network(far: Any, till: Till) -> None:
    """Those that the call itself takes are told by each network's own tests."""
    taken = {"hang", "server_error", "forge_answer", "resp_code"}
    for fen, deeds in levers.MAGIC.items():
        promised = [name for name, _, _ in deeds]
        if taken.isdisjoint(promised):
            till.ask_for(fen, f"MAGIC{fen:04d}")
            pulled = far.get("/control/levers").json["data"]
            assert [one["name"] for one in pulled if one["out_trade_no"] == f"MAGIC{fen:04d}"] == promised


def test_values_that_can_be_listed_are_offered(far: Any) -> None:
    page = far.get("/?lang=en").text
    for kind in levers.KINDS.values():
        for choice in kind.choices:
            assert f'<option value="{choice}" label="{choice} · ' in page
            assert far.post("/control/levers", {"name": kind.name, "value": choice}).status == 201
    assert {"signtest", "closed_before", "risk", "abnormal"} <= {
        choice for kind in levers.KINDS.values() for choice in kind.choices
    }


def test_how_often_and_for_which_call_are_chosen_by_click(far: Any) -> None:
    Panel(far).press("/panel/levers", name="outage", times="3", method="refund", scope="always")
    [pulled] = far.get("/control/levers").json["data"]
    assert (pulled["times_left"], pulled["method"], pulled["scope"]) == (3, "refund", "always")


@pytest.mark.parametrize("times", ["0", "-1", "1001", "x", "١"])  # a digit, but not ours
def test_how_often_is_a_number(far: Any, times: str) -> None:
    body = urlencode({"name": "drop", "times": times}).encode()
    answer = far.ask("POST", "/panel/levers", body, FORM | {"Accept-Language": "en"})
    assert answer.status == 400
    assert "That cannot be done" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


def test_a_pending_refund_is_seen_on_the_panel(far: Any, till: Till) -> None:
    till.ask_for(1250)
    Panel(far).press("/pay")
    far.pull("refund_pending", value="60")
    till.give_back(250)
    assert "refund pending ¥2.50" in far.get("/?lang=en").text
    assert "退款处理中 ¥2.50" in far.get("/?lang=zh").text


@pytest.mark.parametrize("how", ["lever", "magic", "click", "http"])
def test_a_network_changes_its_keys_in_mid_traffic(
    far: Any, till: Till, sandbox_tools: Any, how: str
) -> None:
    """Ordered under the old key, told under the new one, and genuine."""
    network = far.box.networks[till.network]
    till.ask_for(29 if how == "magic" else 1250)
    what = network.rotation_of(_trade(far))
    before = _signs(far, till)
    if how == "lever":
        far.pull("rotate", out_trade_no=NUMBER)
    elif how == "click":
        Panel(far).press(f"/panel/keys/{till.network}", what=what)
    elif how == "http":
        assert far.post("/control/rotate", {"network": till.network, "what": what}).status == 200
    Panel(far).press("/pay")
    sandbox_tools.wait_until(lambda: len(till.heard) == 1)
    assert _signs(far, till) != before
    assert till.is_genuine(till.heard[0])


def test_only_keys_that_there_are_can_be_renewed(far: Any) -> None:
    for wish in ({"network": "paypal"}, {"network": "alipay", "what": "root"}, {}):
        assert far.post("/control/rotate", wish).status in (400, 404)
        body = urlencode({"what": "root"}).encode()
    for network in ("alipay", "wechatpay", "unionpay"):
        assert far.ask("POST", f"/panel/keys/{network}", body, FORM).status == 400


def test_the_key_of_alipays_key_mode_stays(far: Any, merchant: Any, shop: Any) -> None:
    far.pull("rotate", scope="always")
    merchant.client.api_alipay_trade_precreate("s", NUMBER, "12.50", notify_url=shop.url)
    Panel(far).press("/pay")
    assert merchant.genuine(shop.wait(1)[0])


def _trade(far: Any) -> Any:
    with far.box.store.read() as db:
        [trade] = trades.of_number(db, NUMBER)
    return trade


def _signs(far: Any, till: Till) -> Any:
    ring = far.box.networks[till.network]._ring
    if till.network == "alipay":
        return ring.certificate()[0]
    return ring.platform_signer().serial if till.network == "wechatpay" else ring.seal("production").cert_id
