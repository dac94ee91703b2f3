"""What every room of the dashboard that prints shares: reading what is wanted, words, the page, the file.

A room says which cards there are; all else is here, so that charges and printed codes print alike.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from flask import Response, make_response, render_template, request
from flask_babel import force_locale, gettext
from flask_babel import lazy_gettext as _l

from app.errors import Conflict, InvalidRequest, MissingGlyph
from app.qr.print import shop as print_shop
from app.qr.print.card import OFFSET_MM_MAX, Card, Look, Placing, Words
from app.qr.print.preflight import Trial, Verdict, preflight
from app.qr.print.shop import STOCK_OF, Form, Kind, Printed

LANGUAGES = {"both": ("zh", "en"), "zh": ("zh",), "en": ("en",)}
COLOURS = {"accent": _l("Frame"), "ink": _l("Code")}

WALLETS = {"alipay": _l("Alipay"), "wechatpay": _l("WeChat Pay"), "unionpay": _l("UnionPay")}

_KINDS = {
    Kind.A6: (_l("Stand A6"), "105 × 148 mm"),
    Kind.A5: (_l("Stand A5"), "148 × 210 mm"),
    Kind.A4: (_l("Poster A4"), "210 × 297 mm"),
    Kind.TENT: (_l("Table tent"), "2 × 148 × 105 mm"),
    Kind.STICKER: (_l("Sticker"), "80 × 80 mm"),
    Kind.LABELS_12: (_l("12 labels a sheet"), "63.5 × 72 mm · L7164"),
    Kind.LABELS_21: (_l("21 labels a sheet"), "63.5 × 38.1 mm · L7160"),
    Kind.LABELS_24: (_l("24 labels a sheet"), "70 × 37 mm · 3474"),
    Kind.THERMAL_80: (_l("Receipt, 80 mm"), "72 mm"),
    Kind.THERMAL_58: (_l("Receipt, 58 mm"), "48 mm"),
    Kind.PLAIN: (_l("Code only"), "60 × 60 mm"),
}
_FORMS = {
    Form.PDF: "PDF",
    Form.PNG: "PNG, 300 dpi",
    Form.SVG: "SVG",
    Form.ESCPOS: "ESC/POS",
    Form.ESCPOS_PICTURE: _l("ESC/POS, as a picture"),
}
_TRIALS = {
    Trial.CLEAN: _l("as printed"),
    Trial.BLUR: _l("out of focus"),
    Trial.ROTATION: _l("turned"),
    Trial.PERSPECTIVE: _l("from the side"),
    Trial.LOW_CONTRAST: _l("in dim light"),
    Trial.DISTANCE: _l("from a distance"),
}
_FAULTS = {
    "colour_invalid": _l("Write a colour like #1f3f77."),
    "colour_inverted": _l("The code must be darker than its ground: many phones do not find the reverse."),
    "contrast_too_low": _l(
        "This colour is too pale: phones would not find the code, or people not read the text."
    ),
    "too_dense": _l(
        "This address needs a larger code than this size can print clearly. Choose a larger size."
    ),
    "start_invalid": _l("This sheet has no label with that number."),
    "offset_too_large": _l(
        "Move the sheet by 0.5 mm at most. If more is needed, print without scaling, on the right paper."
    ),
}
# Who prints a page of 24 large codes waits a quarter of a second for the verdict; the file needs it again.
_VERDICTS = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants printed, as the address of the page says; ``usual`` is the shop's own look."""

    kind: Kind = Kind.A6
    language: str = "both"
    look: Look = field(default_factory=Look)
    placing: Placing = field(default_factory=Placing)
    price: bool = True  # whether a price is printed where there is one: it may change, and paper does not
    usual: Look = field(default_factory=Look)

    def query(self, **other: str) -> dict[str, str]:
        """The same order as arguments of an address; ``other`` replaces some.  What is usual is left out."""
        said = {
            "kind": self.kind,
            "words": self.language,
            "accent": self.look.accent,
            "ink": self.look.ink,
            "logo": "1" if self.look.logo == self.usual.logo else "0",
            "price": "1" if self.price else "0",
            "start": str(self.placing.start),
            "right": f"{self.placing.right_mm:g}",
            "down": f"{self.placing.down_mm:g}",
        } | other
        usual = _DEFAULTS | {"accent": self.usual.accent, "ink": self.usual.ink}
        return {name: text for name, text in said.items() if text != usual.get(name)}


_DEFAULTS = {
    "kind": "a6",
    "words": "both",
    "logo": "1",
    "price": "1",
    "start": "1",
    "right": "0",
    "down": "0",
}


def read_order(given: Mapping[str, str], usual: Look) -> Order:
    """Read it; what is no printable or language of ours is the usual one.  Raises InvalidRequest."""
    chosen: dict[str, Any] = {name: given[name].lower() for name in COLOURS if given.get(name)}
    if given.get("logo") == "0":
        chosen["logo"] = None
    return replace(
        _plain_order(given, usual),
        look=replace(usual, **chosen),
        placing=Placing(_whole(given, "start"), _millimetres(given, "right"), _millimetres(given, "down")),
    )


def words_for(language: str, wallets: Iterable[str]) -> tuple[Words, ...]:
    """What paper says to shoppers in ``language`` (zh, en, both); ``wallets`` are the connected providers."""
    return tuple([_words(each, set(wallets)) for each in LANGUAGES[language]])


def page(
    cards_of: Callable[[Order], Sequence[Card]],
    *,
    here: Callable[..., str],
    file: Callable[..., str],
    back: tuple[str, str],
    room: str,
    livemode: bool,
    usual: Look,
    has_price: bool = False,
) -> Response:
    """The print shop around these cards: formats, options, preview, pre-flight, downloads.

    ``here`` and ``file`` make the addresses of this page and of its file from an order's arguments; ``back``
    is an address and its text, ``room`` the dashboard's, ``usual`` how the shop always looks;
    ``has_price`` is for cards whose price may change while they hang.
    """
    order, fault, verdict, cards = _plain_order(request.args, usual), None, None, list[Card]()
    try:
        order = read_order(request.args, usual)
        cards = list(cards_of(order))
        verdict = judge(order, cards)
    except InvalidRequest as refusal:
        fault = fault_text(refusal)
    html = render_template(
        "print/room.html",
        order=order,
        fault=fault,
        verdict=verdict,
        trials=_TRIALS,
        kinds=_KINDS,
        forms={form: _FORMS[form] for form in print_shop.forms_of(order.kind, len(cards))},
        preview=Form.SVG if Form.SVG in print_shop.forms_of(order.kind) else Form.PNG,
        colours=_colours_of(order.kind),
        count=STOCK_OF[order.kind].count if order.kind in STOCK_OF else 0,
        offset_mm_max=OFFSET_MM_MAX,
        cards=len(cards),
        # The middle of a test print says TEST, and a ticket has no level to spare.
        takes_logo=order.kind not in (Kind.THERMAL_58, Kind.THERMAL_80)
        and not any(card.test for card in cards),
        has_logo=usual.logo is not None,
        has_price=has_price,
        lasting=all(is_lasting(card.address) for card in cards),
        given=request.args,
        here=here,
        file=file,
        back=back,
        room=room,
        livemode=livemode,
    )
    return make_response(html, 200 if fault is None else 400)


def file(cards_of: Callable[[Order], Sequence[Card]], *, name: str, usual: Look) -> Response:
    """The file that the address asks for, once the pre-flight has read it; ``name`` without its end.

    Raises InvalidRequest, Conflict (``print_unreadable``).
    """
    order = read_order(request.args, usual)
    form = request.args.get("form", "")
    done = printed(order, cards_of(order), Form(form) if form in set(Form) else None)
    response = Response(done.body, content_type=done.media_type)
    if "shown" not in request.args:
        whole = f"{name}-{order.kind}.{done.extension}"
        response.headers["Content-Disposition"] = f'attachment; filename="{whole}"'
    return response


def printed(order: Order, cards: Sequence[Card], form: Form | None) -> Printed:
    """Paper for these cards, if it can be read.  Raises InvalidRequest, Conflict (``print_unreadable``)."""
    if not judge(order, cards).passed:
        raise Conflict("phones may not read this print: choose a larger one", code="print_unreadable")
    return print_shop.draw(order.kind, cards, form=form, look=order.look, placing=order.placing)


def calibration() -> Response:
    """The calibration page of a sheet of labels (the usual one has 21), in the reader's language."""
    order = read_order(request.args, Look())
    kind = order.kind if order.kind in STOCK_OF else Kind.LABELS_21
    lines = (
        gettext("Print without scaling, then hold this page and a sheet of labels against the light."),
        gettext("If the ruler is not 100 mm long, switch off scaling in the printer's dialogue."),
        gettext("If all frames are off the same way, move the sheet by up to 0.5 mm."),
    )
    page = print_shop.calibration(kind, lines, placing=order.placing)
    response = Response(page.body, content_type=page.media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="calibration-{kind}.pdf"'
    return response


def judge(order: Order, cards: Sequence[Card]) -> Verdict:
    """The pre-flight's verdict, kept for the download that follows.  Raises InvalidRequest."""
    return _judged(order.kind, tuple(cards), order.look, order.placing)


def is_lasting(address: str) -> bool:
    """Whether paper may carry it: https, and a host with a name that phones elsewhere can find."""
    parts = urlsplit(address.lower())
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts.scheme == "https" and "." in host and not host.endswith((".localhost", ".local"))
    return False


def fault_text(refusal: InvalidRequest) -> str:
    """What to do about it, in the reader's language."""
    if isinstance(refusal, MissingGlyph):
        return gettext(
            "The fonts for paper have no %(characters)s. Write the name or text without it.",
            characters=" ".join(refusal.characters[:20]),
        )
    return str(_FAULTS.get(refusal.code, refusal.detail))


@lru_cache(maxsize=_VERDICTS)
def _judged(kind: Kind, cards: tuple[Card, ...], look: Look, placing: Placing) -> Verdict:
    return preflight(kind, cards, look=look, placing=placing)


def _colours_of(kind: Kind) -> dict[str, Any]:
    """What of a printable may be coloured, with its name: receipts are black, labels have no frame."""
    if kind in (Kind.THERMAL_58, Kind.THERMAL_80):
        return {}
    return {"ink": COLOURS["ink"]} if kind in STOCK_OF or kind is Kind.PLAIN else COLOURS


def _plain_order(given: Mapping[str, str], usual: Look) -> Order:
    kind, language = given.get("kind", ""), given.get("words", "")
    return Order(
        Kind(kind) if kind in set(Kind) else Kind.A6,
        language if language in LANGUAGES else "both",
        look=usual,
        price=given.get("price") != "0",
        usual=usual,
    )


def _words(language: str, wallets: set[str]) -> Words:
    with force_locale(language):
        named = [str(name) for code, name in WALLETS.items() if code in wallets]
        return Words(
            language=language,
            scan=gettext("Scan to pay"),
            wallets=gettext(", ").join(named),
            check=gettext("Check the payee and the amount before you pay."),
            test=gettext("TEST: no money moves"),
            amount=gettext("You type the amount"),
            whose=gettext("Whose code is this?"),
        )


def _whole(given: Mapping[str, str], name: str) -> int:
    text = given.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise InvalidRequest("this is no number of a label", code="start_invalid", param=name)
    return int(text or 1)


def _millimetres(given: Mapping[str, str], name: str) -> float:
    try:
        return float(given.get(name) or 0)
    except ValueError:
        raise InvalidRequest("this is no length", code="offset_too_large", param=name) from None
