"""A provider's bill of a day, gone through for what our books still hold open.

The last resort: callbacks were lost, queries failed or said nothing, and the provider's accountants
know.  For each line about an attempt or refund of ours that is not settled the provider is asked once
more, and what it says goes through the usual doors.  Only of a refund does the bill itself prove
something: a line with our number and amount is money that went back.  And of each payment it says what
the provider kept.

Differences of any other kind are for reconciliation to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
import structlog

from app import clock, queue
from app.charges import attempts, fees, incidents, refund_sending, refunds
from app.charges.models import Attempt, Refund
from app.charges.states import AttemptState, RefundState
from app.db import is_among, moment, reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, ProviderError, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.merchants.accounts import OpenAccount
from app.merchants.models import ProviderAccount
from app.money import Money
from app.providers import REGISTRY
from app.providers.base import Ability, Outcome, RefundResult, StatementLine
from app.queue import Claim, Kind

log = structlog.get_logger(__name__)

READY_AT = time(10, 30)  # Beijing, the day after; Alipay says 9:00 and WeChat Pay 10:00
RETRY = timedelta(minutes=30)
# A day without trades has no bill at all, which no provider tells apart from one that is not there yet.
WAIT_FOR_BILL = timedelta(days=1)
WAIT_FOR_ANSWERS = timedelta(days=3)
# A file of a million lines takes minutes, and a second worker must not begin on it meanwhile.
LEASE = timedelta(hours=1)
BATCH = 500  # lines looked up at once

_attempts, _refunds, _accounts = table_of(Attempt), table_of(Refund), table_of(ProviderAccount)
_OPEN_ATTEMPTS = sa.select(*_attempts.c).where(
    _attempts.c.account_id == sa.bindparam("account_id"),
    is_among(_attempts.c.out_trade_no, "numbers"),
    _attempts.c.state.in_([AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED]),
)
_OPEN_REFUNDS = refund_sending.WITH_ATTEMPT.where(
    _attempts.c.account_id == sa.bindparam("account_id"),
    is_among(_refunds.c.out_refund_no, "numbers"),
    _refunds.c.state.in_([RefundState.RESERVED, RefundState.FAILED]),
)


# Paid, and no bill has said yet what that cost.
_UNBILLED = sa.select(
    _attempts.c.merchant_id, _attempts.c.id, _attempts.c.out_trade_no, _attempts.c.received_currency
).where(
    _attempts.c.account_id == sa.bindparam("account_id"),
    is_among(_attempts.c.out_trade_no, "numbers"),
    _attempts.c.received_minor.is_not(None),
    _attempts.c.fee_billed_minor.is_(None),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a bill was good for.  ``unanswered``: asked about, and the provider said nothing of use."""

    lines: int = 0
    payments_settled: int = 0
    refunds_settled: int = 0
    unanswered: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.lines + other.lines,
            self.payments_settled + other.payments_settled,
            self.refunds_settled + other.refunds_settled,
            self.unanswered + other.unanswered,
        )


def go_through(account_id: str, day: date) -> Tally:
    """Settle by the bill of a day (Beijing's) whatever is still open here.  Twice is harmless.

    Raises NotFound, ProviderRejected if there is no such bill (yet), or ProviderUnreachable.
    """
    account = accounts.open_account(account_id)
    lines = iter(account.provider.statement(day))
    tally = Tally()
    while batch := list(islice(lines, BATCH)):
        tally += Tally(lines=len(batch)) + _settle_payments(account, batch) + _settle_refunds(account, batch)
        _book_fees(account, batch)
    log.info("bill", account_id=account_id, day=day.isoformat(), lines=tally.lines, open=tally.unanswered)
    return tally


def schedule() -> None:
    """Have the next bill of every account gone through that is over and was not.

    Called every hour: one bill at a time, each day's in its turn, also after a week's rest.
    """
    with reading() as connection:
        rows = connection.execute(
            sa.select(
                _accounts.c.merchant_id,
                _accounts.c.id,
                _accounts.c.provider,
                _accounts.c.created_at,
                _accounts.c.bills_read_to,
            ).where(_accounts.c.enabled.is_(True))
        ).all()
        today = _beijing(moment(connection)).date()
    for row in rows:
        day = _next_day(row)
        if day < today and Ability.STATEMENT in REGISTRY[row.provider].info.abilities:
            with transaction() as tx:
                queue.put_once(tx, Kind.BILL, row.merchant_id, subject_of(row.id, day), _ready_at(day))


def follow(claim: Claim) -> None:
    """Go through one bill; put the job back while it is not there yet, or leaves questions open."""
    with transaction() as tx:
        if not queue.extend(tx, claim, moment(tx) + LEASE):
            return
    account_id, _, digits = claim.subject_id.partition(":")
    day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=clock.BEIJING).date()
    patience, is_missing = WAIT_FOR_ANSWERS, False
    try:
        is_done = go_through(account_id, day).unanswered == 0
    except ProviderRejected as refusal:
        log.info("no bill", account_id=account_id, day=digits, code=refusal.provider_code)
        is_done, patience = False, WAIT_FOR_BILL
    except ProviderUnreachable as silence:
        log.warning("bill not read", account_id=account_id, day=digits, detail=silence.detail)
        is_done, is_missing = False, True
    with transaction() as tx:
        now = moment(tx)
        if not is_done and now < _ready_at(day) + patience:
            queue.put_back(tx, claim, now + RETRY)
            return
        if not queue.finish(tx, claim):
            return
        tx.execute(
            sa.update(_accounts)
            .where(_accounts.c.merchant_id == claim.merchant_id, _accounts.c.id == account_id)
            .values(bills_read_to=day)
        )
        if is_missing:
            _tell(tx, claim, day)


def subject_of(account_id: str, day: date) -> str:
    """What the job of a bill is called, so that there is one.  Pure."""
    return f"{account_id}:{day:%Y%m%d}"


def _settle_payments(account: OpenAccount, batch: Sequence[StatementLine]) -> Tally:
    numbers = [line.out_trade_no for line in batch if line.kind == "payment" and line.out_trade_no]
    settled = unanswered = 0
    for attempt in _look_up(_OPEN_ATTEMPTS, account, numbers):
        try:
            settled += attempts.ask(attempt).outcome is Outcome.SUCCEEDED
        except ProviderError as error:
            log.warning("query failed", attempt_id=attempt.id, code=error.provider_code or error.code)
            unanswered += 1
    return Tally(payments_settled=settled, unanswered=unanswered)


def _settle_refunds(account: OpenAccount, batch: Sequence[StatementLine]) -> Tally:
    lines = {line.out_refund_no: line for line in batch if line.kind == "refund" and line.out_refund_no}
    settled = unanswered = 0
    for refund in _look_up(_OPEN_REFUNDS, account, [number for number in lines if number]):
        result = _outcome_of(account, refund, lines[refund.out_refund_no])
        if result is None:
            unanswered += 1
            continue
        with transaction() as tx:
            settled += refunds.settle_refund(tx, account.id, result)
    return Tally(refunds_settled=settled, unanswered=unanswered)


def _book_fees(account: OpenAccount, batch: Sequence[StatementLine]) -> None:
    """What the provider kept of each payment, in one transaction; what makes no sense is left alone."""
    lines = {line.out_trade_no: line for line in batch if line.kind == "payment" and line.out_trade_no}
    paid = _look_up(_UNBILLED, account, list(lines))
    if not paid:
        return
    with transaction() as tx:
        for attempt in paid:
            # A fee is money that left the merchant, so it is negative on a bill.
            fee = lines[attempt.out_trade_no].fee
            try:
                if fee.currency != attempt.received_currency:
                    raise InvalidRequest(f"it is in {fee.currency}")
                fees.correct_fee(tx, attempt.merchant_id, attempt.id, -fee.minor)
            except (Conflict, InvalidRequest) as refusal:  # raised before anything of it is written
                log.warning("fee not booked", attempt_id=attempt.id, detail=refusal.detail)


def _outcome_of(account: OpenAccount, refund: sa.Row[Any], line: StatementLine) -> RefundResult | None:
    """What became of a refund on the bill: the provider's word if it is final, else the line itself."""
    told: RefundResult | None = None
    try:
        told = account.provider.query_refund(refund_sending.order_of(refund))
    except ProviderError as error:
        log.warning("query failed", refund_id=refund.id, code=error.provider_code or error.code)
    if line.is_open or (told is not None and told.outcome is not Outcome.PENDING):
        return told
    amount = Money(abs(line.amount.minor), line.amount.currency)
    return RefundResult(line.out_trade_no, refund.out_refund_no, Outcome.SUCCEEDED, amount)


def _look_up(statement: sa.Select[Any], account: OpenAccount, numbers: list[str]) -> list[sa.Row[Any]]:
    if not numbers:
        return []
    with reading() as connection:
        return list(connection.execute(statement, {"account_id": account.id, "numbers": numbers}))


def _next_day(row: Any) -> date:
    if row.bills_read_to is not None:
        return date.fromordinal(row.bills_read_to.toordinal() + 1)
    return _beijing(row.created_at).date()


def _ready_at(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), READY_AT, clock.BEIJING).astimezone(UTC)


def _beijing(at: datetime) -> datetime:
    return at.astimezone(clock.BEIJING)


def _tell(tx: sa.Connection, claim: Claim, day: date) -> None:
    incidents.raise_incident(
        tx,
        claim.merchant_id,
        kind="bill_unread",
        subject_id=claim.subject_id,
        charge_id=None,
        detail=f"the bill of {day} could not be fetched or read",
    )
