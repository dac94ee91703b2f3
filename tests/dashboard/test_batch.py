"""Charges from a file at the dashboard: the report as a page and as a file that no spreadsheet obeys."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from app.charges.batch import BYTES_MAX
from app.charges.models import Charge
from tests.books import rows_of
from tests.dashboard.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HEADER = "merchant_order_no,amount_major,description\n"


def send(owner: Person, text: str, report: str = "page") -> Any:
    owner.get("/charges/batch")
    file = (io.BytesIO(text.encode("gbk")), "charges.csv")
    return owner.post("/charges/batch", {"file": file, "report": report})


def test_each_line_of_a_file_is_reported(owner: Person) -> None:
    page = send(owner, f"{HEADER}A-1,12.50,拿铁\nA-2,x,<b>\n").text
    assert "Created 1" in page
    assert "Failed 1" in page
    assert '<code translate="no">amount_major</code>' in page
    [charge] = rows_of(Charge)
    assert f'href="/charges/{charge.id}">A-1' in page
    assert "Made before 1" in send(owner, f"{HEADER}A-1,12.50,拿铁\n").text
    assert len(rows_of(Charge)) == 1


def test_the_report_is_a_file_without_formulas(owner: Person) -> None:
    response = send(owner, f"{HEADER}=cmd|'/c calc'!A0,1,x\n-1,1,x\n@SUM(1),1,x\n+1,x,x\nA-1,1,x\n", "file")
    assert response.content_type == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["Content-Disposition"]
    text = response.data.decode()
    assert text.startswith("\ufeff")
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row[1][:2] for row in rows[1:]] == ["'=", "'-", "'@", "'+", "A-"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert rows[5][2] == "created"


def test_a_file_that_cannot_be_read_is_refused_with_words(owner: Person) -> None:
    for text, word in (("", "Choose a file."), ("a,b\n1,2", "there is no column"), (HEADER, "no line below")):
        response = send(owner, text)
        assert response.status_code == 400
        assert word in response.text
    assert rows_of(Charge) == []


def test_a_file_may_be_larger_than_a_form_and_not_without_end(owner: Person) -> None:
    wide = HEADER + "".join(f"A-{number},1.00,{'x' * 127}\n" for number in range(1_000))
    assert len(wide) > 128 * 1024
    assert "Created 1000" in send(owner, wide).text
    too_much = owner.post(
        "/charges/batch",
        guarded=False,
        content_type="multipart/form-data; boundary=x",
        input_stream=io.BytesIO(b"x" * (BYTES_MAX + 128 * 1024)),
    )
    assert too_much.status_code == 413
