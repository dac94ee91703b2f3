"""WeChat Pay's daily bills, as they come: tables with backticks, plain or packed."""

from __future__ import annotations

import gzip
import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import ProviderRejected, ProviderUnreachable
from app.money import Money
from app.providers import wechatpay_bill
from app.providers.base import HttpAnswer, UnreadLine, WrongTotals
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_bill import FundLine
from tests.providers import wechatpay_forge as far
from tests.providers.contract import DAY, REF, REFUND, STATEMENT, Wire, bill_of
from tests.providers.wechatpay_forge import bill_answers, trade_bill, trade_rows

FLOW_COLUMNS = far.FLOW_HEADER.split(",")
FLOW = [
    [
        "2024-01-15 10:00:30",
        far.TRANSACTION_ID,
        "1000001",
        "交易",
        "交易",
        "收入",
        "19.99",
        "119.99",
        "system",
        "结算总金额 19.99 元,`含优惠",
        "",
    ],
    [
        "2024-01-15 10:05:30",
        "50300002024011500000000000001",
        "1000002",
        "退款",
        "退款",
        "支出",
        "5.00",
        "114.99",
        "1900000109API",
        "退款总金额 5.00 元",
        REFUND.out_refund_no,
    ],
]


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def wechatpay(line: Wire) -> WechatPay:
    return WechatPay(far.PUBLIC_KEY_MODE, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    line.clear()
    return line


def one_row(**changes: str) -> list[dict[str, str]]:
    """The refund of the contract's statement with some cells changed."""
    return [{**trade_rows(STATEMENT)[1], **changes}]


# Fetching


def test_the_bill_is_asked_for_by_day_and_fetched_with_a_signature(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*bill_answers(trade_bill(trade_rows(STATEMENT))))
    assert len(bill_of(wechatpay)) == 2
    asked, fetched = wire.sent
    assert asked.url == f"{far.API}/v3/bill/tradebill?bill_date=2024-01-15&bill_type=ALL&tar_type=GZIP"
    # The path and the query as announced, byte for byte, but at the host that we always call.
    assert fetched.url == f"{far.API}/v3/billdownload/file?token=6jcNHt%2B9&tartype=gzip"
    for sent in (asked, fetched):
        assert far.checked(sent) == {}


@pytest.mark.parametrize("packed", [True, False])
def test_plain_and_packed_bills_read_alike(packed: bool, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*bill_answers(trade_bill(trade_rows(STATEMENT)), packed=packed))
    assert [replace(line, raw={}, number=0) for line in bill_of(wechatpay)] == list(STATEMENT)


def test_the_hash_may_be_that_of_the_packed_file(wechatpay: WechatPay, wire: Wire) -> None:
    _, file = bill_answers(trade_bill(trade_rows(STATEMENT)))
    sha1 = hashlib.sha1(file.body).hexdigest().upper()
    wire.gives(bill_answers(b"", hash_value=sha1)[0], file)
    assert len(bill_of(wechatpay)) == 2


@pytest.mark.parametrize(
    "announced",
    [
        {"hash_value": "0" * 40},
        {"hash_value": ""},
        {"hash_value": "é"},
        {"hash_type": "MD5"},
        {"hash_type": ""},
        {"download_url": ""},
        {"download_url": "file:///etc/passwd"},
        {"download_url": "https://["},
        {"download_url": "https://api.mch.weixin.qq.com"},
        {"download_url": "https://api.mch.weixin.qq.com/v2/file"},
        {"download_url": "https://api.mch.weixin.qq.com/v3/a b"},
        {"download_url": "javascript:alert(1)"},
    ],
)
def test_a_bill_that_is_not_announced_properly_means_outcome_unknown(
    announced: dict[str, str], wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(*bill_answers(trade_bill(trade_rows(STATEMENT)), **announced))
    with pytest.raises(ProviderUnreachable):
        bill_of(wechatpay)


def test_our_signature_goes_to_no_other_host(wechatpay: WechatPay, wire: Wire) -> None:
    plain = trade_bill(trade_rows(STATEMENT))
    wire.gives(*bill_answers(plain, download_url="https://evil.example/v3/billdownload/file?token=1"))
    bill_of(wechatpay)
    assert [sent.url.startswith(f"{far.API}/v3/") for sent in wire.sent] == [True, True]


@pytest.mark.parametrize("status", [404, 500, 302, 206])
def test_a_file_that_the_host_refuses_means_outcome_unknown(
    status: int, wechatpay: WechatPay, wire: Wire
) -> None:
    announcement, file = bill_answers(trade_bill(trade_rows(STATEMENT)))
    wire.gives(announcement, replace(file, status=status))
    with pytest.raises(ProviderUnreachable):
        wechatpay.fetch_bill(DAY)


@pytest.mark.parametrize("code", ["NO_STATEMENT_EXIST", "STATEMENT_CREATING"])
def test_a_bill_that_is_not_there_is_a_definite_no(code: str, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.refused(400, code))
    with pytest.raises(ProviderRejected) as refused:
        wechatpay.fetch_bill(DAY)
    assert refused.value.provider_code == code


def test_a_file_that_was_changed_on_the_way_is_refused(wechatpay: WechatPay, wire: Wire) -> None:
    announcement, _ = bill_answers(trade_bill(trade_rows(STATEMENT)))
    altered = trade_bill(trade_rows([replace(STATEMENT[0], amount=Money(1, "CNY"))]))
    for body in (altered, gzip.compress(altered), altered[:-1], b""):
        wire.gives(announcement, HttpAnswer(200, {}, body))
        with pytest.raises(ProviderUnreachable):
            bill_of(wechatpay)


def test_a_packed_file_that_cannot_be_unpacked_means_outcome_unknown(
    wechatpay: WechatPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    announcement, file = bill_answers(trade_bill(trade_rows(STATEMENT)))
    spoilt = file.body[:30] + b"\x00" * 40 + file.body[70:]
    for body in (file.body[:-9], spoilt, b"\x1f\x8b", file.body + b"tail"):
        wire.gives(announcement, HttpAnswer(200, {}, body))
        with pytest.raises(ProviderUnreachable):
            bill_of(wechatpay)
    monkeypatch.setattr(wechatpay_bill, "UNPACKED_BYTES_MAX", 1000)
    bomb = gzip.compress(bytes(100_000))
    wire.gives(announcement, HttpAnswer(200, {}, bomb))
    with pytest.raises(ProviderUnreachable, match="too large"):
        bill_of(wechatpay)


# Reading


def test_columns_are_found_by_name_not_by_place() -> None:
    columns = [column.replace("(", "（") for column in reversed(far.TRADE_COLUMNS)]
    read = wechatpay_bill.read_trades(trade_bill(trade_rows(STATEMENT), columns=columns))
    assert [replace(line, raw={}, number=0) for line in read] == list(STATEMENT)


def test_a_bill_of_payments_alone_lacks_the_columns_of_refunds() -> None:
    columns = [column for column in far.TRADE_COLUMNS if "退款" not in column]
    file = trade_bill(trade_rows(STATEMENT[:1]), columns=columns)
    assert [replace(line, raw={}, number=0) for line in wechatpay_bill.read_trades(file)] == [STATEMENT[0]]
    *_, refund = wechatpay_bill.read_trades(trade_bill(trade_rows(STATEMENT), columns=columns))
    assert isinstance(refund, UnreadLine)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("商品名称", "a,b,c"),
        ("商品名称", "a,`b,`c"),
        ("商品名称", "`"),
        ("商品名称", '"open'),
        ("商品名称", "two\nlines"),
        ("商户数据包", "x,y"),
        ("商户数据包", "{'a':1,`b}"),
    ],
)
def test_separators_in_a_text_do_not_shift_the_money(column: str, text: str) -> None:
    rows = trade_rows(STATEMENT)
    rows[0][column] = text
    read = list(wechatpay_bill.read_trades(trade_bill(rows)))
    assert [replace(line, raw={}, number=0) for line in read] == list(STATEMENT)
    if ",`" not in text:
        assert read[0].raw[column] == text


def test_lines_may_end_with_a_newline_alone_and_blank_ones_are_nothing() -> None:
    file = trade_bill(trade_rows(STATEMENT)).replace(b"\r\n", b"\n").replace(b"\n`", b"\n\n`")
    assert len(list(wechatpay_bill.read_trades(file))) == 2


def test_a_day_without_lines_reads_as_none() -> None:
    assert list(wechatpay_bill.read_trades(trade_bill([]))) == []


@pytest.mark.parametrize(
    ("fee", "wanted"),
    [
        ("0.12000", -12),
        ("-0.03000", 3),
        ("0.00000", 0),
        ("", 0),
        ("0.00600", -1),
        ("0.00400", 0),
        ("-0.12", 12),
    ],
)
def test_a_fee_leaves_the_merchant_and_comes_back_with_a_refund(fee: str, wanted: int) -> None:
    [line] = wechatpay_bill.read_trades(trade_bill(one_row(手续费=fee)))
    assert line.fee == Money(wanted, "CNY")


def test_a_refund_that_failed_moved_nothing() -> None:
    rows = trade_rows(STATEMENT)
    rows[1]["退款状态"] = "FAIL"
    assert [line.kind for line in wechatpay_bill.read_trades(trade_bill(rows))] == ["payment"]


@pytest.mark.parametrize("state", ["PROCESSING", "CHANGE", "SUCCESS", ""])
def test_a_refund_on_its_way_is_a_refund(state: str) -> None:
    [line] = wechatpay_bill.read_trades(trade_bill(one_row(退款状态=state)))
    assert (line.kind, line.amount) == ("refund", Money(-500, "CNY"))
    assert line.is_open == (state != "SUCCESS")


def test_a_payment_that_was_revoked_went_back() -> None:
    [line] = wechatpay_bill.read_trades(trade_bill(one_row(交易状态="REVOKED")))
    assert (line.kind, line.amount) == ("refund", Money(-500, "CNY"))


def test_an_unknown_kind_of_line_is_kept_by_its_amounts_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    rows = trade_rows(STATEMENT)
    for row in rows:
        row["交易状态"] = "NEW_WORD"
    with caplog.at_level(logging.WARNING):
        assert [line.kind for line in wechatpay_bill.read_trades(trade_bill(rows))] == ["payment", "refund"]
    assert "unknown kind" in caplog.text


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("申请退款金额", "12.345"),
        ("申请退款金额", "five"),
        ("手续费", "x"),
        ("手续费", "1e3"),
        ("手续费", "Infinity"),
        ("交易时间", "soon"),
        ("交易时间", ""),
        ("货币种类", "XYZ"),
        ("货币种类", ""),
    ],
)
def test_a_line_that_cannot_be_read_is_handed_on_and_stops_nothing(column: str, text: str) -> None:
    rows = [*one_row(**{column: text}), *trade_rows(STATEMENT[:1])]
    unread, read = wechatpay_bill.read_trades(trade_bill(rows))
    assert isinstance(unread, UnreadLine)
    assert (unread.number, read.number) == (2, 3)
    assert REF.out_trade_no in unread.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(",`CNY", "", 1),
        lambda text: text.replace("`2024", "2024", 1),
        lambda text: text.replace("`2024", "继续\r\n`2024", 1),
    ],
    ids=["cell", "backtick", "stray"],
)
def test_a_line_of_another_shape_is_handed_on_and_stops_nothing(spoil) -> None:
    file = spoil(trade_bill(trade_rows(STATEMENT)).decode("utf-8-sig"))
    read = list(wechatpay_bill.read_trades(file.encode()))
    assert isinstance(read[0], UnreadLine)
    assert replace(read[-1], raw={}, number=0) == STATEMENT[-1]


def test_a_line_of_another_merchant_is_marked(wechatpay: WechatPay) -> None:
    rows = [*trade_rows(STATEMENT[:1]), *one_row(商户号="1999999999")]
    lines = wechatpay.read_bill(trade_bill(rows), DAY)
    assert [line.is_foreign for line in lines] == [False, True]


@pytest.mark.parametrize(
    ("settings", "is_foreign"),
    [(far.BOTH_MODES, [False, False, True, True]), (far.SUB_MERCHANT, [True, True, False, True])],
    ids=["the provider for itself", "a sub-merchant"],
)
def test_in_a_service_providers_bill_each_line_is_of_one_merchant(settings, is_foreign) -> None:
    """Asked without sub_mchid it has everybody's lines, which are not the provider's own sales."""
    rows = [row for sub in ("0", "", far.SUB_MCHID, "1600000110") for row in one_row(特约商户号=sub)]
    lines = WechatPay(settings, Wire()).read_bill(trade_bill(rows), DAY)
    assert [line.is_foreign for line in lines] == is_foreign


def test_the_bill_of_another_day_is_not_taken(wechatpay: WechatPay) -> None:
    with pytest.raises(ProviderUnreachable, match="another day"):
        list(wechatpay.read_bill(trade_bill(trade_rows(STATEMENT)), DAY + timedelta(days=1)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.split("总交易单数")[0],
        lambda text: text.rsplit("\r\n", 2)[0],
        lambda text: text.replace("订单金额", "金额"),
        lambda text: text.split("\r\n", 1)[1],
        lambda text: "",
        lambda text: "<html></html>",
    ],
    ids=["summary", "totals", "column", "header", "all", "html"],
)
def test_a_table_with_something_missing_stops_the_reading(spoil) -> None:
    file = trade_bill(trade_rows(STATEMENT)).decode("utf-8-sig")
    with pytest.raises(ProviderUnreachable):
        list(wechatpay_bill.read_trades(spoil(file).encode()))


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda text: text.replace("`2,", "`3,"), "总交易单数: 3 stated, 2 found"),
        (lambda text: text.replace("`2,", "`two,"), "总交易单数: 'two' is no number"),
        (lambda text: text.replace("`2,`19.99", "`2,`21"), "应结订单总金额: 21 stated, 20 found"),
        (lambda text: text.replace(",`5.00\r\n", ",`5.01\r\n"), "申请退款总金额: 5.01 stated, 5.00 found"),
        (lambda text: text.replace("`0.09000,", "`0.08,"), "手续费总金额: 0.08 stated, 0.09 found"),
    ],
    ids=["count", "no-number", "sum", "refunds", "fees"],
)
def test_totals_that_the_lines_do_not_add_up_to_are_handed_on_last(spoil, wrong: str) -> None:
    file = trade_bill(trade_rows(STATEMENT)).decode("utf-8-sig")
    summary = file.rindex("总交易单数")
    *lines, last = wechatpay_bill.read_trades((file[:summary] + spoil(file[summary:])).encode())
    assert len(lines) == 2
    assert isinstance(last, WrongTotals)
    assert last.text.startswith(wrong)


def test_a_bill_that_lost_a_line_contradicts_its_totals() -> None:
    lost = trade_bill(trade_rows(STATEMENT[:1]), summary=far.trade_summary(trade_rows(STATEMENT)))
    *_, last = wechatpay_bill.read_trades(lost)
    assert isinstance(last, WrongTotals)
    assert "申请退款总金额: 5.00 stated, 0 found" in last.text.replace("0.00 found", "0 found")


def test_totals_may_be_rounded_and_say_nothing_where_a_line_cannot_be_read() -> None:
    rows = trade_rows(STATEMENT)
    rows[0]["手续费"] = "0.11600"
    summary = far.trade_summary(rows).replace("0.08600", "0.09")
    assert len(list(wechatpay_bill.read_trades(trade_bill(rows, summary=summary)))) == 2
    rows[0]["订单金额"] = "x"
    assert len(list(wechatpay_bill.read_trades(trade_bill(rows, summary=summary)))) == 2


def test_a_character_that_is_spoilt_is_no_reason_to_stop() -> None:
    file = trade_bill(trade_rows(STATEMENT)).replace("测试商品".encode(), b"\xff\xfe", 1)
    assert len(list(wechatpay_bill.read_trades(file))) == 2


def test_lines_are_read_one_by_one() -> None:
    """The first line is there before it is known that the end is missing."""
    lines = wechatpay_bill.read_trades(trade_bill(trade_rows(STATEMENT)).split("总交易单数".encode())[0])
    assert next(lines).out_trade_no == REF.out_trade_no


# Funds


@pytest.mark.parametrize("packed", [True, False])
def test_the_flow_of_funds_tells_what_came_and_went(packed: bool, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*bill_answers(far.table(FLOW_COLUMNS, FLOW, far.FLOW_SUMMARY), packed=packed))
    read = [replace(line, raw={}) for line in wechatpay.fund_flow(DAY)]
    assert read == [
        FundLine(
            happened_at=datetime(2024, 1, 15, 2, 0, 30, tzinfo=UTC),
            provider_ref=far.TRANSACTION_ID,
            flow_no="1000001",
            name="交易",
            kind="交易",
            amount=Money(1999, "CNY"),
            balance=Money(11999, "CNY"),
            remark="结算总金额 19.99 元,`含优惠",
            voucher="",
        ),
        FundLine(
            happened_at=datetime(2024, 1, 15, 2, 5, 30, tzinfo=UTC),
            provider_ref="50300002024011500000000000001",
            flow_no="1000002",
            name="退款",
            kind="退款",
            amount=Money(-500, "CNY"),
            balance=Money(11499, "CNY"),
            remark="退款总金额 5.00 元",
            voucher=REFUND.out_refund_no,
        ),
    ]
    path = "/v3/bill/fundflowbill?bill_date=2024-01-15&account_type=BASIC&tar_type=GZIP"
    assert wire.sent[0].url == far.API + path


@pytest.mark.parametrize(("column", "text"), [(5, "其他"), (6, "many"), (7, ""), (0, "soon")])
def test_a_movement_that_cannot_be_read_stops_the_reading(column: int, text: str) -> None:
    rows = [list(row) for row in FLOW]
    rows[1][column] = text
    with pytest.raises(ProviderUnreachable, match="line 3"):
        list(wechatpay_bill.read_funds(far.table(FLOW_COLUMNS, rows, far.FLOW_SUMMARY)))
