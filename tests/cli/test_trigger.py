"""What is triggered really happens: over the API, at a house that is played by a site made to order.

Against a running house and its sandbox it is in tests/examples.
"""

from __future__ import annotations

import json

import pytest

from app.cli import trigger
from app.webhooks import types
from tests.cli.conftest import json_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def far(site):
    """A Mafu with one charge, of which these events came."""

    def far(*types, livemode=False):
        charge = {"id": "ch_1", "url": f"{site.url}/C/t", "livemode": livemode}
        events = [
            {"id": f"evt_{n}", "type": t, "created_at": "2026-01-15T02:00:00Z"} for n, t in enumerate(types)
        ]
        site.says("POST /v1/charges", json.dumps(charge), 201)
        for verb in ("cancel", "pay", "begin", "expire"):
            place = "charges" if verb == "cancel" else "test_helpers/charges"
            site.says(f"POST /v1/{place}/ch_1/{verb}", json.dumps(charge))
        site.says("GET /v1/events", json.dumps({"data": events, "has_more": False}))
        site.says("POST /v1/refunds", json.dumps({"id": "re_1"}), 201)
        return site

    return far


def asked(site) -> list[str]:
    """What was done, with the wallet it was done with."""
    return [
        f"{path.removeprefix('/v1/')} {json.loads(body or '{}').get('provider', '')}".strip()
        for method, path, _, body in site.seen
        if method == "POST"
    ]


def test_a_charge_is_created_and_its_event_awaited(run, far):
    site = far("charge.created")
    made = json_of(run(f"trigger charge.created --url {site.url} --key k --json"))
    assert made == {
        "object": "ch_1",
        "came": True,
        "events": [{"id": "evt_0", "type": "charge.created"}],
    }
    assert asked(site) == ["charges"]
    assert site.seen[0][2]["authorization"] == "Bearer k"


def test_a_charge_is_canceled(run, far):
    site = far("charge.created", "charge.canceled")
    result = run(f"trigger charge.canceled --url {site.url} --key k")
    assert result.exit_code == 0
    assert asked(site) == ["charges", "charges/ch_1/cancel"]
    assert [line.split()[-2] for line in result.stdout.splitlines()[1:]] == [
        "charge.created",
        "charge.canceled",
    ]


HELP = "test_helpers/charges/ch_1"


@pytest.mark.parametrize(
    ("event", "deeds"),
    [
        ("charge.paid", [f"{HELP}/pay alipay"]),
        ("charge.amount_mismatched", [f"{HELP}/pay alipay"]),
        ("charge.expired", [f"{HELP}/expire"]),
        ("charge.paid_late", [f"{HELP}/begin alipay", f"{HELP}/expire", f"{HELP}/pay alipay"]),
        (
            "charge.double_paid",
            [f"{HELP}/begin wechatpay", f"{HELP}/pay alipay", f"{HELP}/pay wechatpay"],
        ),
        ("refund.succeeded", [f"{HELP}/pay alipay", "refunds"]),
        ("refund.failed", [f"{HELP}/pay wechatpay", "refunds"]),
    ],
)
def test_shopper_and_time_do_what_makes_it_happen(run, far, event, deeds):
    site = far(event)
    result = run(f"trigger {event} --url {site.url} --key k")
    assert result.exit_code == 0, result.output
    assert asked(site) == ["charges", *deeds]


@pytest.mark.parametrize(
    ("event", "deeds", "about"),
    [
        ("topup.succeeded", [], "tu_1"),
        ("topup.refunded", ["refunds"], "tu_1"),
        ("member.balance_changed", [], "mb_1"),
    ],
)
def test_a_member_tops_up(run, far, event, deeds, about):
    site = far(event)
    site.says("POST /v1/members", json.dumps({"id": "mb_1"}))
    topup = {"id": "tu_1", "member": "mb_1", "charge": "ch_1", "livemode": False}
    site.says("POST /v1/topups", json.dumps(topup), 201)
    assert json_of(run(f"trigger {event} --url {site.url} --key k --json"))["object"] == about
    assert asked(site) == ["members", "topups", f"{HELP}/pay alipay", *deeds]
    site.says("POST /v1/topups", json.dumps({**topup, "livemode": True}), 201)
    assert run(f"trigger {event} --url {site.url} --key k").exit_code == 1
    assert asked(site)[-1] == "charges/ch_1/cancel"


def test_an_endpoint_is_pinged_if_there_is_one_that_listens(run, far):
    site = far("endpoint.ping")
    site.says("GET /v1/webhook_endpoints", json.dumps({"data": [{"id": "we_1", "status": "disabled"}]}))
    result = run(f"trigger endpoint.ping --url {site.url} --key k")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no webhook endpoint to ping\n")
    site.says("GET /v1/webhook_endpoints", json.dumps({"data": [{"id": "we_2", "status": "enabled"}]}))
    site.says("POST /v1/webhook_endpoints/we_2/ping", json.dumps({"event": "evt_0"}))
    assert json_of(run(f"trigger endpoint.ping --url {site.url} --key k --json"))["object"] == "we_2"


def test_an_endpoint_of_its_own_is_disabled_and_deleted(run, far):
    site = far("webhook_endpoint.disabled")
    made = {"id": "we_1", "livemode": False}
    site.says("POST /v1/webhook_endpoints", json.dumps(made), 201)
    site.says("POST /v1/webhook_endpoints/we_1", json.dumps(made))
    site.says("DELETE /v1/webhook_endpoints/we_1", "{}")
    asked_for = f"trigger webhook_endpoint.disabled --url {site.url} --key k"
    assert json_of(run(f"{asked_for} --json")) == {
        "object": "we_1",
        "came": True,
        "events": [{"id": "evt_0", "type": "webhook_endpoint.disabled"}],
    }
    done = [(method, path) for method, path, _, _ in site.seen if method != "GET"]
    assert done == [
        ("POST", "/v1/webhook_endpoints"),
        ("POST", "/v1/webhook_endpoints/we_1"),
        ("DELETE", "/v1/webhook_endpoints/we_1"),
    ]
    site.says("POST /v1/webhook_endpoints", json.dumps({**made, "livemode": True}), 201)
    assert run(asked_for).exit_code == 1
    assert site.seen[-1][:2] == ("DELETE", "/v1/webhook_endpoints/we_1")


@pytest.mark.parametrize(
    ("event", "deeds"),
    [
        ("qr_code.created", ["qr_codes/qr_1"]),
        ("qr_code.enabled", ["qr_codes/qr_1", "qr_codes/qr_1", "qr_codes/qr_1"]),
        ("qr_code.quiet", ["test_helpers/qr_codes/qr_1/go_quiet", "qr_codes/qr_1"]),
    ],
)
def test_a_code_is_made_for_it_and_disabled_afterwards(run, far, event, deeds):
    site = far(event)
    made = json.dumps({"id": "qr_1", "livemode": False})
    for path in ("qr_codes", "qr_codes/qr_1", "test_helpers/qr_codes/qr_1/go_quiet"):
        site.says(f"POST /v1/{path}", made)
    result = run(f"trigger {event} --url {site.url} --key k")
    assert result.exit_code == 0, result.output
    assert asked(site) == ["qr_codes", *deeds]
    assert json.loads(site.seen[-2][3]) == {"active": False}


def test_every_event_but_those_of_a_days_bill_can_be_made_to_happen(app):
    tomorrows = {types.RECONCILIATION_COMPLETED, types.DISCREPANCY_OPENED}  # there is no bill of today
    assert set(trigger.SCENES) == set(types.ALL) - tomorrows


def test_an_event_that_does_not_come_exits_1(run, far):
    site = far("charge.created")
    result = run(f"trigger charge.paid --url {site.url} --key k --wait 0")
    assert (result.exit_code, result.stderr) == (1, "charge.paid did not come within 0 s\n")


def test_a_key_for_real_money_pays_nothing_and_leaves_nothing_open(run, far):
    site = far("charge.paid", livemode=True)
    result = run(f"trigger charge.paid --url {site.url} --key k")
    assert result.exit_code == 1
    assert asked(site) == ["charges", "charges/ch_1/cancel"]


def test_what_the_api_refuses_is_said_with_its_field(run, far):
    site = far()
    error = {"error": {"type": "x", "code": "y", "message": "must be more", "param": "amount"}}
    site.says("POST /v1/charges", json.dumps(error), 400)
    result = run(f"trigger charge.created --url {site.url} --key k")
    assert (result.exit_code, result.stderr) == (1, "Error: the API answered 400: amount must be more\n")


def test_an_unknown_event_exits_2(run, house):
    assert run("trigger charge.stolen").exit_code == 2
