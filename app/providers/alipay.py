"""Alipay, spoken through its open platform gateway (version 1.0, RSA2).

One address serves every method.  A request is a signed set of parameters around ``biz_content``; an
answer is a JSON node with a signature over its exact text; a notification is a signed form.  Nothing
unsigned is believed, not even a refusal: it becomes ProviderUnreachable, and a query tells.

A trade exists at Alipay only once the buyer has opened the cashier or scanned the code, so "no such
trade" means "not paid yet".  TRADE_CLOSED means "never paid" or "paid and refunded in full":
whether a time of payment is given decides.

Beside this file: ``alipay_account`` (the credentials), ``alipay_codes`` (what result codes mean),
``alipay_wire`` (what is signed), ``alipay_gateway`` (the one way out), ``alipay_certs`` (certificate
mode), ``alipay_payer`` (who the payer is), ``alipay_results`` (what became of payments and refunds),
``alipay_bill`` (the daily bill).
Source: Alipay open platform documentation, common parameters and the alipay.trade methods.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import ClassVar

from app import clock
from app.errors import (
    NumberTaken,
    ProviderError,
    ProviderRejected,
    ProviderUnreachable,
    SignatureMismatch,
)
from app.money import Money
from app.providers import alipay_account, alipay_bill, alipay_payer, alipay_results, alipay_wire, handles
from app.providers.alipay_codes import ACCOUNT_FAULTS, Verdict
from app.providers.alipay_gateway import Gateway, Verified
from app.providers.base import (
    Ability,
    AppParams,
    BillLine,
    CallBridge,
    CodeOrder,
    Credential,
    Inbound,
    Info,
    NextStep,
    Outbound,
    Outcome,
    PaymentOrder,
    PaymentRef,
    PaymentResult,
    Redirect,
    RefundOrder,
    RefundResult,
    Reply,
    Scene,
    ShowQR,
)

log = logging.getLogger(__name__)

# A precreated code that nobody scanned; what was opened lasts as long as the order.
# Source: alipay.trade.precreate, qr_code.
CODE_LIFE = timedelta(hours=2)
# A signed address carries its time.  How old it may get no manual says; a fresh one costs no call.
ADDRESS_LIFE_S = 3600
SUBJECT_CHARS_MAX = 256
BUYER_IS_ASKED = "10003"

# The manual asks for no "/", "=" or "&" in a subject; control characters break the cashier.
_UNWANTED = re.compile(r"[/=&\x00-\x1f\x7f]+")


class Alipay:
    """One merchant's application at Alipay.  Certificate mode when the three certificates are given."""

    info: ClassVar[Info] = Info(
        code="alipay",
        label="Alipay",
        currencies=frozenset({"CNY"}),
        # WeChat blocks Alipay's pages and links.  The apps with UnionPay's user agent are wallets of
        # their own: nothing says that they let alipays:// through, so a shopper there is better told
        # to open the link in a browser than sent to a cashier that cannot open its app.
        scenes=frozenset({Scene.DESKTOP, Scene.MOBILE, Scene.ALIPAY, Scene.APP}),
        abilities=frozenset({Ability.REFUND, Ability.PARTIAL_REFUND, Ability.STATEMENT}),
        pay_code="(2[5-9]|30)[0-9]{14,22}",
        account_faults=ACCOUNT_FAULTS,
    )
    credentials: ClassVar[tuple[Credential, ...]] = alipay_account.CREDENTIALS

    def __init__(self, settings: Mapping[str, str], http: Outbound) -> None:
        self._account = alipay_account.read_account(settings)
        self._gateway = Gateway(self._account, http)

    def identify(self, scene: Scene, return_url: str, state: str) -> str | None:
        """A pay sheet inside Alipay's app wants to know the payer; Alipay's own pages ask themselves."""
        if scene is not Scene.ALIPAY or self._account.in_app_product != "jsapi":
            return None
        return alipay_payer.authorize_url(self._account, return_url, state)

    def payer_from(self, query: Mapping[str, str]) -> str:
        """Exchange the ``auth_code`` that Alipay sent the browser back with for the payer's id.

        A code is good for a day and once.  Raises ProviderRejected or ProviderUnreachable.
        """
        return self._gateway.payer(query)

    def start(self, order: PaymentOrder) -> NextStep:
        """Open a payment.  The desktop's QR code and the pay sheet need a call; the rest is only signed.

        The same order again is the same trade.  Raises ProviderRejected for a scene or a currency that
        Alipay cannot serve and where the pay sheet's payer is not known; NumberTaken if the trade is paid,
        closed, or open with other parameters, or its code has run out.
        """
        biz = {
            "out_trade_no": order.ref.out_trade_no,
            "subject": _text_field(order.description) or order.ref.out_trade_no,
            "time_expire": clock.to_beijing(order.expires_at),
            "total_amount": _yuan(order.amount),
        }
        match order.scene:
            case Scene.DESKTOP if self._account.desktop_product == "precreate":
                good_for_s = handles.left_s(CODE_LIFE, order.ref.started_at, order.asked_at)
                return ShowQR(self._precreate(biz, order.notify_url), good_for_s)
            case Scene.DESKTOP:
                biz["product_code"] = "FAST_INSTANT_TRADE_PAY"
                return Redirect(self._gateway.page("alipay.trade.page.pay", biz, order), ADDRESS_LIFE_S)
            case Scene.ALIPAY if self._account.in_app_product == "jsapi":
                biz |= alipay_payer.buyer(order.payer_id or "")
                return CallBridge("AlipayJSBridge", {"tradeNO": self._create(biz, order.notify_url)})
            case Scene.MOBILE | Scene.ALIPAY:
                biz |= {"product_code": "QUICK_WAP_WAY", "quit_url": order.return_url}
                return Redirect(self._gateway.page("alipay.trade.wap.pay", biz, order), ADDRESS_LIFE_S)
            case Scene.APP:
                biz["product_code"] = "QUICK_MSECURITY_PAY"
                params = self._gateway.params("alipay.trade.app.pay", biz, notify_url=order.notify_url)
                return AppParams({"order_string": alipay_wire.query_text(params)}, ADDRESS_LIFE_S)
            case _:
                raise ProviderRejected(f"alipay cannot be paid in the scene {order.scene.value}")

    def query(self, ref: PaymentRef) -> PaymentResult:
        """Ask what became of a payment.  A trade that nobody opened yet is PENDING."""
        method = "alipay.trade.query"
        reply = self._gateway.call(method, {"out_trade_no": ref.out_trade_no})
        if reply.verdict is Verdict.ABSENT:
            return PaymentResult(
                ref.out_trade_no, Outcome.PENDING, provider_status=reply.code, is_absent=True
            )
        answer = _done(reply, method)
        # An answer carries no nonce: only the number ties it to this question.
        if answer.word("out_trade_no") != ref.out_trade_no:
            raise ProviderUnreachable("alipay answered about another payment")
        outcome = alipay_results.payment_outcome(answer.word("trade_status"), answer.word("send_pay_date"))
        amount = alipay_results.positive(answer.word("total_amount"), answer.word("trans_currency") or "CNY")
        if amount is None and outcome is Outcome.SUCCEEDED:
            raise ProviderUnreachable("alipay named no readable amount for a paid trade")
        return PaymentResult(
            out_trade_no=ref.out_trade_no,
            outcome=outcome,
            amount=amount,
            provider_ref=answer.word("trade_no")[: alipay_results.REF_CHARS_MAX] or None,
            paid_at=alipay_results.moment(answer.word("send_pay_date")),
            provider_status=answer.word("trade_status"),
            # Closed, and paid before: refunded in full, whoever did it.
            is_undone=answer.word("trade_status") == "TRADE_CLOSED",
        )

    def close(self, ref: PaymentRef) -> None:
        """Close an unpaid trade.  One that never opened, or is closed, is closed enough.

        The manual gives one code for "paid" and "closed already" (ACQ.TRADE_STATUS_ERROR), so a
        query tells them apart.  Raises ProviderRejected when money is, or may yet come, in.
        """
        method = "alipay.trade.close"
        reply = self._gateway.call(method, {"out_trade_no": ref.out_trade_no})
        if reply.verdict in (Verdict.DONE, Verdict.ABSENT, Verdict.CLOSED):
            return
        if reply.verdict is Verdict.QUERY and self.query(ref).outcome is Outcome.CLOSED:
            return
        raise reply.refusal(method)

    def charge_code(self, order: CodeOrder) -> PaymentResult:
        """Take a payment by the shopper's code.  10003, the buyer must type a password, is PENDING.

        Source: alipay.trade.pay, scene bar_code.
        """
        method = "alipay.trade.pay"
        biz = {
            "auth_code": order.code,
            "out_trade_no": order.ref.out_trade_no,
            "product_code": "FACE_TO_FACE_PAYMENT",
            "scene": "bar_code",
            "subject": _text_field(order.description) or order.ref.out_trade_no,
            "terminal_id": order.device_id,
            "time_expire": clock.to_beijing(order.expires_at),
            "total_amount": _yuan(order.amount),
        }
        try:
            reply = self._gateway.call(method, biz, order.notify_url)
        except ProviderUnreachable as silence:
            if silence.provider_code != BUYER_IS_ASKED:
                raise
            number = order.ref.out_trade_no
            return PaymentResult(number, Outcome.PENDING, provider_status=BUYER_IS_ASKED)
        if reply.verdict in (Verdict.QUERY, Verdict.CLOSED, Verdict.ABSENT):
            raise NumberTaken(f"alipay: {reply.meaning}", provider_code=reply.code)
        answer = _done(reply, method)
        if answer.word("out_trade_no") != order.ref.out_trade_no:
            raise ProviderUnreachable("alipay answered about another payment")
        amount = alipay_results.positive(answer.word("total_amount"), "CNY")
        if amount is None:
            raise ProviderUnreachable("alipay named no readable amount for a paid trade")
        return PaymentResult(
            out_trade_no=order.ref.out_trade_no,
            outcome=Outcome.SUCCEEDED,
            amount=amount,
            provider_ref=answer.word("trade_no")[: alipay_results.REF_CHARS_MAX] or None,
            paid_at=alipay_results.moment(answer.word("gmt_payment")),
            provider_status=reply.code,
        )

    def reverse(self, ref: PaymentRef) -> None:
        """Cancel a trade by code: unpaid it closes, paid it is refunded in full.

        Raises ProviderUnreachable while Alipay wants to be called again (``retry_flag``).
        Source: alipay.trade.cancel.
        """
        method = "alipay.trade.cancel"
        reply = self._gateway.call(method, {"out_trade_no": ref.out_trade_no})
        if reply.verdict in (Verdict.ABSENT, Verdict.CLOSED):
            return
        answer = _done(reply, method)
        if answer.word("out_trade_no") != ref.out_trade_no:
            raise ProviderUnreachable("alipay answered about another payment")
        if answer.word("retry_flag") == "Y":
            raise ProviderUnreachable("alipay has not canceled the trade yet: call again")

    def refund(self, order: RefundOrder) -> RefundResult:
        """Send money back.  The same ``out_refund_no`` again is the same refund.

        ``fund_change`` Y means this call moved money; N or nothing means ask, because a repeat of a
        refund that is done also says N.
        """
        method = "alipay.trade.refund"
        biz = {
            "out_request_no": order.out_refund_no,
            "out_trade_no": order.payment.out_trade_no,
            "refund_amount": _yuan(order.amount),
            "refund_reason": _text_field(order.reason),
        }
        reply = self._gateway.call(method, {name: value for name, value in biz.items() if value})
        if reply.verdict in (Verdict.QUERY, Verdict.CLOSED):
            return self._refund_in_doubt(order, reply.refusal(method))
        answer = _done(reply, method)
        if answer.word("out_trade_no") != order.payment.out_trade_no:
            raise ProviderUnreachable("alipay answered about another payment")
        if answer.word("fund_change") != "Y":
            return self._accepted_refund(order)
        # The answer's refund_fee is the sum of all refunds of this trade, so it is not this amount.
        return alipay_results.refund_result(
            order, Outcome.SUCCEEDED, "fund_change=Y", answer.word("gmt_refund_pay")
        )

    def query_refund(self, order: RefundOrder) -> RefundResult:
        """Ask what became of a refund.  Only REFUND_SUCCESS is one; its absence means "not yet".

        PENDING with TRADE_NOT_EXIST, or with no word at all, also covers a refund that never arrived:
        send it again with the same number, at the earliest after ten seconds.
        """
        method = "alipay.trade.fastpay.refund.query"
        reply = self._gateway.call(
            method,
            {
                "out_request_no": order.out_refund_no,
                "out_trade_no": order.payment.out_trade_no,
                "query_options": ["gmt_refund_pay"],
            },
        )
        if reply.verdict is Verdict.ABSENT:
            absent = alipay_results.refund_result(order, Outcome.PENDING, reply.code)
            return replace(absent, is_absent=True)
        answer = _done(reply, method)
        status = answer.word("refund_status")
        if status != "REFUND_SUCCESS":
            if status:
                log.warning("alipay: unknown refund_status", extra={"refund_status": status[:64]})
            pending = alipay_results.refund_result(order, Outcome.PENDING, status)
            return replace(pending, is_absent=not status)
        asked = (order.payment.out_trade_no, order.out_refund_no)
        if (answer.word("out_trade_no"), answer.word("out_request_no")) != asked:
            raise ProviderUnreachable("alipay answered about another refund")
        amount = alipay_results.positive(answer.word("refund_amount"), "CNY")
        return alipay_results.refund_result(
            order, Outcome.SUCCEEDED, status, answer.word("gmt_refund_pay"), amount
        )

    def read_callback(self, inbound: Inbound) -> PaymentResult | RefundResult:
        """Read an asynchronous notification.  Pure.

        The scheme has no time to trust (retries for 25 hours repeat the same text), so replays are
        for ``settle`` to make harmless.  Raises SignatureMismatch for anything else than a trade
        notification that Alipay signed for this application and seller.
        Source: Alipay open platform, asynchronous notification.
        """
        fields = alipay_wire.read_notice(inbound.body, self._gateway.alipay_keys())
        app_id = self._account.app_id
        if fields.get("app_id") != app_id:
            raise SignatureMismatch("the notification is for another application")
        if self._account.seller_id and fields.get("seller_id") != self._account.seller_id:
            raise SignatureMismatch("the notification is for another seller")
        if not self._account.app_auth_token and fields.get("auth_app_id", app_id) != app_id:
            # A service provider's application is told of its merchants' trades under its own app_id.
            raise SignatureMismatch("the notification is for a merchant that authorised this application")
        # The parameters of the return page are signed alike and carry no status: they prove nothing.
        number, status = fields.get("out_trade_no", ""), fields.get("trade_status", "")
        if not number or not status or fields.get("notify_type", "trade_status_sync") != "trade_status_sync":
            raise SignatureMismatch("the message is not a trade notification")
        return alipay_results.news(fields)

    def reply(self, accepted: bool) -> Reply:
        """Seven bytes mean "heard"; anything else makes Alipay send again, 8 times within 25 hours."""
        return Reply(200, b"success" if accepted else b"failure", "text/plain; charset=utf-8")

    def fetch_bill(self, day: date) -> bytes:
        """The trade bill of a day, there from about 9:00 of the next.

        Alipay makes no bill for a day without trades and says the same as for one not made yet:
        ProviderRejected with ``isp.bill_not_exist``.
        """
        method = "alipay.data.dataservice.bill.downloadurl.query"
        biz = {"bill_date": day.isoformat(), "bill_type": "trade"}
        answer = _done(self._gateway.call(method, biz), method)
        return self._gateway.download(answer.word("bill_download_url"))

    def read_bill(self, file: bytes, day: date) -> Iterator[BillLine]:
        """The detail table in the zip; a merchant's own download is the same file."""
        return alipay_bill.read_bill(file, self._account.seller_id, day)

    def _precreate(self, biz: Mapping[str, str], notify_url: str) -> str:
        biz = {**biz, "product_code": "FACE_TO_FACE_PAYMENT"}
        return self._opened("alipay.trade.precreate", biz, notify_url, "qr_code")

    def _create(self, biz: Mapping[str, str], notify_url: str) -> str:
        """A trade for one payer, who pays it by its number; ``op_app_id`` is where the pay sheet opens."""
        biz = {**biz, "product_code": "JSAPI_PAY", "op_app_id": self._account.app_id}
        return self._opened("alipay.trade.create", biz, notify_url, "trade_no")

    def _opened(self, method: str, biz: Mapping[str, str], notify_url: str, wanted: str) -> str:
        """The code or number under which a new trade is paid."""
        reply = self._gateway.call(method, biz, notify_url)
        if reply.verdict in (Verdict.QUERY, Verdict.CLOSED):
            raise NumberTaken(f"alipay: {reply.meaning}", provider_code=reply.code)
        answer = _done(reply, method)
        found = answer.word(wanted)
        if answer.word("out_trade_no") != biz["out_trade_no"] or not found:
            raise ProviderUnreachable(f"alipay answered without the {wanted} of this payment")
        return found

    def _refund_in_doubt(self, order: RefundOrder, refusal: ProviderRejected) -> RefundResult:
        """Alipay will not refund a trade in its present state: is that because this refund is done?"""
        try:
            result = self.query_refund(order)
        except ProviderRejected as error:
            raise ProviderUnreachable("alipay tells nothing of this refund") from error
        if result.outcome is not Outcome.SUCCEEDED:
            raise refusal
        return result

    def _accepted_refund(self, order: RefundOrder) -> RefundResult:
        """Alipay took the request: whatever the query says, it must not look like a refusal."""
        try:
            return self.query_refund(order)
        except ProviderError:
            return alipay_results.refund_result(order, Outcome.PENDING, "fund_change=N")


def _done(reply: Verified, method: str) -> alipay_wire.Answer:
    if reply.verdict is not Verdict.DONE:
        raise reply.refusal(method)
    return reply.answer


def _yuan(money: Money) -> str:
    if money.currency != "CNY":
        raise ProviderRejected(f"alipay settles CNY here, not {money.currency}")
    return money.major()


def _text_field(text: str) -> str:
    """Text for a subject or a reason: without what the manual forbids, and short enough."""
    whole = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be sent
    return _UNWANTED.sub(" ", whole).strip()[:SUBJECT_CHARS_MAX]
