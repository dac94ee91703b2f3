"""WeChat Pay, spoken through its API v3.

Requests carry a signature in a header; answers and notifications are signed over their exact bytes, and
what a notification says is sealed as well.  Nothing unsigned is believed, least of all a success: it
becomes ProviderUnreachable, and a query tells.

An order exists from the moment it is made, so "no such order" means that ours never arrived, or not
yet.  Only a payment that succeeded notifies.  REFUND as the state of a payment says that it was paid and
that some of it went, or is going, back; how much is the refunds' own news.

Beside this file: ``wechatpay_account`` (the credentials), ``wechatpay_codes`` (what error codes mean),
``wechatpay_wire`` (what is signed and sealed), ``wechatpay_keys`` (whose signature counts),
``wechatpay_gateway`` (the one way out), ``wechatpay_results`` (what became of payments and refunds),
``wechatpay_openid`` (who the payer is), ``wechatpay_parties`` (who sells), ``wechatpay_bill`` (the bills).
Source: WeChat Pay merchant documentation, API v3: native, JSAPI, H5 and APP payments, refunds, bills.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from app import clock
from app.errors import NumberTaken, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.money import Money
from app.providers import (
    handles,
    wechatpay_account,
    wechatpay_bill,
    wechatpay_openid,
    wechatpay_results,
    wechatpay_wire,
)
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
    StatementLine,
)
from app.providers.wechatpay_bill import FundLine
from app.providers.wechatpay_codes import ACCOUNT_FAULTS, Verdict
from app.providers.wechatpay_gateway import Doubtful, Gateway, Heard
from app.providers.wechatpay_wire import Node

PRODUCTS = {Scene.DESKTOP: "native", Scene.WECHAT: "jsapi", Scene.MOBILE: "h5", Scene.APP: "app"}

DESCRIPTION_BYTES_MAX = 127
REASON_BYTES_MAX = 80
# A deadline less than a minute ahead is refused; a native order takes seven days, which is plenty for all.
# Both count from the attempt's beginning, because a repeated order must not differ from the first.
LIFE_MIN = timedelta(seconds=90)
LIFE_MAX = timedelta(days=7) - timedelta(minutes=1)
# Source: API v3, native (code_url) and JSAPI/APP (prepay_id): two hours; H5 (h5_url): five minutes.
HANDLE_LIFE = timedelta(hours=2)
H5_LIFE = timedelta(minutes=5)

# The number is known over there, and the order under it is not handed out again.
TAKEN = frozenset({Verdict.QUERY, Verdict.CLOSED})

_REF = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_UNWANTED = re.compile(r"[\x00-\x1f\x7f]+")


class WechatPay:
    """One merchant number at WeChat Pay, its own or a sub-merchant's, with what is bound to it."""

    info: ClassVar[Info] = Info(
        code="wechatpay",
        label="WeChat Pay",
        currencies=frozenset({"CNY"}),
        # WeChat Pay's pages open in WeChat and in a phone's own browser, not inside other wallets.
        scenes=frozenset(PRODUCTS),
        abilities=frozenset({Ability.REFUND, Ability.PARTIAL_REFUND, Ability.STATEMENT}),
        pay_code="1[0-5][0-9]{16}",
        account_faults=ACCOUNT_FAULTS,
    )
    credentials: ClassVar[tuple[Credential, ...]] = wechatpay_account.CREDENTIALS

    def __init__(self, settings: Mapping[str, str], http: Outbound) -> None:
        self._account = wechatpay_account.read_account(settings)
        self._parties = self._account.parties
        self._gateway = Gateway(self._account, http)

    def identify(self, scene: Scene, return_url: str, state: str) -> str | None:
        """Inside WeChat the payer's openid is needed; the round trip asks the payer nothing.

        Raises ProviderRejected where there is no app secret to finish it with.
        """
        if scene is not Scene.WECHAT:
            return None
        if not self._account.app_secret:
            raise ProviderRejected("wechatpay needs the app secret to identify a payer")
        return wechatpay_openid.authorize_url(self._account, return_url, state)

    def payer_from(self, query: Mapping[str, str]) -> str:
        """Exchange the ``code`` that WeChat sent the browser back with for the payer's openid.

        A code is good for five minutes and once.  Raises ProviderRejected or ProviderUnreachable.
        """
        return self._gateway.openid(query)

    def start(self, order: PaymentOrder) -> NextStep:
        """Make an order; the scene decides in which of four products.

        The same attempt again gets the same handle.  Raises ProviderRejected for a scene or a currency
        that WeChat Pay cannot serve, and where the scene's payer (openid, IP address) is not known;
        NumberTaken if the order is paid, closed, or open with other parameters, or its handle has run out.
        """
        product = PRODUCTS.get(order.scene)
        if product is None:
            raise ProviderRejected(f"wechatpay cannot be paid in the scene {order.scene.value}")
        body = self._order(order) | self._payer(order)
        life = H5_LIFE if order.scene is Scene.MOBILE else HANDLE_LIFE
        good_for_s = handles.left_s(life, order.ref.started_at, order.asked_at)
        try:
            heard = self._gateway.call("POST", f"{self._parties.base}/{product}", body)
            if not heard.is_signed:
                raise Doubtful(heard)
        except Doubtful as doubt:
            self._decide(order.ref, product, doubt)
            raise
        if heard.verdict in TAKEN:
            raise NumberTaken(f"wechatpay: {heard.meaning}", provider_code=heard.code)
        return replace(self._step(order, _done(heard, product)), good_for_s=good_for_s)

    def query(self, ref: PaymentRef) -> PaymentResult:
        """Ask what became of a payment: by WeChat Pay's number where known, else, or failing that, by ours.

        An order that is not there is PENDING: it may still arrive.
        """
        heard = None
        if ref.provider_ref and _REF.fullmatch(ref.provider_ref):
            heard = self._ask(f"id/{ref.provider_ref}")
        if heard is None or heard.verdict is Verdict.ABSENT:
            heard = self._ask(f"out-trade-no/{_number(ref.out_trade_no)}")
        if heard.verdict is Verdict.ABSENT:
            return PaymentResult(
                ref.out_trade_no, Outcome.PENDING, provider_status=heard.code, is_absent=heard.is_signed
            )
        return self._payment(ref, _done(heard, "query"))

    def close(self, ref: PaymentRef) -> None:
        """Close an unpaid order.  One that never arrived, or is closed, is closed enough.

        Which code says "paid" has changed over the years, so a query decides what a no means.
        Raises ProviderRejected when money is, or may yet come, in.
        """
        path = f"{self._parties.base}/out-trade-no/{_number(ref.out_trade_no)}/close"
        heard = self._gateway.call("POST", path, self._parties.owner_fields())
        if heard.verdict in (Verdict.DONE, Verdict.ABSENT, Verdict.CLOSED):
            return
        if self.query(ref).outcome not in (Outcome.CLOSED, Outcome.FAILED):
            raise heard.refusal("close")

    def charge_code(self, order: CodeOrder) -> PaymentResult:
        """Take a payment by the shopper's code.  Nothing notifies of it: only this answer and queries tell.

        USERPAYING, with HTTP status 202, is PENDING.  Source: WeChat Pay API v3, 付款码支付.
        """
        body = {
            **self._parties.order_fields(),
            "description": _fit(order.description, DESCRIPTION_BYTES_MAX) or order.ref.out_trade_no,
            "out_trade_no": order.ref.out_trade_no,
            "amount": {"total": _fen(order.amount), "currency": "CNY"},
            "payer": {"auth_code": order.code},
            "scene_info": {
                "device_id": order.device_id,
                "device_ip": order.device_ip,
                "store_info": {"out_id": order.device_id},
            },
        }
        try:
            heard = self._gateway.call("POST", f"{self._parties.base}/codepay", body)
            if not heard.is_signed:
                raise Doubtful(heard)
        except Doubtful as doubt:
            self._decide(order.ref, "codepay", doubt)
            raise
        if heard.verdict in TAKEN:  # our number was heard before: a query tells what became of it
            raise NumberTaken(f"wechatpay: {heard.meaning}", provider_code=heard.code)
        return self._payment(order.ref, _done(heard, "codepay"))

    def reverse(self, ref: PaymentRef) -> None:
        """Reverse a payment by code.  One that never arrived, or is reversed, is reversed enough.

        Source: WeChat Pay API v3, 撤销订单.
        """
        path = f"{self._parties.base}/out-trade-no/{_number(ref.out_trade_no)}/reverse"
        heard = self._gateway.call("POST", path, self._parties.order_fields())
        if heard.verdict in (Verdict.DONE, Verdict.ABSENT, Verdict.CLOSED):
            return
        if not self.query(ref).is_undone:
            raise heard.refusal("reverse")

    def refund(self, order: RefundOrder) -> RefundResult:
        """Send money back.  The same ``out_refund_no`` again is the same refund, as it stands now."""
        body = {
            **self._parties.refund_fields(),
            "out_trade_no": order.payment.out_trade_no,
            "out_refund_no": order.out_refund_no,
            "reason": _fit(order.reason, REASON_BYTES_MAX),
            "notify_url": order.notify_url,
            "amount": {"refund": _fen(order.amount), "total": _fen(order.paid), "currency": "CNY"},
        }
        body = {name: value for name, value in body.items() if value}
        heard = self._gateway.call("POST", "/v3/refund/domestic/refunds", body, refunding=True)
        return self._refund_answer(order, _done(heard, "refund"))

    def query_refund(self, order: RefundOrder) -> RefundResult:
        """Ask what became of a refund.

        PENDING with RESOURCE_NOT_EXISTS is a refund that never arrived: send it again with the same
        number.
        """
        number = _number(order.out_refund_no)
        whose = f"?{urlencode(self._parties.refund_fields())}" if self._parties.is_partner else ""
        heard = self._gateway.call("GET", f"/v3/refund/domestic/refunds/{number}{whose}", refunding=True)
        if heard.verdict is Verdict.ABSENT:
            return RefundResult(
                order.payment.out_trade_no,
                order.out_refund_no,
                Outcome.PENDING,
                provider_status=heard.code,
                is_absent=True,
            )
        return self._refund_answer(order, _done(heard, "refund query"))

    def read_callback(self, inbound: Inbound) -> PaymentResult | RefundResult:
        """Read a notification of a payment or a refund.  Pure: keys are looked up, never fetched.

        A key that is not held yet is learnt on our next call; until then a message is refused, and
        WeChat Pay sends it again, 15 times within a day.  Raises SignatureMismatch for anything else
        than news that WeChat Pay signed within five minutes and sealed for this merchant.
        Source: WeChat Pay API v3, payment notification, refund notification.
        """
        event, node = wechatpay_wire.read_notice(inbound, self._gateway.keys.key, self._account.api_key)
        if not self._parties.owns(node):
            raise SignatureMismatch("the notification is for another merchant")
        try:
            if event.startswith("REFUND."):
                return wechatpay_results.refund_news(node)
            if event.startswith("TRANSACTION.") and self._parties.sells(node):
                return wechatpay_results.payment(node)
        except ValueError as error:
            raise SignatureMismatch(f"the notification: {error}") from error
        raise SignatureMismatch("the notification is of no kind, or for no app, that we know")

    def reply(self, accepted: bool) -> Reply:
        """An empty 204 means "heard"; any 4xx or 5xx makes WeChat Pay send again, 15 times in a day."""
        if accepted:
            return Reply(204, b"", "application/json")
        return Reply(401, '{"code":"FAIL","message":"失败"}'.encode(), "application/json")

    def fetch_bill(self, day: date) -> bytes:
        """The trade bill of a day, there from about 10:00 of the next.

        A day without trades has none: ProviderRejected with NO_STATEMENT_EXIST.
        """
        query = f"tradebill?bill_date={day.isoformat()}&bill_type=ALL"
        if self._parties.is_partner:  # or it has those of all the others, too
            query += f"&sub_mchid={self._parties.sub_mchid}"
        return self._bill(query)

    def read_bill(self, file: bytes, day: date) -> Iterator[BillLine]:
        """The trade bill, packed or not; nothing in it says of which day it is but its first line."""
        is_first = True
        for line in wechatpay_bill.read_trades(file, (self._parties.mchid, self._parties.sub_mchid)):
            if is_first and isinstance(line, StatementLine):
                if abs(clock.day_of(line.happened_at) - day) >= timedelta(days=1):
                    raise ProviderUnreachable("wechatpay's bill is of another day")
                is_first = False
            yield line

    def fund_flow(self, day: date, account_type: str = "BASIC") -> Iterator[FundLine]:
        """The movements of a day on the merchant's BASIC, OPERATION or FEES account."""
        query = f"fundflowbill?bill_date={day.isoformat()}&account_type={_number(account_type)}"
        return wechatpay_bill.read_funds(self._bill(query))

    def _order(self, order: PaymentOrder) -> dict[str, Any]:
        earliest, latest = order.ref.started_at + LIFE_MIN, order.ref.started_at + LIFE_MAX
        expires_at = min(max(order.expires_at, earliest), latest)
        return {
            **self._parties.order_fields(in_app=order.scene is Scene.APP),
            "description": _fit(order.description, DESCRIPTION_BYTES_MAX) or order.ref.out_trade_no,
            "out_trade_no": order.ref.out_trade_no,
            "time_expire": clock.to_beijing(expires_at, "%Y-%m-%dT%H:%M:%S+08:00"),
            "notify_url": order.notify_url,
            "amount": {"total": _fen(order.amount), "currency": "CNY"},
        }

    def _decide(self, ref: PaymentRef, product: str, doubt: Doubtful) -> None:
        """Look into a refusal of an order that proves nothing, as WeChat Pay signs few of them.

        A query's answer is signed.  No such order: then the refusal was one, ProviderRejected.  An order,
        where the refusal speaks of one: NumberTaken.  Returns where it stays in doubt.
        """
        code, meaning = doubt.provider_code, doubt.heard.meaning
        try:
            known = self._ask(f"out-trade-no/{_number(ref.out_trade_no)}")
        except ProviderUnreachable:
            return
        if known.is_signed and known.code == "ORDER_NOT_EXIST":
            raise ProviderRejected(f"wechatpay refused {product}: {meaning}", provider_code=code) from doubt
        if known.node.word("out_trade_no") == ref.out_trade_no and doubt.heard.verdict in TAKEN:
            raise NumberTaken(f"wechatpay: {meaning}", provider_code=code) from doubt

    def _step(self, order: PaymentOrder, node: Node) -> NextStep:
        """What the payer does with the handle.  Raises ProviderUnreachable if there is none."""
        match order.scene:
            case Scene.DESKTOP:
                return ShowQR(_handle(node, "code_url"))
            case Scene.MOBILE:
                return Redirect(_h5_address(_handle(node, "h5_url"), order.return_url))
            case Scene.WECHAT:
                return CallBridge("WeixinJSBridge", self._bridge_params(_handle(node, "prepay_id")))
            case _:
                return AppParams(self._app_params(_handle(node, "prepay_id")))

    def _bridge_params(self, prepay_id: str) -> dict[str, str]:
        """What getBrandWCPayRequest takes; the time is text there."""
        timestamp, nonce = str(int(clock.now().timestamp())), secrets.token_hex(16).upper()
        appid, package = self._parties.public_appid, f"prepay_id={prepay_id}"
        return {
            "appId": appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self._account.signer.client_signature(appid, timestamp, nonce, package),
        }

    def _app_params(self, prepay_id: str) -> dict[str, str]:
        timestamp, nonce = str(int(clock.now().timestamp())), secrets.token_hex(16).upper()
        appid = self._parties.app_appid
        return {
            "appid": appid,
            "partnerid": self._parties.partnerid,
            "prepayid": prepay_id,
            "package": "Sign=WXPay",
            "noncestr": nonce,
            "timestamp": timestamp,
            "sign": self._account.signer.client_signature(appid, timestamp, nonce, prepay_id),
        }

    def _payment(self, ref: PaymentRef, node: Node) -> PaymentResult:
        """The payment that was asked about.  Raises ProviderUnreachable for another one, or an unreadable."""
        if node.word("out_trade_no") != ref.out_trade_no or not self._parties.sells(node):
            raise ProviderUnreachable("wechatpay answered about another payment")
        try:
            return wechatpay_results.payment(node)
        except ValueError as error:
            raise ProviderUnreachable(f"wechatpay's answer: {error}") from error

    def _ask(self, which: str) -> Heard:
        return self._gateway.call("GET", f"{self._parties.base}/{which}?{self._parties.owner_query()}")

    def _payer(self, order: PaymentOrder) -> dict[str, Any]:
        """What a product wants to know of the payer.  Raises ProviderRejected if we do not."""
        if order.scene is Scene.WECHAT:
            if not order.payer_id:
                raise ProviderRejected("wechatpay needs the payer's openid inside wechat")
            return {"payer": {self._parties.openid_name: order.payer_id}}
        if order.scene is Scene.MOBILE:
            if not order.payer_ip:
                raise ProviderRejected("wechatpay needs the payer's IP address on a phone")
            return {"scene_info": {"payer_client_ip": order.payer_ip, "h5_info": {"type": "Wap"}}}
        return {}

    def _refund_answer(self, order: RefundOrder, node: Node) -> RefundResult:
        asked = (order.payment.out_trade_no, order.out_refund_no)
        if (node.word("out_trade_no"), node.word("out_refund_no")) != asked:
            raise ProviderUnreachable("wechatpay answered about another refund")
        try:
            result = wechatpay_results.refund(node, "status")
        except ValueError as error:
            raise ProviderUnreachable(f"wechatpay's answer: {error}") from error
        if result.amount != order.amount:
            raise ProviderUnreachable("wechatpay tells of another amount under this refund's number")
        return result

    def _bill(self, query: str) -> bytes:
        node = _done(self._gateway.call("GET", f"/v3/bill/{query}&tar_type=GZIP"), "bill")
        if node.word("hash_type") != "SHA1":
            raise ProviderUnreachable("wechatpay's bill is announced without a hash that we know")
        file = self._gateway.download(node.word("download_url"))
        wechatpay_bill.check_hash(file, node.word("hash_value"))
        return file


def _done(heard: Heard, call: str) -> Node:
    if heard.verdict is not Verdict.DONE:
        raise heard.refusal(call)
    return heard.node


def _handle(node: Node, name: str) -> str:
    value = node.word(name)
    if not value:
        raise ProviderUnreachable(f"wechatpay answered without a {name}")
    return value


def _h5_address(h5_url: str, return_url: str) -> str:
    """The cashier's address; afterwards it sends the payer back, which proves nothing."""
    if not h5_url.startswith(("https://", "http://")):
        raise ProviderUnreachable("wechatpay's cashier has no usable address")
    joint = "&" if "?" in h5_url else "?"
    return f"{h5_url}{joint}redirect_url={quote(return_url, safe='')}"


def _fen(money: Money) -> int:
    if money.currency != "CNY":
        raise ProviderRejected(f"wechatpay settles CNY here, not {money.currency}")
    return money.minor


def _number(text: str) -> str:
    """A number of ours in a path, encoded as it is signed and sent."""
    return quote(text, safe="")


def _fit(text: str, bytes_max: int) -> str:
    """Text without control characters, cut to so many bytes of UTF-8 between two characters.

    The manual counts to 127 and 80 without saying what; bytes satisfy either reading.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be sent
    fit = _UNWANTED.sub(" ", whole).strip().encode("utf-8")[:bytes_max]
    return fit.decode("utf-8", "ignore").strip()
