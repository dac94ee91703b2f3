"""Known answers: signatures made by independent packages with fixed keys (tests/vectors/providers.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from sandbox import rsakeys
from sandbox.alipay import keys, wire
from sandbox.alipay.wire import Refusal

BOOK = json.loads((Path(__file__).parent.parent / "vectors" / "providers.json").read_text())
KEYS = BOOK["keys"]
VECTORS = {vector["id"]: vector for vector in BOOK["alipay"]}
REQUESTS = [vector for vector in VECTORS.values() if vector["kind"] == "request"]


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["id"])
@pytest.mark.parametrize("split", ["query", "form", "both"])
def test_requests_of_every_client_verify_in_every_transport(vector: dict[str, Any], split: str) -> None:
    whole = vector["urlencoded"].encode()
    head, _, tail = whole.rpartition(b"&")
    query, form = {"query": (whole, b""), "form": (b"", whole), "both": (head, tail)}[split]
    params = wire.read(query, form)
    assert params.signed_bytes() == vector["canonical"].encode()
    assert rsakeys.verifies(KEYS[vector["verify_key"]], params.signed_bytes(), params.raw["sign"])


@pytest.mark.parametrize("vector", REQUESTS, ids=lambda vector: vector["id"])
def test_a_changed_parameter_does_not_verify(vector: dict[str, Any]) -> None:
    params = wire.read(vector["urlencoded"].encode() + b"&unknown=1", b"")
    assert not rsakeys.verifies(KEYS[vector["verify_key"]], params.signed_bytes(), params.raw["sign"])


def test_certificate_numbers_are_those_of_two_independent_packages() -> None:
    vector = VECTORS["ali-cert-sn"]
    files, expected = vector["input_files"], vector["expected"]
    assert keys.cert_sn(KEYS[files["app_cert"]]) == expected["app_cert_sn"]
    assert keys.cert_sn(KEYS[files["alipay_cert"]]) == expected["alipay_cert_sn"]
    assert keys.root_sn(KEYS[files["root_bundle"]]) == expected["alipay_root_cert_sn"]


def test_our_answer_is_byte_for_byte_the_vectors() -> None:
    vector = VECTORS["ali-resp-precreate-key"]
    node = wire.node_text(vector["expected_node"])
    sign = rsakeys.sign(_private("alipay.pkcs8.pem"), node.encode())
    assert wire.answer("alipay_trade_precreate_response", node, "", sign) == vector["response_body"]


@pytest.mark.parametrize(
    "name", ["ali-notify-success", "ali-notify-partial-refund", "ali-notify-closed-full-refund"]
)
def test_our_notification_carries_the_vectors_signature(name: str) -> None:
    fields = dict(parse_qsl(VECTORS[name]["form_body"]))
    message = wire.notice_bytes(fields, "utf-8")
    assert rsakeys.sign(_private("alipay.pkcs8.pem"), message) == fields["sign"]
    assert dict(parse_qsl(wire.form(fields, "utf-8").decode())) == fields


def test_gbk_requests_are_signed_over_their_own_bytes() -> None:
    biz = '{"subject":"测试"}'.encode("gbk").decode("latin-1")
    params = wire.Params({"charset": "GBK", "biz_content": biz})
    assert "测试".encode("gbk") in params.signed_bytes()
    assert wire.biz_of(params) == {"subject": "测试"}


def test_bytes_that_are_not_in_the_charset_are_refused() -> None:
    params = wire.Params({"charset": "utf-8", "biz_content": "\xff\xfe"})
    with pytest.raises(Refusal, match=r"isv\.invalid-charset"):
        wire.biz_of(params)


@pytest.mark.parametrize("text", ["[]", "{", '"x"', "[" * 100_000])
def test_biz_content_must_be_a_json_object(text: str) -> None:
    with pytest.raises(Refusal, match=r"isv\.invalid-parameter"):
        wire.biz_of(wire.Params({"biz_content": text}))


def test_numbers_keep_the_text_they_came_in() -> None:
    biz = wire.biz_of(wire.Params({"biz_content": '{"a": 0.10, "b": 1e2, "c": 7}'}))
    assert biz == {"a": "0.10", "b": "1e2", "c": "7"}


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=30), max_size=6))
def test_every_node_survives_its_own_text(node: dict[str, str]) -> None:
    text = wire.node_text(node)
    assert json.loads(text) == node
    assert "/" not in text.replace("\\/", "")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_bytes_break_the_reader(query: bytes, form: bytes) -> None:
    params = wire.read(query, form)
    params.signed_bytes()
    try:
        wire.biz_of(params)
    except Refusal:
        pass  # A definite answer is all that is asked for.


@given(st.text(max_size=400))
def test_no_text_passes_for_a_signature(text: str) -> None:
    assert not rsakeys.verifies(KEYS["app.pub.pem"], b"message", text)


def _private(name: str) -> Any:
    return serialization.load_pem_private_key(KEYS[name].encode(), None)
