"""The simulator's deeds: what can befall a payment, each as one press of a button.  In test mode alone.

Each is made of what ``test_helpers`` does over the sandbox's control API; nothing here makes a charge paid.
"""

from __future__ import annotations

from enum import StrEnum

from app.charges import lifecycle, test_helpers
from app.errors import Conflict
from app.merchants import accounts


class Deed(StrEnum):
    """What a press does."""

    BEGIN = "begin"  # choose a wallet, and do no more
    PAY = "pay"
    DECLINE = "decline"
    WRONG_AMOUNT = "wrong_amount"
    LOST_CALLBACK = "lost_callback"  # paid, and nobody tells us
    EXPIRE = "expire"
    LATE = "late"  # paid after its time was up
    DOUBLE = "double"  # paid with two wallets
    REFUND_FAILS = "refund_fails"  # the next refund of it, that is


def act(merchant_id: str, charge_id: str, deed: Deed, provider: str | None) -> None:
    """Do it to a charge in test mode.

    Raises NotFound, Conflict, InvalidRequest, ProviderRejected, ProviderUnreachable as ``test_helpers`` does.
    """
    mine = (merchant_id, charge_id)
    match deed:
        case Deed.BEGIN:
            test_helpers.begin(*mine, provider)
        case Deed.PAY:
            test_helpers.pay(*mine, provider, None)
        case Deed.DECLINE:
            test_helpers.decline(*mine, provider)
        case Deed.WRONG_AMOUNT:
            asked = lifecycle.find(merchant_id, charge_id, livemode=False).amount_minor
            test_helpers.pay(*mine, provider, asked - 1 or 2)
        case Deed.LOST_CALLBACK:
            test_helpers.bend(*mine, provider, {"name": "drop"})
            test_helpers.pay(*mine, provider, None)
        case Deed.EXPIRE:
            test_helpers.expire(*mine)
        case Deed.LATE:
            test_helpers.begin(*mine, provider)
            test_helpers.expire(*mine)
            test_helpers.pay(*mine, provider, None)
        case Deed.DOUBLE:
            other = _another(merchant_id, provider)
            test_helpers.begin(*mine, other)
            test_helpers.pay(*mine, provider, None)
            test_helpers.pay(*mine, other, None)
        case Deed.REFUND_FAILS:
            test_helpers.bend(*mine, None, {"name": "refund_fail", "times": 1})


def _another(merchant_id: str, provider: str | None) -> str:
    """A second wallet.  Raises Conflict if there is none."""
    mine = [row.provider for row in accounts.list_accounts(merchant_id, livemode=False)]
    for other in mine:
        if other != (provider or mine[0]):
            return str(other)
    raise Conflict("this takes a second wallet in test mode", code="provider_not_set_up")
