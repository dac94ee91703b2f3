"""Every text that a person may read is there in Chinese, with the same placeholders."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from app.providers import REGISTRY

ROOT = Path(__file__).parents[1]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w+\}")


@pytest.fixture(scope="module")
def chinese() -> Catalog:
    with (ROOT / "translations/zh/LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale="zh")


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str | None]]:
    """Each text and what it is said of, where that is said."""
    methods, options = parse_mapping_cfg(io.StringIO((ROOT / "babel.cfg").read_text(encoding="utf-8")))
    keywords = {"_": None, "_l": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    found = extract_from_dir(ROOT, methods, options, keywords=keywords)
    return {
        (ids if isinstance(ids, str) else ids[0], context) for _file, _line, ids, _comments, context in found
    }


def texts(message: Message) -> tuple[list[str], list[str]]:
    ids = [message.id] if isinstance(message.id, str) else list(message.id)
    strings = [message.string] if isinstance(message.string, str) else list(message.string)
    return ids, strings


def test_every_text_in_code_and_templates_is_translated(chinese, used):
    assert len(used) > 200
    known = {of: chinese.get(*of) for of in used}
    missing = {of for of, message in known.items() if message is None or not all(texts(message)[1])}
    assert missing == set(), "run: make translations, then fill in the Chinese"


def test_no_translation_is_left_of_a_text_that_is_gone(chinese, used):
    assert {(texts(message)[0][0], message.context) for message in chinese if message.id} - used == set()


def test_placeholders_survive_translation(chinese):
    for message in chinese:
        if message.id:
            ids, strings = texts(message)
            for string in strings:
                assert sorted(PLACEHOLDER.findall(string)) == sorted(PLACEHOLDER.findall(ids[-1])), ids[0]


def test_every_field_of_every_providers_credentials_is_known_to_the_catalogue(chinese):
    fields = [field for adapter in REGISTRY.values() for field in adapter.credentials]
    texts_shown = {text for field in fields for text in (field.label, field.hint) if " " in text}
    assert {text for text in texts_shown if text not in chinese} == set(), "list it in words_views.py"


def test_nothing_is_marked_as_doubtful(chinese):
    assert [message.id for message in chinese if message.id and message.fuzzy] == []
