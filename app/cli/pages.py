"""What a page offers to somebody without a script: its forms, and the marks that we leave for programs.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

_PRESSED = ("submit", "radio", "checkbox")


@dataclass(slots=True)
class Form:
    """A form.  ``fields`` are sent as they stand; ``options`` are values to choose from, by name."""

    method: str
    address: str
    fields: dict[str, str] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)

    def offers(self, name: str, value: str) -> bool:
        """Whether a button, a radio, a box or a hidden field sends this."""
        return value in self.options.get(name, ()) or self.fields.get(name) == value


@dataclass(slots=True)
class Page:
    """``links`` are addresses by a ``data-…`` attribute of theirs; ``classes`` those of all elements."""

    address: str
    forms: list[Form] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)

    def form_offering(self, name: str, value: str) -> Form | None:
        """The first form in which this can be chosen."""
        return next((form for form in self.forms if form.offers(name, value)), None)


def read_page(address: str, html: str) -> Page:
    """``address`` is the page's own, from which its links are reckoned."""
    reader = _Reader(address)
    reader.feed(html)
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page(address)
        self._form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.classes.update(given.get("class", "").split())
        if tag == "a" and "href" in given:
            for name in given:
                if name.startswith("data-"):
                    self.page.links.setdefault(name, urljoin(self.page.address, given["href"]))
        if tag == "form":
            address = urljoin(self.page.address, given.get("action") or self.page.address)
            self._form = Form(given.get("method", "get").upper(), address)
            self.page.forms.append(self._form)
        elif tag in ("input", "button") and self._form is not None:
            _enter(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None


def _enter(form: Form, tag: str, given: Mapping[str, str]) -> None:
    name, value = given.get("name", ""), given.get("value", "")
    kind = given.get("type", "submit" if tag == "button" else "text").lower()
    if not name or "disabled" in given:
        return
    if kind in _PRESSED:
        form.options.setdefault(name, []).append(value)
        if "checked" in given:
            form.fields[name] = value
    elif tag == "input":
        form.fields[name] = value
