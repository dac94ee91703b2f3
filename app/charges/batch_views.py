"""The dashboard's form for many charges: a file goes up, a report for each line comes back."""

from __future__ import annotations

import csv
import io

from flask import Blueprint, Response, make_response, render_template, request
from flask_babel import gettext

from app.charges import batch
from app.charges.batch import Outcome
from app.errors import InvalidRequest
from app.merchants.auth import me
from app.merchants.views import livemode, open_room

# A spreadsheet takes a cell that begins so for a formula, and does what it says.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

bp = Blueprint("batch", __name__)
open_room(bp)


@bp.get("/charges/batch")
def show() -> Response:
    """The form."""
    return _page()


@bp.post("/charges/batch")
def upload() -> Response:
    """Make the charges, and report on the page or as a file.  The same file again makes nothing twice."""
    file = request.files.get("file")
    body = b"" if file is None else file.read()
    if not body:
        return _page(faults={"file": gettext("Choose a file.")}, status=400)
    try:
        lines = batch.read_lines(body)
    except InvalidRequest as error:
        # The fault names a column or a line of the merchant's own file.
        text = gettext("Nothing was made of this file: %(reason)s", reason=error.detail)
        return _page(faults={"file": text}, status=400)
    outcomes = batch.create_charges(me().merchant_id, lines, livemode=livemode())
    if request.form.get("report") == "file":
        return _file(outcomes)
    return _page(outcomes=outcomes)


def report_csv(outcomes: list[Outcome]) -> str:
    """The report for a spreadsheet, with its byte order mark and without formulas.  Pure but for links."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["line", "merchant_order_no", "outcome", "charge", "url", "column", "message"])
    for each in outcomes:
        column = getattr(each.error, "param", None) or ""
        message = "" if each.error is None else each.error.detail
        charge_id = "" if each.charge is None else each.charge.id
        cells = [str(each.number), each.order_no, each.word, charge_id, each.link, column, message]
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return "\ufeff" + out.getvalue()


def _file(outcomes: list[Outcome]) -> Response:
    response = Response(report_csv(outcomes), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="mafu-report.csv"'
    return response


def _page(
    *, outcomes: list[Outcome] | None = None, faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    words = [each.word for each in outcomes or []]
    page = render_template(
        "dashboard/batch.html",
        outcomes=outcomes,
        counts={word: words.count(word) for word in ("created", "existing", "failed")},
        faults=faults or {},
        lines_max=batch.LINES_MAX,
    )
    return make_response(page, status)
