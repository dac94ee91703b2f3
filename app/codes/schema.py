"""The bodies and answers of /v1/qr_codes, as models: what is read, and what the document shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from app.answers import Moment, PageQuery, PublicId, newer_than, older_than, optional
from app.charges.api import QRAddresses
from app.codes.codes import SERIES_MAX
from app.codes.terms import (
    INACTIVE_CHARS_MAX,
    LABEL_CHARS_MAX,
    MAX_PAYMENTS_MAX,
    NAME_CHARS_MAX,
    OPEN_MAX_MINOR,
    SUGGESTED_MAX,
    CodePurpose,
    LabelKind,
)
from app.merchants.keys import LINE_PATTERN, NAME_PATTERN
from app.money import EXPONENTS, MINOR_MAX

CODE_EXAMPLE: dict[str, Any] = {
    "id": "qr_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "qr_code",
    "livemode": False,
    "active": True,
    "code": "7K2M-9QXT-4CWJ",
    "url": "https://PAY.EXAMPLE.COM/P/7K2M9QXT4CWJ",
    "verify_url": "https://pay.example.com/v/7K2M9QXT4CWJ",
    "qr": {
        "svg": "https://pay.example.com/v1/qr_codes/qr_01jd3w6j7hqk2m8n4p6r8t0v2x/qr.svg",
        "png": "https://pay.example.com/v1/qr_codes/qr_01jd3w6j7hqk2m8n4p6r8t0v2x/qr.png",
    },
    "purpose": "pay",
    "name": "堂食",
    "store": None,
    "label": {"kind": "table", "text": "7"},
    "series": None,
    "currency": "cny",
    "amount": None,
    "preset_amount": None,
    "min_amount": 1,
    "max_amount": OPEN_MAX_MINOR,
    "suggested_amounts": [1000, 2000, 5000],
    "max_payments": None,
    "daily_cap": None,
    "valid_from": None,
    "valid_until": None,
    "inactive_message": {"zh": "本桌暂停点单，请到前台付款", "en": "Please pay at the counter"},
    "scans": 0,
    "charges": {"begun": 0, "paid": 0, "amount_paid": 0},
    "last_scan_at": None,
    "quiet_since": None,
    "created_at": "2026-01-15T02:00:00.123Z",
    "updated_at": "2026-01-15T02:00:00.123Z",
    "disabled_at": None,
}
_TERMS_EXAMPLE: dict[str, Any] = {
    "name": "堂食",
    "suggested_amounts": [1000, 2000, 5000],
    "inactive_message": {"zh": "本桌暂停点单，请到前台付款", "en": "Please pay at the counter"},
}
_LINE: dict[str, Any] = {"pattern": LINE_PATTERN}
_WORDS: dict[str, Any] = {"pattern": NAME_PATTERN}


_Name = Annotated[
    StrictStr,
    Field(
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="What is paid for; shoppers read it.",
        json_schema_extra=_WORDS,
    ),
]
_LabelText = Annotated[StrictStr, Field(min_length=1, max_length=LABEL_CHARS_MAX, json_schema_extra=_WORDS)]
_Fixed = Annotated[
    StrictInt | None,
    Field(ge=1, le=MINOR_MAX, description="A fixed price in minor units; `null`: the shopper says how much."),
]
_Preset = Annotated[
    StrictInt | None,
    Field(ge=1, le=MINOR_MAX, description="Of an open amount: what stands in the field at first."),
]
_Suggested = Annotated[
    list[Annotated[StrictInt, Field(ge=1, le=MINOR_MAX)]],
    Field(
        max_length=SUGGESTED_MAX,
        description="Of an open amount: paid with one press.",
        json_schema_extra={"uniqueItems": True},
    ),
]
_Limit = Annotated[StrictInt, Field(ge=1, le=MINOR_MAX)]
_Payments = Annotated[
    StrictInt | None, Field(ge=1, le=MAX_PAYMENTS_MAX, description="How many payments it takes in all.")
]
_Cap = Annotated[
    StrictInt | None,
    Field(ge=1, le=MINOR_MAX, description="How much it takes in a day of Beijing's, paid or about to be."),
]
_Store = Annotated[PublicId | None, Field(description="Where it hangs: the id of a store.")]


class Label(BaseModel):
    """What a code stands at."""

    model_config = ConfigDict(extra="forbid")

    kind: LabelKind
    text: _LabelText


class InactiveMessage(BaseModel):
    """What shoppers read while nothing can be paid there; our own words where it is empty."""

    model_config = ConfigDict(extra="forbid")

    zh: Annotated[StrictStr, Field(max_length=INACTIVE_CHARS_MAX, json_schema_extra=_LINE)] = ""
    en: Annotated[StrictStr, Field(max_length=INACTIVE_CHARS_MAX, json_schema_extra=_LINE)] = ""


class _Terms(BaseModel):
    """What the bodies of one code and of a series share."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    currency: Annotated[
        StrictStr,
        Field(
            min_length=3,
            max_length=3,
            description="ISO 4217; it stays.",
            json_schema_extra={"enum": [code for each in EXPONENTS for code in (each.lower(), each)]},
        ),
    ] = "cny"
    purpose: Annotated[
        CodePurpose,
        Field(description="topup: whoever scans names themselves, and fills their balance.  It stays."),
    ] = CodePurpose.PAY
    amount: _Fixed = None
    preset_amount: _Preset = None
    min_amount: Annotated[_Limit, Field(description="Of an open amount.")] = 1
    max_amount: Annotated[_Limit, Field(description="Of an open amount.")] = OPEN_MAX_MINOR
    suggested_amounts: _Suggested = []
    store: _Store = None
    max_payments: _Payments = None
    daily_cap: _Cap = None
    valid_from: Annotated[Moment | None, Field(description="RFC 3339.")] = None
    valid_until: Annotated[Moment | None, Field(description="RFC 3339; excluded.")] = None
    inactive_message: InactiveMessage = InactiveMessage()


class CodeBody(_Terms):
    """A new printed code."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{**_TERMS_EXAMPLE, "label": {"kind": "table", "text": "7"}}]},
    )

    label: Label | None = None


class SeriesBody(_Terms):
    """Codes that differ in their label alone: from ``prefix`` and ``first`` to ``prefix`` and ``last``."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {**_TERMS_EXAMPLE, "series": "1–24 号桌", "label_kind": "table", "first": 1, "last": 24}
            ]
        },
    )

    series: Annotated[
        StrictStr,
        Field(
            min_length=1,
            max_length=NAME_CHARS_MAX,
            description="What to find them by.",
            json_schema_extra=_WORDS,
        ),
    ]
    label_kind: LabelKind
    prefix: Annotated[
        StrictStr,
        Field(
            max_length=LABEL_CHARS_MAX - 5,
            description="Before each number: `A` makes `A1`.",
            json_schema_extra=_LINE,
        ),
    ] = ""
    first: Annotated[StrictInt, Field(ge=0, le=99_999)] = 1
    last: Annotated[StrictInt, Field(ge=0, le=99_999, description=f"At most {SERIES_MAX} codes in all.")]


class CodeChanges(BaseModel):
    """What to change of a code that hangs somewhere; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"amount": 1800, "active": True}]}
    )

    active: Annotated[StrictBool | None, Field(description="False: nothing can be paid there.")] = None
    name: _Name | None = None
    label: Label | None = None
    amount: _Fixed = None
    preset_amount: _Preset = None
    min_amount: _Limit | None = None
    max_amount: _Limit | None = None
    suggested_amounts: _Suggested | None = None
    store: _Store = None
    max_payments: _Payments = None
    daily_cap: _Cap = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    inactive_message: InactiveMessage | None = None


class SeriesPath(BaseModel):
    """Names one series."""

    series_id: PublicId = Field(examples=["qs_01jd3w6j7hqk2m8n4p6r8t0v2x"])


class CodePath(BaseModel):
    """Names one code."""

    code_id: PublicId = Field(examples=[CODE_EXAMPLE["id"]])


class CodeQuery(PageQuery):
    """Narrows a list."""

    starting_after: str | None = older_than("qr")
    ending_before: str | None = newer_than("qr")
    active: bool | None = optional("Only codes that are, or are not, disabled.")
    store: PublicId | None = optional("Only codes of this store.")
    series: PublicId | None = optional("Only codes of this series, by its id.")


class SeriesName(BaseModel):
    """The series that a code was made in."""

    id: str
    name: str


class CodeCounts(BaseModel):
    """What came of the scans."""

    begun: int
    paid: int
    amount_paid: int


class CodeAnswer(BaseModel):
    """A printed code."""

    model_config = ConfigDict(json_schema_extra={"examples": [CODE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^qr_code$")
    livemode: bool
    active: bool
    code: str = Field(description="What is printed below the symbol.")
    url: str = Field(description="What the symbol says.")
    verify_url: str = Field(description="Where anybody sees whose it is.")
    qr: QRAddresses
    purpose: CodePurpose
    name: str
    store: str | None
    label: Label | None
    series: SeriesName | None
    currency: str
    amount: int | None
    preset_amount: int | None
    min_amount: int | None = Field(description="`null` while the price is fixed; so are the next two.")
    max_amount: int | None
    suggested_amounts: list[int]
    max_payments: int | None
    daily_cap: int | None
    valid_from: datetime | None
    valid_until: datetime | None
    inactive_message: InactiveMessage
    scans: int = Field(description="How often its page was opened; a second late.")
    charges: CodeCounts
    last_scan_at: datetime | None
    quiet_since: datetime | None = Field(
        description="Its last scan, if that is longer ago than is usual at this hour; else `null`."
    )
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class CodeList(BaseModel):
    """One page of codes, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": "/v1/qr_codes", "has_more": False, "data": [CODE_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[CodeAnswer]
