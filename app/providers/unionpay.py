"""UnionPay, spoken through its online gateway (全渠道 ACP 5.1.0, signMethod 01).

Requests, answers and notifications are signed sets of fields; each message of UnionPay's brings its
certificate along.  Nothing is believed whose signature or certificate does not hold, not even a refusal:
it becomes ProviderUnreachable, and a query tells.

What is peculiar here:

* A transaction is found by its own number *and* the time it was sent with (``txnTime``), so that time is
  the attempt's or refund's ``started_at``, always.
* A payment that failed can be tried again until its ``payTimeout``, so a failure before the deadline is
  PENDING.  There is no way to close an unpaid payment: the deadline, which ``start`` sends along, does it.
* A refund is a transaction of its own.  "Accepted" says nothing yet: its notification or its query does.

Beside this file: ``unionpay_account`` (the credentials), ``unionpay_codes`` (what response codes mean),
``unionpay_certs`` (whom to believe), ``unionpay_wire`` (what is signed), ``unionpay_gateway`` (the one way
out), ``unionpay_results`` (what a message says), ``unionpay_file`` (the settlement file).
Source: UnionPay ACP 5.1.0: online gateway, app payment, QR code payment, file transfer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import ClassVar

from app import clock
from app.errors import NumberTaken, ProviderError, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers import handles, unionpay_account, unionpay_file, unionpay_results, unionpay_wire
from app.providers.base import (
    Ability,
    AppParams,
    BillLine,
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
    PostForm,
    RefundOrder,
    RefundResult,
    Reply,
    Scene,
    ShowQR,
)
from app.providers.unionpay_codes import ACCOUNT_FAULTS, Verdict
from app.providers.unionpay_gateway import Gateway, Verified
from app.providers.unionpay_wire import STAMP

# Products, by what the manual calls them: the type, subtype and business type of the transaction.
CASHIER = {"txnType": "01", "txnSubType": "01", "bizType": "000201"}
QR_CODE = {"txnType": "01", "txnSubType": "07", "bizType": "000000"}
PAY_CODE = {"txnType": "01", "txnSubType": "06", "bizType": "000000"}
REVERSAL = {"txnType": "99", "txnSubType": "01", "bizType": "000000"}
QUERY = {"txnType": "00", "txnSubType": "00", "bizType": "000000"}
REFUND = {"txnType": "04", "txnSubType": "00"}
VOID = {"txnType": "31", "txnSubType": "00"}
FILE = {"txnType": "76", "txnSubType": "01", "bizType": "000000", "fileType": "00"}
DESKTOP, MOBILE = {"channelType": "07"}, {"channelType": "08"}

PAYMENT_TYPES = frozenset({"01"})
REFUND_TYPES = frozenset({"04", "31"})

# txnTime is "the time of sending", and others are refused.  How far off it may be the manual does not say;
# an hour is what the sandbox takes for it.  Until then the same form opens the same payment again.
SENDING_LIFE = timedelta(hours=1)
# Their clock and ours may differ by seconds; a payment that began in time is let finish.
AFTER_DEADLINE = timedelta(minutes=1)
# The settlement day ends at 23:00, Beijing time.
SETTLEMENT_AHEAD = timedelta(hours=1)
DESCRIPTION_BYTES_MAX = 32

# The manual keeps these for nested values; control characters break the cashier.
_UNWANTED = re.compile(r"[&={}\[\]\"'<>\x00-\x1f\x7f]+")


class UnionPay:
    """One merchant at UnionPay."""

    info: ClassVar[Info] = Info(
        code="unionpay",
        label="UnionPay",
        currencies=frozenset({"CNY"}),
        # WeChat's and Alipay's browsers cannot open 云闪付, and their shoppers have a wallet at hand.
        scenes=frozenset({Scene.DESKTOP, Scene.MOBILE, Scene.UNIONPAY, Scene.APP}),
        abilities=frozenset({Ability.REFUND, Ability.PARTIAL_REFUND, Ability.STATEMENT}),
        pay_code="62[0-9]{17}",
        account_faults=ACCOUNT_FAULTS,
        bill_cut=timedelta(hours=23),
    )
    credentials: ClassVar[tuple[Credential, ...]] = unionpay_account.CREDENTIALS

    def __init__(self, settings: Mapping[str, str], http: Outbound) -> None:
        self._account = unionpay_account.read_account(settings)
        self._gateway = Gateway(self._account, http)

    def identify(self, scene: Scene, return_url: str, state: str) -> str | None:
        """Nobody needs to know: UnionPay's own pages ask for the card."""
        return None

    def payer_from(self, query: Mapping[str, str]) -> str:
        """Nobody was sent anywhere to be identified.  Raises ProviderRejected."""
        raise ProviderRejected("unionpay identifies nobody before the payment")

    def start(self, order: PaymentOrder) -> NextStep:
        """Open a payment.  The QR code and the app's number need a call; the rest are signed forms.

        A QR code and an app's number are good until the order's deadline, and handed out once.  Raises
        ProviderRejected for a scene or a currency that UnionPay cannot serve, and NumberTaken for a number
        that it knows already, or may know but takes no more for its old ``txnTime``.
        """
        good_for_s = handles.left_s(SENDING_LIFE, order.ref.started_at, order.asked_at)
        wanted = _order(order)
        # frontFailUrl, too: without it a shopper whose card was refused ends on UnionPay's page.
        back = {"frontUrl": order.return_url, "frontFailUrl": order.return_url}
        match order.scene:
            case Scene.DESKTOP if self._account.desktop_product == "qr":
                return ShowQR(self._opened("backTransReq", "qrCode", QR_CODE | MOBILE | wanted))
            case Scene.DESKTOP:
                return self._form(CASHIER | DESKTOP | wanted | back, good_for_s)
            case Scene.MOBILE | Scene.UNIONPAY:
                return self._form(CASHIER | MOBILE | wanted | back, good_for_s)
            case Scene.APP:
                number = self._opened("appTransReq", "tn", CASHIER | MOBILE | wanted)
                return AppParams({"tn": number, "mode": self._account.app_mode})
            case _:
                raise ProviderRejected(f"unionpay cannot be paid in the scene {order.scene.value}")

    def query(self, ref: PaymentRef) -> PaymentResult:
        """Ask what became of a payment.  One that failed, or never came, is so for good after its deadline.

        Without ``ref.expires_at`` the deadline is taken to lie ahead.
        """
        reply = self._asked(ref.out_trade_no, ref.started_at)
        over = ref.expires_at is not None and ref.expires_at + AFTER_DEADLINE < clock.now()
        if reply.verdict is Verdict.ABSENT:
            outcome = Outcome.CLOSED if over else Outcome.PENDING
            return PaymentResult(ref.out_trade_no, outcome, provider_status=reply.code, is_absent=not over)
        result = unionpay_results.payment_answer(ref, reply.fields, over=over)
        if result.outcome is Outcome.SUCCEEDED and not (result.amount and result.provider_ref):
            raise ProviderUnreachable("unionpay named no readable amount or number for a paid transaction")
        return result

    def close(self, ref: PaymentRef) -> None:
        """Return if the payment can no longer be made; UnionPay takes no order to that end.

        Raises ProviderRejected while it can be paid, which its ``payTimeout`` ends, and when it is paid.
        """
        result = self.query(ref)
        if result.outcome in (Outcome.CLOSED, Outcome.FAILED):
            return
        fact = "paid" if result.outcome is Outcome.SUCCEEDED else "open until its deadline"
        raise ProviderRejected(f"unionpay: the payment is {fact}", provider_code=result.provider_status)

    def charge_code(self, order: CodeOrder) -> PaymentResult:
        """Take a payment by the shopper's code.  Accepted says nothing yet, so it is asked about at once.

        Source: UnionPay ACP 5.1.0, QR code payment, 二维码消费（被扫）.
        """
        what = "a payment by code"
        fields = {
            "orderId": order.ref.out_trade_no,
            "txnTime": _stamp(order.ref.started_at),
            "txnAmt": _fen(order.amount),
            "currencyCode": "156",
            "backUrl": order.notify_url,
            "qrNo": order.code,
            "termId": order.device_id,
        }
        reply = self._gateway.call(what, "backTransReq", **PAY_CODE, **MOBILE, **fields)
        pending = PaymentResult(order.ref.out_trade_no, Outcome.PENDING, provider_status=reply.code)
        if reply.code in unionpay_results.BEING_ENTERED:
            return pending
        _done(reply, what)
        try:
            return self.query(order.ref)
        except ProviderError:  # it was accepted: whatever else fails must not look like a refusal
            return pending

    def reverse(self, ref: PaymentRef) -> None:
        """Reverse a payment by code, by its own number and time.

        Source: UnionPay ACP 5.1.0, QR code payment, 冲正.
        """
        what = "a reversal"
        number = {"orderId": ref.out_trade_no, "txnTime": _stamp(ref.started_at)}
        reply = self._gateway.call(what, "backTransReq", **REVERSAL, **MOBILE, **number)
        if reply.verdict in (Verdict.DONE, Verdict.ABSENT) or reply.code in unionpay_results.UNDONE:
            return
        raise reply.silence(what) if reply.verdict is Verdict.DUPLICATE else reply.refusal(what)

    def refund(self, order: RefundOrder) -> RefundResult:
        """Send money back, unless UnionPay knows of this refund already.

        Asked before it is sent: a repeat, perhaps days later, may be refused for its old time alone, and
        that must not look like a refusal of the refund.  Accepted is PENDING.
        """
        amount = _fen(order.amount)
        known = self._found(order)
        if known is not None:
            return known
        payment = self._paid(order.payment)
        fields = {
            # As the payment's; its subtype tells, whatever the query's answer gives as business type.
            "bizType": (QR_CODE if payment.word("txnSubType") in ("06", "07") else CASHIER)["bizType"],
            "orderId": order.out_refund_no,
            "txnTime": _stamp(order.started_at),
            "txnAmt": amount,
            "origQryId": payment.word("queryId"),
            "backUrl": order.notify_url,
            # Comes back in the notification, which names the payment only by origQryId otherwise.
            "reqReserved": order.payment.out_trade_no,
        }
        if self._voids(order, payment):
            reply = self._gateway.call("a void", "backTransReq", **VOID, **MOBILE, **fields)
            if reply.verdict is not Verdict.REJECTED:  # a refused void goes as a refund of the same number
                return self._accepted(order, reply)
        reply = self._gateway.call("a refund", "backTransReq", **REFUND, **MOBILE, **fields)
        return self._accepted(order, reply)

    def query_refund(self, order: RefundOrder) -> RefundResult:
        """Ask what became of a refund, by its own number and time.

        PENDING with status 34 also covers a refund that never arrived: send it again as it was.
        """
        known = self._found(order)
        if known is not None:
            return known
        return replace(unionpay_results.refund_result(order, Outcome.PENDING, "34"), is_absent=True)

    def read_callback(self, inbound: Inbound) -> PaymentResult | RefundResult:
        """Read a notification (a form).  Pure.

        The scheme has no time to trust, so replays are for ``settle`` to make harmless.  A refund's
        ``out_trade_no`` is what ``refund`` sent along; empty for one that was not made here.
        Raises SignatureMismatch for anything else than a notification of a payment, refund or void that
        UnionPay signed for this merchant.  Source: UnionPay ACP 5.1.0, backUrl.
        """
        if inbound.query:  # ours has none; frameworks merge such fields into the form, attackers know
            raise SignatureMismatch("the notification came with a query")
        fields = unionpay_wire.read_notice(inbound.body, self._account.trust, inbound.received_at)
        if fields.get("merId") != self._account.mer_id:
            raise SignatureMismatch("the notification is for another merchant")
        if not fields.get("orderId") or not fields.get("respCode"):
            raise SignatureMismatch("the message is not a notification")
        # Answers are signed alike.  A query's says 00 for "asked", not for "paid".
        if "origRespCode" in fields:
            raise SignatureMismatch("the message is the answer to a query")
        if fields.get("txnType") in PAYMENT_TYPES:
            return unionpay_results.payment_news(fields)
        if fields.get("txnType") in REFUND_TYPES:
            return unionpay_results.refund_news(fields)
        raise SignatureMismatch("the notification is about another kind of transaction")

    def reply(self, accepted: bool) -> Reply:
        """HTTP 200 means "heard", whatever the body; anything else makes UnionPay send again, 5 times."""
        return Reply(200 if accepted else 400, b"ok" if accepted else b"fail", "text/plain; charset=utf-8")

    def fetch_bill(self, day: date) -> bytes:
        """The settlement file of a day that ended at 23:00, there from the next morning.

        UnionPay makes no file for a day without transactions and says the same as for one not made
        yet: ProviderRejected with ``98``.
        """
        what = "a settlement file"
        reply = self._gateway.fetch(what, **FILE, settleDate=f"{day:%m%d}", txnTime=_stamp(clock.now()))
        return unionpay_file.unwrapped(_done(reply, what).word("fileContent"), reply.word("fileName"), day)

    def read_bill(self, file: bytes, day: date) -> Iterator[BillLine]:
        """The tables in the zip; a merchant's own download is the same file."""
        return unionpay_file.read_file(file, self._account.mer_id, day)

    def _form(self, fields: Mapping[str, str], good_for_s: int) -> PostForm:
        return PostForm(self._gateway.address("frontTransReq"), self._gateway.signed(**fields), good_for_s)

    def _opened(self, endpoint: str, wanted: str, fields: Mapping[str, str]) -> str:
        """The code or number that a new payment is given, once."""
        what = "a payment"
        reply = self._gateway.call(what, endpoint, **fields)
        if reply.verdict is Verdict.DUPLICATE:
            raise NumberTaken(f"unionpay on {what}: {reply.meaning}", provider_code=reply.code)
        found = _done(reply, what).word(wanted)
        if not found:
            raise ProviderUnreachable(f"unionpay opened a payment without its {wanted}")
        return found

    def _asked(self, number: str, started_at: datetime) -> Verified:
        """A query's answer, DONE or ABSENT.  Whatever else it is says nothing of the transaction."""
        what = "a query"
        reply = self._gateway.call(what, "queryTrans", **QUERY, orderId=number, txnTime=_stamp(started_at))
        if reply.verdict not in (Verdict.DONE, Verdict.ABSENT):
            raise reply.silence(what)
        return reply

    def _found(self, order: RefundOrder) -> RefundResult | None:
        """A refund as UnionPay knows it; None if it does not."""
        reply = self._asked(order.out_refund_no, order.started_at)
        if reply.verdict is Verdict.ABSENT:
            return None
        return unionpay_results.refund_answer(order, reply.fields)

    def _paid(self, ref: PaymentRef) -> Verified:
        """The payment that a refund is of.  Raises ProviderRejected if it was not paid."""
        reply = self._asked(ref.out_trade_no, ref.started_at)
        if reply.verdict is Verdict.ABSENT:
            raise reply.refusal("a refund")
        status = reply.word("origRespCode")
        outcome = unionpay_results.payment_outcome(status, over=True)
        if outcome is Outcome.FAILED:
            raise ProviderRejected("unionpay: the payment to refund was not made", provider_code=status)
        if outcome is not Outcome.SUCCEEDED or not reply.word("queryId"):
            raise ProviderUnreachable("unionpay does not say that the payment was made", provider_code=status)
        return reply

    def _voids(self, order: RefundOrder, payment: Verified) -> bool:
        """Whether to try a void: in full, and on the payment's own settlement day."""
        if not self._account.voids or order.amount != order.paid:
            return False
        return payment.word("settleDate") == clock.to_beijing(clock.now() + SETTLEMENT_AHEAD, "%m%d")

    def _accepted(self, order: RefundOrder, reply: Verified) -> RefundResult:
        """The answer to a refund that was sent.  If it was not taken: is that because it is there already?"""
        if reply.verdict is Verdict.DONE:
            return unionpay_results.refund_result(order, Outcome.PENDING, reply.code, reply.fields)
        known = self._found(order)
        if known is not None:
            return known
        raise reply.silence("a refund") if reply.verdict is Verdict.DUPLICATE else reply.refusal("a refund")


def _order(order: PaymentOrder) -> dict[str, str]:
    """The fields that every product wants.  Raises ProviderRejected for another currency."""
    return {
        "orderId": order.ref.out_trade_no,
        "txnTime": _stamp(order.ref.started_at),
        "txnAmt": _fen(order.amount),
        "currencyCode": "156",
        "backUrl": order.notify_url,
        "payTimeout": _stamp(order.expires_at),
        "orderDesc": _description(order.description),
    }


def _done(reply: Verified, what: str) -> Verified:
    if reply.verdict is Verdict.DUPLICATE:
        raise reply.silence(what)
    if reply.verdict is not Verdict.DONE:
        raise reply.refusal(what)
    return reply


def _fen(money: Money) -> str:
    if money.currency != "CNY":
        raise ProviderRejected(f"unionpay settles CNY here, not {money.currency}")
    return str(money.minor)


def _stamp(moment: datetime) -> str:
    return clock.to_beijing(moment, STAMP)


def _description(text: str) -> str:
    """Text for the cashier: without what the manual forbids, and short enough."""
    whole = _UNWANTED.sub(" ", text).strip().encode("utf-8", "replace")
    return whole[:DESCRIPTION_BYTES_MAX].decode("utf-8", "ignore").strip()
