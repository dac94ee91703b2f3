"""What a bill says is done and our books hold open, or do not know: the provider is asked once more.

The last resort: callbacks were lost, queries failed or said nothing, and the provider's accountants know.
What it says goes through the usual doors.  Only of a refund does the bill itself prove something: a line
with our number and amount is money that went back.  Nothing here runs inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from app.charges import attempts, refund_sending, refunds
from app.charges.models import Attempt, Refund
from app.charges.settle import settle_unknown
from app.charges.states import AttemptState, RefundState
from app.db import is_among, reading, table_of, transaction
from app.errors import ProviderError
from app.merchants.accounts import OpenAccount
from app.money import Money
from app.providers.base import Outcome, PaymentRef, RefundResult
from app.reconciliation.states import Resolution

log = structlog.get_logger(__name__)

# An account that another system uses, too, has bills full of numbers that are not ours.  Each is a call.
UNKNOWN_MAX = 200

_attempts, _refunds = table_of(Attempt), table_of(Refund)
_OPEN_ATTEMPTS = sa.select(*_attempts.c).where(
    _attempts.c.account_id == sa.bindparam("account_id"),
    is_among(_attempts.c.out_trade_no, "numbers"),
    _attempts.c.state.in_([AttemptState.STARTED, AttemptState.FAILED, AttemptState.CLOSED]),
)
_OPEN_REFUNDS = refund_sending.WITH_ATTEMPT.where(
    _refunds.c.merchant_id == sa.bindparam("merchant_id"),
    _attempts.c.account_id == sa.bindparam("account_id"),
    is_among(_refunds.c.out_refund_no, "numbers"),
    _refunds.c.state.in_([RefundState.RESERVED, RefundState.FAILED]),
)


@dataclass(slots=True)
class Answers:
    """What came of asking about a slice of lines: how the line of each number ended."""

    ended: dict[int, Resolution] = field(default_factory=dict)
    unanswered: int = 0  # the provider said nothing of use


def ask_about_open(account: OpenAccount, lines: Sequence[Any]) -> Answers:
    """Settle what is open here and done on these lines."""
    answers = Answers()
    by_number = {line.out_trade_no: line for line in lines if line.kind == "payment" and _is_ours(line)}
    for attempt in _look_up(_OPEN_ATTEMPTS, account, list(by_number)):
        try:
            if attempts.ask(attempt).outcome is Outcome.SUCCEEDED:
                answers.ended[by_number[attempt.out_trade_no].number] = Resolution.SETTLED
        except ProviderError as error:
            log.warning("query failed", attempt_id=attempt.id, code=error.provider_code or error.code)
            answers.unanswered += 1
    backs = {
        line.subject.partition(":")[2]: line for line in lines if line.kind == "refund" and _is_ours(line)
    }
    for refund in _look_up(_OPEN_REFUNDS, account, list(backs)):
        line = backs[refund.out_refund_no]
        result = _outcome_of(account, refund, line)
        if result is None:
            answers.unanswered += 1
            continue
        with transaction() as tx:
            if refunds.settle_refund(tx, account.id, result):
                answers.ended[line.number] = Resolution.SETTLED
    return answers


def ask_about_unknown(account: OpenAccount, lines: Sequence[Any]) -> Answers:
    """Payments of which our books know nothing: what the provider confirms is booked as unclaimed money.

    ``lines`` are such, UNKNOWN_MAX for each day at most: the caller counts.
    """
    answers = Answers()
    for line in lines:
        ref = PaymentRef(line.out_trade_no, line.happened_at, line.provider_ref)
        try:
            result = account.provider.query(ref)
        except ProviderError as error:
            log.info("unknown number", out_trade_no=line.out_trade_no, code=error.provider_code or error.code)
            continue
        if result.out_trade_no != line.out_trade_no:
            continue
        with transaction() as tx:
            if settle_unknown(tx, account, result):
                answers.ended[line.number] = Resolution.UNCLAIMED
    return answers


def _outcome_of(account: OpenAccount, refund: sa.Row[Any], line: Any) -> RefundResult | None:
    """What became of a refund on the bill: the provider's word if it is final, else the line itself."""
    told: RefundResult | None = None
    try:
        told = account.provider.query_refund(refund_sending.order_of(refund))
    except ProviderError as error:
        log.warning("query failed", refund_id=refund.id, code=error.provider_code or error.code)
    if line.is_open or (told is not None and told.outcome is not Outcome.PENDING):
        return told
    amount = Money(abs(line.amount_minor), line.currency)
    return RefundResult(line.out_trade_no, refund.out_refund_no, Outcome.SUCCEEDED, amount)


def _is_ours(line: Any) -> bool:
    return bool(line.out_trade_no or line.kind == "refund") and not line.is_foreign


def _look_up(statement: sa.Select[Any], account: OpenAccount, numbers: list[str]) -> list[sa.Row[Any]]:
    if not numbers:
        return []
    which = {"merchant_id": account.merchant_id, "account_id": account.id, "numbers": numbers}
    with reading() as connection:
        return list(connection.execute(statement, which))
