"""A day of a provider account with mistakes planted in it: our books, and the bill by the sandbox's writers.

What the sandbox writes was written from the providers' manuals, and shares no line with what reads it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.charges.models import Attempt, Charge, Refund
from app.charges.states import AttemptState, ChargeState, RefundState
from app.db import table_of, transaction
from app.errors import ProviderRejected, ProviderUnreachable
from app.ids import new_id
from app.ledger import events
from app.ledger.models import Entry
from app.ledger.rates import fee_of
from app.merchants import accounts
from app.money import Money
from app.providers.base import BillLine, Outcome, PaymentRef, PaymentResult, RefundOrder, RefundResult
from app.reconciliation import days
from app.runtime import runtime
from sandbox.alipay import bills as alipay_bills
from sandbox.alipay.apps import App
from sandbox.trades import Refund as FarRefund
from sandbox.trades import State, Trade
from sandbox.unionpay import files as unionpay_files
from sandbox.unionpay.merchants import Merchant as UnionPayMerchant
from sandbox.wechatpay import bills as wechatpay_bills
from tests.conftest import Shop
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge

SETTINGS: dict[str, Mapping[str, str]] = {
    "alipay": alipay_forge.KEY_MODE,
    "wechatpay": wechatpay_forge.PUBLIC_KEY_MODE,
    "unionpay": unionpay_forge.PAIR,
}
BATCH = 1000
Row = tuple[Trade, FarRefund | None, int, str]  # of a bill; the last says how it is spoilt
# Mistakes that are discrepancies, by type; UnionPay has adjustments besides.
KINDS = (
    *("missing_here", "missing_there", "amount", "currency", "status", "duplicate", "fee", "ledger"),
    *("refund_missing", "refund_unknown", "day_edge", "other_merchant", "malformed"),
)
# What is planted besides, and is to come right by itself or to be named in the proof alone.
HARMLESS = ("settled", "refund_settled", "other_day_here")


@dataclass(slots=True)
class Planted:
    """What is wrong on a day: ``subjects`` by type, and the bills by day."""

    account_id: str
    day: date
    subjects: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    bills: dict[date, bytes] = field(default_factory=dict)
    lines: int = 0


class Fed:
    """The real adapter of a network, with bills in its hands and a script for what it is asked."""

    def __init__(self, real: Any, planted: Planted) -> None:
        self._real, self._planted = real, planted
        self.info, self.credentials = real.info, real.credentials
        self.paid: dict[str, int] = {}  # what a query confirms
        self.pending: set[str] = set()
        self.asked = 0

    def fetch_bill(self, day: date) -> bytes:
        if day not in self._planted.bills:
            raise ProviderRejected("no bill", provider_code="none")
        return self._planted.bills[day]

    def read_bill(self, file: bytes, day: date) -> Iterator[BillLine]:
        lines: Iterator[BillLine] = self._real.read_bill(file, day)
        return lines

    def query(self, ref: PaymentRef) -> PaymentResult:
        self.asked += 1
        number = ref.out_trade_no
        if number in self.paid:
            amount = Money(self.paid[number], "CNY")
            return PaymentResult(number, Outcome.SUCCEEDED, amount, ref_of(number))
        if number in self.pending:
            return PaymentResult(number, Outcome.PENDING)
        raise ProviderRejected("no such order", provider_code="none")

    def query_refund(self, order: RefundOrder) -> RefundResult:
        raise ProviderUnreachable("no answer")


class Maker:
    """Makes a day; ``each`` of every kind of mistake are among its ``count`` payments and refunds."""

    def __init__(self, shop: Shop, provider: str, day: date, *, count: int, each: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._shop, self._provider, self._each = shop, provider, each
        names = ("ours", "another")
        self._accounts = [
            accounts.add_account(shop.id, provider, livemode=False, name=name, settings=SETTINGS[provider])
            for name in names
        ]
        self.planted = Planted(self._accounts[0], day)
        account = accounts.open_account(self._accounts[0])
        self.fed = Fed(account.provider, self.planted)
        adapters: dict[Any, Any] = runtime().adapters
        adapters[account.id, account.version] = self.fed
        self._span = days.span_of(account.provider.info.bill_cut, day)
        self._tables: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self._rows: list[Row] = []
        self._tomorrow: list[Row] = []
        self._make(count)

    def _make(self, count: int) -> None:
        each = self._each
        plan = [kind for kind in (*KINDS, *HARMLESS) for _ in range(each)]
        plan += [""] * max(0, count - len(plan))
        self._random.shuffle(plan)
        for turn, kind in enumerate(plan):
            self._payment(kind, with_refund=not kind and turn % 4 == 0)
            if sum(len(rows) for rows in self._tables.values()) > BATCH:
                self._store()
        self._store()
        self._random.shuffle(self._rows)
        write = {"alipay": _alipay, "wechatpay": _wechatpay, "unionpay": _unionpay}[self._provider]
        day = self.planted.day
        adjusted = each if self._provider == "unionpay" else 0
        for number in range(adjusted):
            self.planted.subjects["adjustment"].add(f"{len(self._rows) + number + 1}")
        # UnionPay's file states no totals, and beside Alipay's malformed lines sums cannot be compared.
        bend = "+0.01" if self._provider == "wechatpay" else None
        if bend is not None:
            self.planted.subjects["totals"].add("totals")
        self.planted.bills[day] = write(day, self._rows, adjusted, bend)
        self.planted.bills[day + timedelta(days=1)] = write(day + timedelta(days=1), self._tomorrow, 0, None)
        self.planted.lines = len(self._rows) + adjusted + (bend is not None)

    def forget(self) -> None:
        """What the bills were made of, so that memory is measured without it."""
        self._rows.clear()
        self._tomorrow.clear()

    def _payment(self, kind: str, *, with_refund: bool) -> None:
        begins, ends = self._span
        at = begins + timedelta(seconds=self._random.randrange(3600, 22 * 3600))
        if kind == "day_edge":
            at = ends - timedelta(seconds=self._random.randrange(1, 60))
        minor = self._random.randrange(100, 100_000)
        attempt_id = new_id("at")
        number = attempt_id.partition("_")[2].upper()
        trade = _trade(self._provider, number, minor, at)
        if kind in KINDS and not kind.startswith("refund"):
            self.planted.subjects[kind].add(f"payment:{number}")
        self._books_of(attempt_id, number, minor, at, kind)
        if kind == "day_edge":
            late = replace(trade, paid_ts=(ends + timedelta(seconds=3)).timestamp())
            self._tomorrow.append((late, None, minor, ""))
        elif kind == "other_day_here":
            early = replace(trade, paid_ts=(ends - timedelta(seconds=2)).timestamp())
            self._rows.append((early, None, minor, ""))
        elif kind == "other_merchant" and self._provider == "wechatpay":
            self._rows.append((replace(trade, app_id="1999999999"), None, minor, ""))
        elif kind != "missing_there":
            self._rows.append((trade, None, minor + (kind == "amount"), kind))
        if kind == "duplicate":
            self._rows.append((trade, None, minor, ""))
        if with_refund or kind.startswith("refund"):
            self._refund(attempt_id, trade, minor, at, kind)

    def _books_of(self, attempt_id: str, number: str, minor: int, at: datetime, kind: str) -> None:
        """What our side has of a payment, and what its provider says when asked."""
        if kind in ("missing_here", "malformed"):
            return
        if kind == "other_merchant":
            if self._provider != "wechatpay":  # there the line itself says whose it is
                self._books(attempt_id, number, minor, at, kind, account=1)
            return
        if kind == "other_day_here":
            at = self._span[1] + timedelta(seconds=5)
        self._books(attempt_id, number, minor, at, kind)
        if kind == "settled":
            self.fed.paid[number] = minor
        elif kind == "status":
            self.fed.pending.add(number)

    def _refund(self, attempt_id: str, trade: Trade, minor: int, at: datetime, kind: str) -> None:
        refund_id, back = new_id("re"), self._random.randrange(1, minor + 1)
        number = refund_id.partition("_")[2].upper()
        at += timedelta(minutes=5)
        if kind != "refund_unknown":
            self._refund_books(attempt_id, refund_id, number, back, at, kind)
        if kind in KINDS:
            self.planted.subjects[kind].add(f"refund:{number}")
        if kind != "refund_missing":
            self._rows.append((trade, _far_refund(self._provider, number, back, at), back, ""))

    def _books(
        self, attempt_id: str, number: str, minor: int, at: datetime, kind: str, *, account: int = 0
    ) -> None:
        is_paid = kind not in ("status", "settled")
        currency = "HKD" if kind == "currency" else "CNY"
        fee = fee_of(minor, 60, 0) + (kind == "fee")
        charge_id, key = new_id("ch"), {"merchant_id": self._shop.id}
        account_id = self._accounts[account]
        self._tables[Charge].append(
            {
                **key,
                "id": charge_id,
                "livemode": False,
                "state": ChargeState.PAID if is_paid else ChargeState.PENDING,
                "amount_minor": minor,
                "currency": currency,
                "description": "一杯拿铁",
                "metadata": {},
                "created_at": at - timedelta(minutes=1),
                "expires_at": at + timedelta(days=30),
                "paid_at": at if is_paid else None,
                "paid_late": False,
                "paid_attempt_id": attempt_id if is_paid else None,
                "provider": self._provider if is_paid else None,
                "paid_minor": minor if is_paid else None,
                "refunded_minor": 0,
                "sequence": 2,
            }
        )
        self._tables[Attempt].append(
            {
                **key,
                "id": attempt_id,
                "charge_id": charge_id,
                "account_id": account_id,
                "provider": self._provider,
                "scene": "desktop",
                "out_trade_no": number,
                "provider_ref": ref_of(number) if is_paid else None,
                "state": AttemptState.SUCCEEDED if is_paid else AttemptState.STARTED,
                "settles": is_paid,
                "amount_minor": minor,
                "currency": currency,
                "received_minor": minor if is_paid else None,
                "received_currency": currency if is_paid else None,
                "credited_minor": minor if is_paid else 0,
                "outside_minor": 0,
                "refunded_minor": 0,
                "fee_minor": fee if is_paid else None,
                "fee_billed_minor": None,
                "started_at": at - timedelta(minutes=1),
                "expires_at": at + timedelta(days=30),
                "finished_at": at if is_paid else None,
            }
        )
        if is_paid:
            entry = minor + (kind == "ledger")
            paid = events.payment(account_id, attempt_id, entry, charge_id, is_taken=True)
            self._post(attempt_id, currency, at, paid, events.fee(account_id, attempt_id, fee, charge_id))

    def _refund_books(
        self, attempt_id: str, refund_id: str, number: str, minor: int, at: datetime, kind: str
    ) -> None:
        is_back = kind != "refund_settled"
        [charge_id] = [row["charge_id"] for row in self._tables[Attempt] if row["id"] == attempt_id]
        for table, row_id in ((Attempt, attempt_id), (Charge, charge_id)):
            [row] = [row for row in self._tables[table] if row["id"] == row_id]
            row["refunded_minor"] = minor
        self._tables[Refund].append(
            {
                "merchant_id": self._shop.id,
                "id": refund_id,
                "charge_id": charge_id,
                "attempt_id": attempt_id,
                "livemode": False,
                "out_refund_no": number,
                "state": RefundState.SUCCEEDED if is_back else RefundState.RESERVED,
                "amount_minor": minor,
                "currency": "CNY",
                "reason": "",
                "metadata": {},
                "automatic": False,
                "created_at": at,
                "finished_at": at if is_back else None,
                "sequence": 1,
            }
        )
        transfers = [events.refund_reserved(refund_id, minor, charge_id, is_unneeded=False)]
        if is_back:
            transfers.append(events.refund_succeeded(self._accounts[0], refund_id, minor, charge_id))
        self._post(attempt_id, "CNY", at, *transfers)

    def _post(self, attempt_id: str, currency: str, at: datetime, *transfers: Any) -> None:
        for each in transfers:
            self._tables[Entry].append(
                {
                    "merchant_id": self._shop.id,
                    "cause_id": each.cause_id,
                    "event": each.event,
                    "livemode": False,
                    "debit": each.debit,
                    "credit": each.credit,
                    "amount_minor": each.amount_minor,
                    "currency": currency,
                    "attempt_id": attempt_id,
                    "charge_id": each.charge_id,
                    "posted_at": at,
                }
            )

    def _store(self) -> None:
        with transaction() as tx:
            for model in (Charge, Attempt, Refund, Entry):
                if rows := self._tables.pop(model, []):
                    tx.execute(sa.insert(table_of(model)), rows)


def ref_of(number: str) -> str:
    """The network's own number of a payment: digits that stand for ours."""
    return f"{int(number, 36) % 10**20:021d}"


def _trade(provider: str, number: str, minor: int, at: datetime) -> Trade:
    details = {"appid": "wx0123456789abcdef", "txnSubType": "01", "bizType": "000201"}
    ids = {
        "alipay": alipay_forge.SELLER_ID,
        "wechatpay": wechatpay_forge.MCHID,
        "unionpay": unionpay_forge.MER_ID,
    }
    ts = at.timestamp()
    return Trade(
        provider, ids[provider], number, ref_of(number), "", State.PAID, "native", minor, minor, 0,
        "一杯拿铁, 大杯", "", "", "", details, "", "", ts - 60, ts - 30, None, None, None, ts, None, None,
    )  # fmt: skip


def _far_refund(provider: str, number: str, minor: int, at: datetime) -> FarRefund:
    details = {"refund_id": f"5030{ref_of(number)}", "queryId": ref_of(number), "txnType": "04"}
    ts = at.timestamp()
    return FarRefund(number, minor, "done", "", ts, None, ts, details)


def _alipay(day: date, rows: Sequence[Row], _adjusted: int, bend: str | None) -> bytes:
    app = App("", "key", "", alipay_forge.SELLER_ID, "", "", "", 0.0, "user_id")
    lines = [
        alipay_bills.Line(trade, back, minor, -fee_of(minor, 60, 0))
        if back is None
        else alipay_bills.Line(trade, back, -minor, fee_of(minor, 60, 0))
        for trade, back, minor, _ in rows
    ]
    text = alipay_bills.detail(app, day, lines, bend).split("\r\n")
    for at, row in enumerate(rows, 5):
        if row[3] == "malformed":
            text[at] = text[at].replace("交易,", "交易", 1)
    return alipay_bills.packed(app, day, "\r\n".join(text))


def _wechatpay(_day: date, rows: Sequence[Row], _adjusted: int, bend: str | None) -> bytes:
    text = wechatpay_bills.trade_table([row[:3] for row in rows], bend=bend).decode().split("\r\n")
    for at, row in enumerate(rows, 1):
        if row[3] == "malformed":
            text[at] = text[at].replace("`CNY", "`XXX")
    return "\r\n".join(text).encode()


def _unionpay(day: date, rows: Sequence[Row], adjusted: int, _bend: str | None) -> bytes:
    merchant = UnionPayMerchant(unionpay_forge.MER_ID, "", "测试商户", "", "", "")
    table = []
    for trade, back, minor, kind in rows:
        fee = fee_of(minor, 60, 0)
        line = unionpay_files.Line(trade, back, minor, fee if back is None else 0)
        text = unionpay_files.detail(merchant, line)
        table.append(text.replace(b" C0000", b" X0000") if kind == "malformed" else text)
    zme = b"".join(unionpay_files.adjustment(merchant, day, -100) for _ in range(adjusted))
    return unionpay_files.zipped(merchant, day, b"".join(table), zme)
