"""What the books say in the words of the ledger: the postings of a payment, from its rows.

The same functions post when something happens, post what had happened before there was a ledger
(migration 0013), and tell the checker what it must find.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.charges.states import Deed, RefundState
from app.ledger import events
from app.ledger.post import Posting, Transfer, post, post_many

PAYING = (Deed.ACCEPTED, Deed.MATCHED)  # what makes a charge take money that had waited


def post_payment(tx: Connection, attempt: Any, *, livemode: bool) -> None:
    """Money has come in, as the attempt's row says now.  A step."""
    _post(tx, attempt, livemode, [*_payment(attempt, None), *_fee(attempt)])


def post_decision(tx: Connection, attempt: Any, decision: Any, *, livemode: bool) -> None:
    """A person has decided about money that waited.  A step.  A refund is posted by itself."""
    fee = _fee(attempt) if decision.deed in PAYING else []
    transfers = [*_decision(decision), *fee]
    if transfers:
        _post(tx, attempt, livemode, transfers)


def post_reserved(tx: Connection, refund: Any) -> None:
    """A refund has been reserved.  A step."""
    _post_refund(tx, refund, _reserved(refund))


def post_refund_end(tx: Connection, refund: Any, account_id: str, *, had_failed: bool) -> None:
    """A refund has succeeded or failed, as its row says now; ``had_failed`` before.  A step."""
    _post_refund(tx, refund, _end(refund, account_id, had_failed=had_failed))


def post_declined(tx: Connection, refund: Any) -> None:
    """A refund that waited for approval has been declined.  A step."""
    _post_refund(tx, refund, _released(refund))


def post_fees_adjusted(tx: Connection, attempts: Sequence[Any], *, livemode: bool) -> None:
    """A provider's bill names other fees than were foreseen.  A step."""
    post_many(
        tx,
        [
            Posting(each.merchant_id, livemode, each.received_currency, each.id, transfers)
            for each in attempts
            if (transfers := _fee_adjusted(each))
        ],
    )


def post_fees_back(tx: Connection, refunds: Sequence[Any]) -> None:
    """With these refunds, which have the ``account_id`` of their payment, fees came back.  A step."""
    post_many(
        tx,
        [
            Posting(each.merchant_id, each.livemode, each.currency, each.attempt_id, transfers)
            for each in refunds
            if (transfers := _fee_back(each, each.account_id))
        ],
    )


def history_of(
    attempt: Any, refunds: Sequence[Any], decisions: Sequence[Any], failed: Collection[str] = ()
) -> list[tuple[datetime, Transfer]]:
    """Everything that is posted of a payment, oldest first, with when.  Pure.

    The rows of an attempt, its refunds and the decisions about it; ``failed`` are refunds that succeeded
    only after they had failed, which their rows do not tell.
    """
    if attempt.received_minor is None:
        return []
    paying = next((each for each in decisions if each.deed in PAYING), None)
    came_at = attempt.finished_at or attempt.started_at
    fee_at = came_at if paying is None else paying.created_at
    told = [(came_at, each) for each in _payment(attempt, paying)]
    told += [(fee_at, each) for each in (*_fee(attempt), *_fee_adjusted(attempt))]
    for decision in decisions:
        told += [(decision.created_at, each) for each in _decision(decision)]
    for refund in refunds:
        told.append((refund.created_at, _reserved(refund)))
        ended_at = refund.finished_at or refund.created_at
        if refund.id in failed and refund.state == RefundState.SUCCEEDED:
            told.append((ended_at, _released(refund)))
        if refund.state in (RefundState.SUCCEEDED, RefundState.FAILED):
            end = _end(refund, attempt.account_id, had_failed=refund.id in failed)
            told.append((ended_at, end))
        told += [
            (refund.finished_at or refund.created_at, each) for each in _fee_back(refund, attempt.account_id)
        ]
    return sorted(told, key=lambda pair: pair[0])


def _payment(attempt: Any, paying: Any) -> list[Transfer]:
    """``paying`` is the decision by which a charge took the money later, if one did."""
    if attempt.received_minor is None:
        return []
    charge_id = attempt.charge_id if paying is None else paying.came_for_id
    is_taken = bool(attempt.settles) and paying is None
    return [
        events.payment(attempt.account_id, attempt.id, attempt.received_minor, charge_id, is_taken=is_taken)
    ]


def _fee(attempt: Any) -> list[Transfer]:
    if not attempt.fee_minor:
        return []
    return [events.fee(attempt.account_id, attempt.id, attempt.fee_minor, attempt.charge_id)]


def _fee_adjusted(attempt: Any) -> list[Transfer]:
    more_minor = (attempt.fee_billed_minor or 0) - (attempt.fee_minor or 0)
    if attempt.fee_billed_minor is None or not more_minor:
        return []
    return [events.fee_adjusted(attempt.account_id, attempt.id, more_minor, attempt.charge_id)]


def _fee_back(refund: Any, account_id: str) -> list[Transfer]:
    minor = getattr(refund, "fee_back_minor", None)  # rows as they were at migration 0013 have none
    return [events.fee_back(account_id, refund.id, minor, refund.charge_id)] if minor else []


def _decision(decision: Any) -> list[Transfer]:
    if decision.deed in PAYING:
        return [events.credited(decision.id, decision.amount_minor, decision.charge_id)]
    if decision.deed == Deed.SET_ASIDE:
        return [events.set_aside(decision.id, decision.amount_minor, decision.came_for_id)]
    return []


def _reserved(refund: Any) -> Transfer:
    return events.refund_reserved(
        refund.id, refund.amount_minor, refund.charge_id, is_unneeded=bool(refund.automatic)
    )


def _released(refund: Any) -> Transfer:
    return events.refund_failed(
        refund.id, refund.amount_minor, refund.charge_id, is_unneeded=bool(refund.automatic)
    )


def _end(refund: Any, account_id: str, *, had_failed: bool) -> Transfer:
    what = (refund.id, refund.amount_minor, refund.charge_id)
    if refund.state == RefundState.FAILED:
        return _released(refund)
    if had_failed:
        return events.refund_contradicted(account_id, *what, is_unneeded=bool(refund.automatic))
    return events.refund_succeeded(account_id, *what)


def _post(tx: Connection, attempt: Any, livemode: bool, transfers: Sequence[Transfer]) -> None:
    post(tx, Posting(attempt.merchant_id, livemode, attempt.received_currency, attempt.id, transfers))


def _post_refund(tx: Connection, refund: Any, transfer: Transfer) -> None:
    post(tx, Posting(refund.merchant_id, refund.livemode, refund.currency, refund.attempt_id, [transfer]))
