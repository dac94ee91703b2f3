"""/v1/refunds: asked for, refused with a reason, read, listed and told of by events."""

from __future__ import annotations

import pytest

from app.charges.models import Refund
from app.providers.base import Outcome
from app.queue import Job, Kind
from tests.api.calls import error_of, refusal
from tests.books import end_refund, event_types, make_charge, make_paid, row_of, rows_of


@pytest.fixture
def paid(merchant):
    return make_paid(merchant)


def left_of(api, charge_id):
    charge = api.get(f"/v1/charges/{charge_id}").get_json()
    return charge["amount"] - charge["amount_refunded"]


def test_without_an_amount_all_of_it_goes_back(api, paid):
    answer = api.refund(paid.id)
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["amount"], body["charge"]) == (
        201,
        "pending",
        1250,
        paid.id,
    )
    assert (body["reason"], body["metadata"], body["automatic"], body["livemode"]) == (None, {}, False, False)
    assert api.get(f"/v1/refunds/{body['id']}").get_json() == body
    assert event_types(body["id"]) == ["refund.created"]
    assert row_of(Job, kind=Kind.REFUND).subject_id == body["id"]


def test_parts_go_back_until_nothing_is_left(api, paid):
    for amount, left in ((450, 800), (799, 1), (None, 0)):
        more = {} if amount is None else {"amount": amount}
        assert api.refund(paid.id, **more).status_code == 201
        assert left_of(api, paid.id) == left
    assert refusal(api.refund(paid.id)) == (409, "charge_already_refunded", None)
    assert refusal(api.refund(paid.id, amount=1)) == (409, "charge_already_refunded", None)


def test_more_than_is_left_is_refused_and_what_is_left_is_named(api, paid):
    api.refund(paid.id, amount=450)
    answer = api.refund(paid.id, amount=801)
    assert refusal(answer) == (409, "amount_too_large", None)
    assert error_of(answer)["message"].startswith("800 minor units (8.00 CNY) are left")
    assert left_of(api, paid.id) == 800


def test_only_a_paid_charge_is_refunded(api, merchant):
    charge = make_charge(merchant)
    assert refusal(api.refund(charge.id)) == (409, "charge_not_paid", None)
    api.post(f"/v1/charges/{charge.id}/cancel")
    assert refusal(api.refund(charge.id)) == (409, "charge_not_paid", None)
    assert refusal(api.refund("ch_01jd3w6j7hqk2m8n4p6r8t0v2x")) == (404, "not_found", None)
    assert rows_of(Refund) == []


def test_the_same_request_again_is_one_refund(api, paid):
    first, second = (api.refund(paid.id, once="k-1", amount=450) for _ in range(2))
    assert first.data == second.data
    assert second.headers["Idempotent-Replayed"] == "true"
    assert refusal(api.refund(paid.id, once="k-1", amount=451))[:2] == (422, "idempotency_key_reused")
    assert left_of(api, paid.id) == 800


def test_a_failed_one_gives_its_amount_back_and_names_the_providers_word(api, merchant, paid):
    refund_id = api.refund(paid.id, amount=450).get_json()["id"]
    end_refund(merchant, refund_id, Outcome.FAILED)
    body = api.get(f"/v1/refunds/{refund_id}").get_json()
    assert (body["status"], body["failure_code"]) == ("failed", "WORD")
    assert body["finished_at"] is not None
    assert left_of(api, paid.id) == 1250


def test_a_list_is_narrowed_and_paged(api, merchant, paid):
    other = make_paid(merchant)
    ids = [api.refund(paid.id, amount=1).get_json()["id"] for _ in range(5)]
    api.refund(other.id)
    end_refund(merchant, ids[0], Outcome.SUCCEEDED)
    end_refund(merchant, ids[1], Outcome.FAILED)

    def found(query):
        return [refund["id"] for refund in api.get(f"/v1/refunds?{query}").get_json()["data"]]

    assert len(found("")) == 6
    assert found(f"charge={paid.id}") == ids[::-1]
    assert found(f"charge={paid.id}&status=pending") == ids[:1:-1]
    assert found("status=succeeded") == ids[:1]
    assert found("status=failed") == ids[1:2]
    page = api.get(f"/v1/refunds?charge={paid.id}&limit=2").get_json()
    assert (page["has_more"], [row["id"] for row in page["data"]]) == (True, [ids[4], ids[3]])
    assert found(f"charge={paid.id}&starting_after={ids[3]}") == ids[2::-1]
    assert found(f"charge={paid.id}&ending_before={ids[3]}") == [ids[4]]
