"""Days and discrepancies as the API and its events tell of them.  Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.clock import to_rfc3339
from app.reconciliation import proof
from app.reconciliation.proof import Proof


def reconciliation_json(row: Any) -> dict[str, Any]:
    """One day of one provider account."""
    summary = proof.read_stored(row.summary)
    return {
        "id": row.id,
        "object": "reconciliation",
        "livemode": row.livemode,
        "account": row.account_id,
        "provider": row.provider,
        "day": row.day.isoformat(),
        "status": row.state,
        "lines": summary.lines,
        "matched": summary.matched,
        "verdicts": dict(summary.verdicts),
        "proofs": [_proof_json(each) for each in summary.proofs],
        "finished_at": _time(row.finished_at),
    }


def discrepancy_json(row: Any) -> dict[str, Any]:
    """Something in which bill and books differ."""
    return {
        "id": row.id,
        "object": "discrepancy",
        "livemode": row.livemode,
        "account": row.account_id,
        "provider": row.provider,
        "day": row.day.isoformat(),
        "type": row.sort,
        "status": row.state,
        "out_trade_no": row.out_trade_no or None,
        "provider_ref": row.provider_ref or None,
        "charge": row.charge_id,
        "refund": row.refund_id,
        "currency": row.currency.lower() or None,
        "amount_here": row.here_minor,
        "amount_there": row.there_minor,
        "detail": row.detail,
        "line": row.line,
        "owner": row.owner,
        "note": row.note,
        "resolution": row.resolution,
        "opened_at": _time(row.opened_at),
        "resolved_at": _time(row.resolved_at),
    }


def _proof_json(each: Proof) -> dict[str, Any]:
    return {
        "currency": each.currency.lower(),
        "proven": each.is_proven,
        "sums": [
            {
                "what": part.what,
                "here_count": part.here_count,
                "here": part.here_minor,
                "there_count": part.there_count,
                "there": part.there_minor,
                "terms": [
                    {"name": term.name, "count": term.count, "amount": term.minor} for term in part.terms
                ],
                "unexplained": part.unexplained_minor,
            }
            for part in each.sums
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
