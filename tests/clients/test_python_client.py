"""The Python client: against the real application, against its document, and against a bad line."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import mafu
import pytest
from mafu import client as mafu_client
from mafu.client import Mafu
from standardwebhooks import Webhook
from werkzeug.serving import make_server

from app.db import transaction
from app.webhooks import signature
from app.webhooks.outbox import Fact, emit
from tests.far_corners import listening, says

SECRET = signature.new_secret()


@pytest.fixture
def url(app) -> Iterator[str]:
    """The application on a socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def shop(url, merchant) -> Mafu:
    return Mafu(merchant.key, url)


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """How long the client would have waited."""
    found: list[float] = []
    monkeypatch.setattr(mafu_client, "time", SimpleNamespace(sleep=found.append))
    return found


JSON = "application/json"


class TestAgainstTheApplication:
    pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

    def test_a_charge_is_made_read_listed_and_canceled(self, shop):
        made = shop.charges.create(
            amount=1250,
            currency="cny",
            description="一杯拿铁",
            merchant_order_no="1001",
            metadata={"table": "7"},
            return_url="https://shop.example/thanks",
            expires_in_s=600,
        )
        assert (made.status, made.amount, made.metadata, made.livemode) == (
            "pending",
            1250,
            {"table": "7"},
            False,
        )
        assert (made.expires_at - made.created_at).total_seconds() == 600
        assert shop.charges.get(made.id) == made
        assert list(shop.charges.list(merchant_order_no="1001")) == [made]
        assert list(shop.charges.list(status="paid")) == []
        assert list(shop.charges.list(created_before=made.created_at)) == []
        assert shop.charges.qr_png(made.id).startswith(b"\x89PNG")
        assert b"<svg" in shop.charges.qr_svg(made.id)
        canceled = shop.charges.cancel(made.id)
        assert canceled.status == "canceled"
        assert canceled.canceled_at is not None
        assert shop.charges.cancel(made.id) == canceled

    def test_a_file_makes_charges_once_however_often_it_is_sent(self, shop):
        file = "merchant_order_no,amount,description\n1001,1250,一杯拿铁\n1002,0,x\n".encode()
        made, refused = shop.charges.create_from_csv(file)
        assert shop.charges.get(made.charge).amount == 1250
        assert (made.outcome, refused.outcome, refused.error["param"]) == ("created", "failed", "amount")
        assert shop.charges.create_from_csv(file)[0].outcome == "existing"

    def test_a_list_goes_on_over_its_pages(self, shop, monkeypatch):
        monkeypatch.setattr(mafu_client, "PAGE", 2)
        made = [shop.charges.create(amount=n, currency="cny", description="x").id for n in range(1, 6)]
        assert [charge.id for charge in shop.charges.list()] == made[::-1]

    def test_events_are_caught_up_with_in_order(self, shop, merchant, monkeypatch):
        monkeypatch.setattr(mafu_client, "PAGE", 2)
        for number in range(5):
            with transaction() as tx:
                emit(tx, Fact(merchant.id, False, "charge.paid", f"ch_{number}", 1, {"id": f"ch_{number}"}))
        all_of_them = list(shop.events.after())
        assert [event.object["id"] for event in all_of_them] == [f"ch_{number}" for number in range(5)]
        assert list(shop.events.after(all_of_them[2].id)) == all_of_them[3:]
        assert shop.events.get(all_of_them[0].id) == all_of_them[0]
        assert [event.id for event in shop.events.list(object_id="ch_3")] == [all_of_them[3].id]

    def test_following_tells_each_event_once(self, shop, merchant, naps):
        def happen(name: str) -> None:
            with transaction() as tx:
                emit(tx, Fact(merchant.id, False, "charge.paid", name, 1, {"id": name}))

        happen("ch_1")
        news = shop.events.follow()
        assert next(news).object["id"] == "ch_1"
        happen("ch_2")
        happen("ch_3")
        assert [next(news).object["id"] for _ in range(2)] == ["ch_2", "ch_3"]

    def test_an_endpoint_shows_its_secret_once(self, shop):
        made = shop.webhook_endpoints.create(
            "http://127.0.0.1:9/hook", event_types=("charge.paid",), description="till"
        )
        assert made.secret is not None
        assert made.secret.startswith("whsec_")
        assert made.secret not in repr(made)
        again = shop.webhook_endpoints.get(made.id)
        assert (again.secret, again.event_types) == (None, ("charge.paid",))
        assert shop.webhook_endpoints.list() == (again,)
        shop.webhook_endpoints.delete(made.id)
        with pytest.raises(mafu.NotFound):
            shop.webhook_endpoints.get(made.id)

    def test_errors_are_classes_that_say_what_to_do(self, shop, url):
        with pytest.raises(mafu.InvalidRequest) as refused:
            shop.charges.create(amount=0, currency="cny", description="x")
        assert (refused.value.status, refused.value.param) == (400, "amount")
        assert refused.value.request_id.startswith("req_")
        with pytest.raises(mafu.NotFound):
            shop.charges.get("ch_/../..")
        with pytest.raises(mafu.NotAuthenticated):
            Mafu("mafu_sk_test_x", url).charges.get("ch_1")
        shop.charges.create(amount=1, currency="cny", description="x", idempotency_key="k")
        with pytest.raises(mafu.IdempotencyMismatch):
            shop.charges.create(amount=2, currency="cny", description="x", idempotency_key="k")
        made = shop.charges.create(amount=1, currency="cny", description="x", merchant_order_no="1")
        with pytest.raises(mafu.Conflict):
            shop.charges.create(amount=2, currency="cny", description="x", merchant_order_no="1")
        with pytest.raises(mafu.Conflict):
            shop.refunds.create(made.id)
        assert list(shop.refunds.list(charge=made.id)) == []

    def test_every_path_parameter_and_field_it_uses_is_in_the_document(self, app, client, monkeypatch):
        document = client.get("/v1/openapi.json").get_json()
        used: set[str] = set()
        monkeypatch.setattr(
            mafu_client._Line,
            "send",
            lambda _self, *request, **more: answered(document, used, *request, **more),
        )
        shop = Mafu("k")
        everything(shop)
        whole = ("/v1/charges", "/v1/refunds", "/v1/topups")
        covered = {path for path in document["paths"] if path.startswith(whole)}
        assert covered == covered & {operation.split()[1] for operation in used}
        for kind, model in (
            (mafu.Charge, "ChargeAnswer"),
            (mafu.Refund, "RefundAnswer"),
            (mafu.WebhookEndpoint, "NewEndpointAnswer"),
            (mafu.Event, "EventAnswer"),
            (mafu.Member, "MemberAnswer"),
            (mafu.Movement, "MovementAnswer"),
            (mafu.Topup, "NewTopupAnswer"),
            (mafu.Debit, "DebitAnswer"),
            (mafu.BonusRule, "RuleAnswer"),
        ):
            known = set(document["components"]["schemas"][model]["properties"])
            assert {one.name for one in fields(kind)} - {"raw"} <= known


def everything(shop: Mafu) -> None:
    """Each method once, with all that it takes."""
    shop.charges.create(
        amount=1,
        currency="cny",
        description="x",
        merchant_order_no="1",
        metadata={},
        return_url="https://shop.example/",
        expires_in_s=60,
    )
    made = shop.charges.get("ch_01jd3w6j7hqk2m8n4p6r8t0v2x")
    next(
        shop.charges.list(
            status="paid", merchant_order_no="1", created_from=made.created_at, created_before=made.created_at
        )
    )
    shop.charges.create_from_csv(b"merchant_order_no,amount,description\n1,1,x\n")
    shop.charges.cancel(made.id)
    shop.charges.qr_svg(made.id)
    shop.charges.qr_png(made.id)
    shop.charges.app_params(made.id, "alipay")
    shop.charges.pay_code(made.id, "2876543210987654", device_id="TILL0007")
    shop.test_helpers.begin(made.id, provider="alipay")
    shop.test_helpers.pay(made.id, provider="alipay", amount=1)
    shop.test_helpers.decline(made.id, provider="alipay")
    shop.test_helpers.expire(made.id)
    shop.test_helpers.pull_lever(made.id, "drop", value="1", times=1, provider="alipay")
    shop.refunds.create(made.id, amount=1, reason="x", metadata={"a": "b"})
    shop.refunds.get("re_01jd3w6j7hqk2m8n4p6r8t0v2x")
    next(shop.refunds.list(charge=made.id, status="pending"))
    shop.members.put("user-42", name="x", phone="13800138000", currency="cny")
    shop.members.get("user-42")
    next(shop.members.movements("user-42"))
    shop.members.debit("user-42", "d1", 1, description="x")
    shop.members.adjust("user-42", "x", amount=1, bonus=-1)
    shop.members.reverse("user-42", "db_01jd3w6j7hqk2m8n4p6r8t0v2x", amount=1)
    more = {
        "description": "x",
        "merchant_order_no": "1",
        "metadata": {},
        "return_url": "https://shop.example/",
    }
    shop.topups.create(member="user-42", amount=1, method="alipay", **more)
    shop.topups.get("tu_01jd3w6j7hqk2m8n4p6r8t0v2x")
    shop.topups.ask("tu_01jd3w6j7hqk2m8n4p6r8t0v2x")
    next(shop.topups.list(member="user-42", merchant_order_no="1"))
    shop.bonus_rules.create({10000: 1000})
    shop.bonus_rules.list()
    shop.events.get("evt_01jd3w6j7hqk2m8n4p6r8t0v2x")
    next(shop.events.list(type="charge.paid", object_id=made.id))
    next(shop.events.after())
    shop.webhook_endpoints.create("https://shop.example/", event_types=("*",), description="x")
    shop.webhook_endpoints.get("we_01jd3w6j7hqk2m8n4p6r8t0v2x")
    shop.webhook_endpoints.list()
    shop.webhook_endpoints.delete("we_01jd3w6j7hqk2m8n4p6r8t0v2x")


def answered(
    document,
    used: set[str],
    method: str,
    path: str,
    body: bytes | None,
    key,
    *,
    content_type="application/json",
):
    """What the document says is answered to a request, which must be one that it knows."""
    parts = urlsplit(f"http://x/v1{path}")
    fitting = [
        known
        for known in document["paths"]
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known).replace(".", r"\."), parts.path)
    ]
    template = min(fitting, key=lambda known: known.count("{"))  # /batch is no charge's id
    operation = document["paths"][template][method.lower()]
    used.add(f"{method} {template}")
    given = {("query", name) for name, _ in parse_qsl(parts.query)}
    given |= {("header", "Idempotency-Key")} if key else set()
    assert given <= {(one["in"], one["name"]) for one in operation.get("parameters", [])}, template
    if body is not None:
        assert content_type in operation["requestBody"]["content"]
    if body is not None and content_type == JSON:
        schema = operation["requestBody"]["content"][JSON]["schema"]
        known = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        assert set(json.loads(body)) <= set(known), template
    status = min(operation["responses"])
    [content] = operation["responses"][status]["content"].values()
    if "$ref" not in content["schema"]:
        return b"drawing"
    model = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return json.dumps(model["examples"][0]).encode()


CHARGE = {
    **dict.fromkeys([one.name for one in fields(mafu.Charge)]),
    "id": "ch_1",
    "created_at": "2026-01-15T02:00:00Z",
    "expires_at": "2026-01-15T02:00:00Z",
}


class Line:
    """A far side that gives these answers in order, one a connection; None hangs up."""

    def __init__(self, *answers: tuple[int, dict, str] | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []

    def talk(self, connection) -> None:
        self.requests.append(connection.recv(65536))
        answer = self.answers.pop(0)
        if answer is None:
            return
        status, body, more = answer
        text = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\n{more}Content-Length: {len(text)}\r\n\r\n"
        connection.sendall(head.encode() + text)

    def keys(self) -> list[str]:
        found = [re.search(rb"Idempotency-Key: (\S+)", request, re.IGNORECASE) for request in self.requests]
        return [one[1].decode() for one in found if one]


BUSY = {"error": {"type": "x", "code": "busy", "message": "later", "param": None, "request_id": "req_1"}}


class TestPatience:
    def create(self, line: Line, **more) -> mafu.Charge:
        with listening(line.talk) as far:
            shop = Mafu("k", f"http://127.0.0.1:{far.port}", **more)
            return shop.charges.create(amount=1, currency="cny", description="x")

    def test_one_key_is_kept_over_all_tries(self, naps):
        line = Line(None, (503, BUSY, ""), (429, BUSY, ""), (201, CHARGE, ""))
        assert self.create(line).id == "ch_1"
        assert len(line.keys()) == 4
        assert len(set(line.keys())) == 1
        assert naps[0] < naps[1] * 2 < naps[2] * 4

    def test_two_calls_have_two_keys(self, naps):
        line = Line((201, CHARGE, ""), (201, CHARGE, ""))
        with listening(line.talk) as far:
            shop = Mafu("k", f"http://127.0.0.1:{far.port}")
            for _ in range(2):
                shop.charges.create(amount=1, currency="cny", description="x")
        assert len(set(line.keys())) == 2

    def test_it_waits_as_long_as_it_is_asked_to_within_bounds(self, naps):
        asks = ["Retry-After: 7\r\n", "Retry-After: 9999\r\n"]
        self.create(Line(*((429, BUSY, asked) for asked in asks), (201, CHARGE, "")))
        assert naps == [7.0, mafu_client.WAIT_MAX_S]

    def test_a_far_side_that_is_away_is_unreachable_and_the_key_is_handed_out(self, naps):
        line = Line(None, None)
        with pytest.raises(mafu.Unreachable) as away:
            self.create(line, tries=2)
        assert [away.value.idempotency_key] * 2 == line.keys()

    def test_what_stays_busy_is_an_error_of_its_kind(self, naps):
        for status, kind in ((429, mafu.RateLimited), (503, mafu.ServerError)):
            with pytest.raises(kind) as caught:
                self.create(Line((status, BUSY, ""), (status, BUSY, "")), tries=2)
            assert (caught.value.code, caught.value.request_id) == ("busy", "req_1")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
    def test_a_definite_no_is_not_repeated(self, naps, status):
        line = Line((status, BUSY, ""))
        with pytest.raises(mafu.ApiError) as caught:
            self.create(line)
        assert (caught.value.status, len(line.requests), naps) == (status, 1, [])

    def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(self, naps):
        line = Line((302, {}, "Location: http://127.0.0.1:1/\r\n"))
        with pytest.raises(mafu.ApiError) as caught:
            self.create(line)
        assert caught.value.status == 302

    def test_an_answer_of_something_else_is_said_to_be_none_of_mafus(self, naps):
        page = says(b"HTTP/1.0 200 OK\r\n\r\n<html>")
        with listening(page) as far, pytest.raises(mafu.ApiError, match="base_url"):
            Mafu("k", f"http://127.0.0.1:{far.port}").charges.get("ch_1")


class TestVerify:
    BODY = json.dumps(
        {
            "id": "evt_1",
            "type": "charge.paid",
            "created_at": "2026-01-15T02:00:00Z",
            "livemode": False,
            "sequence": 2,
            "data": {"object": {"id": "ch_1", "description": "一杯拿铁"}},
        }
    ).encode()

    def headers(self, *, at: float | None = None, body: bytes | None = None, secret: str = SECRET):
        moment = int(time.time() if at is None else at)
        return signature.headers_for([secret], "evt_1", moment, self.BODY if body is None else body)

    def test_what_we_sign_is_accepted_as_the_stock_library_accepts_it(self):
        headers = self.headers()
        Webhook(SECRET).verify(self.BODY, headers)
        event = mafu.verify(self.BODY, {name.title(): value for name, value in headers.items()}, SECRET)
        assert (event.id, event.type, event.object["id"]) == ("evt_1", "charge.paid", "ch_1")
        assert mafu.verify(self.BODY.decode(), headers, SECRET) == event

    def test_one_signature_of_several_is_enough(self):
        headers = self.headers()
        headers["webhook-signature"] = "v1a,xx v1,AAAA " + headers["webhook-signature"]
        assert mafu.verify(self.BODY, headers, SECRET).id == "evt_1"

    @pytest.mark.parametrize(
        "change",
        [
            {"webhook-signature": ""},
            {"webhook-signature": "v1,"},
            {"webhook-signature": "v1,é"},
            {"webhook-signature": "v2,AAAA"},
            {"webhook-id": "evt_2"},
            {"webhook-timestamp": ""},
            {"webhook-timestamp": "now"},
            {"webhook-timestamp": "１７"},
            {"webhook-timestamp": "9" * 400},
        ],
    )
    def test_a_changed_header_is_refused(self, change):
        with pytest.raises(mafu.InvalidSignature):
            mafu.verify(self.BODY, self.headers() | change, SECRET)

    def test_another_key_body_or_time_is_refused(self):
        for headers in (
            self.headers(secret=signature.new_secret()),
            self.headers(body=self.BODY + b" "),
            self.headers(at=time.time() - 301),
            self.headers(at=time.time() + 310),
            {},
        ):
            with pytest.raises(mafu.InvalidSignature):
                mafu.verify(self.BODY, headers, SECRET)

    def test_what_is_signed_and_no_event_is_refused(self):
        for body in (b"[]", b"{", b'{"id": 1}', b"\xff"):
            with pytest.raises(mafu.InvalidSignature):
                mafu.verify(body, self.headers(body=body), SECRET)

    def test_a_secret_that_is_none_is_a_mistake_of_ours_and_not_of_the_sender(self):
        with pytest.raises(ValueError, match="whsec_"):
            mafu.verify(self.BODY, self.headers(), "whsec_!")


def test_nothing_secret_is_in_a_repr():
    assert "mafu_sk_test_1" not in repr(Mafu("mafu_sk_test_1"))
    assert "mafu_sk_test_1" not in repr(Mafu("mafu_sk_test_1").charges._line)
