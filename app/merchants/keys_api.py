"""/v1/api_keys: a merchant's system makes, narrows, rolls and revokes keys, never beyond its own reach."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

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
from app.merchants import keys
from app.merchants.auth import actor, caller, require_key
from app.merchants.keys import NAME_CHARS_MAX, NAME_PATTERN, OVERLAP_S_MAX, NewKey
from app.merchants.once_api import done_once
from app.merchants.scopes import Scope, read_stored, scopes_of

bp = APIBlueprint(
    "keys_api",
    __name__,
    url_prefix="/v1/api_keys",
    abp_tags=[Tag(name="API keys", description="Who may do what in your name.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

KEY_EXAMPLE: dict[str, Any] = {
    "id": "key_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "object": "api_key",
    "livemode": False,
    "name": "till",
    "scopes": ["charges:read", "charges:write"],
    "prefix": "mafu_rk_test_",
    "last4": "x7Qd",
    "version": "2026-11-21",
    "created_at": "2026-01-15T02:00:00.123Z",
    "last_used_at": None,
    "expires_at": None,
    "revoked_at": None,
}

_Name = Annotated[
    StrictStr,
    Field(
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="What will use it.",
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
_Scopes = Annotated[
    list[Annotated[StrictStr, Field(max_length=40, json_schema_extra={"enum": list(Scope)})]],
    Field(min_length=1, max_length=40),
]
_REFUSALS = {404: ErrorAnswer, **ONCE_REFUSALS, **BODY_REFUSALS}


class KeyBody(BaseModel):
    """A new key, in the mode of the key that asks for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "till", "scopes": ["charges:write"]}]},
    )

    name: _Name
    scopes: Annotated[
        _Scopes | None,
        Field(
            description="What it may do: a restricted key.  Left out: a full key.  Writing implies reading."
        ),
    ] = None


class KeyChanges(BaseModel):
    """What to change of a key; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"scopes": ["charges:read", "refunds:write"]}]}
    )

    name: _Name | None = None
    scopes: Annotated[_Scopes | None, Field(description="Replaces them; restricted keys only.")] = None


class RollBody(BaseModel):
    """When the old key ends."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in_s": 86400}]})

    expires_in_s: Annotated[
        StrictInt,
        Field(ge=0, le=OVERLAP_S_MAX, description="Seconds for which the old key still opens; 0: at once."),
    ] = 0


class KeyPath(BaseModel):
    """Names one key."""

    key_id: PublicId = Field(examples=[KEY_EXAMPLE["id"]])


class KeyQuery(PageQuery):
    """Which page."""

    starting_after: str | None = older_than("key")
    ending_before: str | None = newer_than("key")


class KeyAnswer(BaseModel):
    """A key, without what opens."""

    model_config = ConfigDict(json_schema_extra={"examples": [KEY_EXAMPLE]})

    id: str
    object: str = Field(pattern="^api_key$")
    livemode: bool
    name: str
    scopes: list[Scope] | None = Field(description="None: a full key.")
    prefix: str = Field(description="How the key begins.")
    last4: str = Field(description="How it ends.")
    version: str = Field(description="Of the API, where a request names no other.")
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime | None = Field(description="Set when it was rolled.")
    revoked_at: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A key with what opens, which is never shown again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**KEY_EXAMPLE, "secret": "mafu_rk_test_…"}]})

    secret: str = Field(description="The key itself: keep it where secrets are kept.")


class KeyList(BaseModel):
    """One page of keys, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "url": "/v1/api_keys", "has_more": False, "data": [KEY_EXAMPLE]}]
        }
    )

    object: str = Field(pattern="^list$")
    url: str
    has_more: bool = Field(description="Whether there is more in the direction of paging.")
    data: list[KeyAnswer]


@bp.post(
    "",
    summary="Create a key",
    responses={201: NewKeyAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader, body: KeyBody) -> Response:
    """The key itself is in this answer alone.  403: it would do more than the key that asks."""
    new = NewKey(body.name, None if body.scopes is None else scopes_of(body.scopes))
    return done_once(header, lambda tx: key_json(*keys.store_key(tx, caller(), new, by=actor())), 201)


@bp.get("", summary="List keys", responses={200: KeyList})
@validated
def list_all(query: KeyQuery) -> Response:
    """Of this mode, newest first, revoked ones too."""
    rows, has_more = keys.page_of_keys(
        caller().merchant_id,
        livemode=caller().livemode,
        older_than=query.starting_after,
        newer_than=query.ending_before,
        limit=query.limit,
    )
    data = [key_json(row) for row in rows]
    return json_answer(dump({"object": "list", "url": "/v1/api_keys", "has_more": has_more, "data": data}))


@bp.get("/<key_id>", summary="Read a key", responses={200: KeyAnswer, 404: ErrorAnswer})
@validated
def read(path: KeyPath) -> Response:
    """Without what opens."""
    row = keys.find_key(caller().merchant_id, path.key_id, livemode=caller().livemode)
    return json_answer(dump(key_json(row)))


@bp.post("/<key_id>", summary="Change a key", responses={200: KeyAnswer, **_REFUSALS})
@validated
def update(path: KeyPath, header: OnceHeader, body: KeyChanges) -> Response:
    """Its name, or the scopes of a restricted key.  They hold from the next request on.

    403: the key may do, or would do, more than the key that asks.
    """
    chosen = None if body.scopes is None else scopes_of(body.scopes)
    return done_once(
        header,
        lambda tx: key_json(
            keys.change_key(tx, caller(), path.key_id, name=body.name, new_scopes=chosen, by=actor())
        ),
    )


@bp.post("/<key_id>/roll", summary="Roll a key", responses={200: NewKeyAnswer, **_REFUSALS})
@validated
def roll(path: KeyPath, header: OnceHeader, body: RollBody) -> Response:
    """A new key that may do the same, in this answer alone.

    The old one opens for `expires_in_s` more, so that systems can change over one by one; use 0 for a key
    that has leaked.
    """
    return done_once(
        header,
        lambda tx: key_json(
            *keys.roll_key(tx, caller(), path.key_id, overlap_s=body.expires_in_s, by=actor())
        ),
    )


@bp.post(
    "/<key_id>/revoke", summary="Revoke a key", responses={200: KeyAnswer, 404: ErrorAnswer, **ONCE_REFUSALS}
)
@validated
def revoke(path: KeyPath, header: OnceHeader) -> Response:
    """It opens nothing from now on, on any machine.  Revoking twice is harmless."""
    return done_once(header, lambda tx: key_json(keys.revoke_as(tx, caller(), path.key_id, by=actor())))


def key_json(row: sa.Row[Any], secret: str | None = None) -> dict[str, Any]:
    """The key object of the API."""
    shown = {
        "id": row.id,
        "object": "api_key",
        "livemode": row.livemode,
        "name": row.name,
        "scopes": None if row.scopes is None else [s for s in Scope if s in read_stored(row.scopes)],
        "prefix": keys.prefix_of(row),
        "last4": row.last4,
        "version": row.version,
        "created_at": to_rfc3339(row.created_at),
        "last_used_at": _time(row.last_used_at),
        "expires_at": _time(row.expires_at),
        "revoked_at": _time(row.revoked_at),
    }
    return shown if secret is None else {**shown, "secret": secret}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
