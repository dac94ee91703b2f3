"""/v1/charges: the merchant's system makes, reads, lists and cancels charges, and fetches their codes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from flask_openapi.types import ResponseDict
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from sqlalchemy import Connection

from app.answers import (
    BODY_REFUSALS,
    ONCE_REFUSALS,
    REFUSALS,
    SECURITY,
    ErrorAnswer,
    Moment,
    OnceHeader,
    PageQuery,
    PublicId,
    QueryInt,
    dump,
    json_answer,
    newer_than,
    older_than,
    optional,
    qr_answer,
    validated,
)
from app.charges import in_app, lifecycle
from app.charges.commands import (
    DESCRIPTION_CHARS_MAX,
    EXPIRES_IN_S_DEFAULT,
    EXPIRES_IN_S_MAX,
    EXPIRES_IN_S_MIN,
    METADATA_KEY_CHARS_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_CHARS_MAX,
    URL_CHARS_MAX,
    NewCharge,
    currency_of,
)
from app.charges.expand import OfCharge, charges_json
from app.charges.lifecycle import ChargeFilter
from app.charges.present import charge_json, link_of
from app.charges.states import ChargeState
from app.merchants.auth import caller, require_key, require_scope
from app.merchants.once_api import done_once, done_once_in_steps
from app.merchants.scopes import Scope
from app.money import EXPONENTS, MINOR_MAX, Money
from app.providers import REGISTRY
from app.qr import render
from app.qr.encode import Level
from app.qr.render import Kind

bp = APIBlueprint(
    "charges_api",
    __name__,
    url_prefix="/v1/charges",
    abp_tags=[Tag(name="Charges", description="What a shopper is asked to pay.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)


CHARGE_EXAMPLE: dict[str, Any] = {
    "id": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "charge",
    "livemode": False,
    "status": "pending",
    "amount": 1250,
    "amount_paid": None,
    "amount_refunded": 0,
    "currency": "cny",
    "description": "一杯拿铁",
    "merchant_order_no": "20260115-0042",
    "metadata": {"table": "7"},
    "return_url": "https://shop.example.com/thanks",
    "qr_code": None,
    "store": None,
    "topup": None,
    "url": "https://PAY.EXAMPLE.COM/C/01JD3W6J7HQK2M8N4P6R8T0V2X7QK2M9XTB4R8W3V6Z1YJ5H0PCD",
    "qr": {
        "svg": "https://pay.example.com/v1/charges/ch_01jd3w6j7hqk2m8n4p6r8t0v2x/qr.svg",
        "png": "https://pay.example.com/v1/charges/ch_01jd3w6j7hqk2m8n4p6r8t0v2x/qr.png",
    },
    "provider": None,
    "created_at": "2026-01-15T02:00:00.123Z",
    "expires_at": "2026-01-15T04:00:00.123Z",
    "paid_at": None,
    "paid_late": False,
    "expired_at": None,
    "canceled_at": None,
    "review": None,
}
# For readers of the document and of its fuzzers; what is enforced is in commands.py.
PLAIN = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_TEXT_PATTERN = rf"^[^{PLAIN}]*[^{PLAIN}\s][^{PLAIN}]*$"
URL_PATTERN = r"^https?://[0-9A-Za-z.-]+(:([1-9][0-9]{0,3}|[1-5][0-9]{4}))?([/?#][!#-;=?-\[\]^-~]*)?$"
_CURRENCIES = [code for currency in EXPONENTS for code in (currency.lower(), currency)]


OrderNo = Annotated[StrictStr, Field(pattern=r"^[!-~]{1,64}$", examples=["20260115-0042"])]
StoreOfCharge = Annotated[
    PublicId | None,
    Field(
        description="Where it is sold: the id of a store.  Rules about that store hold for it, and its "
        "statement counts it."
    ),
]
Metadata = Annotated[
    dict[
        Annotated[StrictStr, Field(min_length=1, max_length=METADATA_KEY_CHARS_MAX)],
        Annotated[StrictStr, Field(max_length=METADATA_VALUE_CHARS_MAX)],
    ],
    Field(max_length=METADATA_KEYS_MAX),
    WithJsonSchema(
        {
            "type": "object",
            "description": "Whatever you want to find again.",
            "maxProperties": METADATA_KEYS_MAX,
            "propertyNames": {"pattern": f"^[^{PLAIN}]{{1,{METADATA_KEY_CHARS_MAX}}}$"},
            "additionalProperties": {
                "type": "string",
                "maxLength": METADATA_VALUE_CHARS_MAX,
                "pattern": r"^[^\u0000]*$",
            },
        }
    ),
]


class ChargeBody(BaseModel):
    """A new charge."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "amount": 1250,
                    "currency": "cny",
                    "description": "一杯拿铁",
                    "merchant_order_no": "20260115-0042",
                    "metadata": {"table": "7"},
                    "return_url": "https://shop.example.com/thanks",
                }
            ]
        },
    )

    amount: Annotated[StrictInt, Field(ge=1, le=MINOR_MAX, description="In minor units: 1250 is ¥12.50.")]
    currency: Annotated[
        StrictStr,
        Field(min_length=3, max_length=3, description="ISO 4217.", json_schema_extra={"enum": _CURRENCIES}),
    ]
    description: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=DESCRIPTION_CHARS_MAX,
            description="What the shopper reads above the amount.",
            json_schema_extra={"pattern": _TEXT_PATTERN},
        ),
    ]
    merchant_order_no: Annotated[
        OrderNo | None,
        Field(
            description="Yours, and unique.  The same number with the same content is answered with the "
            "charge made before, with other content by 409."
        ),
    ] = None
    store: StoreOfCharge = None
    metadata: Metadata = {}
    return_url: Annotated[
        StrictStr | None,
        Field(
            max_length=URL_CHARS_MAX,
            description="Where the shopper goes on to.  That somebody comes from here proves no payment.",
            json_schema_extra={"pattern": URL_PATTERN},
        ),
    ] = None
    expires_in_s: Annotated[
        StrictInt,
        Field(
            ge=EXPIRES_IN_S_MIN, le=EXPIRES_IN_S_MAX, description="Seconds until it can no longer be paid."
        ),
    ] = EXPIRES_IN_S_DEFAULT


class AppParamsBody(BaseModel):
    """Which wallet the shopper chose in your app."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"provider": "wechatpay"}]})

    provider: Annotated[
        StrictStr,
        Field(description="One that you have set up.", json_schema_extra={"enum": list(REGISTRY)}),
    ]


class AppParamsAnswer(BaseModel):
    """What a wallet's mobile SDK takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "app_params",
                    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
                    "provider": "wechatpay",
                    "params": {
                        "appid": "wxd678efh567hg6787",
                        "partnerid": "1900000109",
                        "prepayid": "wx201410272009395522657a690389285100",
                        "package": "Sign=WXPay",
                        "noncestr": "593BEC0C930BF1AFEB40B4A08C8FB242",
                        "timestamp": "1768442400",
                        "sign": "oR9d8PuhnIc+YZ8cBHFCwfgpaK9gd7vaRvkYD7rthRAZ/X+QBhcCYL21N7cHCTUxbQ+EAt6Uy==",
                    },
                    "expires_at": "2026-01-15T04:00:00.123Z",
                }
            ]
        }
    )

    object: str = Field(pattern="^app_params$")
    charge: str
    provider: str
    params: dict[str, str] = Field(
        description="For the SDK, unchanged.  alipay: order_string.  wechatpay: the fields of PayReq.  "
        "unionpay: tn and mode."
    )
    expires_at: datetime = Field(description="Until then they work; after that ask again.")


class ChargePath(BaseModel):
    """Names one charge."""

    charge_id: PublicId = Field(examples=["ch_01jd3w6j7hqk2m8n4p6r8t0v2x"])


def unfolding(kind: type[StrEnum]) -> Any:
    """The parameter ``expand[]``, which may be given once for each of a few names."""
    return Field(
        [],
        alias="expand[]",
        max_length=len(kind),
        description=f"Unfold {' and '.join(kind)} in the answer.",
        json_schema_extra={"uniqueItems": True},
    )


class ChargeView(BaseModel):
    """What to unfold."""

    model_config = ConfigDict(extra="forbid")

    expand: list[OfCharge] = unfolding(OfCharge)


class ChargeQuery(PageQuery):
    """Narrows a list."""

    expand: list[OfCharge] = unfolding(OfCharge)

    starting_after: str | None = older_than("ch")
    ending_before: str | None = newer_than("ch")
    status: ChargeState | None = optional("Only charges in this state.")
    merchant_order_no: OrderNo | None = optional("Only the charge with this number of yours.")
    qr_code: PublicId | None = optional("Only charges that were begun at this printed code.")
    store: PublicId | None = optional("Only charges of this store.")
    created_from: Moment | None = optional("RFC 3339; included.")
    created_before: Moment | None = optional("RFC 3339; excluded.")


class QRQuery(BaseModel):
    """How a code is drawn."""

    model_config = ConfigDict(extra="forbid")

    level: Level = Field(Level.M, description="Error correction: L 7 %, M 15 %, Q 25 %, H 30 %.")
    size: QueryInt = Field(
        600, ge=render.SIZE_PX_MIN, le=render.SIZE_PX_MAX, description="Pixels a side; PNG only."
    )


class QRAddresses(BaseModel):
    """Where a charge's code is drawn; fetch with your key."""

    svg: str
    png: str


class ReviewAnswer(BaseModel):
    """How a charge stands that one of your rules has held."""

    status: str = Field(
        description="open: it can be paid only after somebody at the dashboard has released it.  released, "
        "refused (then it is canceled), or lapsed: it ended before anybody looked."
    )
    opened_at: datetime
    closed_at: datetime | None
    reason: str | None = Field(description="What the person wrote who decided.")


class ChargeAnswer(BaseModel):
    """A charge."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHARGE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^charge$")
    livemode: bool
    status: ChargeState
    amount: int
    amount_paid: int | None = Field(
        description="`null` until paid; less than `amount` if somebody at the dashboard accepted less."
    )
    amount_refunded: int = Field(description="What has gone back or is on its way.")
    currency: str
    description: str
    merchant_order_no: str | None
    metadata: dict[str, str]
    return_url: str | None
    qr_code: str | dict[str, Any] | None = Field(
        description="The printed code that it was begun at; with expand[]=qr_code the code itself."
    )
    store: str | dict[str, Any] | None = Field(
        description="The store that you named; of a charge begun at a printed code, the one where that hung "
        "then.  With expand[]=store the store itself."
    )
    topup: str | None = Field(description="The top-up of a member that it pays for.")
    url: str = Field(description="The signed payment link: what the QR code says.")
    qr: QRAddresses
    provider: str | None = Field(description="alipay, wechatpay or unionpay, once paid.")
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    paid_late: bool = Field(description="Paid after it had expired.")
    expired_at: datetime | None
    canceled_at: datetime | None
    review: ReviewAnswer | None = Field(
        description="null unless one of your risk rules has held it; `status` is pending meanwhile."
    )
    refunds: dict[str, Any] | None = optional("With expand[]=refunds: the latest ten, newest first.")
    latest_attempt: dict[str, Any] | None = Field(
        None,
        description="With expand[]=latest_attempt: the last try in a wallet; null if there was none.  Its "
        "`routing_rule` chose its `provider_account`; null: none did, and it was the first that worked.",
    )


class ChargeList(BaseModel):
    """One page of charges, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "url": "/v1/charges", "has_more": False, "data": [CHARGE_EXAMPLE]}
            ]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[ChargeAnswer]


def drawing(content_type: str) -> ResponseDict:
    """What an operation that draws a code may answer."""
    content = {content_type: {"schema": {"type": "string", "contentMediaType": content_type}}}
    return {
        200: {"description": "The code, with its quiet zone", "content": content},
        304: {"description": "You have it already (If-None-Match)"},
        404: ErrorAnswer,
    }


@bp.post(
    "",
    summary="Create a charge",
    responses={201: ChargeAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: ChargeBody) -> Response:
    """Send an Idempotency-Key, and a repeated request is answered as the first was.

    Once the key is forgotten, ``merchant_order_no`` still keeps a repeated request from making a second
    charge: it is answered with the first one, as it stands now, and 201 again.
    """
    new = NewCharge(
        amount=Money(body.amount, currency_of(body.currency)),
        description=body.description,
        merchant_order_no=body.merchant_order_no,
        metadata=body.metadata,
        return_url=body.return_url,
        expires_in_s=body.expires_in_s,
        store_id=body.store,
    )
    who = caller()

    def work(tx: Connection) -> dict[str, Any]:
        return charge_json(lifecycle.create_charge(tx, who.merchant_id, livemode=who.livemode, new=new))

    return done_once(header, work, 201)


@bp.get("/<charge_id>", summary="Read a charge", responses={200: ChargeAnswer, 404: ErrorAnswer})
@validated
def read(path: ChargePath, query: ChargeView) -> Response:
    """The charge as it stands."""
    _allow(query.expand)
    charge = lifecycle.find(caller().merchant_id, path.charge_id, livemode=caller().livemode)
    return json_answer(dump(charges_json([charge], query.expand)[0]))


@bp.get("", summary="List charges", responses={200: ChargeList})
@validated
def list_all(query: ChargeQuery) -> Response:
    """Newest first.  Page with the last id of one page as ``starting_after`` of the next."""
    _allow(query.expand)
    wanted = ChargeFilter(
        status=query.status,
        merchant_order_no=query.merchant_order_no,
        qr_code_id=query.qr_code,
        store_id=query.store,
        created_from=query.created_from,
        created_before=query.created_before,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        limit=query.limit,
    )
    rows, has_more = lifecycle.list_charges(caller().merchant_id, livemode=caller().livemode, wanted=wanted)
    page = {
        "object": "list",
        "url": "/v1/charges",
        "has_more": has_more,
        "data": charges_json(rows, query.expand),
    }
    return json_answer(dump(page))


@bp.post(
    "/<charge_id>/cancel",
    summary="Cancel a charge",
    responses={200: ChargeAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def cancel(path: ChargePath, header: OnceHeader) -> Response:
    """Canceling twice is harmless, with and without an Idempotency-Key.

    Open attempts are closed at their provider first; money that still arrives goes back by itself.
    """
    who = caller()

    def work() -> dict[str, Any]:
        return charge_json(lifecycle.cancel_charge(who.merchant_id, path.charge_id, livemode=who.livemode))

    return done_once_in_steps(header, work)


@bp.post(
    "/<charge_id>/app_params",
    summary="Pay in your app",
    responses={
        200: AppParamsAnswer,
        402: ErrorAnswer,
        404: ErrorAnswer,
        **ONCE_REFUSALS,
        **BODY_REFUSALS,
    },
)
@validated
def app_params(path: ChargePath, header: OnceHeader, body: AppParamsBody) -> Response:
    """What the wallet's mobile SDK needs to take this payment inside your own app.

    Ask on your server when the shopper has chosen, hand ``params`` to the SDK, and believe no result but
    ``charge.paid``.  Asking again is harmless and needs no Idempotency-Key: while an attempt is open its
    parameters are answered, fresh ones when they have run out.  Another provider closes it first.
    402 is the wallet's no; after 503 nothing is known yet: ask again.
    """
    who = caller()

    def work() -> dict[str, Any]:
        started = in_app.start_in_app(who.merchant_id, path.charge_id, body.provider, livemode=who.livemode)
        return in_app.app_params_json(path.charge_id, body.provider, started)

    return done_once_in_steps(header, work)


@bp.get("/<charge_id>/qr.svg", summary="The code as SVG", responses=drawing("image/svg+xml"))
@validated
def qr_svg(path: ChargePath, query: QRQuery) -> Response:
    """A vector drawing; it never changes, so keep it."""
    return _image(path.charge_id, query, Kind.SVG)


@bp.get("/<charge_id>/qr.png", summary="The code as PNG", responses=drawing("image/png"))
@validated
def qr_png(path: ChargePath, query: QRQuery) -> Response:
    """A bitmap of whole pixels a module; it never changes, so keep it."""
    return _image(path.charge_id, query, Kind.PNG)


def _allow(wanted: list[OfCharge]) -> None:
    if OfCharge.REFUNDS in wanted:
        require_scope(Scope.REFUNDS_READ)
    if OfCharge.QR_CODE in wanted or OfCharge.STORE in wanted:
        require_scope(Scope.CODES_READ)


def _image(charge_id: str, query: QRQuery, kind: Kind) -> Response:
    link = link_of(lifecycle.find(caller().merchant_id, charge_id, livemode=caller().livemode))
    return qr_answer(link, kind=kind, level=query.level, size_px=query.size)
