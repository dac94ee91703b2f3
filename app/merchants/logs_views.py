"""The dashboard's room for the request log: what a developer asked the API, and what it said."""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.errors import NotFound
from app.ids import is_id
from app.merchants import journal, keys
from app.merchants.auth import me
from app.merchants.journal import LogFilter
from app.merchants.logs_api import STATUSES
from app.merchants.views import livemode, open_room
from app.runtime import settings

PAGE = 30

bp = Blueprint("request_logs", __name__)
open_room(bp)


@bp.get("/logs")
def list_calls() -> str | BaseResponse:
    """Filters and cursors are in the address, so a list can be sent to a colleague."""
    text, status, key_id = (
        request.args.get(name, "").replace("\x00", "").strip()[:64] for name in ("q", "status", "key")
    )
    if is_id(text, "req"):
        with suppress(NotFound):
            row = journal.find(me().merchant_id, text, livemode=livemode())
            return redirect(url_for("request_logs.show_call", request_id=row.id))
    wanted = LogFilter(
        key_id=key_id or None,
        statuses=STATUSES.get(status),
        object_id=text or None,
        starting_after=_cursor("after"),
        ending_before=_cursor("before"),
        limit=PAGE,
    )
    rows, has_more = journal.search(me().merchant_id, livemode=livemode(), wanted=wanted)
    backwards = wanted.ending_before is not None
    return render_template(
        "dashboard/logs.html",
        calls=rows,
        older=rows and (backwards or has_more) and _turn(after=rows[-1].id),
        newer=rows
        and (has_more if backwards else wanted.starting_after is not None)
        and _turn(before=rows[0].id),
        wanted=wanted,
        status=status,
        keys=[key for key in keys.list_keys(me().merchant_id) if key.livemode == livemode()],
        days=settings().request_log_days,
    )


@bp.get("/logs/<request_id>")
def show_call(request_id: str) -> str:
    """One call with both bodies."""
    row = journal.find(me().merchant_id, request_id, livemode=livemode())
    return render_template(
        "dashboard/log.html",
        call=row,
        key=next((key for key in keys.list_keys(me().merchant_id) if key.id == row.key_id), None),
        asked=_laid_out(row.request_body),
        told=_laid_out(row.answer_body),
    )


def _cursor(name: str) -> str | None:
    cursor = request.args.get(name, "")
    return cursor if is_id(cursor, "req") else None


def _turn(**cursor: str) -> str:
    kept = {name: value for name, value in request.args.items() if name in ("q", "status", "key")}
    return url_for("request_logs.list_calls") + "?" + urlencode({**kept, **cursor})


def _laid_out(body: str) -> str:
    """JSON with a line for each value; what is no JSON, or was cut, as it is."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        return body
