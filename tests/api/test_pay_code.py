"""POST /v1/charges/{id}/pay_code: a till has scanned the code on a shopper's phone."""

from __future__ import annotations

from datetime import timedelta

from app.charges.models import Attempt
from app.db import reading
from app.merchants.journal import Line, masked
from tests.api.calls import refusal
from tests.books import make_charge, rows_of

CODE = "2876543210987654"


def scan(api, charge_id, code=CODE, **more):
    return api.post(f"/v1/charges/{charge_id}/pay_code", {"code": code, **more})


def test_a_code_pays_and_the_answer_is_the_charge(api, merchant, far_side):
    charge = make_charge(merchant)
    answer = scan(api, charge.id, device_id="TILL0007")
    body = answer.get_json()
    assert (answer.status_code, body["id"], body["status"]) == (200, charge.id, "paid")
    assert (body["latest_attempt"]["scene"], body["latest_attempt"]["status"]) == ("counter", "succeeded")
    assert scan(api, charge.id).get_json() == body
    assert far_side.calls == ["alipay.trade.pay"]


def test_a_shopper_who_is_asked_and_one_whose_wallet_is_silent_look_alike(api, merchant, far_side):
    for mood, lost in (("asked", 0), ("paid", 1)):
        far_side.code_mood, far_side.answers_lost = mood, lost
        body = scan(api, make_charge(merchant).id, CODE[:-1] + str(lost)).get_json()
        assert (body["status"], body["latest_attempt"]["status"]) == ("pending", "started")


def test_the_wallets_no_is_402_and_stays_so(api, merchant, far_side):
    charge = make_charge(merchant)
    far_side.code_mood = "refused"
    for _ in range(2):
        assert refusal(scan(api, charge.id)) == (402, "provider_rejected", None)
    assert far_side.calls == ["alipay.trade.pay"]


def test_what_cannot_be_is_refused_by_name(api, live_api, stranger, merchant, far_side, at):
    charge = make_charge(merchant)
    assert refusal(scan(api, charge.id, "9" * 18)) == (400, "pay_code_invalid", "code")
    assert refusal(scan(api, charge.id, "1" * 18)) == (409, "provider_not_set_up", None)
    assert refusal(scan(api, "ch_01jd3w6j7hqk2m8n4p6r8t0v2x")) == (404, "not_found", None)
    for other in (live_api, stranger):
        assert refusal(scan(other, charge.id)) == (404, "not_found", None)
    for body in ({}, {"code": 1}, {"code": CODE, "device_id": "x"}, {"code": CODE, "more": 1}):
        assert api.post(f"/v1/charges/{charge.id}/pay_code", body).status_code == 400
    assert rows_of(Attempt) == []
    far_side.code_mood = "asked"
    scan(api, charge.id)
    assert refusal(scan(api, charge.id, CODE[:-1] + "0")) == (409, "charge_in_payment", None)
    assert refusal(scan(api, make_charge(merchant).id)) == (409, "pay_code_used", None)
    assert refusal(api.post(f"/v1/charges/{charge.id}/cancel")) == (503, "provider_unreachable", None)
    at(timedelta(seconds=16))
    assert api.post(f"/v1/charges/{charge.id}/cancel").get_json()["status"] == "canceled"


def test_no_code_is_written_down(api, merchant, far_side):
    """Neither in a table nor in the request log."""
    scan(api, make_charge(merchant).id)
    with reading() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump()) if _is_sqlite(connection) else ""
    assert CODE not in dump
    more = dict.fromkeys(("merchant_id", "id", "key_id", "address", "method", "route", "path"), "")
    body = b'{"code": "%s", "device_id": "TILL0007"}' % CODE.encode()
    line = Line(
        **more,
        livemode=False,
        status=200,
        error_code=None,
        duration_ms=1,
        request_body=body,
        answer_body=b"",
        created_at=None,
    )
    assert masked(line)["request_body"] == '{"code": "28…", "device_id": "TILL0007"}'


def _is_sqlite(connection):
    return connection.dialect.name == "sqlite"
