"""The bill of a day: GBK in a zip with GBK names, behind an address that lives for seconds."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from sandbox import timing
from sandbox.alipay import bills

METHOD = "alipay.data.dataservice.bill.downloadurl.query"


def today() -> date:
    return datetime.fromtimestamp(timing.now(), timing.BEIJING).date()


def ask(merchant: Any, day: date | str, kind: str = "trade") -> dict[str, Any]:
    node: dict[str, Any] = merchant.client.server_api(METHOD, {"bill_type": kind, "bill_date": str(day)})
    return node


def read(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        infos = bundle.infolist()
        assert all(info.flag_bits & 0x800 == 0 for info in infos)
        assert bundle.testzip() is None
        return {
            info.filename.encode("cp437").decode("gbk"): bundle.read(info).decode("gbk") for info in infos
        }


def rows_of(detail: str) -> list[dict[str, str]]:
    lines = [line for line in detail.split("\r\n") if line and not line.startswith("#")]
    return [{k: v.strip() for k, v in row.items()} for row in csv.DictReader(lines)]


@pytest.fixture
def busy_day(far: Any, merchant: Any) -> Any:
    """Two payments and a refund, today."""
    merchant.client.api_alipay_trade_precreate("咖啡, 大杯", "T1", "12.50")
    merchant.client.api_alipay_trade_precreate("茶", "T2", "0.99")
    merchant.client.api_alipay_trade_precreate("never paid", "T3", "7.00")
    far.act("T1", "pay")
    far.act("T2", "pay")
    merchant.client.api_alipay_trade_refund("2.50", "T1", out_request_no="R1", refund_reason="凉了")
    return merchant


def download(far: Any, merchant: Any) -> dict[str, str]:
    answer = far.get(ask(merchant, today())["bill_download_url"])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    return read(answer.body)


def test_the_bill_has_every_payment_and_refund(far: Any, busy_day: Any) -> None:
    far.pull("bill_now", scope="always")
    files = download(far, busy_day)
    stem = f"{busy_day.facts['seller_id']}0156_{today():%Y%m%d}_业务明细"
    assert sorted(files) == sorted([f"{stem}.csv", f"{stem}(汇总).csv"])
    detail = files[f"{stem}.csv"]
    assert detail.startswith("#支付宝业务明细查询\r\n")
    rows = rows_of(detail)
    assert [len(row) for row in rows] == [25, 25, 25]
    facts = [
        (
            row["商户订单号"],
            row["业务类型"],
            row["订单金额（元）"],
            row["服务费（元）"],
            row["退款批次号/请求号"],
        )
        for row in rows
    ]
    assert facts == [
        ("T1", "交易", "12.50", "-0.08", ""),
        ("T2", "交易", "0.99", "-0.01", ""),
        ("T1", "退款", "-2.50", "0.00", "R1"),
    ]
    assert rows[0]["支付宝交易号"] == far.trade("T1")["trade_no"]
    assert rows[0]["商品名称"] == "咖啡 大杯"
    assert "#交易合计：2笔" in detail
    assert files[f"{stem}(汇总).csv"].startswith("#支付宝业务汇总查询\r\n")


def test_totals_are_those_of_the_rows_unless_a_lever_bends_them(far: Any, busy_day: Any) -> None:
    far.pull("bill_now", scope="always")

    def total() -> str:
        detail = next(text for name, text in download(far, busy_day).items() if "汇总" not in name)
        return next(line for line in detail.split("\r\n") if line.startswith("#交易合计"))

    assert total() == "#交易合计：2笔，商家实收共13.49元，商家优惠共0.00元"
    far.pull("bill_total", value="+1", scope="always")
    assert total() == "#交易合计：2笔，商家实收共14.49元，商家优惠共0.00元"


def test_today_is_not_billed_yet(far: Any, busy_day: Any) -> None:
    assert ask(busy_day, today())["sub_code"] == "isp.bill_not_exist"
    assert ask(busy_day, today() + timedelta(days=1))["sub_code"] == "isp.bill_not_exist"
    assert ask(busy_day, today() - timedelta(days=1))["sub_code"] == "isp.bill_not_exist"


def test_yesterday_is_billed(far: Any, busy_day: Any) -> None:
    with far.box.store.write() as db:
        db.execute("UPDATE trades SET paid_ts = paid_ts - 86400")
    answer = far.get(ask(busy_day, today() - timedelta(days=1))["bill_download_url"])
    detail = next(text for name, text in read(answer.body).items() if "汇总" not in name)
    assert [row["商户订单号"] for row in rows_of(detail)] == ["T1", "T2"]


def test_differences_can_be_planted(far: Any, busy_day: Any) -> None:
    far.pull("bill_now", scope="always")
    far.pull("bill_omit", out_trade_no="T2")
    far.pull("bill_amount", value="-0.50", out_trade_no="T1")
    detail = next(text for name, text in download(far, busy_day).items() if "汇总" not in name)
    assert [(row["商户订单号"], row["订单金额（元）"]) for row in rows_of(detail)] == [
        ("T1", "12.00"),
        ("T1", "-2.50"),
    ]


@pytest.mark.parametrize("day", ["2024-13-01", "yesterday", "20240101", "2024-02-30"])
def test_a_day_that_is_none_is_refused(merchant: Any, day: str) -> None:
    assert ask(merchant, day)["sub_code"] == "isp.INVAILID_ARGUMENTS"


def test_an_address_dies_and_cannot_be_made(far: Any, busy_day: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    far.pull("bill_now", scope="always")
    address = ask(busy_day, today())["bill_download_url"]
    # Not its last character: two of that one's six bits are padding and say nothing.
    assert far.get(address[:-9] + ("A" if address[-9] != "A" else "B") + address[-8:]).status == 403
    monkeypatch.setattr(bills, "URL_LIFE_S", -1)
    assert far.get(address).status == 403


@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")
def test_another_apps_bill_has_other_rows(far: Any, busy_day: Any, cert_merchant: Any) -> None:
    far.pull("bill_now", scope="always")
    assert ask(cert_merchant, today())["sub_code"] == "isp.bill_not_exist"


@pytest.mark.parametrize(("amount", "fee"), [(1, 0), (83, 0), (84, 1), (1250, 8), (10_000, 60)])
def test_fees_round_half_up(amount: int, fee: int) -> None:
    assert bills.fee_of(amount) == fee
