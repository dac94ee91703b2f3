"""A statement's words and figures for people: what accounts and events are called, the PDF, the CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Blueprint, Response, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from app import clock, i18n
from app.charges import statement_paper, statements
from app.charges.overview import day_of
from app.charges.statement_paper import Paper, Table
from app.charges.statements import Period, Sheet, Statement, Takings, Wanted
from app.clock import to_beijing
from app.errors import InvalidRequest
from app.ledger.accounts import Kind, kind_of, owner_of
from app.ledger.events import Event
from app.merchants import accounts, stores
from app.merchants.auth import me
from app.merchants.views import livemode, open_room
from app.money import Money
from app.paper import WALLETS

_EVENTS = {
    Event.PAYMENT: _l("Payment"),
    Event.FEE: _l("Fee"),
    Event.FEE_ADJUSTED: _l("Fee corrected by the bill"),
    Event.FEE_BACK: _l("Fee given back with a refund"),
    Event.CREDITED: _l("Credited by a person"),
    Event.SET_ASIDE: _l("Settled elsewhere"),
    Event.REFUND_RESERVED: _l("Refund reserved"),
    Event.REFUND_SUCCEEDED: _l("Refund gone back"),
    Event.REFUND_FAILED: _l("Refund failed"),
    Event.REFUND_CONTRADICTED: _l("Refund gone back after all"),
    Event.TOPUP: _l("Top-up"),
    Event.TOPUP_BONUS: _l("Bonus of a top-up"),
    Event.TOPUP_TAKEN_BACK: _l("Top-up taken back"),
    Event.TOPUP_TAKEN_BACK_BONUS: _l("Bonus taken back"),
    Event.TOPUP_GIVEN_BACK: _l("Top-up given back: its refund failed"),
    Event.TOPUP_GIVEN_BACK_BONUS: _l("Bonus given back: the refund failed"),
    Event.TOPUP_TAKEN_AGAIN: _l("Top-up taken back after all"),
    Event.TOPUP_TAKEN_AGAIN_BONUS: _l("Bonus taken back after all"),
    Event.DEBIT: _l("Spent"),
    Event.DEBIT_BONUS: _l("Bonus spent"),
    Event.REVERSAL: _l("Spending reversed"),
    Event.REVERSAL_BONUS: _l("Spending of a bonus reversed"),
    Event.ADJUSTMENT: _l("Changed by hand"),
    Event.ADJUSTMENT_BONUS: _l("Bonus changed by hand"),
}
_ACCOUNTS = {
    Kind.CLEARING: _l("With the provider"),
    Kind.SALES: _l("Sales"),
    Kind.REFUNDS: _l("Refunds"),
    Kind.FEES: _l("Fees"),
    Kind.REFUNDS_PAYABLE: _l("Refunds on their way"),
    Kind.UNCLAIMED: _l("Unclaimed money"),
    Kind.ELSEWHERE: _l("Settled elsewhere"),
    Kind.MEMBERS: _l("Members' balances"),
    Kind.BONUS: _l("Bonus not spent yet"),
    Kind.ADJUSTMENTS: _l("Given to members by hand"),
}

bp = Blueprint("statements", __name__, url_prefix="/ledger")


@bp.get("/statement.csv")
def download_csv() -> Response:
    """Its entries."""
    wanted = wanted_statement()
    pieces = statement_paper.csv_of(_csv_head(), _csv_rows(wanted))
    return _file("".join(pieces), "text/csv; charset=utf-8", f"mafu-ledger-{wanted.period.name}.csv")


@bp.get("/statement.pdf")
def download_pdf() -> Response:
    """Its figures, on paper."""
    wanted = wanted_statement()
    paper = _paper(statements.statement_of(wanted))
    content = statement_paper.pdf_of(paper)
    return _file(content, "application/pdf", f"mafu-statement-{wanted.period.name}.pdf")


@bp.app_template_global("ledger_event")
def event_text(event: str) -> str:
    """``"refund_failed" -> "Refund failed"``, in the reader's language."""
    return str(_EVENTS[Event(event)])


@bp.app_template_global("ledger_account")
def account_text(name: str) -> str:
    """``"sales" -> "Sales"``, in the reader's language; a provider account by its kind alone."""
    return str(_ACCOUNTS[kind_of(name)])


def wanted_statement() -> Wanted:
    """Of today and all stores where the address names none, or none that there is."""
    who, mode = me().merchant_id, livemode()
    try:
        period = Period.of(request.args.get("period", "").strip())
    except InvalidRequest:
        period = Period.of(str(day_of(clock.now())))
    store_id = request.args.get("store", "")
    known = stores.names_of(who, livemode=mode)
    return Wanted(who, mode, period, store_id if store_id in known else None)


def provider_names() -> dict[str, str]:
    """``"支付宝 · main"``, by account."""
    known = accounts.names_of(me().merchant_id, livemode=livemode())
    return {
        account_id: f"{WALLETS.get(provider, provider)} · {name}"
        for account_id, (provider, name) in known.items()
    }


def _paper(statement: Statement) -> Paper:
    wanted = statement.wanted
    names = stores.names_of(wanted.merchant_id, livemode=wanted.livemode)
    period = wanted.period
    facts = [
        (gettext("Merchant"), me().merchant_name),
        (gettext("Period"), period.name),
        (gettext("From, to"), f"{period.begins} 00:00 – {period.ends} 00:00 (UTC+8)"),
        (gettext("Store"), names.get(wanted.store_id or "", gettext("All stores"))),
        (gettext("Entries"), str(statement.entries)),
    ]
    return Paper(
        title=gettext("Daily statement") if len(period.name) == 10 else gettext("Monthly statement"),
        facts=tuple(facts),
        tables=tuple(table for sheet in statement.sheets for table in _tables(sheet, names)),
        foot=gettext("Summed up from the double-entry ledger. Fees by your rates until the bill is in."),
        warning="" if wanted.livemode else gettext("Test mode") + ": " + gettext("No money moves here."),
        language=i18n.language(),
    )


def _tables(sheet: Sheet, store_names: dict[str, str]) -> Iterator[Table]:
    def money(minor: int) -> str:
        return Money(minor, sheet.currency).text()

    sums, unit = sheet.takings, sheet.currency
    yield Table(
        gettext("Takings in %(currency)s", currency=unit),
        ("", gettext("Number"), gettext("Amount")),
        (
            (gettext("Collected"), str(sums.sales_count), money(sums.sales_minor)),
            (gettext("Refunds"), str(sums.refunds_count), money(-sums.refunds_minor)),
            (gettext("Fees"), "", money(-sums.fees_minor)),
            (gettext("Net"), "", money(sums.net_minor)),
        ),
        has_total=True,
    )
    if sums.topups_minor or sums.spent_minor:
        yield Table(
            gettext("Members, in %(currency)s", currency=unit),
            ("", gettext("Amount")),
            (
                (gettext("Of what was collected, topped up"), money(sums.topups_minor)),
                (gettext("Spent from balances"), money(sums.spent_minor)),
            ),
        )
    providers = provider_names()
    yield Table(
        gettext("By provider account, as its bill should say, in %(currency)s", currency=unit),
        ("", gettext("Took in"), gettext("Gave back"), gettext("Fees"), gettext("Net")),
        tuple(
            (
                providers.get(each.account_id, each.account_id),
                *[money(part) for part in (each.payments_minor, -each.refunds_minor, -each.fees_minor)],
                money(each.net_minor),
            )
            for each in sheet.wallets
        ),
    )
    yield Table(
        gettext("By store, in %(currency)s", currency=unit),
        ("", gettext("Collected"), gettext("Refunds"), gettext("Fees"), gettext("Net")),
        tuple(_by_store(sheet.stores, store_names, money)),
    )
    balances = [
        (
            _account_name(each.account, providers),
            *[money(part) for part in (each.opening_minor, each.debits_minor, each.credits_minor)],
            money(each.closing_minor),
        )
        for each in sheet.balances
    ]
    yield Table(
        gettext("Accounts, in %(currency)s", currency=unit),
        ("", gettext("Opening"), gettext("Debit"), gettext("Credit"), gettext("Closing")),
        (*balances, (gettext("Total"), "", money(sheet.debits_minor), money(sheet.credits_minor), "")),
        has_total=True,
    )


def _by_store(
    sums: dict[str | None, Takings], names: dict[str, str], money: Callable[[int], str]
) -> Iterator[tuple[str, ...]]:
    for store_id, each in sums.items():
        parts = (each.sales_minor, -each.refunds_minor, -each.fees_minor, each.net_minor)
        name = gettext("No store") if store_id is None else names.get(store_id, store_id)
        yield (name, *[money(part) for part in parts])


def _account_name(name: str, providers: dict[str, str]) -> str:
    owner = owner_of(name)
    return f"{account_text(name)}: {providers.get(owner, owner)}" if owner else account_text(name)


def _csv_head() -> list[str]:
    return [
        *(gettext("Time (UTC+8)"), gettext("Entry"), gettext("Cause"), gettext("Debit"), gettext("Credit")),
        *(gettext("Amount"), gettext("Currency"), gettext("Charge"), gettext("Your order number")),
        gettext("Store"),
    ]


def _csv_rows(wanted: Wanted) -> Iterator[list[str]]:
    names = stores.names_of(wanted.merchant_id, livemode=wanted.livemode)
    providers = provider_names()
    for row in statements.entries_of(wanted):
        yield [
            to_beijing(row.posted_at),
            event_text(row.event),
            row.cause_id,
            _account_name(row.debit, providers),
            _account_name(row.credit, providers),
            Money(row.amount_minor, row.currency).major(),
            row.currency,
            row.charge_id or "",
            row.order_no or "",
            names.get(row.store_id or "", ""),
        ]


def _file(content: str | bytes, kind: str, name: str) -> Response:
    response = Response(content, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


open_room(bp)
