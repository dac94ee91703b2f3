"""The WeChat Pay adapter against the contract, and what is peculiar to WeChat Pay's verbs."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers.base import (
    AppParams,
    CallBridge,
    HttpAnswer,
    Outcome,
    PaymentRef,
    PaymentResult,
    Redirect,
    RefundResult,
    Scene,
    ShowQR,
)
from app.providers.wechatpay import WechatPay
from tests.providers import wechatpay_forge as far
from tests.providers.contract import (
    NOW,
    PRICE,
    REF,
    REFUND,
    STATEMENT,
    ProviderContract,
    Wire,
    code_order,
    order,
)
from tests.providers.wechatpay_forge import BOTH_MODES, SubMerchantForge, WechatPayForge, checked

REFUSED = (401, '{"code":"FAIL","message":"失败"}'.encode())
UNASKED = PaymentRef(REF.out_trade_no, NOW)  # before WeChat Pay's own number is known


class TestContract(ProviderContract):
    """A merchant on the move, with both kinds of keys; the public key signs."""

    adapter = WechatPay
    refund_outcomes = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.CLOSED)
    callback_max_age_s = 300
    signed_anew = frozenset({"nonceStr", "paySign", "noncestr", "sign"})
    statement_lines = STATEMENT
    accepted_reply = (204, b"")
    refused_reply = REFUSED

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> WechatPayForge:
        return WechatPayForge()


class TestContractByCertificate(TestContract):
    """A merchant with platform certificates alone."""

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> WechatPayForge:
        return WechatPayForge(far.CERTIFICATE_MODE, far.PLATFORM_SERIAL)


class TestContractForASubMerchant(TestContract):
    """A service provider that takes money for one of its sub-merchants: every call and answer differs."""

    @pytest.fixture(scope="class")
    @classmethod
    def forge(cls) -> SubMerchantForge:
        return SubMerchantForge(far.SUB_MERCHANT)


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def wechatpay(line: Wire) -> WechatPay:
    return WechatPay(BOTH_MODES, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    line.clear()
    return line


# Starting, product by product


def test_a_desktop_gets_the_code_to_scan(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer({"code_url": far.CODE_URL}))
    assert wechatpay.start(order(Scene.DESKTOP)) == ShowQR(far.CODE_URL, good_for_s=7180)
    [sent] = wire.sent
    assert (sent.method, sent.url) == ("POST", f"{far.API}/v3/pay/transactions/native")
    assert sent.headers["wechatpay-serial"] == far.PUBLIC_KEY_ID
    assert checked(sent) == {
        "appid": far.APPID,
        "mchid": far.MCHID,
        "description": "测试商品 A+B",
        "out_trade_no": REF.out_trade_no,
        "time_expire": "2024-01-15T10:15:00+08:00",
        "notify_url": "https://pay.example/callbacks/pa_1",
        "amount": {"total": 1999, "currency": "CNY"},
    }


def test_inside_wechat_the_bridge_gets_signed_parameters(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer({"prepay_id": far.PREPAY_ID}))
    step = wechatpay.start(order(Scene.WECHAT))
    assert wire.sent[0].url.endswith("/v3/pay/transactions/jsapi")
    assert checked(wire.sent[0])["payer"] == {"openid": "payer-0001"}
    assert isinstance(step, CallBridge)
    assert step.bridge == "WeixinJSBridge"
    params = dict(step.params)
    signature = params.pop("paySign")
    nonce = params.pop("nonceStr")
    assert params == {
        "appId": far.APPID,
        "timeStamp": "1705284000",
        "package": f"prepay_id={far.PREPAY_ID}",
        "signType": "RSA",
    }
    message = f"{far.APPID}\n1705284000\n{nonce}\nprepay_id={far.PREPAY_ID}\n"
    verify_as_wallet(signature, message)


def test_an_app_gets_signed_parameters_under_its_own_app_id(wire: Wire) -> None:
    wechatpay = WechatPay({**BOTH_MODES, "mobile_appid": "wxmobile00000001"}, wire)
    wire.gives(far.answer({"prepay_id": far.PREPAY_ID}))
    step = wechatpay.start(order(Scene.APP))
    assert wire.sent[0].url.endswith("/v3/pay/transactions/app")
    assert checked(wire.sent[0])["appid"] == "wxmobile00000001"
    assert isinstance(step, AppParams)
    params = dict(step.params)
    signature, nonce = params.pop("sign"), params.pop("noncestr")
    assert params == {
        "appid": "wxmobile00000001",
        "partnerid": far.MCHID,
        "prepayid": far.PREPAY_ID,
        "package": "Sign=WXPay",
        "timestamp": "1705284000",
    }
    verify_as_wallet(signature, f"wxmobile00000001\n1705284000\n{nonce}\n{far.PREPAY_ID}\n")
    wire.gives(far.answer(far.transaction(REF.out_trade_no, "SUCCESS", PRICE, appid="wxmobile00000001")))
    assert wechatpay.query(UNASKED).outcome is Outcome.SUCCEEDED


def test_a_phone_goes_to_the_cashier_and_comes_back(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer({"h5_url": far.H5_URL}))
    asked = replace(order(Scene.MOBILE), return_url="https://pay.example/C/T?back=1&x=%E4%BD%A0")
    step = wechatpay.start(asked)
    assert isinstance(step, Redirect)
    assert step.good_for_s == 280
    assert step.url.startswith(f"{far.H5_URL}&redirect_url=https%3A%2F%2F")
    assert parse_qs(urlsplit(step.url).query)["redirect_url"] == [asked.return_url]
    assert checked(wire.sent[0])["scene_info"] == {
        "payer_client_ip": "203.0.113.7",
        "h5_info": {"type": "Wap"},
    }


@pytest.mark.parametrize(
    ("scene", "lacking"), [(Scene.WECHAT, {"payer_id": None}), (Scene.MOBILE, {"payer_ip": None})]
)
def test_without_what_the_scene_needs_of_the_payer_nothing_is_sent(
    scene: Scene, lacking: dict[str, None], wechatpay: WechatPay, wire: Wire
) -> None:
    with pytest.raises(ProviderRejected):
        wechatpay.start(replace(order(scene), **lacking))
    assert not wire.sent


def test_the_same_attempt_sends_the_same_order(wechatpay: WechatPay, wire: Wire) -> None:
    """Otherwise WeChat Pay would answer OUT_TRADE_NO_USED."""
    for _ in range(2):
        wire.gives(far.answer({"code_url": far.CODE_URL}))
        wechatpay.start(order(Scene.DESKTOP))
    assert wire.sent[0].body == wire.sent[1].body
    assert wire.sent[0].headers["authorization"] != wire.sent[1].headers["authorization"]


@pytest.mark.parametrize(
    ("life", "wanted"),
    [
        (timedelta(seconds=5), "2024-01-15T10:01:30+08:00"),
        (timedelta(hours=14), "2024-01-16T00:00:00+08:00"),
        (timedelta(days=90), "2024-01-22T09:59:00+08:00"),
    ],
)
def test_the_deadline_is_one_that_wechat_pay_takes(
    life: timedelta, wanted: str, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.answer({"code_url": far.CODE_URL}))
    wechatpay.start(replace(order(Scene.DESKTOP), expires_at=NOW + life))
    assert checked(wire.sent[0])["time_expire"] == wanted


@pytest.mark.parametrize(
    "text", ["tab\tline\nnull\x00", "长" * 400, "", "\x00", "\ud800x", "🧧" * 99, 'a"\\b']
)
def test_a_description_is_made_fit_and_is_never_empty(text: str, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer({"code_url": far.CODE_URL}))
    wechatpay.start(replace(order(Scene.DESKTOP), description=text))
    description = checked(wire.sent[0])["description"]
    assert 1 <= len(description.encode()) <= 127
    assert not set("\t\n\x00\ufffd") & set(description)


@pytest.mark.parametrize(
    ("scene", "handle"),
    [
        (Scene.DESKTOP, {}),
        (Scene.DESKTOP, {"code_url": 7}),
        (Scene.DESKTOP, {"code_url": "two words"}),
        (Scene.WECHAT, {"prepay_id": ""}),
        (Scene.MOBILE, {"h5_url": "javascript:alert(1)"}),
        (Scene.APP, {"prepay_id": None}),
    ],
)
def test_an_order_without_a_usable_handle_is_in_doubt(
    scene: Scene, handle: dict[str, object], wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.answer(handle))
    with pytest.raises(ProviderUnreachable):
        wechatpay.start(order(scene))


def test_no_serial_is_asked_for_without_a_public_key(wire: Wire) -> None:
    wire.gives(far.answer({"code_url": far.CODE_URL}, serial=far.PLATFORM_SERIAL))
    WechatPay(far.CERTIFICATE_MODE, wire).start(order(Scene.DESKTOP))
    assert "wechatpay-serial" not in wire.sent[0].headers


# Refused, or not: a query decides what nobody signed

# 404s of an unknown path, too: WeChat Pay's front servers sign nothing.
UNSIGNED = [
    (400, {"code": "PARAM_ERROR"}),
    (400, {"code": "INVALID_REQUEST"}),
    (401, {"code": "SIGN_ERROR"}),
    (403, {"code": "NO_AUTH"}),
    (404, {"code": "RESOURCE_NOT_EXISTS"}),
    (405, {}),
    (400, {"code": "A_WORD_FROM_THE_FUTURE"}),
    (403, {"code": "OUT_TRADE_NO_USED"}),
    (400, {"code": "ORDER_CLOSED"}),
    (400, {"code": "ORDERPAID"}),
]
SPEAK_OF_AN_ORDER = ("OUT_TRADE_NO_USED", "ORDER_CLOSED", "ORDERPAID")


@pytest.mark.parametrize(("status", "fields"), UNSIGNED)
@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.WECHAT, Scene.MOBILE, Scene.APP])
def test_an_unsigned_refusal_of_an_order_is_one_when_a_signed_answer_knows_no_such_order(
    status: int, fields: dict[str, str], scene: Scene, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.unsigned(fields, status), far.refused(404, "ORDER_NOT_EXIST"))
    with pytest.raises(ProviderRejected) as refused:
        wechatpay.start(order(scene))
    assert refused.value.provider_code == fields.get("code")
    path = f"/v3/pay/transactions/out-trade-no/{REF.out_trade_no}?mchid={far.MCHID}"
    assert (wire.sent[1].method, wire.sent[1].url) == ("GET", far.API + path)


@pytest.mark.parametrize(("status", "fields"), UNSIGNED)
@pytest.mark.parametrize(
    "told",
    [
        ProviderUnreachable("timed out"),
        far.unsigned({"code": "ORDER_NOT_EXIST"}, 404),
        far.refused(404, "RESOURCE_NOT_EXISTS"),
        far.unsigned({"code": "SIGN_ERROR"}, 401),
        far.refused(403, "NO_AUTH"),
        far.refused(500, "ORDER_NOT_EXIST"),
        HttpAnswer(502, {}, b"<html>Bad Gateway</html>"),
        far.answer(far.transaction("ANOTHER000000000001", "NOTPAY", PRICE)),
    ],
    ids=["silence", "unsigned", "other word", "unsigned no", "signed no", "500", "502", "another order"],
)
def test_an_unsigned_refusal_stays_in_doubt_without_a_signed_word_on_the_order(
    status: int, fields: dict[str, str], told: HttpAnswer | Exception, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.unsigned(fields, status), told)
    with pytest.raises(ProviderUnreachable) as refused:
        wechatpay.start(order(Scene.DESKTOP))
    assert type(refused.value) is not NumberTaken
    assert refused.value.provider_code == fields.get("code")
    assert not wire.answers


@pytest.mark.parametrize(("status", "fields"), UNSIGNED)
@pytest.mark.parametrize("state", ["NOTPAY", "SUCCESS", "CLOSED"])
def test_an_unsigned_refusal_of_an_order_that_is_there_means_its_number_is_taken_where_it_says_so(
    status: int, fields: dict[str, str], state: str, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.unsigned(fields, status), far.answer(far.transaction(REF.out_trade_no, state, PRICE)))
    with pytest.raises(ProviderUnreachable) as refused:
        wechatpay.start(order(Scene.DESKTOP))
    assert (type(refused.value) is NumberTaken) == (fields.get("code") in SPEAK_OF_AN_ORDER)


# Asking


def test_before_it_is_paid_an_order_is_found_by_our_number(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer(far.transaction(REF.out_trade_no, "NOTPAY", PRICE)))
    result = wechatpay.query(UNASKED)
    assert result == PaymentResult(REF.out_trade_no, Outcome.PENDING, PRICE, provider_status="NOTPAY")
    path = f"/v3/pay/transactions/out-trade-no/{REF.out_trade_no}?mchid={far.MCHID}"
    assert (wire.sent[0].method, wire.sent[0].url) == ("GET", far.API + path)
    assert checked(wire.sent[0]) == {}


def test_a_paid_order_is_found_by_wechat_pays_number_or_else_by_ours(
    wechatpay: WechatPay, wire: Wire
) -> None:
    ref = replace(REF, provider_ref=far.TRANSACTION_ID)
    wire.gives(*WechatPayForge().queried(ref, Outcome.SUCCEEDED, PRICE))
    assert wechatpay.query(ref).outcome is Outcome.SUCCEEDED
    path = f"/v3/pay/transactions/id/{far.TRANSACTION_ID}?mchid={far.MCHID}"
    assert [sent.url for sent in wire.sent] == [far.API + path]
    wire.gives(far.refused(404, "ORDER_NOT_EXIST"), *WechatPayForge().queried(ref, Outcome.SUCCEEDED, PRICE))
    assert wechatpay.query(ref).outcome is Outcome.SUCCEEDED
    assert "/out-trade-no/" in wire.sent[-1].url


@pytest.mark.parametrize("number", ["20240115|1*2", "A_B-C", "a/../b?c"])
def test_numbers_are_encoded_as_they_are_signed(number: str, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer(far.transaction("other", "NOTPAY", PRICE)))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(PaymentRef(number, NOW, "not/a/number"))
    checked(wire.sent[0])
    assert not set("|*") & set(wire.sent[0].url)
    assert urlsplit(wire.sent[0].url).path.count("/") == 5


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("code", ["ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"])
def test_an_order_that_is_not_there_is_pending(
    is_signed: bool, code: str, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(404, code) if is_signed else far.unsigned({"code": code}, 404))
    assert wechatpay.query(UNASKED) == PaymentResult(
        REF.out_trade_no, Outcome.PENDING, provider_status=code, is_absent=is_signed
    )


def test_a_payment_that_is_being_refunded_was_paid(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*WechatPayForge().queried(REF, Outcome.SUCCEEDED, PRICE, status="REFUND"))
    result = wechatpay.query(REF)
    assert (result.outcome, result.amount) == (Outcome.SUCCEEDED, PRICE)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("USERPAYING", Outcome.PENDING), ("REVOKED", Outcome.CLOSED), ("PAYERROR", Outcome.FAILED)],
)
def test_the_words_of_payment_codes_are_understood(
    state: str, outcome: Outcome, wechatpay: WechatPay, wire: Wire
) -> None:
    status = 202 if state == "USERPAYING" else 200
    wire.gives(far.answer(far.transaction(REF.out_trade_no, state, PRICE), status))
    assert wechatpay.query(UNASKED).outcome is outcome


@pytest.mark.parametrize(
    "stranger", [{"mchid": "1900000110"}, {"appid": "wx0000000000000000"}, {"mchid": None}]
)
def test_an_answer_about_another_merchant_or_app_is_not_believed(
    stranger: dict[str, object], wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.answer(far.transaction(REF.out_trade_no, "SUCCESS", PRICE, **stranger)))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)


@pytest.mark.parametrize(
    "amount",
    [
        None,
        {},
        {"total": 0, "currency": "CNY"},
        {"total": -1999, "currency": "CNY"},
        {"total": True, "currency": "CNY"},
        {"total": "1999", "currency": "CNY"},
        {"total": 19.99, "currency": "CNY"},
        {"total": 1999, "currency": "XYZ"},
        {"total": 1999, "currency": None},
        [1999],
    ],
)
def test_a_success_without_a_readable_amount_is_never_paid(
    amount: object, wechatpay: WechatPay, wire: Wire
) -> None:
    fields = {**far.transaction(REF.out_trade_no, "SUCCESS", PRICE), "amount": amount}
    wire.gives(far.answer(fields))
    with pytest.raises(ProviderUnreachable):
        wechatpay.query(UNASKED)
    with pytest.raises(SignatureMismatch):
        wechatpay.read_callback(far.payment_notice(fields))


def test_an_amount_in_another_currency_keeps_its_currency(wechatpay: WechatPay) -> None:
    inbound = far.payment_notice(far.transaction(REF.out_trade_no, "SUCCESS", Money(1999, "USD")))
    assert wechatpay.read_callback(inbound).amount == Money(1999, "USD")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-01-15T10:00:30+08:00", NOW + timedelta(seconds=30)),
        ("2024-01-15T02:00:30Z", NOW + timedelta(seconds=30)),
        ("2024-01-15T10:00:30", NOW + timedelta(seconds=30)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+08:00", None),
    ],
)
def test_a_time_is_read_or_left_out(text: str, wanted: object, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer(far.transaction(REF.out_trade_no, "SUCCESS", PRICE, success_time=text)))
    assert wechatpay.query(UNASKED).paid_at == wanted


# Closing


def test_a_close_names_the_merchant(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer(None, 204))
    wechatpay.close(REF)
    assert wire.sent[0].url == f"{far.API}/v3/pay/transactions/out-trade-no/{REF.out_trade_no}/close"
    assert wire.sent[0].body == b'{"mchid":"1900000109"}'
    checked(wire.sent[0])


def test_an_unsigned_204_closes_nothing(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(HttpAnswer(204, {}, b""))
    with pytest.raises(ProviderUnreachable):
        wechatpay.close(REF)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_query_decides_what_a_no_to_a_close_means(
    outcome: Outcome, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(400, "INVALID_REQUEST"), *WechatPayForge().queried(REF, outcome, PRICE))
    if outcome in (Outcome.CLOSED, Outcome.FAILED):
        wechatpay.close(REF)
        return
    with pytest.raises(ProviderRejected) as refused:
        wechatpay.close(REF)
    assert refused.value.provider_code == "INVALID_REQUEST"


# Refunds


def test_a_refund_names_all_that_it_needs(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*WechatPayForge().refunded(REFUND, Outcome.SUCCEEDED))
    result = wechatpay.refund(replace(REFUND, reason="退" * 90))
    assert (result.outcome, result.amount, result.needs_person) == (Outcome.SUCCEEDED, REFUND.amount, False)
    assert result.refunded_at == NOW + timedelta(minutes=5, seconds=30)
    assert checked(wire.sent[0]) == {
        "out_trade_no": REF.out_trade_no,
        "out_refund_no": REFUND.out_refund_no,
        "reason": "退" * 26,
        "notify_url": REFUND.notify_url,
        "amount": {"refund": 500, "total": 1999, "currency": "CNY"},
    }
    wire.gives(*WechatPayForge().refunded(REFUND, Outcome.SUCCEEDED))
    wechatpay.refund(replace(REFUND, reason=""))
    assert "reason" not in checked(wire.sent[1])


def test_a_stuck_refund_is_pending_and_says_that_a_person_is_needed(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.answer(far.refund_fields(REFUND, "ABNORMAL")))
    fields = far.refund_notice_fields(REFUND, "ABNORMAL")
    for result in (
        wechatpay.query_refund(REFUND),
        wechatpay.read_callback(far.refund_notice(fields, "REFUND.ABNORMAL")),
    ):
        assert isinstance(result, RefundResult)
        assert (result.outcome, result.needs_person, result.is_absent) == (Outcome.PENDING, True, False)
        assert result.provider_status == "ABNORMAL"


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_refund_that_never_arrived_is_pending(is_signed: bool, wechatpay: WechatPay, wire: Wire) -> None:
    code = "RESOURCE_NOT_EXISTS"
    wire.gives(far.refused(404, code) if is_signed else far.unsigned({"code": code}, 404))
    result = wechatpay.query_refund(REFUND)
    assert (result.outcome, result.amount, result.provider_status) == (Outcome.PENDING, None, code)
    assert result.is_absent
    assert wire.sent[0].url == f"{far.API}/v3/refund/domestic/refunds/{REFUND.out_refund_no}"


def test_a_refund_of_an_unknown_order_is_refused_only_with_a_signature(
    wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(far.refused(404, "RESOURCE_NOT_EXISTS"))
    with pytest.raises(ProviderRejected):
        wechatpay.refund(REFUND)
    wire.gives(far.unsigned({"code": "RESOURCE_NOT_EXISTS"}, 404))
    with pytest.raises(ProviderUnreachable):
        wechatpay.refund(REFUND)


@pytest.mark.parametrize(
    "odd",
    [
        {"out_refund_no": "R00000000000000009"},
        {"out_trade_no": "ANOTHER0001"},
        {"amount": {"refund": 501, "total": 1999, "currency": "CNY"}},
        {"amount": {"refund": 500, "total": 1999, "currency": "USD"}},
        {"amount": {}},
        {"status": ""},
    ],
)
def test_an_answer_about_another_refund_is_not_believed(
    odd: dict[str, object], wechatpay: WechatPay, wire: Wire
) -> None:
    for act in (wechatpay.refund, wechatpay.query_refund):
        wire.gives(far.answer({**far.refund_fields(REFUND, "SUCCESS"), **odd}))
        with pytest.raises(ProviderUnreachable):
            act(REFUND)


def test_a_refund_in_another_currency_is_not_sent(wechatpay: WechatPay, wire: Wire) -> None:
    with pytest.raises(ProviderRejected):
        wechatpay.refund(replace(REFUND, amount=Money(500, "USD")))
    assert not wire.sent


def test_an_unknown_refund_status_in_a_callback_is_pending_and_logged(
    wechatpay: WechatPay, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = wechatpay.read_callback(far.refund_notice(far.refund_notice_fields(REFUND, "NEW_WORD")))
    assert result.outcome is Outcome.PENDING
    assert "unknown refund status" in caplog.text


def verify_as_wallet(signature: str, message: str) -> None:
    raw = far.base64.b64decode(signature)
    far.merchant_key().verify(raw, message.encode(), padding.PKCS1v15(), hashes.SHA256())


# Payment codes


def test_a_payment_by_code_says_where_it_is_taken(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(*WechatPayForge().coded(code_order(WechatPayForge()), Outcome.SUCCEEDED))
    wechatpay.charge_code(code_order(WechatPayForge()))
    assert wire.sent[0].url.endswith("/v3/pay/transactions/codepay")
    assert checked(wire.sent[0]) == {
        "appid": far.APPID,
        "mchid": far.MCHID,
        "description": "测试商品 A+B",
        "out_trade_no": REF.out_trade_no,
        "amount": {"total": 1999, "currency": "CNY"},
        "payer": {"auth_code": WechatPayForge.pay_code},
        "scene_info": {
            "device_id": "TILL0007",
            "device_ip": "203.0.113.8",
            "store_info": {"out_id": "TILL0007"},
        },
    }


def test_an_unsigned_no_to_a_code_is_one_if_the_order_is_not_there(wechatpay: WechatPay, wire: Wire) -> None:
    no = far.unsigned({"code": "PARAM_ERROR", "message": "付款码"}, 400)
    wire.gives(no, far.refused(404, "ORDER_NOT_EXIST"))
    with pytest.raises(ProviderRejected):
        wechatpay.charge_code(code_order(WechatPayForge()))
    wire.gives(no, *WechatPayForge().queried(UNASKED, Outcome.PENDING, PRICE))
    with pytest.raises(ProviderUnreachable):
        wechatpay.charge_code(code_order(WechatPayForge()))


def test_a_payment_by_code_that_never_arrived_is_reversed_enough(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(far.refused(404, "ORDER_NOT_EXIST"))
    wechatpay.reverse(UNASKED)
    assert wire.sent[0].url.endswith(f"/out-trade-no/{REF.out_trade_no}/reverse")
    assert checked(wire.sent[0]) == {"appid": far.APPID, "mchid": far.MCHID}
