"""/v1/charges/{id}/pay_code: the merchant's till has scanned the code on a shopper's phone."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.answers import BODY_REFUSALS, ONCE_REFUSALS, REFUSALS, SECURITY, ErrorAnswer, OnceHeader, validated
from app.charges import counter, lifecycle
from app.charges.api import ChargeAnswer, ChargePath
from app.charges.counter import Till
from app.charges.expand import OfCharge, charges_json
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once_in_steps
from app.providers import REGISTRY

bp = APIBlueprint(
    "counter_api",
    __name__,
    url_prefix="/v1/charges",
    abp_tags=[Tag(name="Charges", description="What a shopper is asked to pay.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

_ANY_CODE = f"^({'|'.join(adapter.info.pay_code for adapter in REGISTRY.values())})$"


class PayCodeBody(BaseModel):
    """What the till has scanned."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"code": "2876543210987654", "device_id": "TILL0007"}]},
    )

    code: Annotated[
        StrictStr,
        Field(
            min_length=16,
            max_length=counter.CODE_CHARS_MAX,
            description="The digits under the bar code.  WeChat Pay: 18, from 10 to 15.  Alipay: 16 to 24, "
            "from 25 to 30.  UnionPay: 19, from 62.",
            json_schema_extra={"pattern": _ANY_CODE},
        ),
    ]
    device_id: Annotated[
        StrictStr, Field(pattern="^[0-9A-Za-z]{8}$", description="Your name for the till.")
    ] = counter.DEVICE_ID


@bp.post(
    "/<charge_id>/pay_code",
    summary="Charge a payment code",
    responses={200: ChargeAnswer, 402: ErrorAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def take(path: ChargePath, header: OnceHeader, body: PayCodeBody) -> Response:
    """Take the payment of whoever shows this code (付款码) at your till.

    `status` is `paid`, or `pending` while the shopper types a password or nothing is known: then read the
    charge every few seconds, or wait for `charge.paid`.  What comes to nothing is given up by itself after
    45 seconds, and `latest_attempt` says so; money that arrives all the same goes back.  402 is the
    wallet's no: ask for a fresh code.  The same code again, twice at once or sent once more, is the same
    payment, with and without an Idempotency-Key; for another charge it is refused with `pay_code_used`.
    """
    who, till = caller(), Till(body.device_id, request.remote_addr or "127.0.0.1")

    def work() -> dict[str, Any]:
        counter.take_code(who.merchant_id, path.charge_id, body.code, till, livemode=who.livemode)
        charge = lifecycle.find(who.merchant_id, path.charge_id, livemode=who.livemode)
        return charges_json([charge], [OfCharge.LATEST_ATTEMPT])[0]

    return done_once_in_steps(header, work)
