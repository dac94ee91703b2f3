"""Every printable, language and state, by every reader, at 203 and 300 dpi, after every spoiling.

``python -m tests.qr.print.prove`` prints the table of docs/printing.md, and fails if a single code is unread.
"""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from app.qr.print.card import Card, Look
from app.qr.print.marks import Symbol
from app.qr.print.shop import STOCK_OF, Form, Kind, draw, forms_of, pages
from tests.qr.print.readers import READERS
from tests.qr.print.samples import CHARGE, WORDS, look_with_logo, pixels_of_pdf, series
from tests.qr.print.spoiling import SPOILINGS, spoilt

DPIS = (203, 300)


@dataclass(frozen=True)
class Tile:
    """A printed symbol cut out of its sheet."""

    view: Image.Image
    modules: int
    address: str


def tiles(kind: Kind, cards: Sequence[Card], look: Look, dpi: int, form: Form | None = None) -> list[Tile]:
    """The symbols of the first sheet of the very file that a merchant downloads."""
    form = form or (Form.PDF if Form.PDF in forms_of(kind) else Form.PNG)
    printed = draw(kind, cards, form=form, look=look)
    if form is Form.PDF:
        picture = pixels_of_pdf(printed.body, dpi)
    else:
        picture = Image.open(io.BytesIO(printed.body)).convert("L")
    page = pages(kind, cards, look=look)[0]
    scale = picture.width / page.width
    found = []
    for face in page.faces:
        for mark in face.marks:
            if isinstance(mark, Symbol):
                x, y = mark.x, mark.y
                if face.turned:
                    x, y = face.width - x - mark.side, face.height - y - mark.side
                box = (face.x + x, face.y + y, face.x + x + mark.side, face.y + y + mark.side)
                view = picture.crop(tuple(round(edge * scale) for edge in box))
                address = cards[min(len(found), len(cards) - 1)].address
                found.append(Tile(view, mark.matrix.size, address))
    return found


def states(kind: Kind) -> Iterator[tuple[str, list[Card], Look]]:
    """A live code, a code with a logo and the shop's colours, and a test print of a charge."""
    count = STOCK_OF[kind].count if kind in STOCK_OF else 1
    for language, words in WORDS.items():
        told = {"words": words}
        yield f"code, {language}", [replace(card, **told) for card in series(count)], Look()
        yield f"test, {language}", [replace(card, **told) for card in series(count, CHARGE)], Look()
    if kind not in (Kind.THERMAL_58, Kind.THERMAL_80):
        yield "logo, both", series(count), look_with_logo()


def main() -> None:
    """Tell the table."""
    began, failed = time.monotonic(), Counter[str]()
    print("| printable | codes | " + " | ".join(SPOILINGS) + " |")
    print("|---|--:|" + "--:|" * len(SPOILINGS))
    for kind in Kind:
        tried, read = Counter[str](), Counter[str]()
        codes = 0
        for state, cards, look in states(kind):
            for dpi in DPIS if Form.PDF in forms_of(kind) else DPIS[:1]:
                for number, tile in enumerate(tiles(kind, cards, look, dpi)):
                    codes += 1
                    for name in SPOILINGS:
                        picture = spoilt(tile.view, tile.modules, name)
                        for who, reader in READERS.items():
                            tried[name] += 1
                            if tile.address in reader(picture):
                                read[name] += 1
                            else:
                                failed[f"{kind}, {state}, {dpi} dpi, code {number}, {name}, {who}"] += 1
        told = " | ".join([f"{read[name]}/{tried[name]}" for name in SPOILINGS])
        print(f"| {kind} | {codes} | {told} |", flush=True)
    for what in failed:
        print("unread:", what)
    print(f"{len(READERS)} readers ({', '.join(READERS)}), {time.monotonic() - began:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
