"""JSON as it may enter: an object, without duplicate keys, NaN or numbers that Python alone allows."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from app.errors import InvalidRequest

DEPTH_MAX = 16
_INT_DIGITS_MAX = 19


def parse_object(body: bytes) -> dict[str, Any]:
    """The object that ``body`` holds.  Raises InvalidRequest saying what is wrong with it.

    Refused although ``json.loads`` takes them: duplicate keys (which one did you mean?), NaN and
    Infinity, integers of more than 19 digits, nesting deeper than 16, keys that are no text, and any
    top level but an object.
    """
    if not body:
        raise InvalidRequest("the body is empty: send a JSON object", code="invalid_json")
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8", code="invalid_json") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"the body is not JSON: {error.msg} at character {error.pos}", code="invalid_json"
        ) from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    _limit_depth(value, DEPTH_MAX)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise InvalidRequest(f"the key {name[:64]!r} occurs twice", code="duplicate_key", param=name[:64])
        if not name.isascii():
            _refuse_half_characters(name)
        value[name] = item
    return value


def _refuse_half_characters(name: str) -> None:
    """JSON can spell one half of a surrogate pair; no database and no encoding can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a key holds half a character", code="invalid_json") from None


def _constant(text: str) -> NoReturn:
    raise InvalidRequest(f"{text} is not JSON", code="invalid_json")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _INT_DIGITS_MAX:
        raise InvalidRequest("a number has too many digits", code="invalid_json")
    return int(text)


def _limit_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise InvalidRequest("the body is nested too deeply", code="invalid_json")
    for item in value.values() if isinstance(value, dict) else value:
        _limit_depth(item, left - 1)
