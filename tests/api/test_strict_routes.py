"""What is no strict JSON, no plain number or nobody's field is refused by every operation there is.

The operations are read off the OpenAPI document, so a new one is held to this the day it is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from tests.api.calls import Api, error_of, refusal, row_counts
from tests.api.test_bad_input import BROKEN

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NO_INTEGERS: list[Any] = [1.0, 1e3, True, "1", "１", "٣", None, [1], {"a": 1}]
NO_NUMBERS = ["1.0", "1e1", "+1", "0x1", "１", "٣", " 1", "1 ", "1_0", "", "NaN", "9" * 30]


@dataclass(frozen=True)
class Operation:
    """One address with a JSON body; ``example`` is a body that its schema gives."""

    name: str
    path: str
    schema: dict[str, Any]
    example: dict[str, Any]


def operations_of(app: Flask) -> Iterator[Operation]:
    document = app.test_client().get("/v1/openapi.json").get_json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            assert method == "post", "a new kind of operation: teach this test to send it"
            schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
            # An id that exists nowhere: a body is judged before anything is looked up.
            place = re.sub(r"\{\w+\}", "xx_01jd3w6j7hqk2m8n4p6r8t0v2x", path)
            yield Operation(operation["operationId"], place, schema, schema["examples"][0])


@pytest.fixture
def operations(app: Flask) -> list[Operation]:
    found = list(operations_of(app))
    assert len(found) >= 12
    return found


def test_a_body_that_is_no_strict_json_is_refused_everywhere(api: Api, operations):
    before, wrong = row_counts(), []
    for operation in operations:
        for body, code in BROKEN:
            answer = api.post(operation.path, data=body, content_type="application/json")
            if refusal(answer)[:2] != (400, code):
                wrong.append((operation.name, body[:60], refusal(answer)))
    assert wrong == []
    assert row_counts() == before


def test_a_body_of_another_kind_is_refused_everywhere(api: Api, operations):
    for operation in operations:
        body = json.dumps(operation.example).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "text/json"):
            answer = api.post(operation.path, data=body, content_type=kind)
            assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")


def test_a_field_that_there_is_not_is_refused_everywhere(api: Api, operations):
    before = row_counts()
    for operation in operations:
        for name in ("merchant_id", "livemode", "Amount", "id ", "__proto__", "a\u0000"):
            answer = api.post(operation.path, {**operation.example, name: 1})
            assert refusal(answer) == (400, "parameter_unknown", name), operation.name
    assert row_counts() == before


def test_what_looks_like_a_whole_number_is_none_in_any_body(api: Api, operations):
    tried = 0
    for operation in operations:
        for name, field in operation.schema["properties"].items():
            kinds = {kind.get("type") for kind in field.get("anyOf", [field])}
            if "integer" not in kinds:
                continue
            for value in NO_INTEGERS:
                if value is None and "null" in kinds:
                    continue
                answer = api.post(operation.path, {**operation.example, name: value})
                assert refusal(answer) == (400, "parameter_invalid", name), (operation.name, value)
                tried += 1
    assert tried >= 40


def test_a_number_in_a_query_is_written_in_plain_digits(api: Api, app: Flask):
    document = app.test_client().get("/v1/openapi.json").get_json()
    tried = 0
    for path, methods in document["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["in"] != "query" or parameter["schema"].get("type") != "integer":
                continue
            place = re.sub(r"\{\w+\}", api.charge().get_json()["id"], path)
            for text in NO_NUMBERS:
                answer = api.get(place, query_string={parameter["name"]: text})
                assert refusal(answer)[::2] == (400, parameter["name"]), (path, text)
                tried += 1
    assert tried >= 60
