"""The dashboard's room for the audit log: what was done, by whom, and from where."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request, url_for

from app.merchants import audit
from app.merchants.audit import Action, AuditFilter
from app.merchants.auth import me
from app.merchants.views import open_room

bp = Blueprint("audit", __name__, url_prefix="/audit")
open_room(bp)


@bp.get("")
def list_entries() -> str:
    """Filters and the cursor are in the address."""
    wanted = _wanted()
    rows, has_more = audit.search(me().merchant_id, wanted)
    kept = _kept()
    return render_template(
        "dashboard/audit.html",
        entries=rows,
        wanted=wanted,
        kinds=sorted({action.partition(".")[0] for action in Action}),
        older=has_more and _here(**kept, before=str(rows[-1].number)),
        newest=wanted.before is not None and _here(**kept),
        export=url_for("audit.export") + "?" + urlencode(kept),
    )


@bp.get("/export.csv")
def export() -> Response:
    """The same rows for a spreadsheet."""
    pieces = audit.export_csv(me().merchant_id, _wanted())
    response = Response("".join(pieces), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="mafu-audit.csv"'
    return response


def _here(**kept: str) -> str:
    return url_for("audit.list_entries") + "?" + urlencode(kept)


def _wanted() -> AuditFilter:
    kept, before = _kept(), request.args.get("before", "")
    return AuditFilter(
        actor=kept.get("who"),
        action=kept.get("what"),
        object_id=kept.get("object"),
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None,
    )


def _kept() -> dict[str, str]:
    """The filters that are set."""
    typed = {name: request.args.get(name, "").strip()[:254] for name in ("who", "what", "object")}
    return {name: text for name, text in typed.items() if text and "\x00" not in text}
