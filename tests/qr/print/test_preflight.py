"""The pre-flight tells what poppler would print, and says no when a phone would."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from app.qr.print import preflight as flight
from app.qr.print import raster
from app.qr.print.marks import Face, Mark, Text
from app.qr.print.pdf import pdf
from app.qr.print.preflight import Trial, preflight
from app.qr.print.shop import Form, Kind, forms_of, pages
from tests.qr.print.samples import CHARGE, CODE, look_with_logo, needs_poppler, pixels_of_pdf, series

PDFS = [kind for kind in Kind if Form.PDF in forms_of(kind)]


@pytest.mark.parametrize("kind", Kind)
def test_what_we_offer_passes_every_trial(kind):
    for cards in (series(2), series(2, CHARGE)):
        verdict = preflight(kind, cards)
        assert verdict.passed, verdict
        assert [trial for trial, _ in verdict.trials] == list(Trial)
        assert verdict.module_mm >= 0.5
        assert verdict.distance_mm == pytest.approx(10 * verdict.modules * verdict.module_mm)


def test_a_logo_passes_too():
    for kind in (Kind.A6, Kind.LABELS_21, Kind.PLAIN):
        assert preflight(kind, [CODE], look=look_with_logo()).passed


def test_the_densest_code_of_a_series_is_judged():
    verdict = preflight(Kind.LABELS_24, [CODE, CHARGE, CODE])
    assert verdict.modules == 37


@needs_poppler
@pytest.mark.parametrize(
    ("kind", "with_text"),
    [*[(kind, False) for kind in PDFS], (Kind.A6, True), (Kind.TENT, True), (Kind.LABELS_24, True)],
)
def test_our_raster_is_what_poppler_makes_of_the_pdf(kind, with_text):
    """Edges may fall a pixel to either side; letters, which two renderers smooth differently, three."""
    page = pages(kind, [CHARGE])[0]
    if not with_text:
        page = replace(page, faces=tuple(replace(face, marks=_without_text(face)) for face in page.faces))
    ours = raster.paint(page, 203 / 25.4, whole_modules=False).convert("L")
    theirs = pixels_of_pdf(pdf([page], title="", language="en"), 203)
    assert abs(ours.width - theirs.width) <= 1
    assert abs(ours.height - theirs.height) <= 1
    size = (min(ours.width, theirs.width), min(ours.height, theirs.height))
    pair = [picture.crop((0, 0, *size)).point(lambda grey: 255 * (grey > 128)) for picture in (ours, theirs)]
    # What is left of the differences when each loses a margin all around.
    left = ImageChops.difference(*pair).filter(ImageFilter.MinFilter(7 if with_text else 3))
    assert left.getbbox() is None


def _without_text(face: Face) -> tuple[Mark, ...]:
    return tuple(mark for mark in face.marks if not isinstance(mark, Text))


def spoil_with(monkeypatch: pytest.MonkeyPatch, change) -> None:
    painted = raster.paint
    monkeypatch.setattr(flight.raster, "paint", lambda *args, **how: change(painted(*args, **how)))


def blotted(picture: Image.Image) -> Image.Image:
    side = picture.width
    ImageDraw.Draw(picture).ellipse((side * 0.25, side * 0.25, side * 0.75, side * 0.75), fill="#ffffff")
    return picture


SPOILS = {
    "a blot": blotted,
    "inverted": ImageOps.invert,
    "white": lambda picture: Image.new("RGB", picture.size, "#ffffff"),
}


@pytest.mark.parametrize("change", SPOILS.values(), ids=SPOILS)
def test_what_no_phone_reads_passes_no_trial(monkeypatch, change):
    spoil_with(monkeypatch, change)
    verdict = preflight(Kind.PLAIN, [CODE])
    assert not verdict.passed
    assert not any(read for _, read in verdict.trials)


def test_a_weak_print_fails_some_trials_and_each_trial_can_fail(monkeypatch):
    """Ink that ran: the softer it is, the more trials fail; blur goes first, the clean picture last."""
    failed = []
    for radius in (0, 4, 5, 6, 8):
        with monkeypatch.context() as patch:
            spoil_with(patch, lambda picture, r=radius: picture.filter(ImageFilter.GaussianBlur(r)))
            verdict = preflight(Kind.PLAIN, [CODE])
        failed.append({trial for trial, read in verdict.trials if not read})
    assert failed[0] == set()
    assert Trial.BLUR in failed[-1]
    assert [len(some) for some in failed] == sorted(len(some) for some in failed)


def test_a_sheet_with_one_code_missing_does_not_pass(monkeypatch):
    def wiped(picture: Image.Image) -> Image.Image:
        ImageDraw.Draw(picture).rectangle((0, 0, picture.width // 3, picture.height // 9), fill="#ffffff")
        return picture

    cards = [*series(23), CHARGE]  # the densest is the last one, and stays
    assert preflight(Kind.LABELS_24, cards).passed
    spoil_with(monkeypatch, wiped)
    verdict = dict(preflight(Kind.LABELS_24, cards).trials)
    assert not verdict[Trial.CLEAN]
    assert verdict[Trial.BLUR]


def test_another_address_than_the_cards_does_not_pass(monkeypatch):
    monkeypatch.setattr(
        flight, "pages", lambda kind, cards, **how: pages(kind, [replace(CODE, address="https://X.CN/P/1")])
    )
    assert not preflight(Kind.PLAIN, [CODE]).passed
