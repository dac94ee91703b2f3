"""/v1/qr_codes/{id}/print: the print shop over the API."""

from __future__ import annotations

import pytest
import zxingcpp

from app.merchants import brand, keys
from app.merchants.scopes import Scope
from tests.api.calls import Api, refusal
from tests.qr.pictures import picture_of, picture_of_png
from tests.qr.print.samples import needs_poppler, told_by

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def code(api: Api) -> dict:
    made: dict = api.post("/v1/qr_codes", {"name": "堂食", "amount": 1800}).get_json()
    return made


@pytest.mark.parametrize(
    ("query", "media", "begin"),
    [
        ("", "application/pdf", b"%PDF"),
        ("?paper=sticker&format=svg&language=en", "image/svg+xml", b"<svg"),
        ("?paper=labels21&format=png", "image/png", b"\x89PNG"),
        ("?paper=thermal58", "application/octet-stream", b"\x1b@"),
        ("?paper=plain&price=false", "image/png", b"\x89PNG"),
    ],
)
def test_a_code_comes_on_paper(api: Api, code: dict, query: str, media: str, begin: bytes) -> None:
    answers = [api.get(f"/v1/qr_codes/{code['id']}/print{query}") for _ in range(2)]
    assert (answers[0].status_code, answers[0].mimetype) == (200, media)
    assert answers[0].data.startswith(begin)
    assert answers[0].data == answers[1].data
    if media == "image/png":
        found = zxingcpp.read_barcodes(picture_of_png(answers[0].data).convert("L"))
        assert [each.text for each in found] == [code["url"]]


def test_it_is_drawn_in_the_shops_colour_and_with_its_logo(api: Api, merchant) -> None:
    live = Api(api.client, keys.create_key(merchant.id, livemode=True, name="till")[1])  # a test print is red
    made = live.post("/v1/qr_codes", {"name": "堂食"}).get_json()
    brand.choose_accent(merchant.id, "#7a3b12")
    place = f"/v1/qr_codes/{made['id']}/print?format=svg"
    plain = live.get(place).data
    assert b"#7a3b12" in plain
    assert b"<image" not in plain
    brand.choose_logo(merchant.id, picture_of("#7a3b12"))
    assert b"<image" in live.get(place).data


@needs_poppler
def test_a_series_comes_on_paper_without_what_is_disabled(api: Api, live_api: Api, stranger: Api) -> None:
    wish = {"name": "堂食", "series": "1–3 号桌", "label_kind": "table", "first": 1, "last": 3}
    made = api.post("/v1/qr_codes/series", wish).get_json()["data"]
    place = f"/v1/qr_codes/series/{made[0]['series']['id']}/print"
    sheet = api.get(f"{place}?paper=labels24&start=2")
    assert (sheet.status_code, sheet.mimetype) == (200, "application/pdf")
    assert "Pages:           1\n" in told_by("pdfinfo", sheet.data)
    assert "Pages:           3\n" in told_by("pdfinfo", api.get(place).data)
    api.post(f"/v1/qr_codes/{made[0]['id']}", {"active": False})
    assert "Pages:           2\n" in told_by("pdfinfo", api.get(place).data)
    assert refusal(api.get(f"{place}?format=png"))[::2] == (400, "format")
    for nobody in (live_api, stranger):
        assert refusal(nobody.get(place))[:2] == (404, "not_found")
    for one in made[1:]:
        api.post(f"/v1/qr_codes/{one['id']}", {"active": False})
    assert refusal(api.get(place))[0] == 404


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("paper=a3", "paper"),
        ("paper=thermal80&format=pdf", "format"),
        ("format=gif", "format"),
        ("language=fr", "language"),
        ("price=maybe", "price"),
        ("size=1", "size"),
        ("paper=labels21&start=22", "start"),
        ("start=0", "start"),
    ],
)
def test_what_cannot_be_printed_names_the_parameter(api: Api, code: dict, query: str, param: str) -> None:
    answer = api.get(f"/v1/qr_codes/{code['id']}/print?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


def test_a_letter_that_no_font_has_is_named(api: Api) -> None:
    made = api.post("/v1/qr_codes", {"name": "可颂🥐"}).get_json()
    answer = api.get(f"/v1/qr_codes/{made['id']}/print")
    assert answer.status_code == 400
    assert "🥐" in answer.get_json()["error"]["message"]


def test_it_takes_the_scope_to_read_codes(api: Api, code: dict, merchant) -> None:
    _, key = keys.create_key(merchant.id, livemode=False, name="till", scopes=frozenset({Scope.CHARGES_READ}))
    answer = Api(api.client, key).get(f"/v1/qr_codes/{code['id']}/print")
    assert refusal(answer) == (403, "scope_missing", None)
