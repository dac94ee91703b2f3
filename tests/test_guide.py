"""/docs: every operation is there, and every example on it does what it says."""

from __future__ import annotations

import html
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from flask import Flask

from app.clock import to_rfc3339
from app.guide import TITLES, chapters_of, in_words
from app.ids import new_id
from tests.api.calls import Api
from tests.books import later, log_call, make_paid, pay
from tests.conftest import Shop
from tests.reconciliation.plain import reconcile_a_day

ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CURL = re.compile(r"<pre[^>]* data-curl>(.*?)</pre>", re.DOTALL)


def document_of(app: Flask) -> dict[str, Any]:
    body: dict[str, Any] = app.test_client().get("/v1/openapi.json").get_json()
    return body


SERIES = {"name": "堂食", "series": "桌", "label_kind": "table", "first": 1, "last": 2}


def real_things(app: Flask, shop: Shop) -> dict[str, str]:
    """What stands for each example's id, by prefix."""
    api = Api(app.test_client(), shop.key)
    endpoints = api.get("/v1/webhook_endpoints").get_json()["data"]  # there may be only so many
    endpoint = endpoints[0] if endpoints else api.endpoint().get_json()  # before what it is told of
    day = reconcile_a_day(shop.account_id)
    if not api.get("/v1/risk/decisions").get_json()["data"]:
        rule = {"kind": "payment_amount", "action": "note", "name": "all", "terms": {"max_amount": 1}}
        api.post("/v1/risk/rules", rule)
        make_paid(shop)
    return {
        "rr": api.get("/v1/risk/rules?live=true").get_json()["data"][0]["id"],
        "rd": api.get("/v1/risk/decisions").get_json()["data"][0]["id"],
        "ch": api.charge().get_json()["id"],
        "paid": make_paid(shop).id,
        "re": api.refund(make_paid(shop).id, amount=1).get_json()["id"],
        "we": endpoint["id"],
        "evt": api.get("/v1/events").get_json()["data"][0]["id"],
        "dlv": api.get("/v1/deliveries").get_json()["data"][0]["id"],
        "key": api.post("/v1/api_keys", {"name": "till", "scopes": ["charges:read"]}).get_json()["id"],
        "req": log_call(shop.id, "key_1"),
        "qr": api.post("/v1/qr_codes", {"name": "堂食"}).get_json()["id"],
        "rec": day["reconciliation_id"],
        "dis": day["discrepancy_id"],
        "qs": api.post("/v1/qr_codes/series", SERIES).get_json()["data"][0]["series"]["id"],
        "st": api.post("/v1/stores", {"name": "武康路店"}).get_json()["id"],
        **members_things(api),
    }


def members_things(api: Api) -> dict[str, str]:
    """The same of a member who has enough to spend."""
    number = new_id("x")
    member_id = api.post("/v1/members", {"account": number}).get_json()["id"]
    topup = api.post("/v1/topups", {"member": member_id, "amount": 99_000}).get_json()
    pay(topup["charge"])
    debit = api.post(f"/v1/members/{member_id}/debits", {"debit_no": number, "amount": 10_500}).get_json()
    rule = {"tiers": [], "currency": "usd", "valid_from": to_rfc3339(later(hours=1))}
    return {
        "mb": member_id,
        "tu": topup["id"],
        "db": debit["id"],
        "br": api.post("/v1/bonus_rules", rule).get_json()["id"],
    }


def run_curl(app: Flask, text: str, shop: Shop, things: dict[str, str]) -> Any:
    """Do what a shell would do with this line, with ids that exist."""
    if "/v1/refunds" in text and '{"charge"' in text:
        things = {**things, "ch": things["paid"]}
    kinds = "ch|re|rec|dis|we|evt|dlv|key|req|qr|qs|st|rr|rd|mb|tu|db|br"
    text = re.sub(rf"\b({kinds})_[0-9a-z]{{26}}", lambda found: things[found[1]], text)
    text = text.replace("$MAFU_KEY", shop.key).replace("order-20260115-0042", things["req"])
    words = shlex.split(text.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    method, headers, data, address = "", {}, None, ""
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            data = words.pop(0).encode()
        else:
            address = word
    assert address.startswith("http://pay.example.com/v1/")
    path = urlsplit(address).path
    return app.test_client().open(path, method=method or "GET", headers=headers, data=data)


@ONLY_SQLITE
def test_every_example_does_what_the_page_says(app: Flask, merchant: Shop):
    document = document_of(app)
    operations = [
        operation
        for chapter in chapters_of(document, "http://pay.example.com")
        for operation in chapter.operations
    ]
    page = app.test_client().get("/docs").text
    shown = [html.unescape(text) for text in CURL.findall(page)]
    assert shown == [operation.curl for operation in operations]
    for operation in operations:
        if any(
            part in operation.path for part in ("/app_params", "/pay_code", "/test_helpers/", "/reviews/")
        ):
            continue  # a wallet, a sandbox or a rule must be there first: their own tests have the story
        answer = run_curl(app, operation.curl, merchant, real_things(app, merchant))
        assert str(answer.status_code) == operation.status, (operation.curl, answer.data)
        drawn = document["paths"][operation.path][operation.method.lower()]["responses"][operation.status]
        content = drawn["content"]
        assert answer.mimetype in content
        if answer.mimetype == "application/json":
            schema = {**content["application/json"]["schema"], "components": document["components"]}
            jsonschema_rs.validator_for(schema).validate(answer.get_json())


@ONLY_SQLITE
def test_no_operation_is_missing(app: Flask):
    document = document_of(app)
    named = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    chapters = chapters_of(document, "http://pay.example.com")
    assert {(each.method, each.path) for chapter in chapters for each in chapter.operations} == named
    assert all(each.scope and each.text for chapter in chapters for each in chapter.operations)


@ONLY_SQLITE
@pytest.mark.parametrize(("language", "word"), [("zh", "快速开始"), ("en", "Getting started")])
def test_the_page_speaks_both_languages_and_asks_nobody_else(app: Flask, language: str, word: str):
    response = app.test_client().get(f"/docs?lang={language}")
    assert response.status_code == 200
    assert word in response.text
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert not re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", response.text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', response.text):
        assert address.startswith(("/", "#")), address


def test_words_are_escaped_and_code_is_marked():
    assert in_words("a `b<c` d\n\n<e>") == "<p>a <code>b&lt;c</code> d</p>\n<p>&lt;e&gt;</p>"


@ONLY_SQLITE
def test_every_heading_is_there_in_chinese(app: Flask):
    chapters = chapters_of(document_of(app), "http://pay.example.com")
    page = html.unescape(app.test_client().get("/docs?lang=zh").text)
    known = {title._args[0] for title in TITLES}
    for chapter in chapters:
        for text in (chapter.title, chapter.text, *[each.title for each in chapter.operations]):
            assert text in known, text
            assert f">{text}<" not in page, text
