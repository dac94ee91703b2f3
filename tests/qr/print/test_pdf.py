"""What a print shop gets: vectors, its own fonts, boxes to cut by, the same bytes on every run."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.qr.print.shop import Kind, draw, forms_of
from tests.qr.print.samples import CHARGE, CODE, look_with_logo, needs_poppler, series, told_by

pytestmark = needs_poppler

PDFS = [kind for kind in Kind if "pdf" in forms_of(kind)]


@pytest.mark.parametrize("kind", PDFS)
def test_every_font_is_embedded_as_a_subset_and_no_code_is_a_picture(kind):
    data = draw(kind, series(2), form="pdf").body
    fonts = told_by("pdffonts", data).splitlines()[2:]
    assert fonts
    for line in fonts:
        # Columns from the right: name, type, encoding, emb, sub, uni, object.
        assert re.search(r"[A-Z]{6}\+NotoSansSC-(Regular|Bold).* yes yes yes ", line), line
    assert len(told_by("pdfimages", data, "-list").splitlines()) == 2, "no pictures"


def test_a_logo_is_the_only_picture():
    data = draw(Kind.A6, [CODE], look=look_with_logo()).body
    assert told_by("pdfimages", data, "-list").count("image") >= 1
    assert len(data) < 400_000


def test_text_can_be_searched_and_copied():
    text = told_by("pdftotext", draw(Kind.A5, [replace(CHARGE, title="双囍酒楼")]).body)
    for part in ("双囍酒楼", "¥12.50", "扫码付款", "Scan to pay", "测试：不会真实扣款", "pay.example.com"):
        assert part in text


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (Kind.A4, (595.28, 841.89)),
        (Kind.A5, (419.53, 595.28)),
        (Kind.A6, (297.64, 420.94)),
        (Kind.TENT, (419.53, 595.28)),
        (Kind.STICKER, (283.46, 283.46)),
        (Kind.LABELS_12, (595.28, 841.89)),
    ],
)
def test_a_page_has_its_papers_size(kind, size):
    told = told_by("pdfinfo", draw(kind, [CODE]).body)
    found = re.search(r"Page size: +([\d.]+) x ([\d.]+) pts", told)
    assert found
    assert [float(found[1]), float(found[2])] == pytest.approx(size, abs=0.05)
    assert "Title:           晨光咖啡馆" in told


def test_a_sticker_says_where_it_is_cut_and_how_far_it_bleeds():
    told = told_by("pdfinfo", draw(Kind.STICKER, [CODE]).body, "-box")
    boxes = {
        name: [float(number) for number in numbers.split()]
        for name, numbers in re.findall(r"(\w+)Box: +([\d. ]+)", told)
    }
    in_mm = {name: [round(number / 72 * 25.4, 2) for number in box] for name, box in boxes.items()}
    assert in_mm["Trim"] == [10, 10, 90, 90]
    assert in_mm["Bleed"] == [7, 7, 93, 93]


def test_another_process_on_another_day_writes_the_same_bytes():
    code = (
        "import hashlib; from app.qr.print.shop import Kind, draw; from tests.qr.print.samples import CHARGE;"
        "print(hashlib.sha256(draw(Kind.A6, [CHARGE]).body).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env={"TZ": "Pacific/Kiritimati", "PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "42"},
    )
    assert done.stdout.strip() == hashlib.sha256(draw(Kind.A6, [CHARGE]).body).hexdigest()


def test_threads_do_not_mix_their_letters():
    cards = [replace(CODE, title=title) for title in ("晨光咖啡馆", "双囍酒楼", "The Bakery", "云南米线")]
    alone = [draw(Kind.A6, [card]).body for card in cards]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda card: draw(Kind.A6, [card]).body, cards * 4))
    assert together == alone * 4


def test_a_poster_is_a_small_file_and_a_series_shares_its_fonts():
    assert len(draw(Kind.A6, [CODE]).body) < 120_000
    one, many = (len(draw(Kind.LABELS_24, series(count)).body) for count in (1, 48))
    assert many < 12 * one
