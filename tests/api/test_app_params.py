"""POST /v1/charges/{id}/app_params: what a wallet's mobile SDK takes, for the merchant's own app."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from app.charges import attempts
from app.charges.models import Attempt
from app.charges.states import AttemptState
from app.clock import to_rfc3339
from app.errors import ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.providers.alipay import Alipay
from app.providers.base import AppParams
from app.providers.unionpay import UnionPay
from app.providers.wechatpay import WechatPay
from tests.api.calls import error_of, refusal
from tests.books import charge_of, make_charge, row_of, rows_of
from tests.providers import unionpay_forge, wechatpay_forge


def ask(api, charge_id, provider="alipay", **more):
    return api.post(f"/v1/charges/{charge_id}/app_params", {"provider": provider}, **more)


@pytest.fixture
def wallets(merchant, monkeypatch):
    """The other two wallets' accounts; their networks open what they are asked to, and close it."""
    for code, settings in (("wechatpay", wechatpay_forge.PUBLIC_KEY_MODE), ("unionpay", unionpay_forge.PAIR)):
        accounts.add_account(merchant.id, code, livemode=False, name=code, settings=settings)
    monkeypatch.setattr(
        WechatPay, "start", lambda self, order: AppParams({"prepayid": "wx1"}, good_for_s=7200)
    )
    monkeypatch.setattr(UnionPay, "start", lambda self, order: AppParams({"tn": "8231", "mode": "01"}))


def test_the_app_gets_what_the_sdk_takes(api, merchant):
    charge = make_charge(merchant)
    answer = ask(api, charge.id)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert list(body) == ["object", "charge", "provider", "params", "expires_at"]
    assert (body["object"], body["charge"], body["provider"]) == ("app_params", charge.id, "alipay")
    order = parse_qs(body["params"]["order_string"])
    assert order["method"] == ["alipay.trade.app.pay"]
    row = row_of(Attempt, charge_id=charge.id)
    assert body["expires_at"] == to_rfc3339(min(row.step_expires_at or row.expires_at, row.expires_at))
    assert (row.scene, row.provider, row.state) == ("app", "alipay", AttemptState.STARTED)


def test_the_same_call_again_is_answered_with_the_same(api, merchant):
    charge = make_charge(merchant)
    assert ask(api, charge.id).data == ask(api, charge.id).data
    assert len(rows_of(Attempt, charge_id=charge.id)) == 1


def test_what_has_run_out_is_answered_afresh_under_the_same_number(api, merchant, at, monkeypatch):
    charge, seen = make_charge(merchant), []

    def start(self, order):
        seen.append(order.ref.out_trade_no)
        return AppParams({"order_string": f"n={len(seen)}"}, good_for_s=600)

    monkeypatch.setattr(Alipay, "start", start)
    first = ask(api, charge.id).get_json()
    at(timedelta(minutes=11))
    second = ask(api, charge.id).get_json()
    assert (first["params"], second["params"]) == ({"order_string": "n=1"}, {"order_string": "n=2"})
    assert first["expires_at"] < second["expires_at"]
    assert seen[0] == seen[1]


def test_another_provider_retires_the_older_attempt(api, merchant, wallets, monkeypatch):
    charge, retired = make_charge(merchant), []
    retire = attempts.retire

    def noted(attempt):
        retired.append(attempt.provider)
        return retire(attempt)

    monkeypatch.setattr(attempts, "retire", noted)
    ask(api, charge.id)
    assert ask(api, charge.id, "unionpay").get_json()["params"] == {"tn": "8231", "mode": "01"}
    assert retired == ["alipay"]


def test_each_wallet_can_be_paid_in_an_app(api, merchant, wallets):
    for provider in ("alipay", "wechatpay", "unionpay"):
        assert ask(api, make_charge(merchant).id, provider).status_code == 200


def test_the_way_back_is_the_shops_address_or_the_payment_link(api, merchant, monkeypatch):
    seen = []

    def start(self, order):
        seen.append(order.return_url)
        return AppParams({})

    monkeypatch.setattr(Alipay, "start", start)
    link = ask(api, make_charge(merchant).id) and seen.pop()
    assert link.startswith("http://PAY.EXAMPLE.COM/C/")
    ask(api, make_charge(merchant, return_url="https://shop.example/app").id)
    assert seen == ["https://shop.example/app"]


def test_what_cannot_be_paid_like_this_is_refused_by_name(api, live_api, stranger, merchant):
    charge = make_charge(merchant)
    assert refusal(ask(api, charge.id, "paypal")) == (400, "unknown_provider", "provider")
    assert refusal(ask(api, charge.id, "wechatpay")) == (409, "provider_not_set_up", None)
    assert refusal(ask(api, "ch_01jd3w6j7hqk2m8n4p6r8t0v2x")) == (404, "not_found", None)
    for other in (live_api, stranger):
        assert refusal(ask(other, charge.id)) == (404, "not_found", None)
    for body in ({}, {"provider": 1}, {"provider": "alipay", "scene": "app"}):
        assert api.post(f"/v1/charges/{charge.id}/app_params", body).status_code == 400
    dollars = api.charge(currency="usd").get_json()["id"]
    assert refusal(ask(api, dollars)) == (409, "provider_unsuitable", None)
    assert rows_of(Attempt) == []


def test_what_is_over_is_a_conflict(api, merchant, far_side):
    charge = make_charge(merchant)
    api.post(f"/v1/charges/{charge.id}/cancel")
    assert refusal(ask(api, charge.id)) == (409, "charge_not_payable", None)
    assert charge_of(merchant, charge.id).state == "canceled"


def test_a_wallets_no_and_its_silence_are_told_apart(api, merchant, monkeypatch):
    def refuse(self, order):
        raise ProviderRejected("alipay: no", provider_code="ACQ.ACCESS_FORBIDDEN")

    def silent(self, order):
        raise ProviderUnreachable("no answer")

    charge = make_charge(merchant)
    monkeypatch.setattr(Alipay, "start", silent)
    answer = ask(api, charge.id)
    assert refusal(answer) == (503, "provider_unreachable", None)
    assert answer.headers["Retry-After"] == "5"
    monkeypatch.setattr(Alipay, "start", refuse)
    answer = ask(api, charge.id)
    assert error_of(answer)["type"] == "provider_error"
    assert refusal(answer) == (402, "provider_rejected", None)
    assert row_of(Attempt, charge_id=charge.id).state == AttemptState.FAILED
