"""What commands say and how they fail: aligned text for people, one JSON object for programs."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import click

from app.errors import PlatformError
from app.qr import encode, render

P = ParamSpec("P")
T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def told(command: Callable[P, T]) -> Callable[P, T]:
    """Say what is wrong in one line, and exit 1, where a service refuses."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except PlatformError as error:
            raise click.ClickException(error.detail) from None

    return run


def say(text: str = "", *, err: bool = False) -> None:
    """One line or several, without colours when nobody looks or NO_COLOR is set (https://no-color.org)."""
    click.echo(text, err=err, color=False if os.environ.get("NO_COLOR") else None)


def say_facts(facts: Mapping[str, str]) -> None:
    """Names in one column, values in the next."""
    say(aligned(facts.items()))


def aligned(facts: Iterable[tuple[str, str]], *, indent: str = "") -> str:
    """``[("id", "ch_1"), ("link", "http://…")]`` as lines with one left edge each.  Pure."""
    pairs = list(facts)
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{indent}{click.style(name.ljust(width), dim=True)}  {value}" for name, value in pairs)


def say_json(value: Mapping[str, Any]) -> None:
    """For programs: one object, in one piece."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def qr_code(text: str, *, indent: str = "") -> str:
    """The text as a QR code that a phone reads off a dark terminal and off a light one."""
    lines = render.terminal(encode.matrix_for(text)).splitlines()
    return "\n".join(indent + click.style(line, fg="bright_white", bg="black") for line in lines)
