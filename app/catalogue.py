"""Every event that a merchant's system may hear of: when it comes, and the schema of its body.

It stands in the OpenAPI document as ``webhooks``, where generators and people look for it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.charges.api import ChargeAnswer
from app.charges.refunds_api import RefundAnswer
from app.charges.routing_api import ProviderAccountAnswer
from app.codes.schema import CodeAnswer
from app.members.api import MemberAnswer, MovementAnswer
from app.members.topups_api import TopupAnswer
from app.reconciliation.api import DiscrepancyAnswer, ReconciliationAnswer
from app.webhooks import types
from app.webhooks.schema import EndpointAnswer

WHEN = {
    types.CHARGE_CREATED: "A charge was made.",
    types.CHARGE_PAID: "It is settled: deliver the goods.",
    types.CHARGE_PAID_LATE: "Money came after the charge had expired or had been canceled.",
    types.CHARGE_DOUBLE_PAID: "A second payment came in; it goes back by itself.",
    types.CHARGE_AMOUNT_MISMATCHED: "Real money of the wrong amount or currency waits for a person.",
    types.CHARGE_EXPIRED: "Its time is up: it can no longer be paid.",
    types.CHARGE_CANCELED: "It was canceled: it can no longer be paid.",
    types.CHARGE_BLOCKED: "A rule of yours stopped somebody who was about to pay it; nothing was begun.",
    types.CHARGE_REVIEW_OPENED: "A rule of yours holds it: it can be paid after somebody has released it.",
    types.CHARGE_REVIEW_CLOSED: "Somebody has released it, or refused it; then it is canceled.",
    types.REFUND_CREATED: "Money is to go back, and counts against its charge from now on.",
    types.REFUND_SUCCEEDED: "The wallet says that it went back.",
    types.REFUND_FAILED: "Nothing went back, and the amount can be refunded again.",
    types.RECONCILIATION_COMPLETED: "A bill of a day was held against your books, or anew with another end.",
    types.DISCREPANCY_OPENED: "Bill and books differ in something; the first 100 of a day are told.",
    types.TOPUP_SUCCEEDED: "It is settled, and on the member's balance.",
    types.TOPUP_REFUNDED: "The wallet says that a refund of it went back.  The balance had gone before.",
    types.MEMBER_BALANCE_CHANGED: "What a member has to spend is more or less than before.",
    types.QR_CODE_CREATED: "A printed code was made; of a series one event for each.",
    types.QR_CODE_UPDATED: "Its terms have changed, from the next scan on: price, store, limits, label.",
    types.QR_CODE_DISABLED: "It was closed: whoever scans it reads that nothing can be paid there.",
    types.QR_CODE_ENABLED: "It takes payments again.",
    types.QR_CODE_QUIET: "It is usually busy at this hour, and nobody scans it: does it still hang there?",
    types.WEBHOOK_ENDPOINT_DISABLED: "One of your endpoints is not sent to any more.",
    types.PROVIDER_ACCOUNT_UNHEALTHY: "Payments failed through this account, and go through others now.",
    types.PROVIDER_ACCOUNT_RECOVERED: "It works again, and payments have returned to it.",
    types.ENDPOINT_PING: "You asked for a test.",
}
# What data.object is, by the first word of the type.
_OBJECTS: dict[str, type[BaseModel]] = {
    "charge": ChargeAnswer,
    "refund": RefundAnswer,
    "reconciliation": ReconciliationAnswer,
    "discrepancy": DiscrepancyAnswer,
    "topup": TopupAnswer,
    "member": MemberAnswer,
    "provider_account": ProviderAccountAnswer,
    "qr_code": CodeAnswer,
    "webhook_endpoint": EndpointAnswer,
    "endpoint": EndpointAnswer,
}
_ID = "_[0-7][0-9a-hjkmnp-tv-z]{25}$"
_REF = "#/components/schemas/"
_TIME = {"type": "string", "format": "date-time"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_PAYMENT = {
    "type": "object",
    "description": "The payment that this is about, as its provider tells of it.",
    "properties": {
        "provider": {"type": "string"},
        "out_trade_no": {"type": "string"},
        "provider_ref": _TEXT_OR_NULL,
        "amount_received": {"type": ["integer", "null"]},
        "currency": _TEXT_OR_NULL,
        "accepted_by": _TEXT_OR_NULL,
    },
    "required": ["provider", "out_trade_no", "provider_ref", "amount_received", "currency", "accepted_by"],
    "additionalProperties": False,
}


_RISK = {
    "type": "object",
    "description": "Which rule matched, and on what: GET /v1/risk/decisions/{decision} tells more.",
    "properties": {
        "decision": {"type": "string", "pattern": "^rd" + _ID},
        "rule": {"type": "string", "pattern": "^rr" + _ID},
        "kind": {"type": "string"},
        "action": {"enum": ["block", "review"]},
        "facts": {"type": "object"},
    },
    "required": ["decision", "rule", "kind", "action", "facts"],
    "additionalProperties": False,
}
# What stands beside data.object.
_BESIDE: dict[str, dict[str, Any]] = {
    types.CHARGE_PAID: {"payment": _PAYMENT},
    types.CHARGE_PAID_LATE: {"payment": _PAYMENT},
    types.CHARGE_DOUBLE_PAID: {"payment": _PAYMENT},
    types.CHARGE_AMOUNT_MISMATCHED: {"payment": _PAYMENT},
    types.CHARGE_BLOCKED: {"risk": _RISK},
    types.CHARGE_REVIEW_OPENED: {"risk": _RISK},
    types.TOPUP_REFUNDED: {"refund": {"type": "string", "description": "The refund."}},
    types.MEMBER_BALANCE_CHANGED: {"movement": {"$ref": _REF + MovementAnswer.__name__}},
}


def add_events(document: dict[str, Any]) -> None:
    """Add every event type to an OpenAPI document that knows the objects already."""
    document["webhooks"] = {name: _message(name) for name in types.ALL}
    document["components"]["schemas"] |= {schema_name(name): _schema(name) for name in types.ALL}


def schema_name(event_type: str) -> str:
    """``"charge.paid" -> "ChargePaidEvent"``."""
    return "".join(word.capitalize() for word in event_type.replace(".", "_").split("_")) + "Event"


def _message(event_type: str) -> dict[str, Any]:
    schema = {"$ref": _REF + schema_name(event_type)}
    return {
        "post": {
            "summary": event_type,
            "description": WHEN[event_type],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {"2XX": {"description": "You have it.  Anything else, and it comes again later."}},
        }
    }


def _schema(event_type: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "object",
        "properties": {"object": {"$ref": _REF + _OBJECTS[event_type.partition(".")[0]].__name__}},
        "required": ["object"],
        "additionalProperties": False,
    }
    for name, schema in _BESIDE.get(event_type, {}).items():
        data["properties"][name] = schema
        data["required"].append(name)
    properties = {
        "id": {"type": "string", "pattern": "^evt" + _ID},
        "object": {"const": "event"},
        "type": {"const": event_type},
        "created_at": _TIME,
        "timestamp": _TIME,
        "livemode": {"type": "boolean"},
        "sequence": {"type": "integer", "minimum": 1},
        "data": data,
    }
    return {
        "title": schema_name(event_type),
        "description": WHEN[event_type],
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
