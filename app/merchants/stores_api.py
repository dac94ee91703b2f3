"""/v1/stores: the places where a merchant's printed codes hang and its tills stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictStr

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
    validated,
)
from app.clock import to_rfc3339
from app.merchants import stores
from app.merchants.auth import caller, require_key
from app.merchants.keys import LINE_PATTERN, NAME_PATTERN
from app.merchants.once_api import done_once
from app.merchants.stores import ADDRESS_CHARS_MAX, NAME_CHARS_MAX, StoreTerms

bp = APIBlueprint(
    "stores_api",
    __name__,
    url_prefix="/v1/stores",
    abp_tags=[Tag(name="Stores", description="Places where printed codes hang; shoppers read of them.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

STORE_EXAMPLE: dict[str, Any] = {
    "id": "st_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "store",
    "livemode": False,
    "name": "晨光咖啡馆 武康路店",
    "address": "上海市武康路 100 号",
    "created_at": "2026-01-15T02:00:00.123Z",
}
_Name = Annotated[
    StrictStr,
    Field(
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="Shoppers read it above the amount.",
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
_Address = Annotated[
    StrictStr,
    Field(
        max_length=ADDRESS_CHARS_MAX,
        description="Street and city, on one line.",
        json_schema_extra={"pattern": LINE_PATTERN},
    ),
]


class StoreBody(BaseModel):
    """A new store, in the mode of the key that asks for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "晨光咖啡馆 武康路店", "address": "上海市武康路 100 号"}]},
    )

    name: _Name
    address: _Address = ""


class StoreChanges(BaseModel):
    """What to change of a store; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"address": "上海市武康路 102 号"}]}
    )

    name: _Name | None = None
    address: _Address | None = None


class StorePath(BaseModel):
    """Names one store."""

    store_id: PublicId = Field(examples=[STORE_EXAMPLE["id"]])


class StoreQuery(PageQuery):
    """Which page."""

    starting_after: str | None = older_than("st")
    ending_before: str | None = newer_than("st")


class StoreAnswer(BaseModel):
    """A store."""

    model_config = ConfigDict(json_schema_extra={"examples": [STORE_EXAMPLE]})

    id: str
    object: str = Field(pattern="^store$")
    livemode: bool
    name: str
    address: str
    created_at: datetime


class StoreList(BaseModel):
    """One page of stores, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": "/v1/stores", "has_more": False, "data": [STORE_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[StoreAnswer]


@bp.post(
    "",
    summary="Create a store",
    responses={201: StoreAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: StoreBody) -> Response:
    """Point printed codes at it by its id."""
    new, who = StoreTerms(body.name, body.address), caller()
    return done_once(
        header, lambda tx: store_json(stores.add_store(tx, who.merchant_id, new, livemode=who.livemode)), 201
    )


@bp.get("", summary="List stores", responses={200: StoreList})
@validated
def list_all(query: StoreQuery) -> Response:
    """Of this mode, newest first."""
    rows, has_more = stores.page_of_stores(
        caller().merchant_id,
        livemode=caller().livemode,
        older_than=query.starting_after,
        newer_than=query.ending_before,
        limit=query.limit,
    )
    data = [store_json(row) for row in rows]
    return json_answer(dump({"object": "list", "url": "/v1/stores", "has_more": has_more, "data": data}))


@bp.get("/<store_id>", summary="Read a store", responses={200: StoreAnswer, 404: ErrorAnswer})
@validated
def read(path: StorePath) -> Response:
    """The store as it stands."""
    store = stores.find_store(caller().merchant_id, path.store_id, livemode=caller().livemode)
    return json_answer(dump(store_json(store)))


@bp.post(
    "/<store_id>",
    summary="Change a store",
    responses={200: StoreAnswer, 404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def update(path: StorePath, header: OnceHeader, body: StoreChanges) -> Response:
    """All codes that hang there show it from the next scan on."""
    who, changes = caller(), {"name": body.name, "address": body.address}
    return done_once(
        header,
        lambda tx: store_json(
            stores.change_store(tx, who.merchant_id, path.store_id, livemode=who.livemode, **changes)
        ),
    )


def store_json(row: sa.Row[Any]) -> dict[str, Any]:
    """The store object of the API."""
    return {
        "id": row.id,
        "object": "store",
        "livemode": row.livemode,
        "name": row.name,
        "address": row.address,
        "created_at": to_rfc3339(row.created_at),
    }


def unfolded(merchant_id: str, store_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """These stores as the API has them, by id: for charges that are asked to unfold theirs."""
    return {row.id: store_json(row) for row in stores.find_many(merchant_id, store_ids)}
