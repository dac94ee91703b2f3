"""Alipay's daily bill, as it comes: a zip of GBK tables."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from app.errors import ProviderRejected, ProviderUnreachable
from app.money import Money
from app.providers.alipay import Alipay
from app.providers.base import HttpAnswer, StatementLine, UnreadLine, WrongTotals
from tests.providers import alipay_forge as far
from tests.providers.alipay_forge import AlipayForge, sent_params
from tests.providers.contract import DAY, REF, STATEMENT, Verb, Wire, bill_of


def statement_answers(archive: bytes) -> list[HttpAnswer]:
    return [*AlipayForge().statement(DAY, ())[:1], HttpAnswer(200, {}, archive)]


def test_the_bill_is_asked_for_by_day_and_fetched_over_https(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().statement(DAY, STATEMENT))
    assert len(bill_of(alipay)) == 2
    biz = json.loads(sent_params(wire)["biz_content"])
    assert biz == {"bill_date": "2024-01-15", "bill_type": "trade"}
    assert wire.sent[1].method == "GET"
    assert wire.sent[1].url.startswith("https://dwbillcenter.alipay.example/downloadBillFile.resource?")
    assert parse_qs(urlsplit(wire.sent[1].url).query)["fileId"] == ["1"]


def test_a_bill_line_keeps_every_column_as_it_was(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().statement(DAY, STATEMENT))
    payment, refund = bill_of(alipay)
    assert set(payment.raw) == set(far.BILL_COLUMNS)
    assert (payment.raw["对方账户"], payment.raw["商户订单号"]) == ("*三(159****5620)", REF.out_trade_no)
    assert (refund.amount, refund.fee) == (Money(-500, "CNY"), Money(3, "CNY"))


def test_a_missing_bill_is_rejected_before_anything_is_read(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*AlipayForge().declined(Verb.STATEMENT))
    with pytest.raises(ProviderRejected) as refused:
        alipay.fetch_bill(DAY)
    assert refused.value.provider_code == "isp.bill_not_exist"


def test_columns_are_found_by_name_not_by_place(alipay: Alipay, wire: Wire) -> None:
    header = [column.replace("（", "(").replace("）", ")") for column in reversed(far.BILL_COLUMNS)]
    rows = [list(reversed(row)) for row in far.bill_rows(STATEMENT)]
    wire.gives(*statement_answers(far.bill(DAY, rows, header=header)))
    assert [replace(line, raw={}, number=0) for line in bill_of(alipay)] == list(STATEMENT)


@pytest.mark.parametrize(("column", "text"), [("商品名称", "a,b,c"), ("备注", "a,b"), ("商品名称", '"open')])
def test_commas_and_quotes_in_a_text_do_not_shift_the_money(
    column: str, text: str, alipay: Alipay, wire: Wire
) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[0][far.BILL_COLUMNS.index(column)] = text
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    read = bill_of(alipay)
    assert [replace(line, raw={}, number=0) for line in read] == list(STATEMENT)
    assert read[0].raw[column] == text


def test_a_refund_written_without_a_minus_still_leaves_the_merchant(alipay: Alipay, wire: Wire) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[1][far.BILL_COLUMNS.index("订单金额（元）")] = "5.00"
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    assert bill_of(alipay)[1].amount == Money(-500, "CNY")


def test_an_unknown_kind_of_line_is_kept_by_its_sign_and_logged(
    alipay: Alipay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    rows = far.bill_rows(STATEMENT)
    for row in rows:
        row[far.BILL_COLUMNS.index("业务类型")] = "新业务"
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    with caplog.at_level(logging.WARNING):
        assert [line.kind for line in bill_of(alipay)] == ["payment", "refund"]
    assert "unknown kind" in caplog.text


@pytest.mark.parametrize(
    ("column", "text"),
    [("订单金额（元）", "12.345"), ("订单金额（元）", ""), ("完成时间", "soon"), ("服务费（元）", "x")],
)
def test_a_line_that_cannot_be_read_is_handed_on_and_stops_nothing(
    column: str, text: str, alipay: Alipay, wire: Wire
) -> None:
    rows = far.bill_rows(STATEMENT)
    rows[0][far.BILL_COLUMNS.index(column)] = text
    wire.gives(*statement_answers(far.bill(DAY, rows)))
    unread, read = bill_of(alipay)
    assert isinstance(unread, UnreadLine)
    assert REF.out_trade_no in unread.text
    assert isinstance(read, StatementLine)
    assert read.number == unread.number + 1


@pytest.mark.parametrize(
    ("at", "total", "wrong"),
    [
        (0, "#交易合计：2笔，商家实收共19.99元，商家优惠共0.00元", "交易合计: 2 stated, 1 found"),
        (0, "#交易合计：1笔，商家实收共20.00元，商家优惠共0.00元", "交易商家实收: 20.00 stated, 19.99 found"),
        (1, "#退款合计：1笔，商家实收退款共-5.01元", "退款商家实收: 5.01 stated, 5.00 found"),
        (1, "#退款合计：0笔，交易退款金额共0.00元", "退款合计: 0 stated, 1 found"),
    ],
)
def test_totals_that_the_lines_do_not_add_up_to_are_handed_on_last(
    at: int, total: str, wrong: str, alipay: Alipay
) -> None:
    rows = far.bill_rows(STATEMENT)
    totals = far.bill_totals(rows)
    assert len(list(alipay.read_bill(far.bill(DAY, rows, totals=totals), DAY))) == len(rows)
    totals[at] = total
    *_, last = alipay.read_bill(far.bill(DAY, rows, totals=totals), DAY)
    assert isinstance(last, WrongTotals)
    assert last.text == wrong


def test_a_bill_that_lost_a_line_contradicts_its_totals(alipay: Alipay) -> None:
    rows = far.bill_rows(STATEMENT)
    *_, last = alipay.read_bill(far.bill(DAY, rows[:1], totals=far.bill_totals(rows)), DAY)
    assert isinstance(last, WrongTotals)
    assert last.text.startswith("退款合计: 1 stated, 0 found")


def test_a_table_without_its_end_was_cut_short(alipay: Alipay, monkeypatch: pytest.MonkeyPatch) -> None:
    """However well its zip is packed."""
    rows = far.bill_rows(STATEMENT)
    whole = far.table
    monkeypatch.setattr(far, "table", lambda lines: whole(lines[:6]))
    lines = alipay.read_bill(far.bill(DAY, rows), DAY)
    assert isinstance(next(lines), StatementLine)
    with pytest.raises(ProviderUnreachable, match="no end"):
        list(lines)


def test_a_line_cut_short_is_handed_on(alipay: Alipay, wire: Wire) -> None:
    rows = far.bill_rows(STATEMENT)
    wire.gives(*statement_answers(far.bill(DAY, [rows[0][:-3]])))
    [line] = bill_of(alipay)
    assert isinstance(line, UnreadLine)


def test_the_bill_of_another_seller_or_day_is_not_taken(alipay: Alipay) -> None:
    file = far.bill(DAY, far.bill_rows(STATEMENT))
    with pytest.raises(ProviderUnreachable, match="another day"):
        list(alipay.read_bill(file, DAY + timedelta(days=1)))
    stranger = Alipay({**far.KEY_MODE, "seller_id": "2088999999999999"}, Wire())
    with pytest.raises(ProviderUnreachable, match="another seller"):
        list(stranger.read_bill(file, DAY))


def test_an_archive_that_is_no_bill_means_outcome_unknown(alipay: Alipay, wire: Wire) -> None:
    good = far.bill(DAY, far.bill_rows(STATEMENT))
    empty, other = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(empty, "w"):
        pass
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.csv", "a,b\r\n1,2\r\n")
    many = far.bill(DAY, far.bill_rows(STATEMENT), extras=40)
    bomb = bytearray(good)
    size_at = good.rindex(b"PK\x01\x02") + 24  # the unpacked size in the directory's last entry
    bomb[size_at : size_at + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    no_header = far.bill(DAY, (), header=("#",))
    spoilt = good[:120] + b"\x00" * 200 + good[320:]
    bodies = [b"", b"<html>", good[:-60], empty.getvalue(), other.getvalue(), no_header, spoilt]
    for body in (*bodies, many, bytes(bomb)):
        wire.gives(*statement_answers(body))
        with pytest.raises(ProviderUnreachable):
            bill_of(alipay)


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "//host/x", "https://[", "javascript:alert(1)"])
def test_a_bill_address_that_is_not_http_is_not_followed(url: str, alipay: Alipay, wire: Wire) -> None:
    method = "alipay.data.dataservice.bill.downloadurl.query"
    wire.gives(far.accepted(method, bill_download_url=url))
    with pytest.raises(ProviderUnreachable):
        alipay.fetch_bill(DAY)
    assert len(wire.sent) == 1


def test_a_bill_that_the_host_refuses_means_outcome_unknown(alipay: Alipay, wire: Wire) -> None:
    wire.gives(*statement_answers(b"")[:1], HttpAnswer(404, {}, b""))
    with pytest.raises(ProviderUnreachable):
        alipay.fetch_bill(DAY)
