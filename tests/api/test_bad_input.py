"""Whatever comes in, the answer is a clear 4xx that names the field, and nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.charges.models import Charge
from app.db import table_of
from tests.api.calls import CHARGE, Api, error_of, refusal, row_counts
from tests.books import make_paid
from tests.conftest import Shop

# Field -> values that must be refused in its name.
BAD: dict[str, list[Any]] = {
    "amount": [
        0,
        -1,
        1.0,
        12.5,
        1e3,
        10**10 + 1,
        2**63,
        -(2**63),
        True,
        False,
        "1250",
        "١٢",
        None,
        [],
        [1250],
        {},
    ],
    "currency": [
        "",
        "cn",
        "cnyy",
        "xxx",
        "РУБ",
        "ＣＮＹ",
        "c y",
        "\u0000\u0000\u0000",
        156,
        None,
        ["cny"],
        {},
        True,
    ],
    "description": [
        "",
        " ",
        "\u3000",
        "x" * 128,
        "a\u0000b",
        "a\nb",
        "\u202egnp",
        "\ud800",
        5,
        None,
        [],
        {},
        True,
    ],
    "merchant_order_no": ["", "a b", "é", "x" * 65, "a\n", "\u0000", "１", "\ud800", 7, [], {}, True],
    "metadata": [None, [], "a", 7, {str(n): "x" for n in range(21)}],
    "return_url": [
        *(
            "",
            "x",
            "ftp://shop.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//shop.example/",
            "https://",
        ),
        *(
            "https://u:p@shop.example/",
            "https://shop.example/ x",
            "https://shop.example/\n",
            "https://店.example/",
        ),
        *(
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://[::1/",
            "https://a\\b/",
            "\ud800",
        ),
        *("https://shop.example/" + "x" * 2048, "https://shop.example/\u0000", 7, [], {}, True),
    ],
    "expires_in_s": [59, 0, -1, 15 * 86400 + 1, 60.0, 1e3, "3600", True, None, [], 2**70 % 10**19],
}
BAD_METADATA: list[tuple[Any, str]] = [
    ({"": "x"}, "metadata."),
    ({"k" * 41: "x"}, "metadata." + "k" * 41),
    ({"k": "x" * 501}, "metadata.k"),
    ({"k": 7}, "metadata.k"),
    ({"k": None}, "metadata.k"),
    ({"k": {"deep": "x"}}, "metadata.k"),
    ({"k": ["x"]}, "metadata.k"),
    ({"k": "a\u0000b"}, "metadata"),
    ({"k\n": "x"}, "metadata"),
    ({"k": "\ud800"}, "metadata.k"),
]
# Bodies that are no JSON object, or one that only Python would read.
BROKEN: list[tuple[bytes, str]] = [
    (b"", "invalid_json"),
    (b" ", "invalid_json"),
    (b"{", "invalid_json"),
    (b"null", "invalid_json"),
    (b"[]", "invalid_json"),
    (b"[" + json.dumps(CHARGE).encode() + b"]", "invalid_json"),
    (b'"' + json.dumps(json.dumps(CHARGE)).encode()[1:-1] + b'"', "invalid_json"),
    (b"1250", "invalid_json"),
    (b"amount=1250&currency=cny", "invalid_json"),
    (json.dumps(CHARGE).encode() + b"}", "invalid_json"),
    (b"\xef\xbb\xbf" + json.dumps(CHARGE).encode(), "invalid_json"),
    (json.dumps(CHARGE).encode("utf-16"), "invalid_json"),
    (b'{"amount": 1250, "currency": "cny", "description": "\xff"}', "invalid_json"),
    (b'{"amount": 1250, "currency": "cny", "description": "\xed\xa0\x80"}', "invalid_json"),
    (b'{"amount": 1250, "currency": "cny", "description": "a\nb"}', "invalid_json"),
    (b'{"amount": NaN, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": Infinity, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": -Infinity, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": 01, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": +1, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": 1_000, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": 0x10, "currency": "cny", "description": "x"}', "invalid_json"),
    (b"{'amount': 1250}", "invalid_json"),
    (b'{"amount": 1250, "currency": "cny", "description": "x", "\\ud800": 1}', "invalid_json"),
    (
        b'{"amount": 1250, "currency": "cny", "description": "x", "metadata": {"\\udfff": "x"}}',
        "invalid_json",
    ),
    (b'{"amount": 1250, "currency": "cny", "description": "x",}', "invalid_json"),
    (b'{"amount": 1250 /* fen */, "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": ' + b"9" * 5000 + b', "currency": "cny", "description": "x"}', "invalid_json"),
    (b'{"amount": 1250, "amount": 1, "currency": "cny", "description": "x"}', "duplicate_key"),
    (b'{"amount": 1250, "\\u0061mount": 1, "currency": "cny", "description": "x"}', "duplicate_key"),
    (
        b'{"amount": 1250, "currency": "cny", "description": "x", "metadata": {"a": "1", "a": "2"}}',
        "duplicate_key",
    ),
    (b'{"metadata": ' + b'{"a": ' * 20 + b"1" + b"}" * 20 + b"}", "invalid_json"),
    (b'{"metadata": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_json"),
    (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "invalid_json"),
]


def test_each_bad_value_is_refused_in_the_name_of_its_field(api):
    before, wrong = row_counts(), []
    for field, values in BAD.items():
        for value in values:
            answer = api.charge(**{field: value})
            if (answer.status_code, refusal(answer)[2]) != (400, field):
                wrong.append((field, value, refusal(answer)))
    for metadata, param in BAD_METADATA:
        answer = api.charge(metadata=metadata)
        if (answer.status_code, refusal(answer)[2]) != (400, param):
            wrong.append(("metadata", metadata, refusal(answer)))
    assert wrong == []
    assert row_counts() == before


def test_each_bad_value_of_a_refund_is_refused_in_the_name_of_its_field(api, merchant):
    paid = make_paid(merchant)
    bad = {
        "charge": ["", "x" * 65, None, 7, [], {}, True],
        "amount": [value for value in BAD["amount"] if value is not None],
        "reason": ["x" * 81, "a\nb", "\u202egnp", "\u0000", "\ud800", 7, [], {}, True],
        "metadata": BAD["metadata"],
        "currency": ["cny"],
        "refunded_minor": [0],
    }
    before, wrong = row_counts(), []
    for field, values in bad.items():
        for value in values:
            answer = api.post("/v1/refunds", {"charge": paid.id, field: value})
            if (answer.status_code, refusal(answer)[2]) != (400, field):
                wrong.append((field, value, refusal(answer)))
    assert wrong == []
    for body, code in BROKEN:
        answer = api.post("/v1/refunds", data=body, content_type="application/json")
        assert refusal(answer)[:2] == (400, code), body
    assert refusal(api.post("/v1/refunds", {"amount": 1})) == (400, "parameter_missing", "charge")
    assert row_counts() == before


def test_each_bad_value_is_refused_once_the_key_is_given_too_and_the_key_stays_free(api):
    before = row_counts()
    for field, values in BAD.items():
        assert api.charge(once="k-1", **{field: values[0]}).status_code == 400
    assert row_counts() == before
    assert api.charge(once="k-1").status_code == 201


def test_a_body_that_is_no_strict_json_is_refused(api):
    before, wrong = row_counts(), []
    for body, code in BROKEN:
        answer = api.post("/v1/charges", data=body, content_type="application/json")
        if refusal(answer)[:2] != (400, code):
            wrong.append((body[:80], refusal(answer)))
    assert wrong == []
    assert row_counts() == before


def test_each_missing_field_is_named(api):
    for name in CHARGE:
        body = {key: value for key, value in CHARGE.items() if key != name}
        assert refusal(api.post("/v1/charges", body)) == (400, "parameter_missing", name)


def test_no_column_can_be_set_by_naming_it(api):
    """Mass assignment: whatever the table has and the API does not offer is unknown to it."""
    offered = {*CHARGE, "merchant_order_no", "metadata", "return_url", "expires_in_s"}
    columns = {column.name for column in table_of(Charge).c} - offered
    before = row_counts()
    for name in columns | {"amount ", "Amount", "__class__", "status", "paid", "fee", "a\u0000"}:
        assert refusal(api.charge(**{name: 1})) == (400, "parameter_unknown", name)
    assert row_counts() == before


def test_an_id_that_can_be_none_is_answered_like_an_unknown_one(api):
    ids = [
        "x",
        "ch_",
        "%00",
        "ch_%00",
        "ch_%0a",
        "%ff",
        "%ed%a0%80",
        "码付",
        "%F0%9F%8D%B5",
        "'",
        "ch_%27--",
        "x" * 2000,
    ]
    places = [
        ("charges", ""),
        ("charges", "/qr.svg"),
        ("refunds", ""),
        ("events", ""),
        ("webhook_endpoints", ""),
    ]
    for prefix, rest in places:
        for thing in ids:
            answer = api.get(f"/v1/{prefix}/{thing}{rest}")
            assert refusal(answer) == (404, "not_found", None), thing
            assert error_of(answer)["message"].startswith("no such ")
    for thing in ids:
        assert refusal(api.post(f"/v1/charges/{thing}/cancel"))[:2] == (404, "not_found")
        assert refusal(api.delete(f"/v1/webhook_endpoints/{thing}"))[:2] == (404, "not_found")


def test_each_bad_query_is_refused_in_the_name_of_its_parameter(api):
    charge_id = api.charge().get_json()["id"]
    event_id = api.get("/v1/events").get_json()["data"][0]["id"]
    pages = [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "limit=%00",
        "limit=" + "9" * 5000,
    ]
    pages += ["starting_after=", "starting_after=x", "starting_after=%00", "starting_after=" + "x" * 65]
    pages += ["ending_before=x", "ending_before=%ff", "nothing=1", "=1", "%00=1"]
    cases = {
        "charges": [
            *(
                *pages,
                "status=eaten",
                "status=",
                "merchant_order_no=",
                "merchant_order_no=%00",
                "created_from=",
            ),
            *("created_from=yesterday", "created_from=2024-01-01T00:00:00", "created_before=%00", "amount=1"),
            *("created_from=8", "created_from=1768442400", "created_before=20260115T020000Z"),
            *("created_from=9999-12-31T23:59:59-23:59", "created_before=0001-01-01T00:00:00%2B14:00"),
            "created_before=9999-12-31T16:00:00Z",  # tomorrow in Beijing, where there is no tomorrow
            f"starting_after={event_id}",
        ],
        "refunds": [
            *(*pages, "status=reserved", "status=", "charge=", "charge=%00", "charge=x", "amount=1"),
            f"starting_after={charge_id}",
        ],
        "events": [
            *pages,
            "type=",
            "type=%00",
            "type=A",
            "object_id=%00",
            "object_id=x-y",
            f"ending_before={charge_id}",
        ],
        "webhook_endpoints": ["limit=1", "x=%00"],
        f"charges/{charge_id}": ["expand=refunds"],
        f"charges/{charge_id}/qr.png": [
            "size=0",
            "size=119",
            "size=2049",
            "size=1e3",
            "level=X",
            "level=",
            "foo=1",
        ],
    }
    for path, queries in cases.items():
        for query in queries:
            answer = api.get(f"/v1/{path}?{query}")
            name = query.partition("=")[0].replace("%00", "\u0000") or None
            assert (answer.status_code, refusal(answer)[2]) == (400, name), (path, query)


def test_one_parameter_comes_once_and_one_cursor_at_a_time(api):
    charge_id = api.charge().get_json()["id"]
    assert refusal(api.get("/v1/charges?limit=1&limit=2")) == (400, "parameter_repeated", "limit")
    both = api.get(f"/v1/charges?starting_after={charge_id}&ending_before={charge_id}")
    assert refusal(both) == (400, "parameter_invalid", "ending_before")


def test_amounts_at_the_edges_are_taken(api):
    for amount in (1, 99, 100, 10**10):
        assert api.charge(amount=amount).get_json()["amount"] == amount


def test_text_of_any_script_survives(api):
    for text in (
        "𠮷野家 🍜",
        "é" * 127,
        "Ω≈ç√∫",
        "<script>alert(1)</script>",
        "'; DROP TABLE charges; --",
        "%00",
        "{{7*7}}",
    ):
        created = api.charge(description=text, metadata={"t": text, "k" + text[:30]: ""}).get_json()
        assert created["description"] == text
        assert api.get(f"/v1/charges/{created['id']}").get_json() == created


def test_a_huge_document_of_keys_is_refused_quickly(api):
    """A search for the repeated key must not take the square of their number."""
    keys = ",".join(f'"k{n}":1' for n in range(9_000))
    answer = api.post("/v1/charges", data=f'{{{keys},"k8999":2}}'.encode(), content_type="application/json")
    assert refusal(answer) == (400, "duplicate_key", "k8999")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["amount", "currency", "description", "metadata", "merchant_order_no", "return_url", "x"]
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(FIELDS, JSON, max_size=3))
def test_any_json_is_taken_or_refused_and_never_breaks_anything(
    client, merchant: Shop, changes: dict[str, Any]
):
    """What is taken has exactly the amount that was sent, as a positive whole number."""
    body = json.dumps({**CHARGE, **changes}).encode()
    answer = Api(client, merchant.key).post("/v1/charges", data=body, content_type="application/json")
    if answer.status_code == 201:
        sent = {**CHARGE, **changes}["amount"]
        assert type(sent) is int
        assert answer.get_json()["amount"] == sent > 0
    else:
        assert answer.status_code in (400, 409)
        assert error_of(answer)["type"] == "invalid_request_error"
