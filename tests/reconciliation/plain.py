"""A day of an Alipay account with a bill of two lines that the books know nothing of."""

from __future__ import annotations

from app.merchants import accounts
from app.reconciliation import files
from app.reconciliation.models import Discrepancy, Reconciliation
from app.reconciliation.reconcile import reconcile
from tests.books import rows_of
from tests.providers import alipay_forge
from tests.providers.contract import DAY, STATEMENT


def reconcile_a_day(account_id: str) -> dict[str, str]:
    """What came of it, by the names that addresses give it."""
    bill = alipay_forge.bill(DAY, alipay_forge.bill_rows(STATEMENT))
    file = files.store(accounts.open_account(account_id), DAY, bill)
    reconcile(account_id, DAY)
    return {
        "day": DAY.isoformat(),
        "file_id": file.id,
        "reconciliation_id": rows_of(Reconciliation, account_id=account_id)[0].id,
        "discrepancy_id": rows_of(Discrepancy, account_id=account_id)[0].id,
    }
