"""I-27 to I-31: the same request again does nothing and gets the first answer, byte for byte."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from app import clock
from app.charges import lifecycle
from app.charges.models import Charge
from app.db import transaction
from app.merchants import idempotency, once_api
from app.merchants.models import IdempotencyKey
from app.vault import Vault
from app.webhooks.models import Event, WebhookEndpoint
from tests.api.calls import CHARGE, Api, error_of, refusal, row_counts
from tests.books import row_of, rows_of
from tests.conftest import KEYS

WAYS = 20


def together(work: Callable[[int], object]) -> list[object]:
    """Run it in twenty threads that start at one signal; what each returned."""
    barrier, results = threading.Barrier(WAYS), [None] * WAYS

    def run(number: int) -> None:
        barrier.wait(timeout=30)
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WAYS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert None not in results
    return results


def test_a_replay_is_byte_equal_and_says_so(api):
    first = api.charge(once="k-1")
    before = row_counts()
    assert "Idempotent-Replayed" not in first.headers
    for _ in range(3):
        again = api.charge(once="k-1")
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert again.headers["Idempotent-Replayed"] == "true"
        frame = {"Request-Id": None, "Idempotent-Replayed": "true"}
        assert {**again.headers, **frame} == {**first.headers, **frame}
    assert row_counts() == before


def test_a_replay_repeats_the_first_answer_even_when_the_charge_has_moved_on(api):
    first = api.charge(once="k-1")
    api.post(f"/v1/charges/{first.get_json()['id']}/cancel")
    assert api.charge(once="k-1").data == first.data


def test_another_request_under_the_same_key_is_refused(api):
    api.charge(once="k-1")
    before = row_counts()
    body = json.dumps(CHARGE).encode()
    others = [
        api.charge(once="k-1", amount=1251),
        api.endpoint(once="k-1"),
        api.post(
            "/v1/charges",
            data=body + b" ",
            content_type="application/json",
            headers={"Idempotency-Key": "k-1"},
        ),
    ]
    for answer in others:
        assert refusal(answer) == (422, "idempotency_key_reused", None)
        assert error_of(answer)["type"] == "idempotency_error"
    assert row_counts() == before


def test_a_key_is_known_to_its_merchant_and_mode_alone(api, live_api, stranger):
    ids = {caller.charge(once="k-1").get_json()["id"] for caller in (api, live_api, stranger)}
    assert len(ids) == 3
    assert len(rows_of(IdempotencyKey)) == 3


def test_a_key_has_1_to_128_visible_ascii_characters(api):
    before = row_counts()
    for key in ("", " ", "a b", "é", "k" * 129, "\t", "码"):
        assert refusal(api.charge(once=key)) == (400, "parameter_invalid", "Idempotency-Key"), key
    assert row_counts() == before
    for key in ("!", "~" * 128, '"quoted"', "a,b;c=d"):
        assert api.charge(once=key).status_code == 201


def test_a_refused_request_is_not_stored(api, monkeypatch):
    """It may be corrected, or tried again when we are well, under the same key."""
    api.charge(merchant_order_no="A-1")
    before = row_counts()
    assert api.charge(once="k-1", amount=0).status_code == 400
    assert api.charge(once="k-1", merchant_order_no="A-1", amount=7).status_code == 409
    with monkeypatch.context() as broken:
        broken.setattr(lifecycle, "charge_fact", lambda *_: 1 / 0)
        assert api.charge(once="k-1").status_code == 500
    assert row_counts() == before
    assert api.charge(once="k-1").status_code == 201


def test_a_crash_between_work_and_answer_loses_nothing(api, monkeypatch):
    def crash(*_args: object, **_more: object) -> None:
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as broken:
        broken.setattr(once_api, "json_answer", crash)
        assert api.charge(once="k-1").status_code == 500
    again = api.charge(once="k-1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.get_json()["id"] == row_of(Charge).id
    assert len(rows_of(Event)) == 1


def test_a_crash_before_the_commit_leaves_neither_key_nor_charge(api, monkeypatch):
    before = row_counts()
    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "place_of", lambda **_: 1 / 0)
        assert api.charge(once="k-1").status_code == 500
    assert row_counts() == before


def test_twenty_at_once_make_one_charge_and_get_one_answer(app: Flask, api):
    answers = together(lambda _: Api(app.test_client(), api.key).charge(once="k-1"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    assert Counter(answer.headers.get("Idempotent-Replayed") for answer in answers) == {
        None: 1,
        "true": WAYS - 1,
    }
    assert len(rows_of(Charge)) == len(rows_of(Event)) == len(rows_of(IdempotencyKey)) == 1


def test_twenty_different_requests_under_one_key_at_once_make_one_charge(app: Flask, api):
    answers = together(lambda number: Api(app.test_client(), api.key).charge(once="k-1", amount=number + 1))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: WAYS - 1}
    assert len(rows_of(Charge)) == 1


def test_twenty_with_one_order_number_at_once_make_one_charge(app: Flask, api):
    """The second wall, without any Idempotency-Key."""
    answers = together(lambda _: Api(app.test_client(), api.key).charge(merchant_order_no="A-1"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    assert len(rows_of(Charge)) == len(rows_of(Event)) == 1


def test_twenty_with_one_order_number_and_other_content_at_once_make_one_charge(app: Flask, api):
    def ask(number: int) -> object:
        caller = Api(app.test_client(), api.key)
        return caller.charge(once=f"k-{number}", merchant_order_no="A-1", amount=number + 1)

    answers = together(ask)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: WAYS - 1}
    assert len(rows_of(Charge)) == len(rows_of(IdempotencyKey)) == 1


def test_twenty_endpoints_under_one_key_at_once_are_one(app: Flask, api):
    answers = together(lambda _: Api(app.test_client(), api.key).endpoint(once="k-1"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    assert len(rows_of(WebhookEndpoint)) == 1


def test_the_last_free_endpoint_asked_for_twenty_times_at_once_is_answered_alike(app: Flask, api):
    """Who comes second must see the first answer, and not that there are too many now."""
    for _ in range(19):
        api.endpoint()
    answers = together(lambda _: Api(app.test_client(), api.key).endpoint(once="k-1"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}


def test_the_second_wall_stands_when_the_key_is_forgotten(api, at):
    first = api.charge(once="k-1", merchant_order_no="A-1").get_json()
    at(idempotency.KEPT_FOR - timedelta(minutes=1))
    assert idempotency.forget_old() == 0
    at(timedelta(minutes=2))
    assert idempotency.forget_old() == 1
    again = api.charge(once="k-1", merchant_order_no="A-1")
    assert "Idempotent-Replayed" not in again.headers
    assert (again.status_code, again.get_json()["id"]) == (201, first["id"])
    assert len(rows_of(Charge)) == 1


def test_no_answer_is_readable_in_the_table(api, merchant):
    """An endpoint's answer holds its secret, which is shown once and stored nowhere in the clear."""
    secret = api.endpoint(once="k-1").get_json()["secret"]
    stored = row_of(IdempotencyKey)
    assert secret not in stored.body
    assert "webhook_endpoint" not in stored.body
    assert stored.fingerprint.isalnum()


def test_an_answer_opens_for_its_own_key_alone(api):
    """A row's answer copied under another key must not be given to whoever asks there."""
    api.charge(once="k-1")
    api.charge(once="k-2")
    table = IdempotencyKey.__table__
    first, second = rows_of(IdempotencyKey)
    with transaction() as tx:
        tx.execute(sa.update(table).where(table.c.key == second.key).values(body=first.body))
    assert refusal(api.charge(once="k-2")) == (409, "answer_lost", None)
    assert api.charge(once="k-1").status_code == 201


def test_an_answer_outlives_the_rotation_of_the_vault(app: Flask, api, monkeypatch):
    first = api.charge(once="k-1")
    rotated = Vault([*KEYS["encryption_keys"], "another-vault-key-0123456789-abcdefghij"])
    monkeypatch.setattr(idempotency, "vault", lambda: rotated)
    assert api.charge(once="k-1").data == first.data
    monkeypatch.setattr(idempotency, "vault", lambda: Vault(["another-vault-key-0123456789-abcdefghij"]))
    assert refusal(api.charge(once="k-1")) == (409, "answer_lost", None)
    assert len(rows_of(Charge)) == 1


def test_what_takes_steps_is_answered_as_the_first_was(api):
    """A replay of events, a cancellation: their first answer, though the world has moved on."""
    charge_id = api.charge().get_json()["id"]
    span = {"since": "2026-01-01T00:00:00Z", "until": "2126-01-01T00:00:00Z", "dry_run": False}
    api.endpoint()
    for path, body in ((f"/v1/charges/{charge_id}/cancel", None), ("/v1/events/replay", span)):
        first = api.post(path, body, headers={"Idempotency-Key": path})
        before = row_counts()
        again = api.post(path, body, headers={"Idempotency-Key": path})
        assert (again.status_code, again.data, row_counts()) == (200, first.data, before)
        assert again.headers["Idempotent-Replayed"] == "true"
        other = {**span, "dry_run": True}
        assert refusal(api.post("/v1/events/replay", other, headers={"Idempotency-Key": path}))[0] == 422


def test_steps_that_go_on_are_not_gone_twice_and_are_taken_up_again_after_a_crash(api, at, monkeypatch):
    charge_id = api.charge().get_json()["id"]
    path, key = f"/v1/charges/{charge_id}/cancel", {"Idempotency-Key": "k-1"}
    works, cancel = [], lifecycle.cancel_charge

    def asked_meanwhile(*args: object, **more: object) -> object:
        works.append(api.post(path, headers=key))
        return cancel(*args, **more)

    monkeypatch.setattr(lifecycle, "cancel_charge", asked_meanwhile)
    assert api.post(path, headers=key).status_code == 200
    assert refusal(works[0]) == (409, "request_under_way", None)
    assert works[0].headers["Retry-After"] == "2"
    monkeypatch.undo()
    table = IdempotencyKey.__table__
    with transaction() as tx:  # as a process leaves it that was killed at its work
        tx.execute(sa.update(table).values(status=0, body="", created_at=clock.now()))
    assert refusal(api.post(path, headers=key))[1] == "request_under_way"
    at(idempotency.CLAIM_LASTS + timedelta(seconds=1))
    assert api.post(path, headers=key).status_code == 200
    assert api.post(path, headers=key).headers["Idempotent-Replayed"] == "true"


def test_steps_that_fail_give_their_key_back(api):
    charge_id = api.charge().get_json()["id"]
    path, key = f"/v1/test_helpers/charges/{charge_id}/pay", {"Idempotency-Key": "k-1"}
    assert refusal(api.post(path, {"provider": "cash"}, headers=key))[0] == 409
    assert rows_of(IdempotencyKey) == []


def test_every_post_takes_an_idempotency_key(api):
    """Also those that are harmless without one: a client need not know which they are."""
    paths = api.get("/v1/openapi.json").get_json()["paths"]
    posts = {path: methods["post"] for path, methods in paths.items() if "post" in methods}
    takes = [path for path, post in posts.items() if "Idempotency-Key" in str(post.get("parameters"))]
    assert takes == list(posts)
    assert [path for path, post in posts.items() if not {"409", "422"} <= set(post["responses"])] == []


@pytest.mark.parametrize("count", [0, 3])
def test_old_keys_are_forgotten_and_no_others(api, at, count):
    for number in range(count):
        api.charge(once=f"old-{number}")
    at(idempotency.KEPT_FOR + timedelta(seconds=1))
    api.charge(once="new")
    assert idempotency.forget_old() == count
    assert [row.key for row in rows_of(IdempotencyKey)] == ["new"]
    assert row_of(IdempotencyKey).created_at <= clock.now()
