"""The dashboard's room for API keys: full and restricted ones are made, rolled and revoked."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.db import transaction
from app.errors import Conflict, InvalidRequest
from app.merchants import keys
from app.merchants.auth import actor, me
from app.merchants.keys import Caller, prefix_of
from app.merchants.scopes import Scope, read_stored, scopes_of
from app.merchants.views import faults_of, livemode, open_room

OVERLAPS_S = (0, 3600, 86400, 7 * 86400)

# What a scope is about, in the order of the form.
RESOURCES = {
    "charges": _l("Charges"),
    "refunds": _l("Refunds"),
    "balance": _l("Balance"),
    "members": _l("Members"),
    "topups": _l("Top-ups"),
    "debits": _l("Spent from balances"),
    "adjustments": _l("Balances changed by hand"),
    "codes": _l("Printed codes"),
    "events": _l("Events"),
    "webhooks": _l("Webhooks"),
    "keys": _l("API keys"),
    "logs": _l("Request log"),
}
_FAULTS = {
    "name": _l("A name has 1 to 80 characters."),
    "scopes": _l("Choose what a restricted key may do."),
}

bp = Blueprint("keys", __name__)
open_room(bp)


@bp.get("/keys")
def list_keys() -> Response:
    """The keys of this mode."""
    return _page()


@bp.post("/keys")
def create_key() -> Response:
    """Make a key and show it: in this answer, which is stored nowhere, and never again."""
    is_restricted = request.form.get("reach") == "restricted"
    try:
        _, key = keys.create_key(
            me().merchant_id,
            livemode=livemode(),
            name=request.form.get("name", ""),
            scopes=scopes_of(request.form.getlist("scopes")) if is_restricted else None,
            by=actor(),
        )
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except Conflict:
        return _page(faults={"": gettext("There are too many keys. Revoke one first.")}, status=409)
    return _page(fresh_key=key, status=201)


@bp.post("/keys/<key_id>/roll")
def roll_key(key_id: str) -> Response:
    """A new key for the old one, shown once; the old one lives on for as long as was chosen."""
    keys.find_key(me().merchant_id, key_id, livemode=livemode())
    overlap_s = request.form.get("overlap_s", "")
    if overlap_s not in map(str, OVERLAPS_S):
        return _page(faults={"": gettext("Choose how long the old key still works.")}, status=400)
    try:
        with transaction() as tx:
            _, key = keys.roll_key(
                tx, Caller(me().merchant_id, "", livemode()), key_id, overlap_s=int(overlap_s), by=actor()
            )
    except Conflict:
        return _page(faults={"": gettext("This key was rolled or revoked before.")}, status=409)
    return _page(fresh_key=key, status=201)


@bp.post("/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> BaseResponse:
    """From now on it opens nothing."""
    keys.revoke_key(me().merchant_id, key_id, by=actor())
    return redirect(url_for("keys.list_keys", notice="revoked"), 303)


def _page(
    *, fresh_key: str | None = None, faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    rows = [row for row in keys.list_keys(me().merchant_id) if row.livemode == livemode()]
    page = render_template(
        "dashboard/keys.html",
        keys=rows,
        prefix_of=prefix_of,
        scopes_of={row.id: sorted(read_stored(row.scopes)) for row in rows if row.scopes is not None},
        resources=RESOURCES,
        all_scopes=set(Scope),
        overlaps_s=OVERLAPS_S,
        fresh_key=fresh_key,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)
