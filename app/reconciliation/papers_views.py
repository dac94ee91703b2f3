"""The statement of a day as files: PDF for people, CSV for a spreadsheet, JSON with its signature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from flask import Blueprint, Response, request
from flask_babel import gettext, pgettext

from app import clock, i18n
from app.charges import statement_paper
from app.charges.statement_paper import Paper, Table
from app.charges.statement_views import provider_names
from app.errors import NotFound
from app.merchants.auth import me
from app.merchants.views import livemode, open_room
from app.money import EXPONENTS, Money
from app.providers import REGISTRY
from app.reconciliation import days, statement, words_views
from app.reconciliation.overview import AccountDay, Day
from app.reconciliation.proof import Proof, Sum
from app.reconciliation.statement import Statement
from app.reconciliation.states import ItemState, Resolution, Sort
from app.runtime import settings

ITEMS_MAX = 400  # on paper: whoever has more looks at the CSV

bp = Blueprint("reconciliation_papers", __name__, url_prefix="/reconciliation")


@bp.get("/<day>/statement.pdf")
def download_pdf(day: str) -> Response:
    """To read, file and send on."""
    told = _statement(day)
    content = statement_paper.pdf_of(paper_of(told, _signature(told)))
    return _file(content, "application/pdf", f"mafu-reconciliation-{day}.pdf")


@bp.get("/<day>/statement.csv")
def download_csv(day: str) -> Response:
    """Each discrepancy."""
    pieces = statement_paper.csv_of(_csv_head(), _csv_rows(_statement(day)))
    return _file("".join(pieces), "text/csv; charset=utf-8", f"mafu-reconciliation-{day}.csv")


@bp.get("/<day>/statement.json")
def download_json(day: str) -> Response:
    """All of it, signed: ``flask reconcile verify`` reads it."""
    text = statement.signed(statement.facts_of(_statement(day)), settings().secret_keys)
    return _file(text, "application/json", f"mafu-reconciliation-{day}.json")


def paper_of(told: Statement, signature: str) -> Paper:
    """What stands on the sheets, in the reader's language."""
    day, providers = told.day, provider_names()
    return Paper(
        title=gettext("Reconciliation of a day"),
        facts=(
            (gettext("Merchant"), told.merchant),
            (gettext("Day"), str(day.day)),
            (gettext("Result"), _result(day)),
            (gettext("Lines matched"), gettext("%(matched)d of %(all)d", matched=day.matched, all=day.lines)),
            (gettext("As of"), f"{clock.to_beijing(told.as_of)} (UTC+8)"),
            (gettext("Digital signature"), signature),
        ),
        tables=(
            *(table for each in day.accounts for table in _account_tables(each, providers)),
            *_todo_tables(told),
            *_item_tables(told),
        ),
        foot=gettext("By our books = by the bill + named items. Amounts that left you are negative."),
        warning="" if told.livemode else gettext("Test mode") + ": " + gettext("No money moves here."),
        language=i18n.language(),
    )


def _result(day: Day) -> str:
    if day.is_good:
        return gettext("It adds up, and nothing is open.")
    if day.open:
        return gettext("%(num)d discrepancies are open: see what to do next", num=day.open)
    return gettext("A bill is missing, or something is not explained.")


def _account_tables(each: AccountDay, providers: dict[str, str]) -> Iterator[Table]:
    name = providers.get(each.row.account_id, each.row.account_id)
    state = str(words_views.DAYS[each.row.state][0])
    begins, ends = days.span_of(REGISTRY[each.row.provider].info.bill_cut, each.row.day)
    span = f"{clock.to_beijing(begins)[:16]} – {clock.to_beijing(ends)[:16]}"
    if not each.summary.proofs:
        yield Table(f"{name}: {state}", (span,), ((state,),))
    for proof in each.summary.proofs:
        yield _proof_table(f"{name} · {proof.currency} · {span}", proof)


def _proof_table(title: str, proof: Proof) -> Table:
    """``bill + items = ours``, block after block, as an accountant adds up."""
    rows = [row for each in proof.sums for row in _sum_rows(each, proof.currency)]
    net_here = sum(each.here_minor for each in proof.sums)
    verdict = gettext("proven to the cent") if proof.is_proven else gettext("NOT proven")
    rows.append(
        (gettext("Net by our books: %(verdict)s", verdict=verdict), "", _money(net_here, proof.currency))
    )
    return Table(title, ("", gettext("Number"), gettext("Amount")), tuple(rows), has_total=True)


def _sum_rows(each: Sum, currency: str) -> Iterator[tuple[str, str, str]]:
    name = str(words_views.SUMS[each.what])
    is_fee = each.what == "fees"
    counts = ("", "") if is_fee else (str(each.there_count), str(each.here_count))
    yield (gettext("%(what)s by the bill", what=name), counts[0], _money(each.there_minor, currency))
    for term in each.terms:
        yield (
            f"   ± {words_views.TERMS[term.name]}",
            str(term.count),
            _money(term.minor, currency, sign=True),
        )
    if each.unexplained_minor:
        text = f"   ± {gettext('not explained')}"
        yield (text, "", _money(each.unexplained_minor, currency, sign=True))
    yield (gettext("= %(what)s by our books", what=name), counts[1], _money(each.here_minor, currency))


def _todo_tables(told: Statement) -> Iterator[Table]:
    """What is open, by kind, and what to do next about each."""
    waiting = [row for row in told.items if row.state != ItemState.RESOLVED]
    rows = []
    for sort in Sort:
        count = sum(row.sort == sort for row in waiting)
        if count:
            rows.append((f"{words_views.SORTS[sort]}", str(count)))
            rows.append((f"   → {words_views.TODO[sort]}", ""))
    if rows:
        yield Table(gettext("What to do next"), ("", gettext("Number open")), tuple(rows))


def _item_tables(told: Statement) -> Iterator[Table]:
    shown = [row for row in told.items if row.resolution != Resolution.HEALED]
    rows = [
        (
            f"{words_views.SORTS[row.sort]} · {row.out_trade_no or row.provider_ref or row.detail[:40]}",
            _money(row.here_minor, row.currency),
            _money(row.there_minor, row.currency),
            str(words_views.STATES[row.state][0]),
        )
        for row in shown[:ITEMS_MAX]
    ]
    if len(shown) > ITEMS_MAX:
        rows.append((gettext("and %(num)d more: see the CSV", num=len(shown) - ITEMS_MAX), "", "", ""))
    head = (gettext("Discrepancy"), gettext("Our books"), gettext("Bill"), gettext("State"))
    yield Table(gettext("Discrepancies"), head, tuple(rows))


def _csv_head() -> list[str]:
    return [
        *(gettext("Day"), gettext("Provider account"), gettext("Type"), "out_trade_no"),
        *(gettext("Provider's number"), gettext("Currency"), gettext("Our books"), gettext("Bill")),
        *(gettext("State"), gettext("How it ended"), pgettext("discrepancy", "Owner"), gettext("Note")),
        *(gettext("Detail"), gettext("Charge"), gettext("Line"), gettext("Opened (UTC+8)")),
    ]


def _csv_rows(told: Statement) -> Iterator[list[str]]:
    providers = provider_names()
    for row in told.items:
        ended = "" if row.resolution is None else str(words_views.RESOLUTIONS[row.resolution])
        yield [
            *(str(row.day), providers.get(row.account_id, row.account_id), str(words_views.SORTS[row.sort])),
            *(row.out_trade_no, row.provider_ref, row.currency),
            *(_plain(row.here_minor, row.currency), _plain(row.there_minor, row.currency)),
            *(str(words_views.STATES[row.state][0]), ended, row.owner or "", row.note, row.detail),
            *(
                row.charge_id or "",
                "" if row.line is None else str(row.line),
                clock.to_beijing(row.opened_at),
            ),
        ]


def _statement(text: str) -> Statement:
    """Raises NotFound."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise NotFound("no such day") from None
    account_id = request.args.get("account", "")
    return statement.statement_of(
        me().merchant_id,
        me().merchant_name,
        livemode=livemode(),
        day=day,
        account_id=account_id or None,
    )


def _signature(told: Statement) -> str:
    """As the JSON of the same state carries it: whoever has both can hold one against the other."""
    return statement.signature_of(statement.facts_of(told), settings().secret_keys)


def _money(minor: int | None, currency: str, *, sign: bool = False) -> str:
    if minor is None or currency not in EXPONENTS:
        return "–"
    text = Money(minor, currency).text()
    return f"+{text}" if sign and minor > 0 else text


def _plain(minor: int | None, currency: str) -> str:
    return "" if minor is None or currency not in EXPONENTS else Money(minor, currency).major()


def _file(content: str | bytes, kind: str, name: str) -> Response:
    response = Response(content, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


open_room(bp)
