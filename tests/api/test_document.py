"""/v1/openapi.json: what it says is so, and it says everything."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from app.merchants.auth import require_key
from tests.api.calls import Api, row_counts
from tests.books import log_call, make_paid, pay
from tests.conftest import Shop
from tests.reconciliation.plain import reconcile_a_day

# For each operation and mode.  `make fuzz-api` asks for more.
CASES = int(os.environ.get("FUZZ_CASES", "10"))
ACTS = ("/begin", "/pay", "/decline", "/levers")  # at a wallet, which may say no
ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SERIES = {"name": "堂食", "series": "桌", "label_kind": "table", "first": 1, "last": 2}
NAMING = ("/v1/refunds", "/v1/events/replay", "/v1/topups")  # what they are about is in their bodies
BEYOND_SCHEMAS = {
    "POST /v1/charges/batch",
    "POST /v1/webhook_endpoints",
    "POST /v1/webhook_endpoints/{endpoint_id}",
    "POST /v1/events/replay",
    # Amounts between others, times after others, stores that exist.
    "POST /v1/qr_codes",
    "POST /v1/qr_codes/series",
    "POST /v1/qr_codes/{code_id}",
    # Which terms each kind of rule has.
    "POST /v1/risk/rules",
    "POST /v1/risk/rules/{risk_rule_id}",
    "POST /v1/risk/trials",
    # Which files each paper comes as.
    "GET /v1/qr_codes/{code_id}/print",
    # Amounts that rise; a wallet in an app, and none on a page.
    "POST /v1/bonus_rules",
    "POST /v1/topups",
    # Two amounts of which one is not 0, and a reason that is not blank.
    "POST /v1/members/{member}/adjustments",
    "GET /v1/qr_codes/series/{series_id}/print",
}

# What a well-made request may meet: 404, 409, and 422 for an Idempotency-Key that was used before.
WELL_MADE = SchemathesisConfig.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 304, 404, 409, 422]}}}
)


@pytest.fixture
def document(client) -> dict[str, Any]:
    answer = client.get("/v1/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    body: dict[str, Any] = answer.get_json()
    return body


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose references stay within the document, as a validator wants it."""
    return {**schema, "components": document["components"]}


@ONLY_SQLITE
def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.validator_for(resolved(document, schema))  # every reference leads somewhere


@ONLY_SQLITE
def test_the_document_names_every_address_and_no_other(app: Flask, document):
    rules = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1")
    }
    named = {(method, path) for method, path, _ in operations(document)}
    assert named == rules - {("GET", "/v1/openapi.json")}


@ONLY_SQLITE
def test_every_operation_wants_a_key_and_says_so(app: Flask, document, client):
    for method, path, operation in operations(document):
        assert operation["security"] == [{"bearer": []}, {"basic": []}]
        assert client.open(path, method=method).status_code == 401, path
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic"}
    for name, functions in app.before_request_funcs.items():
        if name is not None and name.endswith("_api"):
            assert require_key in functions


@ONLY_SQLITE
def test_every_operation_says_how_it_may_refuse(document):
    for method, path, operation in operations(document):
        expected = {"400", "401", "403", "429", "503"}
        named = {parameter["name"] for parameter in operation.get("parameters", [])}
        names_more = "after" in named or (method == "POST" and path in NAMING)
        expected |= {"404"} if "{" in path or names_more else set()
        expected |= {"413", "415"} if "requestBody" in operation else set()
        expected |= {"409", "422"} if "Idempotency-Key" in named else set()
        expected |= {"409"} if path.endswith(("/print", "{rule_id}")) else set()
        at_wallet = path.endswith(("/app_params", "/pay_code", *ACTS))
        expected |= {"402"} if at_wallet or (method, path) == ("POST", "/v1/topups") else set()
        refusals = {status for status in operation["responses"] if status >= "400"}
        assert refusals == expected, (method, path)
        for status in refusals:
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert operation["summary"]
        assert operation["description"]
        assert "<br" not in operation["description"]


@ONLY_SQLITE
def test_every_operation_has_examples_that_fit(document):
    schemas = document["components"]["schemas"]
    for method, path, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for part in bodies + list(operation["responses"].values()):
            schema = part.get("content", {}).get("application/json", {}).get("schema")
            if schema is None:
                continue
            named = schemas[schema["$ref"].rpartition("/")[2]]
            assert named["examples"], (method, path)
            for example in named["examples"]:
                jsonschema_rs.validator_for(resolved(document, named)).validate(example)
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert parameter["schema"]["examples"]


@ONLY_SQLITE
def test_answers_fit_their_schema(document, api, merchant):
    schemas = document["components"]["schemas"]
    refund = api.refund(make_paid(merchant).id, amount=450, reason="少了一份", metadata={"t": "1"}).get_json()
    charge = api.charge(merchant_order_no="A-1", return_url="https://shop.example/").get_json()
    endpoint = api.endpoint().get_json()
    key = api.post("/v1/api_keys", {"name": "till", "scopes": ["charges:write"]}).get_json()
    answers = {
        "ChargeAnswer": charge,
        "ChargeList": api.get("/v1/charges").get_json(),
        "AppParamsAnswer": api.post(
            f"/v1/charges/{charge['id']}/app_params", {"provider": "alipay"}
        ).get_json(),
        "RefundAnswer": refund,
        "RefundList": api.get("/v1/refunds").get_json(),
        "EndpointAnswer": api.get(f"/v1/webhook_endpoints/{endpoint['id']}").get_json(),
        "EndpointList": api.get("/v1/webhook_endpoints").get_json(),
        "BatchAnswer": api.post(
            "/v1/charges/batch",
            data=b"merchant_order_no,amount,description\nB-1,1,x\nB-2,x,x",
            content_type="text/csv",
        ).get_json(),
        "BalanceAnswer": api.get("/v1/balance").get_json(),
        "LogAnswer": api.get(f"/v1/request_logs/{log_call(merchant.id, 'key_1')}").get_json(),
        "LogList": api.get("/v1/request_logs").get_json(),
        "NewKeyAnswer": key,
        "KeyAnswer": api.get(f"/v1/api_keys/{key['id']}").get_json(),
        "KeyList": api.get("/v1/api_keys").get_json(),
        "EventList": api.get("/v1/events").get_json(),
        "NewEndpointAnswer": api.post(f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret", {}).get_json(),
        "PingAnswer": api.post(f"/v1/webhook_endpoints/{endpoint['id']}/ping").get_json(),
        "DeliveryList": api.get("/v1/deliveries").get_json(),
        "DeliveryAnswer": api.get("/v1/deliveries").get_json()["data"][0],
        "ReplayAnswer": api.post(
            "/v1/events/replay", {"since": "2026-01-01T00:00:00Z", "until": "2126-01-01T00:00:00Z"}
        ).get_json(),
        "DeletedAnswer": api.delete(f"/v1/webhook_endpoints/{endpoint['id']}").get_json(),
        "CodeAnswer": api.post(
            "/v1/qr_codes", {"name": "堂食", "label": {"kind": "table", "text": "7"}}
        ).get_json(),
        "CodeList": api.get("/v1/qr_codes").get_json(),
        "StoreAnswer": api.post("/v1/stores", {"name": "武康路店"}).get_json(),
        "StoreList": api.get("/v1/stores").get_json(),
        **of_a_member(api),
        "ErrorAnswer": api.get("/v1/charges/x").get_json(),
    }
    for name, answer in answers.items():
        jsonschema_rs.validator_for(resolved(document, schemas[name])).validate(answer)
        schema = schemas[name]
        assert set(schema["required"]) <= set(answer) <= set(schema["properties"]), name


def of_members(api: Api) -> dict[str, str]:
    """What addresses name of a member who has topped up and spent."""
    rule = {"tiers": [], "valid_from": "2126-01-01T00:00:00Z"}
    member_id = api.post("/v1/members", {"account": "u2"}).get_json()["id"]
    topup = api.post("/v1/topups", {"member": "u2", "amount": 1000}).get_json()
    pay(topup["charge"])
    debit = api.post("/v1/members/u2/debits", {"debit_no": "d2", "amount": 1}).get_json()
    return {
        "member": member_id,
        "topup_id": topup["id"],
        "debit_id": debit["id"],
        "rule_id": api.post("/v1/bonus_rules", rule).get_json()["id"],
    }


def of_a_member(api: Api) -> dict[str, Any]:
    """Answers about a member who has topped up and spent."""
    rule = api.post("/v1/bonus_rules", {"tiers": [{"amount": 1000, "bonus": 100}]}).get_json()
    api.post("/v1/members", {"account": "u1"})
    topup = api.post(
        "/v1/topups", {"member": "u1", "amount": 1000, "scene": "app", "method": "alipay"}
    ).get_json()
    pay(topup["charge"])
    debit = api.post("/v1/members/u1/debits", {"debit_no": "d1", "amount": 1050}).get_json()
    return {
        "RuleAnswer": rule,
        "RuleList": api.get("/v1/bonus_rules").get_json(),
        "MemberAnswer": api.get("/v1/members/u1").get_json(),
        "MemberList": api.get("/v1/members").get_json(),
        "MovementAnswer": api.post("/v1/members/u1/adjustments", {"bonus": 5, "reason": "x"}).get_json(),
        "MovementList": api.get("/v1/members/u1/movements").get_json(),
        "NewTopupAnswer": topup,
        "TopupAnswer": api.get(f"/v1/topups/{topup['id']}").get_json(),
        "TopupList": api.get("/v1/topups?member=u1").get_json(),
        "DebitAnswer": debit,
        "DebitList": api.get("/v1/members/u1/debits").get_json(),
    }


@ONLY_SQLITE
@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
def test_no_request_drawn_from_the_document_is_answered_otherwise(
    app: Flask, merchant: Shop, mode: GenerationMode
):
    """No 5xx, no status, content type, header or body that the document does not know; no bad input taken."""
    api = Api(app.test_client(), merchant.key)
    paid = make_paid(merchant)
    known = {
        "refund_id": api.refund(paid.id, amount=1).get_json()["id"],
        "charge_id": api.charge(merchant_order_no="A-1").get_json()["id"],
        "endpoint_id": api.endpoint().get_json()["id"],
        "key_id": api.post("/v1/api_keys", {"name": "till", "scopes": ["charges:read"]}).get_json()["id"],
        "event_id": api.get("/v1/events").get_json()["data"][0]["id"],
        "request_id": log_call(merchant.id, "key_1"),
        "code_id": api.post("/v1/qr_codes", {"name": "堂食"}).get_json()["id"],
        "series_id": api.post("/v1/qr_codes/series", SERIES).get_json()["data"][0]["series"]["id"],
        "store_id": api.post("/v1/stores", {"name": "武康路店"}).get_json()["id"],
        **reconcile_a_day(merchant.account_id),
        **of_members(api),
    }
    rule = {"kind": "payment_amount", "action": "note", "name": "all", "terms": {"max_amount": 1}}
    known["risk_rule_id"] = api.post("/v1/risk/rules", rule).get_json()["id"]
    make_paid(merchant)
    known["decision_id"] = api.get("/v1/risk/decisions").get_json()["data"][0]["id"]
    api.post(f"/v1/webhook_endpoints/{known['endpoint_id']}/ping")
    known["delivery_id"] = api.get("/v1/deliveries").get_json()["data"][0]["id"]
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", app, config=WELL_MADE)
    for result in schema.get_all_operations():
        fuzz(result.ok(), mode, known, {"Authorization": f"Bearer {merchant.key}"}, paid.id)
    if mode is GenerationMode.POSITIVE:
        assert row_counts()["charges"] > 2
        assert row_counts()["refunds"] > 1


def fuzz(
    operation: schemathesis.APIOperation,
    mode: GenerationMode,
    known: dict[str, str],
    key: dict[str, str],
    paid_id: str,
) -> None:
    """Send what the document allows, or almost allows, and hold each answer against the document."""
    turn = count()  # half of what is asked about exists
    # Which addresses may hear of events no schema can say: not this machine, not the operator's network.
    # Nor that a span ends after it begins, or what the columns of a file are.
    unsaid = [positive_data_acceptance] if operation.label in BEYOND_SCHEMAS else []

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE:
            case.path_parameters.update(
                {name: known[name] for name in case.path_parameters if next(turn) % 2}
            )
            for cursor in ("starting_after", "ending_before", "after"):  # one of them alone
                if len({"starting_after", "ending_before", "after"} & set(case.query)) > 1:
                    case.query.pop(cursor, None)
            if (
                "Idempotency-Key" in case.headers and next(turn) % 2
            ):  # the other half meets keys that were used
                case.headers["Idempotency-Key"] = f"k-{next(turn)}"
            # To JSON Schema 155.0 is an integer.  To us it is a float, and money is none.
            if isinstance(case.body, dict):
                case.body = {name: int(v) if isinstance(v, float) else v for name, v in case.body.items()}
                if case.body.get("store") is not None:  # what exists no schema says
                    case.body["store"] = known["store_id"]
                if "charge" in case.body and next(turn) % 2:
                    case.body.update({"charge": paid_id, "amount": 1})
        case.call_and_validate(headers=key, excluded_checks=unsaid)

    run()
