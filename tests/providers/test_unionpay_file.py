"""UnionPay's settlement file, as it comes: fixed columns in GBK, in a zip, in zlib, in base64."""

from __future__ import annotations

import base64
import io
import logging
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import clock
from app.errors import ProviderRejected, ProviderUnreachable
from app.money import Money
from app.providers import unionpay_file
from app.providers.base import BillLine, HttpAnswer, StatementLine, UnreadLine
from app.providers.unionpay import UnionPay
from tests.providers import unionpay_forge as far
from tests.providers.contract import DAY, NOW, REF, REFUND, STATEMENT, Wire, bill_of
from tests.providers.unionpay_forge import file_of, filed, sent_fields, zm_line, zm_row, zme_line, zme_row

PAYMENT, REFUNDED = STATEMENT


@pytest.fixture
def wire() -> Wire:
    line = far.connected()[1]
    line.clear()
    return line


@pytest.fixture
def unionpay(wire: Wire) -> UnionPay:
    return far.connected()[0]


def statement(
    unionpay: UnionPay, wire: Wire, zm: Sequence[bytes], zme: Sequence[bytes] = (), day: date = DAY
) -> list[BillLine]:
    wire.gives(filed(day, file_of(day, zm, zme)))
    return bill_of(unionpay, day)


def changed(line: StatementLine = PAYMENT, /, **more: str) -> bytes:
    """A line of ZM with some columns, by number, as they should not be."""
    return zm_line(zm_row(line) | {int(name.removeprefix("c")): text for name, text in more.items()})


def test_a_file_is_asked_for_by_month_and_day(
    unionpay: UnionPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = datetime(2024, 1, 16, 16, 30, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    wire.gives(filed(DAY, file_of(DAY, ()), txnTime="20240117003000"))
    assert bill_of(unionpay) == []
    fields = sent_fields(wire)
    assert (fields["settleDate"], fields["fileType"], fields["txnTime"]) == ("0115", "00", "20240117003000")
    assert wire.sent[0].url == "https://files.unionpay.example/"


def test_the_published_example_line_is_read(unionpay: UnionPay, wire: Wire) -> None:
    """476800 fen with a fee of 2861 leave 473939: the sums of a real file."""
    row = zm_row(PAYMENT) | {7: "000000476800", 16: "D000000002861", 17: "C000000476800", 33: "C000000473939"}
    [line] = statement(unionpay, wire, [zm_line(row)])
    assert len(zm_line(row)) == 607
    assert (line.amount, line.fee) == (Money(476800, "CNY"), Money(-2861, "CNY"))
    assert line.amount.minor + line.fee.minor == 473939


def test_a_line_keeps_every_column_as_it_was(unionpay: UnionPay, wire: Wire) -> None:
    payment, refund = statement(unionpay, wire, [changed(PAYMENT), changed(REFUNDED)])
    assert payment.raw["accNo"] == "6216***********0018"
    assert payment.raw["subMerAbbr"] == "测试商户"
    assert (refund.raw["origQryId"], refund.raw["origOrderId"]) == (far.QUERY_ID, REF.out_trade_no)
    assert (refund.out_trade_no, refund.out_refund_no) == (REF.out_trade_no, REFUND.out_refund_no)
    assert (refund.amount, refund.fee) == (Money(-500, "CNY"), Money(3, "CNY"))


def test_a_refund_without_the_payments_number_names_none(unionpay: UnionPay, wire: Wire) -> None:
    [line] = statement(unionpay, wire, [changed(REFUNDED, c41="")])
    assert (line.out_trade_no, line.out_refund_no) == ("", REFUND.out_refund_no)


def test_a_void_is_money_going_back(unionpay: UnionPay, wire: Wire) -> None:
    [line] = statement(unionpay, wire, [changed(REFUNDED, c20="31")])
    assert (line.kind, line.amount) == ("refund", Money(-500, "CNY"))


def test_money_leaves_by_its_kind_or_by_its_sign(unionpay: UnionPay, wire: Wire) -> None:
    lines = statement(
        unionpay,
        wire,
        [changed(REFUNDED, c17="C000000000500"), changed(PAYMENT, c17="D000000001999")],
    )
    assert [line.amount.minor for line in lines] == [-500, -1999]


@pytest.mark.parametrize(("sign", "kind"), [("C", "payment"), ("D", "refund")])
def test_an_unknown_kind_of_line_is_kept_by_its_sign_and_logged(
    sign: str, kind: str, unionpay: UnionPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        [line] = statement(unionpay, wire, [changed(c20="03", c17=f"{sign}000000001999")])
    assert (line.kind, abs(line.amount.minor)) == (kind, 1999)
    assert "unknown kind" in caplog.text


def test_a_line_without_a_fee_costs_nothing(unionpay: UnionPay, wire: Wire) -> None:
    [line] = statement(unionpay, wire, [changed(c16="")])
    assert line.fee == Money(0, "CNY")


def test_a_chinese_name_is_two_bytes_a_letter_and_may_be_cut_in_half(unionpay: UnionPay, wire: Wire) -> None:
    whole = changed(c31="名" * 16)
    cut = whole.replace("名".encode("gbk") * 16, b"a" + "名".encode("gbk") * 15 + "名".encode("gbk")[:1])
    assert len(cut) == len(whole) == 607
    for line in statement(unionpay, wire, [whole, cut]):
        assert replace(line, raw={}, number=0) == PAYMENT


def test_blank_lines_and_trailing_blanks_do_not_matter(unionpay: UnionPay, wire: Wire) -> None:
    lines = [b"", changed(PAYMENT).rstrip(), b"   ", changed(REFUNDED).rstrip(), b"\x1a"]
    assert [replace(line, raw={}, number=0) for line in statement(unionpay, wire, lines)] == list(STATEMENT)


@pytest.mark.parametrize(
    "broken",
    [
        {"c7": "00000001999"},
        {"c7": "0000000019.9"},
        {"c7": "-00000001999"},
        {"c7": ""},
        {"c17": ""},
        {"c17": "X000000001999"},
        {"c17": "0000000001999"},
        {"c16": "D00000000001"},
        {"c16": "12"},
        {"c5": ""},
        {"c5": "0230100000"},
        {"c5": "1315100000"},
        {"c5": "0115 10000"},
    ],
    ids=str,
)
def test_a_line_that_cannot_be_read_is_handed_on_and_stops_nothing(
    broken: dict[str, str], unionpay: UnionPay, wire: Wire
) -> None:
    lines = statement(unionpay, wire, [changed(PAYMENT), changed(PAYMENT, **broken), changed(REFUNDED)])
    assert [type(line) for line in lines] == [StatementLine, UnreadLine, StatementLine]
    assert [line.number for line in lines] == [1, 2, 3]


@pytest.mark.parametrize("mer_id", ["", far.STRANGER_ID])
def test_a_line_of_another_merchant_is_marked(mer_id: str, unionpay: UnionPay, wire: Wire) -> None:
    lines = statement(unionpay, wire, [changed(PAYMENT), changed(PAYMENT, c28=mer_id)])
    assert [line.is_foreign for line in lines] == [False, True]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:300],
        lambda line: line[:386],  # one byte short of the net amount
        lambda line: line[:66] + b"0" + line[66:],
        lambda line: line[:65] + line[66:],
        lambda line: line[:65] + b"," + line[66:],
        lambda line: line + b" x",
        lambda line: line + b" " * 5000 + b"x",
        lambda line: line + line,
        lambda line: b"\xff" * 607,
        lambda line: b"total: 1",
    ],
    ids="cut short/one byte short/pushed/pulled/comma/longer/far longer/twice/bytes/a sum".split("/"),
)
def test_a_line_of_another_shape_is_handed_on(spoil: object, unionpay: UnionPay, wire: Wire) -> None:
    lines = statement(unionpay, wire, [spoil(changed(PAYMENT))])  # type: ignore[operator]
    assert isinstance(lines[-1], UnreadLine)


@pytest.mark.parametrize(
    ("day", "text", "moment"),
    [
        (date(2024, 1, 1), "1231230000", datetime(2023, 12, 31, 15, 0, tzinfo=UTC)),
        (date(2023, 12, 31), "1231225959", datetime(2023, 12, 31, 14, 59, 59, tzinfo=UTC)),
        (date(2024, 2, 29), "0229000000", datetime(2024, 2, 28, 16, 0, tzinfo=UTC)),
        (date(2024, 1, 1), "0101120000", datetime(2024, 1, 1, 4, 0, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_year_is_the_nearest_to_the_files_day(
    day: date, text: str, moment: datetime, unionpay: UnionPay, wire: Wire
) -> None:
    [line] = statement(unionpay, wire, [changed(c5=text)], day=day)
    assert line.happened_at == moment


# Adjustments


def test_an_adjustment_is_told_without_a_number_of_ours(
    unionpay: UnionPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    back = zme_line(zme_row(c16="C000000000500", c15="", c4="000008"))
    with caplog.at_level(logging.WARNING):
        lines = statement(unionpay, wire, [changed(PAYMENT)], [zme_line(zme_row()), back])
    assert len(zme_line(zme_row())) == 339
    assert [(line.kind, line.out_trade_no, line.provider_ref) for line in lines[1:]] == [
        ("refund", "", "000007"),
        ("payment", "", "000008"),
    ]
    assert [(line.amount.minor, line.fee.minor) for line in lines[1:]] == [(-500, 3), (500, 0)]
    assert lines[1].happened_at == datetime(2024, 1, 15, 1, 0, tzinfo=UTC)
    assert lines[1].raw["code"] == "E74"
    assert "adjustment" in caplog.text


@pytest.mark.parametrize(
    "broken", [{"c7": "x"}, {"c16": ""}, {"c16": "000000000500"}, {"c5": "soon"}], ids=str
)
def test_an_adjustment_that_cannot_be_read_is_handed_on(
    broken: dict[str, str], unionpay: UnionPay, wire: Wire
) -> None:
    [line] = statement(unionpay, wire, [], [zme_line(zme_row(**broken))])
    assert isinstance(line, UnreadLine)


# The wrapping


def test_a_missing_file_is_rejected_before_anything_is_read(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.refused("98", txnTime=far.stamp(NOW)))
    with pytest.raises(ProviderRejected) as refused:
        unionpay.fetch_bill(DAY)
    assert refused.value.provider_code == "98"


def test_a_file_of_another_day_year_or_merchant_is_not_taken(unionpay: UnionPay, wire: Wire) -> None:
    """The request names month and day only, so last year's file could come back."""
    last_year = DAY.replace(year=2023)
    good = file_of(DAY, [changed()])
    wire.gives(
        filed(DAY, good, fileName=f"{far.MER_ID}_20230115.zip"),
        filed(DAY, file_of(last_year, [changed()]), fileName=""),
        filed(DAY, good, settleDate="0114"),
        filed(DAY, good, merId=far.STRANGER_ID),
    )
    for _ in range(2):
        with pytest.raises(ProviderUnreachable, match="another day"):
            bill_of(unionpay)
    for _ in range(2):
        with pytest.raises(ProviderUnreachable, match="something else"):
            bill_of(unionpay)


def test_content_that_is_no_file_means_outcome_unknown(unionpay: UnionPay, wire: Wire) -> None:
    good = file_of(DAY, [changed()])
    empty, unnamed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(empty, "w"):
        pass
    with zipfile.ZipFile(unnamed, "w") as archive:
        archive.writestr("other.txt", changed())
    directory_at = good.index(b"PK\x01\x02")
    bomb = bytearray(good)
    bomb[directory_at + 24 : directory_at + 28] = (0x7FFFFFFF).to_bytes(4, "little")
    spoilt = good[:100] + b"\x00" * 100 + good[200:]
    many = file_of(DAY, [changed()], extras=40)
    for packed in (
        b"",
        b"<html>",
        good[:-40],
        empty.getvalue(),
        unnamed.getvalue(),
        bytes(bomb),
        spoilt,
        many,
    ):
        wire.gives(filed(DAY, packed))
        with pytest.raises(ProviderUnreachable):
            bill_of(unionpay)
    wrapped = base64.b64encode(zlib.compress(good)).decode()
    raw = base64.b64encode(good).decode()
    unproven = base64.b64encode(zlib.compress(good)[:-2]).decode()  # all of it, but for its checksum
    for content in ("", "!", "AAAA", wrapped[:-8], wrapped[:100], raw, unproven, "{" + wrapped):
        wire.gives(filed(DAY, good, fileContent=content))
        with pytest.raises(ProviderUnreachable):
            bill_of(unionpay)


def test_a_bomb_in_zlib_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unionpay_file, "ZIP_BYTES_MAX", 1 << 20)
    bomb = base64.b64encode(zlib.compress(b"\x00" * (64 << 20))).decode()
    with pytest.raises(ProviderUnreachable):
        unionpay_file.unwrapped(bomb, "", DAY)


def test_a_file_that_the_host_refuses_means_outcome_unknown(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(HttpAnswer(404, {}, b""))
    with pytest.raises(ProviderUnreachable):
        unionpay.fetch_bill(DAY)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_spoilt_line_is_read_or_refused(data: st.DataObject) -> None:
    line = bytearray(changed(PAYMENT))
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    for read in unionpay_file.read_file(file_of(DAY, [bytes(line)]), far.MER_ID, DAY):
        if isinstance(read, UnreadLine):
            continue
        assert read.kind in ("payment", "refund")
        assert type(read.amount.minor) is int
