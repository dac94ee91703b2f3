"""The UnionPay adapter against the contract, and what is peculiar to UnionPay's verbs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app import clock
from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers.base import (
    AppParams,
    Outcome,
    PaymentResult,
    PostForm,
    Provider,
    RefundOrder,
    RefundResult,
    Scene,
    ShowQR,
)
from app.providers.unionpay import UnionPay
from tests.providers import unionpay_forge as far
from tests.providers.contract import (
    NOW,
    PRICE,
    REF,
    REFUND,
    STATEMENT,
    Forge,
    ProviderContract,
    Wire,
    code_order,
    order,
)
from tests.providers.unionpay_forge import PAIR, UnionPayForge, sent_fields, verified_fields

WHOLE = replace(REFUND, amount=PRICE)


class TestContract(ProviderContract):
    adapter = UnionPay
    # A failure before the deadline is PENDING; 42 says itself that the deadline is past.
    callback_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.FAILED)
    query_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.FAILED)
    refund_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.FAILED)
    statement_lines = STATEMENT
    accepted_reply = (200, b"ok")
    refused_reply = (400, b"fail")

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> UnionPayForge:
        return UnionPayForge()

    def test_an_added_query_string_changes_nothing(self, reader: Provider, forge: Forge) -> None:
        """Here it is refused: frameworks merge it into the form, which is what a forger would want."""
        inbound = forge.callback(REF.out_trade_no, Outcome.SUCCEEDED, PRICE)
        with pytest.raises(SignatureMismatch):
            reader.read_callback(replace(inbound, query="txnAmt=1"))


@pytest.fixture
def wire() -> Wire:
    line = far.connected()[1]
    line.clear()
    return line


@pytest.fixture
def unionpay(wire: Wire) -> UnionPay:
    return far.connected()[0]


# Starting, product by product


def test_a_desktop_gets_the_code_to_scan(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(*UnionPayForge().started(order(Scene.DESKTOP)))
    assert unionpay.start(order(Scene.DESKTOP)) == ShowQR(far.QR_CODE)
    assert wire.sent[0].url == "https://unionpay.example/gateway/api/backTransReq.do"
    assert wire.sent[0].headers["content-type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    fields = sent_fields(wire)
    del fields["signature"]
    assert fields == {
        "accessType": "0",
        "backUrl": "https://pay.example/callbacks/pa_1",
        "bizType": "000000",
        "certId": far.CERT_ID,
        "channelType": "08",
        "currencyCode": "156",
        "encoding": "UTF-8",
        "merId": far.MER_ID,
        "orderDesc": "测试商品 A+B",
        "orderId": REF.out_trade_no,
        "payTimeout": "20240115101500",
        "signMethod": "01",
        "txnAmt": "1999",
        "txnSubType": "07",
        "txnTime": "20240115100000",
        "txnType": "01",
        "version": "5.1.0",
    }


@pytest.mark.parametrize(
    ("scene", "settings", "channel"),
    [
        (Scene.DESKTOP, {"desktop_product": "gateway"}, "07"),
        (Scene.MOBILE, {}, "08"),
        (Scene.UNIONPAY, {}, "08"),
    ],
)
def test_a_browser_posts_a_signed_form_to_the_cashier(
    scene: Scene, settings: dict[str, str], channel: str, wire: Wire
) -> None:
    step = UnionPay({**PAIR, **settings}, wire).start(order(scene))
    assert isinstance(step, PostForm)
    assert step.url == "https://unionpay.example/gateway/api/frontTransReq.do"
    fields = verified_fields(step.fields)
    assert (fields["txnType"], fields["txnSubType"], fields["bizType"]) == ("01", "01", "000201")
    assert fields["channelType"] == channel
    assert fields["frontUrl"] == fields["frontFailUrl"] == "https://pay.example/return"
    assert fields["payTimeout"] == "20240115101500"
    assert not wire.sent


def test_the_same_order_is_the_same_form_whenever_it_is_asked_for(
    unionpay: UnionPay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the transaction is the attempt's, so that a query finds it; never the moment's."""
    first = unionpay.start(order(Scene.MOBILE))
    assert first.good_for_s == 3580
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(minutes=5))
    assert unionpay.start(order(Scene.MOBILE)) == replace(first, good_for_s=3280)


@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.MOBILE, Scene.UNIONPAY, Scene.APP])
def test_an_order_that_was_begun_long_ago_is_not_sent_again(
    scene: Scene, unionpay: UnionPay, wire: Wire
) -> None:
    """Its old time would be refused, and that would look like a definite no to a payment that may be open."""
    long_ago = replace(
        order(scene), expires_at=NOW + timedelta(days=1), asked_at=NOW + timedelta(seconds=3579)
    )
    with pytest.raises(NumberTaken):
        unionpay.start(replace(long_ago, asked_at=NOW + timedelta(seconds=3580)))
    assert not wire.sent
    wire.gives(*UnionPayForge().started(long_ago))
    assert unionpay.start(long_ago).good_for_s == (1 if scene in (Scene.MOBILE, Scene.UNIONPAY) else None)


@pytest.mark.parametrize(("environment", "mode"), [("production", "00"), ("test", "01")])
def test_an_app_gets_its_number_and_the_system_it_is_of(environment: str, mode: str, wire: Wire) -> None:
    wire.gives(*UnionPayForge().started(order(Scene.APP)))
    step = UnionPay({**PAIR, "environment": environment}, wire).start(order(Scene.APP))
    assert step == AppParams({"tn": far.TN, "mode": mode})
    assert wire.sent[0].url == "https://unionpay.example/gateway/api/appTransReq.do"
    assert sent_fields(wire)["bizType"] == "000201"
    assert "frontUrl" not in sent_fields(wire)


@pytest.mark.parametrize(
    "text", ["a&b={c}[d]'e\"<f>", "tab\tline\nnull\x00", "长" * 400, "", "&&&", "\ud800x", "🧧" * 20]
)
def test_a_description_is_made_fit(text: str, unionpay: UnionPay) -> None:
    step = unionpay.start(replace(order(Scene.MOBILE), description=text))
    assert isinstance(step, PostForm)
    described = verified_fields(step.fields).get("orderDesc", "")
    assert len(described.encode()) <= 32
    assert not set("&={}[]\"'<>\t\n\x00") & set(described)


@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.APP])
def test_a_payment_opened_without_what_was_asked_for_is_unknown(
    scene: Scene, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.refused("00", orderId=REF.out_trade_no, txnTime="20240115100000"))
    with pytest.raises(ProviderUnreachable):
        unionpay.start(order(scene))


# Failed, or not yet: the deadline decides


def over(moment: datetime) -> bool:
    return moment > NOW + timedelta(minutes=16)


@pytest.mark.parametrize("minutes", [-1, 0, 14, 15, 16, 17, 60])
def test_a_failure_is_final_only_after_the_deadline(
    minutes: int, unionpay: UnionPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = replace(REF, expires_at=NOW + timedelta(minutes=15))
    moment = NOW + timedelta(minutes=minutes)
    monkeypatch.setattr(clock, "now", lambda: moment)
    wire.gives(far.queried(REF.out_trade_no, NOW, "64", PRICE))
    result = unionpay.query(ref)
    assert result.outcome is (Outcome.FAILED if over(moment) else Outcome.PENDING)
    assert result.provider_status == "64"
    wire.gives(far.absent(REF.out_trade_no))
    assert unionpay.query(ref).outcome is (Outcome.CLOSED if over(moment) else Outcome.PENDING)
    # Money and doubt are what they are at any time.
    wire.gives(far.paid(), far.queried(REF.out_trade_no, NOW, "05", PRICE))
    assert unionpay.query(ref).outcome is Outcome.SUCCEEDED
    assert unionpay.query(ref).outcome is Outcome.PENDING


def test_without_a_deadline_no_failure_is_final_but_the_one_that_says_so(
    unionpay: UnionPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(days=30))
    for code, outcome in (("64", Outcome.PENDING), ("42", Outcome.FAILED)):
        wire.gives(far.queried(REF.out_trade_no, NOW, code, PRICE))
        assert unionpay.query(REF).outcome is outcome
    wire.gives(far.absent(REF.out_trade_no))
    assert unionpay.query(REF).outcome is Outcome.PENDING


def test_an_open_payment_does_not_pretend_to_close(
    unionpay: UnionPay, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = replace(REF, expires_at=NOW + timedelta(minutes=15))
    for still_open in (
        far.absent(REF.out_trade_no),
        far.queried(REF.out_trade_no, NOW, "05", PRICE),
        far.queried(REF.out_trade_no, NOW, "64", PRICE),
    ):
        wire.gives(still_open)
        with pytest.raises(ProviderRejected, match="open until its deadline"):
            unionpay.close(ref)
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(minutes=17))
    for ended in (far.absent(REF.out_trade_no), far.queried(REF.out_trade_no, NOW, "64", PRICE)):
        wire.gives(ended)
        unionpay.close(ref)
    wire.gives(far.queried(REF.out_trade_no, NOW, "05", PRICE))
    with pytest.raises(ProviderRejected):
        unionpay.close(ref)


def test_a_query_asks_by_number_and_the_time_of_the_attempt(unionpay: UnionPay, wire: Wire) -> None:
    started_at = datetime(2023, 12, 31, 16, 0, 1, tzinfo=UTC)
    wire.gives(far.queried(REF.out_trade_no, started_at, "00", PRICE, traceTime="1231235959"))
    result = unionpay.query(replace(REF, started_at=started_at))
    assert sent_fields(wire)["txnTime"] == "20240101000001"
    assert wire.sent[0].url.endswith("/queryTrans.do")
    assert result.paid_at == datetime(2023, 12, 31, 15, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("changed", [{"merId": far.STRANGER_ID}, {"txnTime": "20240115100001"}])
def test_an_answer_about_something_else_is_not_believed(
    changed: dict[str, str], unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.paid(**changed))
    with pytest.raises(ProviderUnreachable, match="something else"):
        unionpay.query(REF)


@pytest.mark.parametrize("name", ["merId", "orderId"])
def test_an_answer_that_does_not_say_what_it_is_about_is_not_believed(
    name: str, unionpay: UnionPay, wire: Wire
) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE, origRespCode="00")
    del fields[name]
    wire.gives(far.answer(fields))
    with pytest.raises(ProviderUnreachable):
        unionpay.query(REF)


@pytest.mark.parametrize("amount", ["", "0", "-1", "19.99", "1e3", "１９", " 1", "1000000000000000"])
def test_a_paid_transaction_without_a_readable_amount_is_never_paid(
    amount: str, unionpay: UnionPay, wire: Wire
) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"txnAmt": amount}
    kept = {name: text for name, text in fields.items() if text}
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(far.notice(kept))
    wire.gives(far.answer({**kept, "origRespCode": "00"}))
    with pytest.raises(ProviderUnreachable):
        unionpay.query(REF)


def test_an_amount_in_another_currency_keeps_its_currency(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.paid(currencyCode="840"))
    assert unionpay.query(REF).amount == Money(1999, "USD")
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"currencyCode": "840"}
    assert unionpay.read_callback(far.notice(fields)).amount == Money(1999, "USD")
    for unknown in ({"currencyCode": "999"}, {"currencyCode": "CNY"}):
        with pytest.raises(SignatureMismatch):
            unionpay.read_callback(far.notice(fields | unknown))


def test_a_coupon_of_unionpays_does_not_change_what_was_paid(unionpay: UnionPay) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"settleAmt": "1499"}
    assert unionpay.read_callback(far.notice(fields)).amount == PRICE


# Refunds


def test_a_refund_is_sent_as_a_transaction_of_its_own(unionpay: UnionPay, wire: Wire) -> None:
    later = replace(REFUND, started_at=NOW + timedelta(minutes=5))
    wire.gives(*UnionPayForge().refunded(later, Outcome.PENDING))
    result = unionpay.refund(later)
    assert result == RefundResult(
        REF.out_trade_no, REFUND.out_refund_no, Outcome.PENDING, None, far.REFUND_QUERY_ID, None, "00"
    )
    asked, payment, sent = (sent_fields(wire, which) for which in range(3))
    assert (asked["orderId"], asked["txnTime"]) == (REFUND.out_refund_no, "20240115100500")
    assert (payment["orderId"], payment["txnTime"]) == (REF.out_trade_no, "20240115100000")
    del sent["signature"]
    assert sent == {
        "accessType": "0",
        "backUrl": "https://pay.example/callbacks/pa_1",
        "bizType": "000000",
        "certId": far.CERT_ID,
        "channelType": "08",
        "encoding": "UTF-8",
        "merId": far.MER_ID,
        "orderId": REFUND.out_refund_no,
        "origQryId": far.QUERY_ID,
        "reqReserved": REF.out_trade_no,
        "signMethod": "01",
        "txnAmt": "500",
        "txnSubType": "00",
        "txnTime": "20240115100500",
        "txnType": "04",
        "version": "5.1.0",
    }


def test_the_refund_of_a_cashiers_payment_has_the_cashiers_business_type(
    unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.unknown_refund(), far.paid(txnSubType="01"), far.sent_back())
    unionpay.refund(REFUND)
    assert sent_fields(wire)["bizType"] == "000201"


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.SUCCEEDED, Outcome.FAILED])
def test_a_refund_that_unionpay_knows_is_not_sent_again(
    outcome: Outcome, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(*UnionPayForge().refund_queried(REFUND, outcome))
    assert unionpay.refund(REFUND).outcome is outcome
    assert len(wire.sent) == 1


@pytest.mark.parametrize("code", ["12", "35", "36", "45", "99", "10"])
def test_a_refund_that_is_refused_but_there_is_there(code: str, unionpay: UnionPay, wire: Wire) -> None:
    """Sent twice at once: whichever comes second is refused, and must not release the reserve."""
    there = UnionPayForge().refund_queried(REFUND, Outcome.SUCCEEDED)
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(code=code), *there)
    assert unionpay.refund(REFUND).outcome is Outcome.SUCCEEDED


def test_a_refund_called_a_duplicate_but_unknown_stays_in_doubt(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(code="12"), far.unknown_refund())
    with pytest.raises(ProviderUnreachable):
        unionpay.refund(REFUND)


@pytest.mark.parametrize(
    "follow_up", [ProviderUnreachable("timed out"), far.refused("32"), far.refused("03")], ids=str
)
def test_a_refused_refund_stays_in_doubt_without_its_query(
    follow_up: Exception, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(code="36"), follow_up)
    with pytest.raises(ProviderUnreachable):
        unionpay.refund(REFUND)


@pytest.mark.parametrize("code", ["32", "10", "12", "31"])
def test_a_refund_is_not_sent_while_nobody_says_whether_it_was(
    code: str, unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.refused(code, orderId=REFUND.out_refund_no, txnTime="20240115100000"))
    with pytest.raises(ProviderUnreachable):
        unionpay.refund(REFUND)
    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    ("payment", "error"),
    [
        (far.absent(REF.out_trade_no), ProviderRejected),
        (far.queried(REF.out_trade_no, NOW, "64", PRICE), ProviderRejected),
        (far.queried(REF.out_trade_no, NOW, "05", PRICE), ProviderUnreachable),
    ],
    ids=["absent", "failed", "unknown"],
)
def test_a_payment_that_was_not_made_is_not_refunded(
    payment: Exception, error: type[Exception], unionpay: UnionPay, wire: Wire
) -> None:
    wire.gives(far.unknown_refund(), payment)
    with pytest.raises(error):
        unionpay.refund(REFUND)
    assert len(wire.sent) == 2


def test_a_refund_that_never_arrived_is_pending_when_asked_about(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund())
    result = unionpay.query_refund(REFUND)
    assert (result.outcome, result.provider_status, result.is_absent) == (Outcome.PENDING, "34", True)


def test_a_refund_in_another_currency_is_refused_before_anything_is_sent(
    unionpay: UnionPay, wire: Wire
) -> None:
    with pytest.raises(ProviderRejected):
        unionpay.refund(replace(REFUND, amount=Money(500, "USD")))
    assert not wire.sent


# Voids: a full refund on the same settlement day, where the merchant wants it


@pytest.fixture
def voiding(wire: Wire) -> UnionPay:
    return UnionPay({**PAIR, "same_day_refund": "void"}, wire)


def test_a_full_refund_of_the_same_day_goes_as_a_void(voiding: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(WHOLE, txnType="31"))
    assert voiding.refund(WHOLE).outcome is Outcome.PENDING
    fields = sent_fields(wire)
    assert (fields["txnType"], fields["txnSubType"], fields["txnAmt"]) == ("31", "00", "1999")
    assert fields["origQryId"] == far.QUERY_ID


@pytest.mark.parametrize(
    ("refund", "moment", "kind"),
    [
        (REFUND, NOW, "04"),  # in part
        (WHOLE, datetime(2024, 1, 15, 14, 59, 59, tzinfo=UTC), "31"),
        (WHOLE, datetime(2024, 1, 15, 15, 0, 0, tzinfo=UTC), "04"),  # 23:00 in Beijing: the next day's
        (WHOLE, NOW + timedelta(days=1), "04"),
    ],
)
def test_only_a_full_refund_before_the_cut_is_a_void(
    refund: RefundOrder,
    moment: datetime,
    kind: str,
    voiding: UnionPay,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "now", lambda: moment)
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(refund, txnType=kind))
    voiding.refund(refund)
    assert sent_fields(wire)["txnType"] == kind


def test_nothing_is_voided_unless_the_merchant_wants_it(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(WHOLE))
    unionpay.refund(WHOLE)
    assert sent_fields(wire)["txnType"] == "04"


def test_a_refused_void_goes_as_a_refund_of_the_same_number(voiding: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), far.refused("32"), far.sent_back(WHOLE))
    assert voiding.refund(WHOLE).outcome is Outcome.PENDING
    kinds = [sent_fields(wire, which)["txnType"] for which in (2, 3)]
    numbers = {sent_fields(wire, which)["orderId"] for which in (2, 3)}
    assert (kinds, numbers) == (["31", "04"], {REFUND.out_refund_no})


@pytest.mark.parametrize("doubt", [ProviderUnreachable("timed out"), far.refused("03")], ids=str)
def test_a_void_in_doubt_is_not_sent_as_a_refund_too(doubt: Exception, voiding: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(), doubt)
    with pytest.raises(ProviderUnreachable):
        voiding.refund(WHOLE)


def test_a_void_called_a_duplicate_is_asked_about_not_refunded(voiding: UnionPay, wire: Wire) -> None:
    there = UnionPayForge().refund_queried(WHOLE, Outcome.SUCCEEDED)
    wire.gives(far.unknown_refund(), far.paid(), far.sent_back(WHOLE, code="12", txnType="31"), *there)
    assert voiding.refund(WHOLE).outcome is Outcome.SUCCEEDED


def test_news_of_a_void_is_news_of_the_refund_but_its_failure_is_asked_about(unionpay: UnionPay) -> None:
    """In place of a void that failed a refund of the same number may be under way."""
    done = unionpay.read_callback(far.notice(far.refund_fields(WHOLE, "00", txnType="31")))
    failed = unionpay.read_callback(far.notice(far.refund_fields(WHOLE, "36", txnType="31")))
    assert isinstance(done, RefundResult)
    assert (done.out_refund_no, done.outcome) == (REFUND.out_refund_no, Outcome.SUCCEEDED)
    assert failed.outcome is Outcome.PENDING


# Notifications: what is one, and what only looks like one


def test_a_failure_that_is_notified_can_still_be_tried_again(unionpay: UnionPay) -> None:
    result = unionpay.read_callback(far.notice(far.payment_fields(REF.out_trade_no, "64", PRICE)))
    assert isinstance(result, PaymentResult)
    assert (result.outcome, result.paid_at, result.provider_status) == (Outcome.PENDING, None, "64")


def test_signed_answers_are_no_notifications(unionpay: UnionPay) -> None:
    """They are signed alike, and say 00 for "asked" or "accepted"."""
    query = far.payment_fields(REF.out_trade_no, "00", PRICE, origRespCode="05")
    opened = far.common(
        orderId=REF.out_trade_no, txnType="01", txnSubType="07", respCode="00", qrCode=far.QR_CODE
    )
    ordered = far.payment_fields(REF.out_trade_no, "00", PRICE, tn=far.TN)
    del ordered["queryId"]
    accepted = far.refund_fields(REFUND, "00")
    del accepted["traceNo"]
    for fields in (query, opened, ordered, accepted):
        with pytest.raises(SignatureMismatch):
            unionpay.read_callback(far.notice(fields))


@pytest.mark.parametrize("kind", ["00", "02", "03", "11", "76", "95", "", "1", "001"])
def test_news_of_another_kind_of_transaction_is_refused(kind: str, unionpay: UnionPay) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"txnType": kind}
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(far.notice(fields))


@pytest.mark.parametrize(
    "name", ["merId", "orderId", "respCode", "txnType", "txnAmt", "currencyCode", "queryId"]
)
def test_a_notification_without_a_deciding_field_is_refused(name: str, unionpay: UnionPay) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE)
    del fields[name]
    with pytest.raises(SignatureMismatch):
        unionpay.read_callback(far.notice(fields))


def test_a_refund_made_elsewhere_names_no_payment(unionpay: UnionPay) -> None:
    fields = far.refund_fields(REFUND, "00")
    del fields["reqReserved"]
    result = unionpay.read_callback(far.notice(fields))
    assert isinstance(result, RefundResult)
    assert (result.out_trade_no, result.out_refund_no) == ("", REFUND.out_refund_no)


@pytest.mark.parametrize(
    ("sent", "traced", "paid_at"),
    [
        ("20231231235900", "0101000100", datetime(2023, 12, 31, 16, 1, tzinfo=UTC)),
        ("20240101000100", "1231235900", datetime(2023, 12, 31, 15, 59, tzinfo=UTC)),
        ("20240228100000", "0229100000", datetime(2024, 2, 29, 2, 0, tzinfo=UTC)),
        ("20240115100000", "0231100000", None),
        ("20240115100000", "soon", None),
        ("never", "0115100030", None),
        ("00010101000000", "0101000000", None),
        ("99991231235959", "1231235959", datetime(9999, 12, 31, 15, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_time_of_payment_finds_its_year(
    sent: str, traced: str, paid_at: datetime | None, unionpay: UnionPay
) -> None:
    fields = far.payment_fields(REF.out_trade_no, "00", PRICE) | {"txnTime": sent, "traceTime": traced}
    result = unionpay.read_callback(far.notice(fields))
    assert isinstance(result, PaymentResult)
    assert (result.outcome, result.paid_at) == (Outcome.SUCCEEDED, paid_at)


# Payment codes


def test_a_payment_by_code_is_a_consumption_at_a_till(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(*UnionPayForge().coded(code_order(UnionPayForge()), Outcome.SUCCEEDED))
    unionpay.charge_code(code_order(UnionPayForge()))
    fields = sent_fields(wire, 0)
    assert (fields["txnType"], fields["txnSubType"], fields["bizType"]) == ("01", "06", "000000")
    assert (fields["qrNo"], fields["termId"]) == (UnionPayForge.pay_code, "TILL0007")


@pytest.mark.parametrize(
    ("code", "outcome"), [("64", Outcome.FAILED), ("70", Outcome.PENDING), ("05", Outcome.PENDING)]
)
def test_a_payment_by_code_is_one_try(code: str, outcome: Outcome, unionpay: UnionPay, wire: Wire) -> None:
    """It fails at once and for good, where a payment by QR code may be tried again until its deadline."""
    wire.gives(far.queried(REF.out_trade_no, REF.started_at, code, PRICE, txnSubType="06"))
    assert unionpay.query(REF).outcome is outcome
    news = far.payment_fields(REF.out_trade_no, code, PRICE) | {"txnSubType": "06"}
    assert unionpay.read_callback(far.notice(news)).outcome is outcome


def test_a_password_under_way_is_no_refusal_of_a_code(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.refused("70"))
    assert unionpay.charge_code(code_order(UnionPayForge())).outcome is Outcome.PENDING


def test_a_code_that_was_accepted_is_not_refused_by_what_comes_after(unionpay: UnionPay, wire: Wire) -> None:
    accepted, _ = UnionPayForge().coded(code_order(UnionPayForge()), Outcome.SUCCEEDED)
    for silence in (ProviderUnreachable("timed out"), far.refused("37"), far.absent(REF.out_trade_no)):
        wire.gives(accepted, silence)
        assert unionpay.charge_code(code_order(UnionPayForge())).outcome is Outcome.PENDING


def test_a_reversal_has_the_payments_own_number_and_time(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(*UnionPayForge().reversed(REF))
    unionpay.reverse(REF)
    fields = sent_fields(wire)
    assert (fields["txnType"], fields["txnSubType"]) == ("99", "01")
    assert (fields["orderId"], fields["txnTime"]) == (REF.out_trade_no, "20240115100000")
    for code in ("12", "05"):
        wire.gives(far.refused(code, orderId=REF.out_trade_no))
        with pytest.raises(ProviderUnreachable):
            unionpay.reverse(REF)
    wire.gives(far.absent(REF.out_trade_no))
    unionpay.reverse(REF)  # it never arrived


def test_a_refund_of_a_payment_by_code_is_of_the_same_business(unionpay: UnionPay, wire: Wire) -> None:
    wire.gives(far.unknown_refund(), far.paid(txnSubType="06"), far.sent_back())
    unionpay.refund(REFUND)
    assert sent_fields(wire)["bizType"] == "000000"
