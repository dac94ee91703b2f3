"""What people read of reconciliation: names of what differs, what it means, what to do, and how it ended."""

from __future__ import annotations

from flask_babel import lazy_gettext as _l

from app.reconciliation import proof
from app.reconciliation.states import DayState, ItemState, Resolution, Sort

SORTS = {
    Sort.MALFORMED: _l("Line that cannot be read"),
    Sort.TOTALS: _l("The bill contradicts its own totals"),
    Sort.OTHER_MERCHANT: _l("Another merchant's line"),
    Sort.ADJUSTMENT: _l("Adjustment without a payment"),
    Sort.MISSING_HERE: _l("On the bill, unknown here"),
    Sort.REFUND_UNKNOWN: _l("Refund on the bill, unknown here"),
    Sort.DUPLICATE: _l("Twice on the bill"),
    Sort.STATUS: _l("Done on the bill, open here"),
    Sort.CURRENCY: _l("Another currency"),
    Sort.AMOUNT: _l("Another amount"),
    Sort.LEDGER: _l("Our ledger and books differ"),
    Sort.FEE: _l("Another fee than foreseen"),
    Sort.MISSING_THERE: _l("Here, and on no bill"),
    Sort.REFUND_MISSING: _l("Refund here, and on no bill"),
    Sort.DAY_EDGE: _l("Near midnight: expected on the next bill"),
}
TODO = {
    Sort.MALFORMED: _l("Open the bill at this line. If many are so, the provider has changed its form."),
    Sort.TOTALS: _l(
        "Lines may be missing. Download the bill from the provider's pages and bring it by hand; if it says "
        "the same, ask the provider."
    ),
    Sort.OTHER_MERCHANT: _l("Nothing to book. If it comes again, ask the provider why it is on your bill."),
    Sort.ADJUSTMENT: _l("Ask the provider what it stands for, with the trace number; then book it outside."),
    Sort.MISSING_HERE: _l(
        "The provider did not confirm it to us. Was it taken by another system, or by hand?"
    ),
    Sort.REFUND_UNKNOWN: _l("Somebody refunded in the provider's own pages. Find out who, and note it here."),
    Sort.DUPLICATE: _l("If money moved twice, ask the provider to take one back. Else nothing to do."),
    Sort.STATUS: _l("Mafu asks the provider for three days. If it stays, open the charge and ask again."),
    Sort.CURRENCY: _l("Look at the payment in the provider's pages; one of both has read it wrongly."),
    Sort.AMOUNT: _l("Compare with the provider's pages. What is too little is claimed from the provider."),
    Sort.LEDGER: _l("Whoever runs the server types flask ledger check and looks into the audit log."),
    Sort.FEE: _l("The bill's fee is booked. If your rate has changed, add it to the ledger's rates."),
    Sort.MISSING_THERE: _l(
        "Look for the payment in the provider's pages. If it is not there, claim it, with our number."
    ),
    Sort.REFUND_MISSING: _l("Look for the refund in the provider's pages. Did the shopper get it?"),
    Sort.DAY_EDGE: _l("Nothing yet: it is looked for on the next two bills."),
}
TERMS = {
    **{sort.value: text for sort, text in SORTS.items()},
    proof.OTHER_DAY_HERE: _l("On this bill, booked here on another day"),
    proof.OTHER_DAY_THERE: _l("Booked here on this day, on another day's bill"),
    proof.ON_ITS_WAY: _l("Refunds on their way"),
}
SUMS = {
    proof.PAYMENTS: _l("Payments received"),
    proof.REFUNDS: _l("Refunds paid out"),
    proof.FEES: _l("Provider fees"),
}
DAYS = {
    DayState.WAITING: (_l("waits for the bill"), "calm"),
    DayState.READING: (_l("being read"), "calm"),
    DayState.MATCHED: (_l("adds up"), "good"),
    DayState.DIFFERS: (_l("differs"), "bad"),
    DayState.EMPTY: (_l("no trades"), "good"),
    DayState.MISSING: (_l("no bill"), "bad"),
}
STATES = {
    ItemState.POOLED: (_l("waits for the next bill"), "calm"),
    ItemState.OPEN: (_l("open"), "bad"),
    ItemState.RESOLVED: (_l("resolved"), "good"),
}
RESOLUTIONS = {
    Resolution.HEALED: _l("came right by itself"),
    Resolution.SETTLED: _l("settled: the provider confirmed it"),
    Resolution.UNCLAIMED: _l("booked as unclaimed money"),
    Resolution.CORRECTED: _l("corrected here"),
    Resolution.PROVIDER: _l("the provider corrects it"),
    Resolution.NOT_OURS: _l("not ours"),
    Resolution.WRITTEN_OFF: _l("written off"),
}
