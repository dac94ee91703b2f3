"""The dashboard's room for stores: where printed codes hang."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.db import transaction
from app.errors import Conflict, InvalidRequest
from app.merchants import stores
from app.merchants.auth import me
from app.merchants.stores import StoreTerms
from app.merchants.views import faults_of, livemode, open_room

_FAULTS = {
    "name": _l("A name has 1 to 80 characters."),
    "address": _l("An address has at most 120 characters, on one line."),
}

bp = Blueprint("stores", __name__)
open_room(bp)


@bp.get("/stores")
def list_stores() -> Response:
    """The stores of this mode, and a form for another."""
    return _page()


@bp.post("/stores")
def create_store() -> Response | BaseResponse:
    """Add one."""
    try:
        new = StoreTerms(request.form.get("name", ""), request.form.get("address", ""))
        with transaction() as tx:
            stores.add_store(tx, me().merchant_id, new, livemode=livemode())
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except Conflict:
        return _page(faults={"": gettext("There are too many stores in this mode.")}, status=409)
    return redirect(url_for("stores.list_stores", notice="saved"), 303)


@bp.get("/stores/<store_id>")
def edit_store(store_id: str) -> Response:
    """The form for one."""
    return _store_page(store_id)


@bp.post("/stores/<store_id>")
def change_store(store_id: str) -> Response | BaseResponse:
    """All codes that hang there show it from the next scan on."""
    try:
        with transaction() as tx:
            stores.change_store(
                tx,
                me().merchant_id,
                store_id,
                livemode=livemode(),
                name=request.form.get("name", ""),
                address=request.form.get("address", ""),
            )
    except InvalidRequest as error:
        return _store_page(store_id, faults=faults_of(error, _FAULTS), status=400)
    return redirect(url_for("stores.list_stores", notice="saved"), 303)


def _page(*, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    rows, _ = stores.page_of_stores(me().merchant_id, livemode=livemode())
    page = render_template("dashboard/stores.html", stores=rows, faults=faults or {}, form=request.form)
    return make_response(page, status)


def _store_page(store_id: str, *, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    store = stores.find_store(me().merchant_id, store_id, livemode=livemode())
    page = render_template("dashboard/store.html", store=store, faults=faults or {}, form=request.form)
    return make_response(page, status)
