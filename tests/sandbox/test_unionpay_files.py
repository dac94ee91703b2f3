"""The settlement file: packed thrice, fixed columns in GBK, a day that ends at 23:00."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import timing
from sandbox.unionpay import files, news
from tests.sandbox.unionpay_hand import BEIJING, Client, read_file, stamp

# Written again from the manual: (first column counted from 1, width).
ZM = (
    3,
    11,
    11,
    6,
    10,
    19,
    12,
    4,
    2,
    21,
    2,
    32,
    2,
    6,
    10,
    13,
    13,
    4,
    15,
    2,
    2,
    6,
    2,
    4,
    32,
    1,
    21,
    15,
    1,
    15,
    32,
)
ZM += (13, 13, 8, 32, 13, 13, 12, 2, 1, 131)
ZME = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135)


def rows_of(table: bytes, widths: tuple[int, ...]) -> list[dict[int, str]]:
    """Columns by their number in the manual; cut by bytes, and a blank stands between two."""
    assert table.endswith(b"\r\n") or not table
    found = []
    for line in table.split(b"\r\n")[:-1]:
        assert len(line) == sum(widths) + len(widths) - 1
        at, row = 0, {}
        for number, width in enumerate(widths, 1):
            row[number] = line[at : at + width].decode("gbk").strip()
            assert line[at + width : at + width + 1] in (b" ", b"")
            at += width + 1
        found.append(row)
    return found


def today() -> str:
    return news.settle_date(timing.now())


@pytest.fixture
def client(far: Any, app_key: rsa.RSAPrivateKey) -> Client:
    far.pull("bill_now", scope="always")
    return Client(far, app_key, name="码付咖啡店（五道口店）很长很长的名字一直写下去")


def tables(client: Client, day: str = "") -> dict[str, bytes]:
    answer = client.file(day or today())
    assert answer["respCode"] == "00", answer
    return read_file(answer["fileContent"])


def test_the_file_names_merchant_and_day(client: Client) -> None:
    client.paid("ORDER0001")
    answer = client.file(today())
    day = news.settle_date(timing.now(), "%Y%m%d")
    assert answer["fileName"] == f"{client.mer_id}_{day}.zip"
    assert (answer["txnType"], answer["settleDate"]) == ("76", day[4:])
    assert "orderId" not in answer
    assert set(read_file(answer["fileContent"])) == {
        f"INN{day[2:]}88ZM_{client.mer_id}",
        f"INN{day[2:]}88ZME_{client.mer_id}",
        f"RD20{day[2:]}88_{client.mer_id}",
    }


def test_payments_refunds_and_voids_have_a_line_each(far: Any, client: Client) -> None:
    first = client.paid("ORDER0001", "476800", reqReserved="备注")
    second = client.paid("ORDER0002", "100")
    refund = client.back("04", "REFUND01", first, "500")["queryId"]
    client.back("31", "VOID0001", second, "100")
    client.qr("ORDER0003")  # never paid: in no file
    found = tables(client)
    (detail,) = [table for name, table in found.items() if "ZM_" in name]
    rows = {row[12]: row for row in rows_of(detail, ZM)}
    assert set(rows) == {"ORDER0001", "ORDER0002", "REFUND01", "VOID0001"}
    paid, back, void = rows["ORDER0001"], rows["REFUND01"], rows["VOID0001"]
    asked = client.query("ORDER0001")
    assert (paid[1], paid[4], paid[5], paid[10]) == ("S56", asked["traceNo"], asked["traceTime"], first)
    # 476,800 fen less a fee of 0.6 % is what comes in.
    assert (paid[7], paid[16], paid[17], paid[33]) == (
        "0" * 6 + "476800",
        "D000000002861",
        "C000000473939",
        paid[17],
    )
    assert (paid[20], paid[21], paid[22], paid[27], paid[28]) == ("01", "07", "000000", "", client.mer_id)
    assert (paid[35], paid[41]) == ("备注", "")
    assert paid[31] == "码付咖啡店（五道口店）很长很长的"  # 32 bytes, and no half letter
    assert (back[7], back[10], back[16], back[17]) == (
        "0" * 9 + "500",
        refund,
        "C000000000000",
        "D000000000500",
    )
    assert (back[20], back[21], back[27], back[41]) == ("04", "00", first, "ORDER0001")
    assert (back[14], back[15]) == (asked["traceNo"], asked["traceTime"])
    assert (void[20], void[27], void[33]) == ("31", second, "D000000000100")
    (report,) = [table.decode("gbk") for name, table in found.items() if name.startswith("RD20")]
    assert "消费 2 笔 4769.00 元" in report
    assert "退货及撤销 2 笔 6.00 元" in report


def test_levers_plant_differences(far: Any, client: Client) -> None:
    for number in ("ORDER0001", "ORDER0002"):
        client.paid(number)
    far.pull("bill_omit", out_trade_no="ORDER0001")
    far.pull("bill_amount", out_trade_no="ORDER0002", value="+1.00")
    far.pull("bill_adjust", value="-3.50")
    found = tables(client)
    (row,) = rows_of(next(table for name, table in found.items() if "ZM_" in name), ZM)
    assert (row[12], row[7]) == ("ORDER0002", "000000001350")
    (adjusted,) = rows_of(next(table for name, table in found.items() if "ZME_" in name), ZME)
    assert (adjusted[1], adjusted[7], adjusted[16], adjusted[17]) == (
        *("E74", "000000000350", "D000000000350"),
        client.mer_id,
    )


def test_there_is_no_file_before_the_day_is_over_nor_of_an_empty_day(far: Any, client: Client) -> None:
    assert client.file(today())["respCode"] == "98"
    client.paid("ORDER0001")
    assert client.file(today())["respCode"] == "00"
    far.ask("DELETE", "/control/levers")
    assert client.file(today())["respCode"] == "98"
    yesterday = news.settle_date(timing.now() - 86400)
    assert client.file(yesterday)["respCode"] == "98"


@pytest.mark.parametrize("day", ["0230", "1301", "0000"])
def test_a_day_of_no_calendar_is_refused(client: Client, day: str) -> None:
    assert client.file(day)["respCode"] == "10"


def test_a_file_of_another_kind_or_time_is_refused(client: Client) -> None:
    assert client.file(today(), fileType="01")["respCode"] == "10"
    assert client.file(today(), txnTime=stamp(-7200))["respCode"] == "10"
    common = {"txnType": "76", "txnSubType": "01", "bizType": "000000", "fileType": "00", "txnTime": stamp()}
    assert client.call("files", **common)["respCode"] == "13"
    assert client.call("backTransReq", settleDate=today(), **common)["respCode"] == "32"


def test_a_day_begins_at_23_oclock_of_the_day_before(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    last, first = (datetime(2026, 3, 1, *at, tzinfo=BEIJING).timestamp() for at in ((22, 59, 59), (23, 0, 0)))
    assert (news.settle_date(last), news.settle_date(first)) == ("0301", "0302")
    for moment, number in ((last, "ORDER0001"), (first, "ORDER0002")):
        monkeypatch.setattr(timing, "now", lambda moment=moment: moment)
        client.qr(number, txnTime=timing.beijing(moment, "%Y%m%d%H%M%S"))
        client.far.act(number, "pay")
    monkeypatch.setattr(timing, "now", lambda: first + 86400)
    now = timing.beijing(first + 86400, "%Y%m%d%H%M%S")
    for day, number in (("0301", "ORDER0001"), ("0302", "ORDER0002")):
        answer = client.file(day, txnTime=now)
        assert answer["fileName"].endswith(f"_2026{day}.zip")
        found = read_file(answer["fileContent"])
        (row,) = rows_of(next(table for name, table in found.items() if "ZM_" in name), ZM)
        assert row[12] == number


def test_a_day_in_december_asked_for_in_january_is_of_last_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "now", lambda: datetime(2027, 1, 2, 9, tzinfo=BEIJING).timestamp())
    assert str(files._day_of("1231")) == "2026-12-31"
    assert str(files._day_of("0101")) == "2027-01-01"
