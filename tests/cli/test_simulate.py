"""The shopper of the shell: what they do at odd pages, and where they never go.

The whole walk against a running house is in test_serve.py.
"""

from __future__ import annotations

import json

import pytest

from app.cli import simulate

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BAR = '<aside class="test">Test mode</aside>'
WALLET = '<form method="post"><input type="hidden" name="provider" value="alipay"><button>Pay</button></form>'
SHEET = '<form method="post"><button name="action" value="approve">Yes</button></form>'


@pytest.fixture
def shop(site):
    """A checkout at /C/t that leads to a cashier at /cashier, and is paid once that was used."""
    site.says("/C/t", BAR + WALLET)
    site.says("/C/t/status", json.dumps({"status": "pending"}))
    site.says("POST /C/t", status=303, Location="../cashier")
    site.says("GET /cashier", SHEET)
    site.says("POST /cashier", status=303, Location="/C/t?back=1")
    return site


def steps(result) -> list[str]:
    return [line.partition(". ")[2] for line in result.stdout.splitlines()]


def test_paid_is_what_the_checkout_says_and_nothing_else(run, shop):
    """Approving is not paying: the status decides, and it says "pending" to the end."""
    result = run(f"simulate pay {shop.url}/C/t --wait 0.1")
    assert result.exit_code == 1
    assert steps(result) == [
        f"opened {shop.url}/C/t",
        f"chose alipay, and came to {shop.url}/cashier",
        f"pressed approve, and came to {shop.url}/C/t",
        "the charge is pending",
    ]
    assert ("POST", "/C/t", "provider=alipay") in [(seen[0], seen[1], seen[3]) for seen in shop.seen]
    assert ("POST", "/cashier", "action=approve") in [(seen[0], seen[1], seen[3]) for seen in shop.seen]


@pytest.mark.parametrize(("status", "code"), [("paid", 0), ("expired", 1), ("canceled", 1), ("review", 1)])
def test_a_charge_that_has_ended_is_left_alone(run, shop, status, code):
    shop.says("/C/t/status", json.dumps({"status": status}))
    result = run(f"simulate pay {shop.url}/C/t --json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["status"] == status
    assert not [seen for seen in shop.seen if seen[0] == "POST"]


def test_a_live_checkout_is_not_touched(run, shop):
    shop.says("/C/t", WALLET)
    result = run(f"simulate pay {shop.url}/C/t")
    assert result.exit_code == 1
    assert steps(result) == ["this is not a checkout in test mode: nothing was sent"]
    assert [seen[0] for seen in shop.seen] == ["GET"]


@pytest.mark.parametrize(
    "far", ["https://openapi.alipay.com/gateway.do?x=1", "http://198.51.100.7/", "//evil.example/"]
)
def test_a_real_network_is_never_called(run, shop, far):
    shop.says("POST /C/t", status=303, Location=far)
    result = run(f"simulate pay {shop.url}/C/t")
    assert result.exit_code == 1
    assert "which is no sandbox: nothing was approved there" in steps(result)[-1]


def test_a_wallet_that_cannot_be_opened_exits_3(run, shop):
    shop.says("/C/t", BAR + "<p>Open in browser</p>")
    result = run(f"simulate pay {shop.url}/C/t --as wechat")
    assert result.exit_code == 3
    assert "MicroMessenger" in shop.seen[0][2]["user-agent"]


def test_a_code_on_a_desktop_is_scanned_with_the_wallet(run, shop):
    shop.says("/C/t", BAR + '<a data-wallet-code href="/qr">code</a>')
    shop.says("/qr", status=303, Location="cashier")
    result = run(f"simulate pay {shop.url}/C/t --as desktop --wait 0")
    assert f"scanned the wallet's code, and came to {shop.url}/cashier" in steps(result)
    agents = {seen[1]: seen[2]["user-agent"] for seen in shop.seen}
    assert "X11" in agents["/C/t"]
    assert "AlipayClient" in agents["/qr"]


def test_a_cashier_that_cannot_decline_is_said(run, shop):
    result = run(f"simulate pay {shop.url}/C/t --decline")
    assert (result.exit_code, steps(result)[-1]) == (1, f"{shop.url}/cashier has no button to decline")


def test_a_circle_of_redirects_ends(run, shop):
    shop.says("POST /C/t", status=303, Location="/round")
    shop.says("/round", status=302, Location="/round")
    result = run(f"simulate pay {shop.url}/C/t")
    assert steps(result)[-1] == f"more than {simulate.HOPS_MAX} redirects"


def test_nobody_there(run):
    result = run("simulate pay http://127.0.0.1:1/C/t")
    assert (result.exit_code, steps(result)) == (1, ["127.0.0.1: no connection"])


@pytest.mark.parametrize("words", ["ftp://127.0.0.1/C/t", "not-a-link", "http://127.0.0.1/ --as telnet", ""])
def test_a_command_typed_wrongly_exits_2(run, words):
    assert run(f"simulate pay {words}").exit_code == 2


def test_signatures_in_addresses_are_not_printed(run, shop):
    shop.says("POST /C/t", status=303, Location="/cashier?sign=s3cr3t")
    assert "s3cr3t" not in run(f"simulate pay {shop.url}/C/t --wait 0").output
