"""The grammar of a payment provider: the verbs, the values they take and what comes back.

An adapter is one file that translates between these values and one network's wire.  It keeps no
state, writes no row and never decides what a payment means for a charge: ``charges/settle.py`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Protocol

from app import clock
from app.money import Money


class Scene(StrEnum):
    """Where the shopper is: it decides which product of a network is used."""

    DESKTOP = "desktop"
    MOBILE = "mobile"  # a phone's own browser
    ALIPAY = "alipay"  # inside the Alipay app
    WECHAT = "wechat"  # inside WeChat
    UNIONPAY = "unionpay"  # inside 云闪付 or a bank's app
    APP = "app"  # inside the merchant's own app


# The scene of an attempt that ``charge_code`` made: the shopper shows a code, and opens nothing of ours.
COUNTER = "counter"


class Outcome(StrEnum):
    """What became of a payment or refund.  A word we do not know means PENDING, and is logged."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"


class Ability(StrEnum):
    """What an adapter can do beyond start, query, close and callbacks."""

    REFUND = "refund"
    PARTIAL_REFUND = "partial_refund"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class Info:
    """What everybody may know about a provider, as data: read by checkout, dashboard and tests."""

    code: str  # "alipay": in the API, in addresses, in file names
    label: str  # English name; templates translate it
    currencies: frozenset[str]
    scenes: frozenset[Scene]
    abilities: frozenset[Ability]
    # How the payment codes of its wallet look, as a regular expression over digits.  No two networks' codes
    # look alike: that is how a cashier's scan finds its network.
    pay_code: str
    # Words of refusal that speak of the merchant's account and of no shopper: credentials that count no more,
    # a merchant that is barred.  What comes before the last dot of a word is left out.
    account_faults: frozenset[str] = frozenset()
    # When a day of its bills ends, counted from that day's midnight in Beijing.
    bill_cut: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Credential:
    """One field of a provider's settings form."""

    name: str
    label: str
    secret: bool = False  # never shown again once stored
    required: bool = True
    multiline: bool = False
    default: str = ""
    hint: str = ""
    identifies: bool = False  # who the merchant is there: with another one old payments are not found
    told_late: bool = False  # of those: left out it was the same merchant, who had only not been named
    chooses: bool = False  # that it is there, and not what it says, makes the merchant another one


@dataclass(frozen=True, slots=True)
class PaymentRef:
    """How a provider finds an attempt again."""

    out_trade_no: str  # ours: 8..32 letters and digits, never reused, unique across providers
    started_at: datetime  # UnionPay finds an order by (merId, orderId, txnTime)
    provider_ref: str | None = None
    expires_at: datetime | None = None  # the order's: until then UnionPay takes another try of a failed one


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What ``start`` needs.  ``expires_at`` is passed on, so that the network refuses late money."""

    ref: PaymentRef
    amount: Money
    description: str
    scene: Scene
    notify_url: str
    return_url: str
    expires_at: datetime
    payer_id: str | None = None  # WeChat's openid, Alipay's buyer id, where a scene needs one
    payer_ip: str | None = None
    # By the clock that gave ``ref.started_at``, which need not be this machine's.
    asked_at: datetime = field(default_factory=lambda: clock.now())  # noqa: PLW0108 - looked up at each call


@dataclass(frozen=True, slots=True)
class CodeOrder:
    """What ``charge_code`` needs.  Whoever has ``code`` has the money, for a minute: it is shown nowhere."""

    ref: PaymentRef
    amount: Money
    description: str
    code: str = field(repr=False)
    device_id: str  # the till: 8 letters and digits
    device_ip: str
    notify_url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentResult:
    """What a provider said, verified.  ``amount`` may be missing unless the outcome is SUCCEEDED.

    ``is_undone``: whatever it had taken has gone back to the payer without any refund of ours.
    """

    out_trade_no: str
    outcome: Outcome
    amount: Money | None = None
    provider_ref: str | None = None
    paid_at: datetime | None = None
    provider_status: str = ""  # the network's own word, for people
    is_undone: bool = False
    is_absent: bool = False  # PENDING, and the provider knows of no such payment (yet)


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money going back.  Send the same ``out_refund_no`` again and it is still one refund."""

    payment: PaymentRef
    out_refund_no: str
    amount: Money
    paid: Money  # what the payment took in all
    reason: str
    started_at: datetime
    notify_url: str


@dataclass(frozen=True, slots=True)
class RefundResult:
    """What a provider said of a refund, verified."""

    out_trade_no: str
    out_refund_no: str
    outcome: Outcome
    amount: Money | None = None
    provider_ref: str | None = None
    refunded_at: datetime | None = None
    provider_status: str = ""
    needs_person: bool = False  # PENDING, and only the merchant can move it on, over there
    is_absent: bool = False  # PENDING, and the provider knows of no such refund (yet): send it again


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser to the provider's cashier."""

    url: str
    good_for_s: int | None = None


@dataclass(frozen=True, slots=True)
class PostForm:
    """Send the browser there with a form that submits itself."""

    url: str
    fields: Mapping[str, str]
    good_for_s: int | None = None


@dataclass(frozen=True, slots=True)
class ShowQR:
    """Show the wallet's own code; the shopper scans it with that wallet."""

    content: str
    good_for_s: int | None = None


@dataclass(frozen=True, slots=True)
class CallBridge:
    """Call the wallet's JavaScript bridge on our page: ``bridge`` names it, ``params`` go in."""

    bridge: str
    params: Mapping[str, str]
    good_for_s: int | None = None


@dataclass(frozen=True, slots=True)
class AppParams:
    """What the merchant's app hands to the wallet's mobile SDK."""

    params: Mapping[str, str]
    good_for_s: int | None = None


# ``good_for_s`` counts from when ``start`` returns; None: as long as the order itself.
NextStep = Redirect | PostForm | ShowQR | CallBridge | AppParams


@dataclass(frozen=True, slots=True)
class Inbound:
    """A callback as it came in: header names in lower case, the body's exact bytes."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    query: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider's manual wants to hear."""

    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line of a provider's bill.  Money that left the merchant is negative.

    ``number`` counts the lines of its file.  ``is_open``: a refund that had left the merchant and not
    arrived when the bill was made.  ``is_foreign``: the line names another merchant.
    """

    kind: str  # "payment" | "refund"
    out_trade_no: str
    provider_ref: str
    amount: Money
    fee: Money
    happened_at: datetime
    out_refund_no: str | None = None
    is_open: bool = False
    is_foreign: bool = False
    number: int = 0
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnreadLine:
    """A line of a bill that makes no sense.  It stops nothing, and a person is shown its ``text``."""

    number: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class WrongTotals:
    """What a bill states of itself, and its lines do not add up to; ``number`` is that of the statement."""

    number: int
    text: str


BillLine = StatementLine | UnreadLine | WrongTotals


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP response, whole.  ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound(Protocol):
    """The one way out.  ``app/http.py`` is the real one; it refuses inside a transaction."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
        answer_max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        """One exchange, whatever the status.  Raises ProviderUnreachable when there is no answer."""
        ...


class Provider(Protocol):
    """One payment network, spoken with one merchant's credentials.  Stateless.

    Methods that call out raise ProviderRejected (a definite no) or ProviderUnreachable (outcome
    unknown: query, never assume failure).
    """

    info: ClassVar[Info]
    credentials: ClassVar[tuple[Credential, ...]]  # the settings form is drawn from this

    def __init__(self, settings: Mapping[str, str], http: Outbound) -> None:
        """Parses the credentials once.  Raises InvalidRequest naming the credential at fault."""
        ...

    def identify(self, scene: Scene, return_url: str, state: str) -> str | None:
        """Where to send the browser to learn who the payer is, or None if nobody needs to know.

        ``state`` (1..128 letters and digits) comes back beside the network's own parameters at
        ``return_url``.  It is the caller's: made for this browser, compared when it comes back, because
        otherwise anybody could finish an identification in another's browser.
        """
        ...

    def payer_from(self, query: Mapping[str, str]) -> str:
        """Who came back from ``identify``'s address: the ``payer_id`` that ``start`` wants.  Calls out.

        ``query`` are the parameters of the return address, their ``state`` checked by the caller.
        Raises ProviderRejected (not to be had with these: identify once more) or ProviderUnreachable.
        """
        ...

    def start(self, order: PaymentOrder) -> NextStep:
        """Open a payment; the same order again opens the same one, with a fresh step.

        Raises ProviderRejected, ProviderUnreachable, or NumberTaken where there is no "again".
        """
        ...

    def query(self, ref: PaymentRef) -> PaymentResult: ...

    def close(self, ref: PaymentRef) -> None:
        """Make the payment impossible.  A second close is harmless; a paid one raises Rejected."""
        ...

    def charge_code(self, order: CodeOrder) -> PaymentResult:
        """Take a payment from whoever shows this code.

        PENDING: the shopper is asked in the wallet.  Query every few seconds, and ``reverse`` what comes to
        nothing.  Raises ProviderRejected (nothing was taken, and nothing will be) or ProviderUnreachable.
        """
        ...

    def reverse(self, ref: PaymentRef) -> None:
        """Give up a payment by code: unpaid it ends, and what was taken goes back; a query tells which.

        A second one is harmless, and so is one of a payment that never arrived.  Not within 15 seconds.
        Raises ProviderRejected or ProviderUnreachable.
        """
        ...

    def refund(self, order: RefundOrder) -> RefundResult: ...

    def query_refund(self, order: RefundOrder) -> RefundResult: ...

    def read_callback(self, inbound: Inbound) -> PaymentResult | RefundResult:
        """Bytes in, verified result out.  Pure.  Raises SignatureMismatch."""
        ...

    def reply(self, accepted: bool) -> Reply:
        """The manual's words for "heard" and for "send it again"."""
        ...

    def fetch_bill(self, day: date) -> bytes:
        """The file of one day (see ``bill_cut``), as it is packed over there.

        Raises ProviderRejected if it is not there yet, or ProviderUnreachable.
        """
        ...

    def read_bill(self, file: bytes, day: date) -> Iterator[BillLine]:
        """The lines of such a file, in its order, unpacked as they are read.  Pure.

        Raises ProviderUnreachable for anything that is not the bill of this merchant and day, also in the
        middle of it, and where its end is missing; a line that makes no sense is handed on as such, and so
        is a total that the lines do not add up to.
        """
        ...
