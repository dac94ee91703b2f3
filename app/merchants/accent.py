"""A merchant's colour on screens: shades of it that keep text readable, by day and by night.  Pure.

A colour that paper takes carries white text; on a page it is also a link on grey, and in the dark the text
of a dark button.  Wherever the colour itself would not do, it becomes darker or lighter until it does.
Source: WCAG 2.2, contrast (minimum).
"""

from __future__ import annotations

from collections.abc import Iterable

from app.qr.print.card import TEXT_CONTRAST_MIN, contrast, rgb

# The grounds of static/css/tokens.css on which links and marks stand.
_DAY, _NIGHT = ("#ffffff", "#f6f7f9"), ("#171e27", "#0f141b", "#1e2732")
_BLACK, _WHITE, _INK = "#000000", "#ffffff", "#0b1018"
_STEPS = 50


def css_of(colour: str) -> str:
    """What follows after the tokens, for pages whose root is ``.branded``; ``colour`` is ``#rrggbb``."""
    by_day = mixed(colour, _WHITE, 0.9)
    day = _legible(colour, (*_DAY, by_day), _BLACK)
    by_night = mixed(colour, _NIGHT[0], 0.7)
    night = _legible(colour, (*_NIGHT, by_night, _INK), _WHITE)
    return (
        f".branded{{{_tokens(day, mixed(day, _BLACK, 0.2), _WHITE, by_day)}}}\n"
        "@media (prefers-color-scheme: dark){"
        f".branded{{{_tokens(night, mixed(night, _WHITE, 0.3), _INK, by_night)}}}}}\n"
    )


def mixed(colour: str, other: str, share: float) -> str:
    """So much of the other colour in it: ``("#000000", "#ffffff", 0.5) -> "#808080"``."""
    parts = zip(rgb(colour), rgb(other), strict=True)
    return "#" + "".join([f"{round(one + (two - one) * share):02x}" for one, two in parts])


def _legible(colour: str, grounds: Iterable[str], towards: str) -> str:
    """The nearest shade that stands out from all of them."""
    grounds = list(grounds)
    shades = (mixed(colour, towards, step / _STEPS) for step in range(_STEPS + 1))
    return next(
        (shade for shade in shades if min([contrast(shade, each) for each in grounds]) >= TEXT_CONTRAST_MIN),
        towards,
    )


def _tokens(accent: str, strong: str, on: str, soft: str) -> str:
    return f"--accent:{accent};--accent-strong:{strong};--on-accent:{on};--accent-soft:{soft}"
