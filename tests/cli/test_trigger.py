"""What is triggered really happens: over the API, at a house that is played by a site made to order.

Against a running house and its sandbox it is in tests/examples.
"""

from __future__ import annotations

import json

import pytest

from app.cli import trigger
from tests.cli.conftest import json_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def far(site):
    """A Mafu with one charge, of which these events came."""

    def far(*types, livemode=False, refunds=True):
        charge = {"id": "ch_1", "url": f"{site.url}/C/t", "livemode": livemode}
        events = [
            {"id": f"evt_{n}", "type": t, "created_at": "2026-01-15T02:00:00Z"} for n, t in enumerate(types)
        ]
        site.says("POST /v1/charges", json.dumps(charge), 201)
        site.says("POST /v1/charges/ch_1/cancel", json.dumps(charge))
        site.says("GET /v1/events", json.dumps({"data": events[::-1], "has_more": False}))
        if refunds:
            site.says("POST /v1/refunds", json.dumps({"id": "re_1"}), 201)
        return site

    return far


@pytest.fixture
def paid(monkeypatch):
    """The shopper, who pays whatever they are shown."""
    seen = []
    monkeypatch.setattr(trigger, "_pay", lambda link, provider: seen.append((link, provider)))
    return seen


def asked(site) -> list[str]:
    return [f"{method} {path}" for method, path, _, _ in site.seen if method == "POST"]


def test_a_charge_is_created_and_its_event_awaited(run, far):
    site = far("charge.created")
    made = json_of(run(f"trigger charge.created --url {site.url} --key k --json"))
    assert made == {
        "object": "ch_1",
        "came": True,
        "events": [{"id": "evt_0", "type": "charge.created"}],
    }
    assert asked(site) == ["POST /v1/charges"]
    assert site.seen[0][2]["authorization"] == "Bearer k"


def test_a_charge_is_canceled(run, far):
    site = far("charge.created", "charge.canceled")
    result = run(f"trigger charge.canceled --url {site.url} --key k")
    assert result.exit_code == 0
    assert asked(site) == ["POST /v1/charges", "POST /v1/charges/ch_1/cancel"]
    assert [line.split()[-2] for line in result.stdout.splitlines()[1:]] == [
        "charge.created",
        "charge.canceled",
    ]


@pytest.mark.parametrize(
    ("event", "amount", "provider"),
    [
        ("charge.paid", 1250, "alipay"),
        ("charge.amount_mismatched", 8, "alipay"),
        ("refund.succeeded", 1250, "alipay"),
        ("refund.failed", 21, "wechatpay"),
    ],
)
def test_the_shopper_pays_the_amount_that_makes_it_happen(run, far, paid, event, amount, provider):
    site = far(event)
    result = run(f"trigger {event} --url {site.url} --key k")
    assert result.exit_code == 0, result.output
    assert paid == [(f"{site.url}/C/t", provider)]
    assert json.loads(site.seen[0][3])["amount"] == amount
    assert ("POST /v1/refunds" in asked(site)) == event.startswith("refund.")


def test_an_event_that_does_not_come_exits_1(run, far, paid):
    site = far("charge.created")
    result = run(f"trigger charge.paid --url {site.url} --key k --wait 0")
    assert (result.exit_code, result.stderr) == (1, "charge.paid did not come within 0 s\n")


def test_a_key_for_real_money_pays_nothing_and_leaves_nothing_open(run, far, paid):
    site = far("charge.paid", livemode=True)
    result = run(f"trigger charge.paid --url {site.url} --key k")
    assert (result.exit_code, paid) == (1, [])
    assert asked(site) == ["POST /v1/charges", "POST /v1/charges/ch_1/cancel"]


def test_a_mafu_without_refunds_says_so(run, far, paid):
    site = far("charge.paid", refunds=False)
    result = run(f"trigger refund.created --url {site.url} --key k")
    assert (result.exit_code, result.stderr) == (1, "Error: this Mafu has no refunds over the API\n")


def test_a_shopper_who_cannot_pay_is_said(run, far):
    site = far("charge.created")
    site.says("/C/t", "<p>closed</p>")
    result = run(f"trigger charge.paid --url {site.url} --key k")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the shopper could not pay")


def test_what_the_api_refuses_is_said_with_its_field(run, far):
    site = far()
    error = {"error": {"type": "x", "code": "y", "message": "must be more", "param": "amount"}}
    site.says("POST /v1/charges", json.dumps(error), 400)
    result = run(f"trigger charge.created --url {site.url} --key k")
    assert (result.exit_code, result.stderr) == (1, "Error: the API answered 400: amount must be more\n")


def test_an_unknown_event_exits_2(run, house):
    assert run("trigger charge.stolen").exit_code == 2
