"""What a page offers to somebody without a script: its words, its forms, and the marks left for scripts.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

_PRESSED = ("submit", "radio", "checkbox")
_ONWARD = "data-onward"  # what our script presses at once on a page that leads on
_TOLD = frozenset(("h1", "h2", "h3", "p", "li", "summary", "legend"))
_MUTE = frozenset(("script", "style", "template", "svg", "noscript"))


@dataclass(slots=True)
class Form:
    """A form.  ``fields`` are sent as they stand; ``options`` are values to choose from, by name.

    ``onward`` is what its button adds when our script presses it; None where the script presses nothing.
    """

    method: str
    address: str
    fields: dict[str, str] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)
    onward: dict[str, str] | None = None

    def offers(self, name: str, value: str) -> bool:
        """Whether a button, a radio, a box or a hidden field sends this."""
        return value in self.options.get(name, ()) or self.fields.get(name) == value


@dataclass(slots=True)
class Page:
    """``marks`` are the ``data-…`` attributes, the first of each name; ``classes`` those of all elements.

    ``words`` are the headings, paragraphs and items inside ``<main>``, in their order.
    """

    address: str
    forms: list[Form] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)

    def form_offering(self, name: str, value: str) -> Form | None:
        """The first form in which this can be chosen."""
        return next((form for form in self.forms if form.offers(name, value)), None)

    @property
    def onward(self) -> Form | None:
        """The form that our script would send by itself."""
        return next((form for form in self.forms if form.onward is not None), None)


def read_page(address: str, html: str) -> Page:
    """``address`` is the page's own, from which its forms' are reckoned."""
    reader = _Reader(address)
    reader.feed(html)
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page(address)
        self._form: Form | None = None
        self._in_main = False
        self._mute = ""
        self._line: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.classes.update(given.get("class", "").split())
        for name, value in given.items():
            if name.startswith("data-"):
                self.page.marks.setdefault(name, value)
        if tag == "form":
            address = urljoin(self.page.address, given.get("action") or self.page.address)
            self._form = Form(given.get("method", "get").upper(), address)
            self.page.forms.append(self._form)
        elif tag in ("input", "button") and self._form is not None:
            _enter(self._form, tag, given)
        self._listen(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == self._mute:
            self._mute = ""
        elif tag in _TOLD or tag == "main":
            self._end_line()
            self._in_main = self._in_main and tag != "main"

    def handle_data(self, data: str) -> None:
        if self._line is not None and not self._mute:
            self._line.append(data)

    def _listen(self, tag: str) -> None:
        if tag == "main":
            self._in_main = True
        elif tag in _MUTE and not self._mute:
            self._mute = tag
        elif tag in _TOLD and self._in_main and not self._mute:
            self._end_line()
            self._line = []

    def _end_line(self) -> None:
        text = " ".join("".join(self._line or ()).split())
        if text:
            self.page.words.append(text)
        self._line = None


def _enter(form: Form, tag: str, given: Mapping[str, str]) -> None:
    name, value = given.get("name", ""), given.get("value", "")
    kind = given.get("type", "submit" if tag == "button" else "text").lower()
    if "disabled" in given:
        return
    if _ONWARD in given and kind == "submit":
        form.onward = {name: value} if name else {}
    if not name:
        return
    if kind in _PRESSED:
        form.options.setdefault(name, []).append(value)
        if "checked" in given:
            form.fields[name] = value
    elif tag == "input":
        form.fields[name] = value
