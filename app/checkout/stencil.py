"""A page cut once and filled many times.  Pure.

Rendering the checkout's first page takes longer than the request around it, mostly for translating the
same thirty sentences again.  So a template is rendered with holes where a payment's own texts belong, and
later requests fill the holes.  Each text is escaped on its way in, exactly once, and never read as a page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import escape

# Control characters that no text in the books may hold (charges/commands.py) and no template contains.
_OPEN, _CLOSE = "\x02", "\x03"
_HOLE = re.compile(f"{_OPEN}([a-z_]+){_CLOSE}")


@dataclass(frozen=True, slots=True)
class Stencil:
    """Literal pieces of a page and the names between them."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    def filled(self, texts: Mapping[str, object]) -> str:
        """The page with these texts.  What is Markup stays as it is; all else is escaped.

        Raises KeyError if a text is missing.
        """
        escaped = {name: str(escape(texts[name])) for name in set(self.names)}
        pieces = [""] * (2 * len(self.names) + 1)
        pieces[::2] = self.literals
        pieces[1::2] = [escaped[name] for name in self.names]
        return "".join(pieces)


def hole(name: str) -> str:
    """What to render in place of the text called ``name``: lower case letters and underscores."""
    return f"{_OPEN}{name}{_CLOSE}"


def cut(page: str) -> Stencil:
    """The stencil of a page that was rendered with holes."""
    pieces = _HOLE.split(page)
    return Stencil(tuple(pieces[::2]), tuple(pieces[1::2]))
