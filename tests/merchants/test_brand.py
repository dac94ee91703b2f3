"""A merchant's look is kept once, changed by who may, and noted."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from app.errors import InvalidRequest, NotFound, PermissionDenied
from app.merchants import brand
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.models import AuditEntry
from app.qr.print.logo import SCREEN_BYTES_MAX, for_screens, read_logo
from tests.books import rows_of
from tests.qr.pictures import picture_of


def test_what_was_chosen_is_found_and_can_be_taken_back(app, merchant):
    brand.choose_accent(merchant.id, "#7A3B12 ")
    brand.choose_logo(merchant.id, picture_of("#7a3b12"))
    looks = brand.find(merchant.id)
    assert (looks.accent, looks.on_paper.accent) == ("#7a3b12", "#7a3b12")
    assert looks.on_paper.logo == read_logo(picture_of("#7a3b12"))
    assert brand.screen_logo(looks.logo_version).startswith(b"\x89PNG")
    brand.remove_logo(merchant.id)
    brand.choose_accent(merchant.id, "")
    assert brand.find(merchant.id) == brand.Looks()
    with pytest.raises(NotFound):
        brand.screen_logo(looks.logo_version)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_change_is_noted_and_none_is_not(app, merchant):
    for _ in range(2):
        brand.choose_accent(merchant.id, "#7a3b12")
    [entry] = rows_of(AuditEntry, action=Action.SETTINGS_CHANGED)
    assert json.loads(entry.before) == {"accent": None}
    assert json.loads(entry.after) == {"accent": "#7a3b12"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_may_not_change_settings_changes_no_look(app, merchant):
    for change in (
        lambda by: brand.choose_accent(merchant.id, "#7a3b12", by=by),
        lambda by: brand.choose_logo(merchant.id, picture_of("#7a3b12"), by=by),
        lambda by: brand.remove_logo(merchant.id, by=by),
    ):
        with pytest.raises(PermissionDenied):
            change(Actor("li@cafe.example"))
    with pytest.raises(InvalidRequest):
        brand.choose_accent(merchant.id, "#ffee88")
    assert brand.find(merchant.id) == brand.Looks()


@pytest.mark.parametrize("noise", [0, 40, 120])
def test_every_picture_becomes_small_enough_for_a_phone(noise):
    out = io.BytesIO()
    Image.effect_noise((400, 400), noise).convert("RGB").save(out, "PNG")
    small = for_screens(read_logo(out.getvalue()))
    assert len(small) <= SCREEN_BYTES_MAX
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.width == picture.height >= 64
