"""/v1/test_helpers: in test mode, the merchant's system plays the shopper, and need not wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from flask_openapi.types import ResponseDict
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from app.answers import BODY_REFUSALS, ONCE_REFUSALS, REFUSALS, SECURITY, ErrorAnswer, OnceHeader, validated
from app.charges import test_helpers
from app.charges.api import ChargeAnswer, ChargePath
from app.charges.present import charge_json
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once_in_steps
from app.money import MINOR_MAX
from app.providers import REGISTRY

bp = APIBlueprint(
    "test_helpers_api",
    __name__,
    url_prefix="/v1/test_helpers/charges",
    abp_tags=[
        Tag(
            name="Test helpers",
            description="In test mode, your tests play the shopper at the sandbox.  A live key gets 404.",
        )
    ],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
_ANSWERS: ResponseDict = {404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS}
_ACTED: ResponseDict = {200: ChargeAnswer, 402: ErrorAnswer, **_ANSWERS}
_PROVIDER = Field(
    description="The wallet; your oldest test account's if left out.",
    json_schema_extra={"enum": list(REGISTRY)},
)


bp.before_request(require_key)


@bp.before_request
def _only_in_test_mode() -> None:
    test_helpers.only_in_test_mode(caller().livemode)


class WalletBody(BaseModel):
    """Which wallet."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"provider": "alipay"}]})

    provider: Annotated[StrictStr | None, _PROVIDER] = None


class PayBody(BaseModel):
    """Which wallet, and how much."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"provider": "wechatpay"}]})

    provider: Annotated[StrictStr | None, _PROVIDER] = None
    amount: Annotated[
        StrictInt | None,
        Field(ge=1, le=MINOR_MAX, description="Minor units, to pay another sum than was asked."),
    ] = None


class LeverBody(BaseModel):
    """A lever of the sandbox."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "refund_fail", "times": 1}]}
    )

    name: Annotated[StrictStr, Field(pattern="^[a-z_]{1,32}$", description="See docs/sandbox.md, levers.")]
    value: Annotated[StrictStr | None, Field(pattern=r"^[!-~]{1,64}$", description="What it takes.")] = None
    times: Annotated[StrictInt | None, Field(ge=1, le=1000, description="How often it works.")] = None
    provider: Annotated[StrictStr | None, _PROVIDER] = None


class LeverAnswer(BaseModel):
    """A lever in place."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "lever",
                    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
                    "name": "refund_fail",
                    "value": "",
                    "times": 1,
                }
            ]
        }
    )

    object: str = Field(pattern="^lever$")
    charge: str
    name: str
    value: str
    times: int | None = Field(description="`null`: until the payment is forgotten.")


@bp.post("/<charge_id>/begin", summary="Choose a wallet", responses=_ACTED)
@validated
def begin(path: ChargePath, header: OnceHeader, body: WalletBody) -> Response:
    """The shopper chooses a wallet, scans its code and does nothing more: a payment under way.

    Begin with one wallet and pay with another, then pay with the first: the charge is paid twice.
    """
    return _answer(header, lambda: test_helpers.begin(caller().merchant_id, path.charge_id, body.provider))


@bp.post("/<charge_id>/pay", summary="Pay as a shopper", responses=_ACTED)
@validated
def pay(path: ChargePath, header: OnceHeader, body: PayBody) -> Response:
    """The shopper approves in the wallet; answered with the charge as it then stands.

    A charge that has expired, was canceled or is paid takes money only from a wallet with which somebody
    had begun before: that is how to make a late or a double payment.
    """
    return _answer(
        header, lambda: test_helpers.pay(caller().merchant_id, path.charge_id, body.provider, body.amount)
    )


@bp.post("/<charge_id>/decline", summary="Decline as a shopper", responses=_ACTED)
@validated
def decline(path: ChargePath, header: OnceHeader, body: WalletBody) -> Response:
    """The wallet refuses.  The charge stays pending: the shopper may try again."""
    return _answer(header, lambda: test_helpers.decline(caller().merchant_id, path.charge_id, body.provider))


@bp.post(
    "/<charge_id>/expire",
    summary="Let a charge expire",
    responses={200: ChargeAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def expire(path: ChargePath, header: OnceHeader) -> Response:
    """Its time ends now: open attempts are closed at their providers, then the charge.  Twice is harmless."""
    return _answer(header, lambda: test_helpers.expire(caller().merchant_id, path.charge_id))


@bp.post(
    "/<charge_id>/levers",
    summary="Bend what happens next",
    responses={201: LeverAnswer, 402: ErrorAnswer, **_ANSWERS},
)
@validated
def pull_lever(path: ChargePath, header: OnceHeader, body: LeverBody) -> Response:
    """Puts a lever of the sandbox in place for this charge's payment: a callback that is lost, a refund
    that fails, a gateway that hangs.
    """
    wish = body.model_dump(exclude={"provider"}, exclude_none=True)

    def work() -> dict[str, Any]:
        lever = test_helpers.bend(caller().merchant_id, path.charge_id, body.provider, wish)
        return {
            "object": "lever",
            "charge": path.charge_id,
            "name": lever["name"],
            "value": lever["value"],
            "times": lever["times_left"],
        }

    return done_once_in_steps(header, work, 201)


def _answer(header: OnceHeader, work: Callable[[], sa.Row[Any]]) -> Response:
    return done_once_in_steps(header, lambda: charge_json(work()))
