"""Does an account work?  One harmless, signed question to its provider, and what came back.

The question is what became of a payment that never was: the right answer is "no such payment", signed by
the provider.  It proves the address, both keys and the merchant's standing, and moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app import clock
from app.errors import NotFound, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.ids import new_body
from app.merchants import accounts
from app.merchants.actor import Actor
from app.merchants.roles import Permission
from app.providers.base import PaymentRef


class Finding(StrEnum):
    """What the question found."""

    WORKS = "works"
    REFUSED = "refused"  # the provider answered, and says no
    FORGED = "forged"  # something answered that the key entered here does not vouch for
    SILENT = "silent"  # no answer, or none that can be read


@dataclass(frozen=True, slots=True)
class Trial:
    """``code`` is the provider's own word; ``detail`` is in English, for whoever looks closer."""

    finding: Finding
    code: str = ""
    detail: str = ""


def try_account(merchant_id: str, account_id: str, *, by: Actor) -> Trial:
    """Ask.  Raises NotFound, PermissionDenied."""
    by.require(Permission.PROVIDERS_WRITE)
    account = accounts.open_account(account_id)
    if account.merchant_id != merchant_id:
        raise NotFound("no such provider account")
    now = clock.now()
    never_was = PaymentRef(
        f"TRIAL{new_body().upper()}"[:32], started_at=now, expires_at=now + timedelta(hours=1)
    )
    try:
        account.provider.query(never_was)
    except ProviderRejected as refusal:
        return Trial(Finding.REFUSED, refusal.provider_code or "", refusal.detail)
    except ProviderUnreachable as silence:
        if silence.provider_code:  # an answer without a signature: to who is not known none is given
            return Trial(Finding.REFUSED, silence.provider_code, silence.detail)
        is_forged = isinstance(silence.__cause__, SignatureMismatch)
        return Trial(Finding.FORGED if is_forged else Finding.SILENT, "", silence.detail)
    return Trial(Finding.WORKS)
