"""The control API's manners: JSON in, JSON out, faults in words."""

from __future__ import annotations

from typing import Any

from flask import request

Answer = tuple[dict[str, Any], int]
_TICKED = "on"  # what a browser sends for a box that is ticked
_TEXT_MAX = 20_000  # An order string or a certificate; nothing that is asked for is longer.


class Fault(Exception):
    """A control call that cannot be done: HTTP status, a code for machines, words for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> Answer:
        """``{"error": {"code", "message"}}``."""
        return {"error": {"code": self.code, "message": self.message}}, self.status


def body() -> dict[str, Any]:
    """The request's JSON object, or the fields that were filled in a form of the panel's; {} without any.

    Raises Fault.
    """
    if request.path.startswith("/panel/"):
        filled = {name: value.strip() for name, value in request.form.items() if value.strip()}
        return {name: True if value == _TICKED else value for name, value in filled.items()}
    if not request.get_data():
        return {}
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        raise Fault(400, "invalid_json", "the body is not a JSON object of type application/json")
    return found


def text(found: dict[str, Any], name: str, default: str = "") -> str:
    """A text field.  Raises Fault."""
    value = found.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        raise Fault(400, "invalid_field", f"{name} is not a text")
    return value


def whole(found: dict[str, Any], name: str, most: int) -> int | None:
    """A whole number from 1 to ``most``; None if absent.  Raises Fault."""
    value = found.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise Fault(400, "invalid_field", f"{name} is not a whole number from 1 to {most}")
    return value


def yes(found: dict[str, Any], name: str) -> bool:
    """A truth value, False if absent.  Raises Fault."""
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise Fault(400, "invalid_field", f"{name} is not true or false")
    return value
