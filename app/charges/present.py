"""What the API and the events say of a charge and of a refund.  Pure but for the link's key."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from app.charges.states import ChargeState, RefundState, Review
from app.clock import to_rfc3339
from app.qr.links import LinkFacts, LinkSigner, link_for
from app.runtime import runtime
from app.webhooks.outbox import Fact


class RefundStatus(StrEnum):
    """What a merchant is told of where a refund is."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @classmethod
    def of(cls, state: str) -> RefundStatus:
        """``"reserved" -> PENDING``, and so is what waits for approval; the others have the same names."""
        return cls.PENDING if state in (RefundState.RESERVED, RefundState.AWAITING) else cls(state)

    @property
    def state(self) -> RefundState:
        """The way back."""
        return RefundState.RESERVED if self is RefundStatus.PENDING else RefundState(self)


def link_of(charge: sa.Row[Any]) -> str:
    """The signed payment link: what the QR says, character for character."""
    facts = LinkFacts(charge.id, charge.merchant_id, charge.amount_minor, charge.currency)
    here = runtime()
    return _link(here.charge_links, facts, here.settings.origin, here.settings.qr_host_upper)


def charge_json(charge: sa.Row[Any]) -> dict[str, Any]:
    """The charge object of the API."""
    here = f"{runtime().settings.origin}/v1/charges/{charge.id}/qr"
    closed_at = _time(charge.closed_at)
    return {
        "id": charge.id,
        "object": "charge",
        "livemode": charge.livemode,
        "status": charge.state,
        "amount": charge.amount_minor,
        "amount_paid": charge.paid_minor,
        "amount_refunded": charge.refunded_minor,
        "currency": charge.currency.lower(),
        "description": charge.description,
        "merchant_order_no": charge.merchant_order_no,
        "metadata": charge.metadata,
        "return_url": charge.return_url,
        "qr_code": charge.qr_code_id,
        "store": charge.store_id,
        "topup": charge.topup_id,
        "url": link_of(charge),
        "qr": {"svg": f"{here}.svg", "png": f"{here}.png"},
        "provider": charge.provider,
        "created_at": to_rfc3339(charge.created_at),
        "expires_at": to_rfc3339(charge.expires_at),
        "paid_at": _time(charge.paid_at),
        "paid_late": charge.paid_late,
        "expired_at": closed_at if charge.state == ChargeState.EXPIRED else None,
        "canceled_at": closed_at if charge.state == ChargeState.CANCELED else None,
        "review": _review_json(charge),
    }


def refund_json(refund: sa.Row[Any]) -> dict[str, Any]:
    """The refund object of the API.  ``reserved`` is ``pending`` to a merchant."""
    return {
        "id": refund.id,
        "object": "refund",
        "livemode": refund.livemode,
        "charge": refund.charge_id,
        "status": RefundStatus.of(refund.state),
        "amount": refund.amount_minor,
        "currency": refund.currency.lower(),
        "reason": refund.reason or None,
        "metadata": refund.metadata,
        "automatic": refund.automatic,
        "pending_reason": "awaiting_approval"
        if refund.state == RefundState.AWAITING
        else refund.pending_reason,
        "failure_code": refund.failure_code,
        "created_at": to_rfc3339(refund.created_at),
        "finished_at": _time(refund.finished_at),
    }


def payment_json(attempt: sa.Row[Any], *, accepted_by: str | None = None) -> dict[str, Any]:
    """The payment that an event is about.  ``accepted_by`` is the person who decided that it pays."""
    return {
        "provider": attempt.provider,
        "out_trade_no": attempt.out_trade_no,
        "provider_ref": attempt.provider_ref,
        "amount_received": attempt.received_minor,
        "currency": attempt.received_currency.lower() if attempt.received_currency else None,
        "accepted_by": accepted_by,
    }


def charge_fact(
    event_type: str,
    charge: sa.Row[Any],
    payment: dict[str, Any] | None = None,
    *,
    risk: dict[str, Any] | None = None,
) -> Fact:
    """The event that says this of a charge, as it stands in the row and with its ``sequence``.

    ``risk`` is the decision that it is about.
    """
    beside = {"payment": payment, "risk": risk}
    return Fact(
        charge.merchant_id,
        charge.livemode,
        event_type,
        charge.id,
        charge.sequence,
        charge_json(charge),
        {name: value for name, value in beside.items() if value},
    )


def refund_fact(event_type: str, refund: sa.Row[Any]) -> Fact:
    """The same of a refund."""
    return Fact(
        refund.merchant_id, refund.livemode, event_type, refund.id, refund.sequence, refund_json(refund)
    )


# Each change of a charge names its link twice, in the event and in the answer, and each poll once more.
@lru_cache(maxsize=4096)
def _link(signer: LinkSigner, facts: LinkFacts, origin: str, host_upper: bool) -> str:
    return link_for(origin, signer.token_for(facts), host_upper=host_upper)


def _review_json(charge: sa.Row[Any]) -> dict[str, Any] | None:
    """How a charge stands that a rule has held.  One that ended before anybody looked has ``lapsed``."""
    if charge.review is None:
        return None
    has_lapsed = charge.review == Review.OPEN and charge.state != ChargeState.PENDING
    return {
        "status": "lapsed" if has_lapsed else charge.review,
        "opened_at": to_rfc3339(charge.review_opened_at),
        "closed_at": _time(charge.review_closed_at),
        "reason": charge.review_reason,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
