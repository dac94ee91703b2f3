"""/v1/topups: a member's app begins a top-up, pays it in a wallet, and asks before it believes."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    OnceHeader,
    PageQuery,
    PublicId,
    dump,
    json_answer,
    newer_than,
    older_than,
    optional,
    validated,
)
from app.charges import in_app, inquiry, topups
from app.charges.api import PLAIN, URL_PATTERN, AppParamsAnswer, Metadata, OrderNo, StoreOfCharge
from app.charges.commands import (
    DESCRIPTION_CHARS_MAX,
    EXPIRES_IN_S_DEFAULT,
    EXPIRES_IN_S_MAX,
    EXPIRES_IN_S_MIN,
    URL_CHARS_MAX,
)
from app.charges.crediting import topup_json
from app.charges.topups import NewTopup, TopupFilter
from app.errors import InvalidRequest
from app.merchants.auth import caller, require_key
from app.merchants.idempotency import Answer, once
from app.merchants.once_api import done_once_in_steps
from app.money import MINOR_MAX
from app.providers import REGISTRY

bp = APIBlueprint(
    "topups_api",
    __name__,
    url_prefix="/v1/topups",
    abp_tags=[Tag(name="Top-ups", description="Charges whose money is a member's to spend.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

TOPUP_EXAMPLE: dict[str, Any] = {
    "id": "tu_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "topup",
    "livemode": False,
    "member": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "account": "user-42",
    "status": "pending",
    "amount": 10000,
    "bonus": 1000,
    "currency": "cny",
    "amount_credited": None,
    "bonus_credited": 0,
    "amount_taken_back": 0,
    "bonus_taken_back": 0,
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "provider": None,
    "merchant_order_no": "topup-20260115-0042",
    "metadata": {},
    "url": "https://PAY.EXAMPLE.COM/C/01JD3W6J7HQK2M8N4P6R8T0V2X7QK2M9XTB4R8W3V6Z1YJ5H0PCD",
    "created_at": "2026-01-15T02:00:00.123Z",
    "expires_at": "2026-01-15T04:00:00.123Z",
    "credited_at": None,
    "app_params": None,
}


class Scene(StrEnum):
    """Where the member pays."""

    APP = "app"
    PAGE = "page"


class TopupStatus(StrEnum):
    """What a merchant is told of where a top-up is."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    EXPIRED = "expired"
    CANCELED = "canceled"


class TopupBody(BaseModel):
    """A new top-up."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"member": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x", "amount": 10000},
                {
                    "member": "mb_01jd3w6j7hqk2m8n4p6r8t0v2x",
                    "amount": 10000,
                    "merchant_order_no": "topup-20260115-0042",
                    "return_url": "https://shop.example.com/wallet",
                },
            ]
        },
    )

    member: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=64,
            description="Its id, or the account that you gave.",
            json_schema_extra={"pattern": r"^[0-9A-Za-z._:@+-]+$"},
        ),
    ]
    amount: Annotated[
        StrictInt, Field(ge=1, le=MINOR_MAX, description="In minor units of the member's currency.")
    ]
    scene: Annotated[
        Scene,
        Field(
            description="app: your app hands app_params to the wallet's SDK.  page: open url in a browser or "
            "a web view."
        ),
    ] = Scene.PAGE
    method: Annotated[
        StrictStr | None,
        Field(
            description="The wallet that was chosen in your app; a page asks by itself.",
            json_schema_extra={"enum": [*REGISTRY, None]},
        ),
    ] = None
    description: Annotated[
        StrictStr | None,
        Field(
            max_length=DESCRIPTION_CHARS_MAX,
            description="What the wallet shows; left out: that it is a top-up.",
            json_schema_extra={"pattern": f"^[^{PLAIN}]*$"},
        ),
    ] = None
    merchant_order_no: Annotated[
        OrderNo | None,
        Field(
            description="Yours, unique among charges, too.  The same again with the same content is answered "
            "with the top-up made before, with other content by 409."
        ),
    ] = None
    store: StoreOfCharge = None
    metadata: Metadata = {}
    return_url: Annotated[
        StrictStr | None,
        Field(
            max_length=URL_CHARS_MAX,
            description="Where the member goes on to from the page.  That somebody comes from here proves no "
            "payment.",
            json_schema_extra={"pattern": URL_PATTERN},
        ),
    ] = None
    expires_in_s: Annotated[
        StrictInt,
        Field(
            ge=EXPIRES_IN_S_MIN, le=EXPIRES_IN_S_MAX, description="Seconds until it can no longer be paid."
        ),
    ] = EXPIRES_IN_S_DEFAULT


class TopupPath(BaseModel):
    """Names one top-up."""

    topup_id: PublicId = Field(examples=["tu_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class TopupQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("tu")
    ending_before: str | None = newer_than("tu")
    member: PublicId | None = optional("Only top-ups of this member: its id, or the account that you gave.")
    merchant_order_no: OrderNo | None = optional("Only the top-up with this number of yours.")


class TopupAnswer(BaseModel):
    """A top-up."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{name: value for name, value in TOPUP_EXAMPLE.items() if name != "app_params"}]
        }
    )

    id: str
    object: str = Field(pattern="^topup$")
    livemode: bool
    member: str
    account: str
    status: TopupStatus = Field(
        description="succeeded: it is on the member's balance.  pending: nothing is known yet, so believe "
        "neither the wallet nor the app.  One that is expired or canceled succeeds if money comes late."
    )
    amount: int
    bonus: int = Field(description="Promised for that amount when it was begun, whatever your rules say now.")
    currency: str
    amount_credited: int | None = Field(description="What was paid; `null` until it was.")
    bonus_credited: int
    amount_taken_back: int = Field(description="By refunds of its charge that have not failed.")
    bonus_taken_back: int = Field(description="The bonus's share of that.")
    charge: str = Field(description="What is paid, and what you refund.")
    provider: str | None
    merchant_order_no: str | None
    metadata: dict[str, str]
    url: str = Field(description="The signed payment link.")
    created_at: datetime
    expires_at: datetime
    credited_at: datetime | None


class NewTopupAnswer(TopupAnswer):
    """A top-up, with what the wallet's SDK takes if it is paid in your app."""

    model_config = ConfigDict(json_schema_extra={"examples": [TOPUP_EXAMPLE]})

    app_params: AppParamsAnswer | None


class TopupList(BaseModel):
    """One page of top-ups, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "url": "/v1/topups",
                    "has_more": False,
                    "data": [{name: value for name, value in TOPUP_EXAMPLE.items() if name != "app_params"}],
                }
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[TopupAnswer]


@bp.post(
    "",
    summary="Begin a top-up",
    responses={
        201: NewTopupAnswer,
        402: ErrorAnswer,
        404: ErrorAnswer,
        **ONCE_REFUSALS,
        **BODY_REFUSALS,
    },
)
@validated
def create(header: OnceHeader, body: TopupBody) -> Response:
    """Makes a charge for a member.  Send an Idempotency-Key or a ``merchant_order_no``.

    With ``scene`` `app` and a ``method`` the answer has ``app_params`` for the wallet's SDK.  402 is the
    wallet's no; after 503 nothing is known yet: send the same again, and it goes on with the same top-up.

    The member has the money when it is settled, and not before: wait for `topup.succeeded`, or read the
    top-up when your app comes back from the wallet.
    """
    if body.scene is Scene.APP and body.method not in REGISTRY:
        raise InvalidRequest(
            f"in an app a method is one of {', '.join(REGISTRY)}", code="unknown_provider", param="method"
        )
    if body.scene is Scene.PAGE and body.method is not None:
        raise InvalidRequest("on a page the member chooses: leave it out", param="method")
    new = NewTopup(
        body.member,
        body.amount,
        description=body.description or "",
        merchant_order_no=body.merchant_order_no,
        metadata=body.metadata,
        return_url=body.return_url,
        expires_in_s=body.expires_in_s,
        store_id=body.store,
    )
    who = caller()

    def work(tx: Connection) -> Answer:
        known = topups.begin(tx, who.merchant_id, new, livemode=who.livemode)
        return Answer(dump({**topup_json(known), "app_params": None}), 201)

    answer = once(who, header.idempotency_key, (request.method, request.path, request.get_data()), work)
    text = answer.body
    if body.scene is Scene.APP and body.method is not None:
        shown = json.loads(text)
        started = in_app.start_in_app(who.merchant_id, shown["charge"], body.method, livemode=who.livemode)
        shown["app_params"] = in_app.app_params_json(shown["charge"], body.method, started)
        text = dump(shown)
    return json_answer(text, answer.status, replayed=answer.replayed)


@bp.get("/<topup_id>", summary="Read a top-up", responses={200: TopupAnswer, 404: ErrorAnswer})
@validated
def read(path: TopupPath) -> Response:
    """The top-up as the books have it."""
    who = caller()
    known = topups.find(who.merchant_id, path.topup_id, livemode=who.livemode)
    return json_answer(dump(topup_json(known)))


@bp.post(
    "/<topup_id>/ask",
    summary="Ask the wallet",
    responses={200: TopupAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def ask(path: TopupPath, header: OnceHeader) -> Response:
    """Ask the wallet now whether it was paid, and answer the top-up as it stands then.

    For the moment when your app comes back from the wallet and no event has come: what the wallet says goes
    through the same door as its callback.  Asking again is harmless, and wants no Idempotency-Key: under one
    it would be answered as before.  The wallet hears of it every three seconds at most.
    """
    who = caller()

    def work() -> dict[str, Any]:
        known = topups.find(who.merchant_id, path.topup_id, livemode=who.livemode)
        inquiry.ask_now(who.merchant_id, known.charge.id)
        return topup_json(topups.find(who.merchant_id, known.topup.id, livemode=who.livemode))

    return done_once_in_steps(header, work)


@bp.get("", summary="List top-ups", responses={200: TopupList})
@validated
def list_all(query: TopupQuery) -> Response:
    """Newest first.  Page with the last id of one page as ``starting_after`` of the next."""
    who = caller()
    wanted = TopupFilter(
        member=query.member,
        merchant_order_no=query.merchant_order_no,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    found, has_more = topups.list_topups(who.merchant_id, livemode=who.livemode, wanted=wanted)
    data = [topup_json(known) for known in found]
    return json_answer(dump({"object": "list", "url": "/v1/topups", "has_more": has_more, "data": data}))
