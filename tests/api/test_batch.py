"""A file of charges: each line its own outcome, a repeat harmless, and nothing guessed."""

from __future__ import annotations

from typing import Any

import pytest

from app.charges import batch
from app.charges.models import Charge
from tests.api.calls import Api, refusal, row_counts
from tests.books import rows_of

HEADER = "merchant_order_no,amount,currency,description,metadata.table"


def send(api: Api, text: str | bytes, content_type: str = "text/csv") -> Any:
    body = text.encode() if isinstance(text, str) else text
    return api.post("/v1/charges/batch", data=body, content_type=content_type)


def report(api: Api, text: str | bytes) -> dict[str, Any]:
    answer = send(api, text)
    assert answer.status_code == 200, answer.data
    body: dict[str, Any] = answer.get_json()
    return body


def test_each_line_makes_a_charge(api):
    said = report(api, f"{HEADER}\nA-1,1250,cny,一杯拿铁,7\nA-2,900,,美式,\n")
    assert (said["created"], said["existing"], said["failed"]) == (2, 0, 0)
    assert [line["line"] for line in said["data"]] == [2, 3]
    first, second = (api.get(f"/v1/charges/{line['charge']}").get_json() for line in said["data"])
    assert (first["amount"], first["description"], first["metadata"]) == (1250, "一杯拿铁", {"table": "7"})
    assert (second["currency"], second["metadata"]) == ("cny", {})
    assert said["data"][0]["url"] == first["url"]


def test_the_same_file_again_makes_nothing_and_names_the_same_charges(api):
    text = f"{HEADER}\nA-1,1250,cny,拿铁,7\nA-2,900,cny,美式,\n"
    first, before = report(api, text), row_counts()
    again = report(api, text)
    assert row_counts() == before
    assert (again["created"], again["existing"]) == (0, 2)
    assert [line["charge"] for line in again["data"]] == [line["charge"] for line in first["data"]]


def test_a_bad_line_fails_by_its_column_and_the_others_go_on(api):
    api.charge(merchant_order_no="TAKEN")
    lines = [
        ("A-1,1250,cny,拿铁,", None, None),
        ("A-2,12.50,cny,拿铁,", "parameter_invalid", "amount"),
        ("A-3,0,cny,拿铁,", "amount_out_of_range", "amount"),
        ("A-4,-5,cny,拿铁,", "parameter_invalid", "amount"),
        ("A-5,１２,cny,拿铁,", "parameter_invalid", "amount"),
        ("A-6,1e3,cny,拿铁,", "parameter_invalid", "amount"),
        ("A-7,1250,xxx,拿铁,", "unknown_currency", "currency"),
        ("A-8,1250,cny,,", "invalid_request", "description"),
        ('A-9,1250,cny,"a\nb",', "invalid_request", "description"),
        (",1250,cny,拿铁,", "invalid_request", "merchant_order_no"),
        ("A 1,1250,cny,拿铁,", "invalid_request", "merchant_order_no"),
        ("A\x00,1250,cny,拿铁,", "invalid_request", "merchant_order_no"),
        (f"A-10,1250,cny,拿铁,{'x' * 501}", "invalid_request", "metadata.table"),
        ("TAKEN,1,cny,拿铁,", "merchant_order_no_taken", None),
        ("A-1,1251,cny,拿铁,", "merchant_order_no_taken", None),
        ("A-1,1250,cny,拿铁,", None, None),
        ("A-11,900,cny,美式,", None, None),
    ]
    said = report(api, "\n".join([HEADER, *(line for line, _, _ in lines)]))
    errors = [line["error"] and (line["error"]["code"], line["error"]["param"]) for line in said["data"]]
    assert errors == [code and (code, param) for _, code, param in lines]
    good = [line["outcome"] for line in said["data"] if not line["error"]]
    assert good == ["created", "existing", "created"]
    assert {row.merchant_order_no for row in rows_of(Charge)} == {"TAKEN", "A-1", "A-11"}


def test_major_units_are_read_exactly(api):
    said = report(
        api,
        "merchant_order_no,amount_major,description,currency\n"
        "A-1,12.50,x,cny\nA-2,12.505,x,cny\nA-3,0.1,x,cny\nA-4,1e3,x,cny\nA-5,100,x,jpy\n",
    )
    amounts = {row.merchant_order_no: row.amount_minor for row in rows_of(Charge)}
    assert amounts == {"A-1": 1250, "A-3": 10, "A-5": 100}
    assert [line["error"]["param"] for line in said["data"] if line["error"]] == ["amount_major"] * 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_a_file_is_read_as_spreadsheets_write_it(api, encoding):
    text = f"{HEADER}\r\nA-1,1250,cny,一杯拿铁,7\r\n\r\n,,,,\r\n"
    assert report(api, text.encode(encoding))["created"] == 1
    assert rows_of(Charge)[0].description == "一杯拿铁"


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ("", "parameter_missing", "merchant_order_no"),
        (HEADER, "invalid_csv", None),
        ("merchant_order_no,amount\nA-1,5", "parameter_missing", "description"),
        ("merchant_order_no,description\nA-1,x", "parameter_missing", "amount"),
        ("merchant_order_no,description,amount,amount_major\nA,x,1,1", "parameter_missing", "amount"),
        ("amount,description\n5,x", "parameter_missing", "merchant_order_no"),
        (f"{HEADER},status\nA-1,5,cny,x,,paid", "parameter_unknown", "status"),
        (f"{HEADER},amount\nA-1,5,cny,x,,6", "invalid_csv", "amount"),
        (f"{HEADER},metadata.\nA-1,5,cny,x,,6", "parameter_unknown", "metadata."),
        (f"{HEADER}\nA-1,5,cny,x", "invalid_csv", None),
        (f"{HEADER}\nA-1,5,cny,x,,y", "invalid_csv", None),
        (f'{HEADER}\nA-1,5,cny,"x,', "invalid_csv", None),
        (f'{HEADER}\nA-1,5,cny,"x"y,', "invalid_csv", None),
        (HEADER.encode("utf-16"), "invalid_csv", None),
        (b"\xff\xff\xff", "invalid_csv", None),
    ],
)
def test_a_file_that_is_spoilt_as_a_whole_makes_nothing(api, text, code, param):
    before = row_counts()
    answer = send(api, text)
    assert answer.status_code == 400, answer.data
    assert refusal(answer)[1] == code
    assert param is None or refusal(answer)[2] == param
    assert row_counts() == before


def test_a_thousand_lines_and_no_more(api, monkeypatch):
    monkeypatch.setattr(batch, "LINES_MAX", 120)
    lines = [f"A-{number},1,cny,x," for number in range(120)]
    assert report(api, "\n".join([HEADER, *lines]))["created"] == 120
    before = row_counts()
    assert refusal(send(api, "\n".join([HEADER, *lines, "B,1,cny,x,"])))[1] == "batch_too_large"
    assert row_counts() == before


def test_only_csv_is_read_and_not_without_end(api):
    assert refusal(send(api, HEADER, "application/json"))[0] == 415
    assert refusal(send(api, HEADER, "application/x-www-form-urlencoded"))[0] == 415
    wide = f"{HEADER}\n" + "A-1,1,cny,x,\n" * 20_000
    assert len(wide) > 128 * 1024
    assert refusal(send(api, wide))[1] == "batch_too_large"
    assert refusal(send(api, b"x" * (batch.BYTES_MAX + 1)))[0] == 413


def test_a_till_that_may_only_read_makes_no_batch(api):
    made = api.post("/v1/api_keys", {"name": "report", "scopes": ["charges:read"]}).get_json()
    answer = send(Api(api.client, made["secret"]), f"{HEADER}\nA-1,5,cny,x,")
    assert refusal(answer) == (403, "scope_missing", None)


def test_a_line_may_name_its_store(api):
    store = api.post("/v1/stores", {"name": "国贸店"}).get_json()["id"]
    said = report(
        api, f"{HEADER},store\nA-1,1250,cny,拿铁,7,{store}\nA-2,900,cny,美式,,\nA-3,1,cny,x,,st_none\n"
    )
    assert (said["created"], said["failed"]) == (2, 1)
    assert [api.get(f"/v1/charges/{line['charge']}").get_json()["store"] for line in said["data"][:2]] == [
        store,
        None,
    ]
    assert (said["data"][2]["error"]["code"], said["data"][2]["error"]["param"]) == ("no_such_store", "store")
