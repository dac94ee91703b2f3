"""What the API says of a printed code, and what its symbol says.  Pure but for the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.clock import to_rfc3339
from app.qr.short_code import address_of, in_groups
from app.runtime import settings


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of a code's scans: charges begun, those of them that were paid, and their sum."""

    begun: int = 0
    paid: int = 0
    paid_minor: int = 0


def address_of_code(row: sa.Row[Any]) -> str:
    """What the symbol says, character for character."""
    here = settings()
    return address_of(here.origin, row.code, host_upper=here.qr_host_upper)


def code_json(row: sa.Row[Any], counts: Counts) -> dict[str, Any]:
    """The printed code object of the API.  What is said of open amounts is null while a price is fixed."""
    here = settings().origin
    is_open = row.amount_minor is None
    return {
        "id": row.id,
        "object": "qr_code",
        "livemode": row.livemode,
        "active": row.disabled_at is None,
        "code": in_groups(row.code),
        "url": address_of_code(row),
        "verify_url": f"{here}/v/{row.code}",
        "qr": {
            "svg": f"{here}/v1/qr_codes/{row.id}/qr.svg",
            "png": f"{here}/v1/qr_codes/{row.id}/qr.png",
        },
        "purpose": row.purpose,
        "name": row.name,
        "store": row.store_id,
        "label": {"kind": row.label_kind, "text": row.label_text} if row.label_kind else None,
        "series": {"id": row.series_id, "name": row.series} if row.series_id else None,
        "currency": row.currency.lower(),
        "amount": row.amount_minor,
        "preset_amount": row.preset_minor if is_open else None,
        "min_amount": row.min_minor if is_open else None,
        "max_amount": row.max_minor if is_open else None,
        "suggested_amounts": list(row.suggested) if is_open else [],
        "max_payments": row.max_payments,
        "daily_cap": row.daily_cap_minor,
        "valid_from": _time(row.valid_from),
        "valid_until": _time(row.valid_until),
        "inactive_message": {"zh": row.inactive_zh, "en": row.inactive_en},
        "scans": row.scans,
        "charges": {"begun": counts.begun, "paid": counts.paid, "amount_paid": counts.paid_minor},
        "last_scan_at": _time(row.last_scan_at),
        "quiet_since": _time(row.quiet_since),
        "created_at": to_rfc3339(row.created_at),
        "updated_at": to_rfc3339(row.updated_at),
        "disabled_at": _time(row.disabled_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
