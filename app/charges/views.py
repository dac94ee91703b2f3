"""The dashboard's rooms for the books: home, charges and their codes, unclaimed money, incidents."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.answers import qr_answer
from app.charges import (
    decisions,
    dossier,
    forms,
    incidents,
    inquiry,
    lifecycle,
    overview,
    saved_views,
    search,
    till,
    unclaimed,
)
from app.charges.decisions import Press
from app.charges.present import charge_json, link_of
from app.charges.search import Turn
from app.charges.states import ChargeState, RefundState
from app.errors import Conflict, IdempotencyMismatch, InvalidRequest, NotFound, ProviderUnreachable
from app.ids import is_id
from app.merchants import accounts
from app.merchants.auth import actor, me
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.merchants.stores import names_of, page_of_stores
from app.merchants.views import bp as front
from app.merchants.views import faults_of, livemode, open_room
from app.providers import REGISTRY
from app.qr import render
from app.qr.encode import Level
from app.qr.render import Kind
from app.runtime import settings

PAGE = 20
DOWNLOAD_PX = 1200

_FAULTS = {
    "amount": _l("Enter an amount such as 12.50, at least 0.01 and at most 100,000,000."),
    "description": _l("Say in 1 to 127 characters, on one line, what is paid for."),
    "merchant_order_no": _l("An order number has 1 to 64 letters, digits or signs, without spaces."),
    "currency": _l("Choose one of the currencies."),
    "expires_in_s": _l("Choose how long the code is valid."),
    "store": _l("Choose one of the stores."),
}

bp = Blueprint("charges", __name__)


@front.get("/")
def home() -> str:
    """The shop at a glance."""
    seen = overview.overview_of(me().merchant_id, livemode=livemode())
    return render_template("dashboard/home.html", seen=seen, bars=overview.bars_of(seen.days))


@bp.get("/charges")
def list_charges() -> str | BaseResponse:
    """Filters and cursors are in the address, so a list can be bookmarked and sent to a colleague."""
    who, wanted = me(), search.read_wanted(request.args)
    if is_id(wanted.text, "ch"):
        with suppress(NotFound):
            return redirect(
                url_for("charges.show", charge_id=lifecycle.find(who.merchant_id, wanted.text).id)
            )
    turn = Turn(PAGE, request.args.get("after"), request.args.get("before"))
    rows, has_more = search.page_of(who.merchant_id, livemode=livemode(), wanted=wanted, turn=turn)
    backwards = turn.before is not None
    kept: dict[str, Any] = {**wanted.query(), "mode": "live" if livemode() else "test"}
    return render_template(
        "dashboard/charges.html",
        charges=rows,
        older=rows and (backwards or has_more) and url_for("charges.list_charges", **kept, after=rows[-1].id),
        newer=rows
        and (has_more if backwards else turn.after is not None)
        and url_for("charges.list_charges", **kept, before=rows[0].id),
        wanted=wanted,
        kept=kept,
        is_turned=turn.after is not None or backwards,
        states=list(ChargeState),
        providers=list(REGISTRY),
        stores=page_of_stores(who.merchant_id, livemode=livemode())[0],
        views=saved_views.list_views(who.merchant_id, who.user_id),
        here=saved_views.query_of(wanted),
    )


@bp.get("/charges/new")
def new_charge() -> Response:
    """The form."""
    return _form_page()


@bp.post("/charges/new")
def create_charge() -> Response | BaseResponse:
    """Make a charge and show its code.  A form sent twice, by a double click, makes one."""
    who, by = Caller(me().merchant_id, "", livemode()), actor()
    token = request.form.get("token", "")[:64]
    try:
        new = forms.read_new_charge(request.form)
        answer = once(
            who,
            f"form:{token}" if token.isalnum() else None,
            (request.method, request.path, as_sent()),
            lambda tx: Answer(
                json.dumps(till.sell(tx, who.merchant_id, livemode=who.livemode, new=new, by=by).id)
            ),
        )
    except InvalidRequest as error:
        return _form_page(faults_of(error, _FAULTS), status=400)
    except IdempotencyMismatch:
        return _form_page(
            {"": gettext("This form was sent before. Send it again to make another charge.")}, 409
        )
    except Conflict as error:
        if error.code != "merchant_order_no_taken":
            raise
        text = gettext("A charge with other content has this order number.")
        return _form_page({"merchant_order_no": text}, status=409)
    return redirect(url_for("charges.show", charge_id=json.loads(answer.body)), 303)


@bp.get("/charges/<charge_id>")
def show(charge_id: str) -> str:
    """All that is known of a charge, in either mode: the page says which."""
    known = dossier.compile_dossier(me().merchant_id, charge_id)
    as_json = charge_json(known.charge)
    return render_template(
        "dashboard/charge.html",
        known=known,
        charge=known.charge,
        livemode=known.charge.livemode,
        store=names_of(me().merchant_id, livemode=known.charge.livemode).get(known.charge.store_id or ""),
        link=link_of(known.charge),
        raw=json.dumps(as_json, ensure_ascii=False, indent=2, default=str),
        curl=forms.curl_for(settings().origin, as_json),
    )


@bp.post("/charges/<charge_id>/cancel")
def cancel(charge_id: str) -> BaseResponse:
    """Withdraw an unpaid charge; the page says what came of it."""
    try:
        lifecycle.cancel_charge(me().merchant_id, charge_id)
        notice = "canceled"
    except Conflict:
        notice = "too_late"
    except ProviderUnreachable:
        notice = "unreachable"
    return redirect(url_for("charges.show", charge_id=charge_id, notice=notice), 303)


@bp.post("/charges/<charge_id>/ask")
def ask(charge_id: str) -> BaseResponse:
    """Ask the provider now; the page says what it answered."""
    notice = inquiry.ask_now(me().merchant_id, charge_id)
    return redirect(url_for("charges.show", charge_id=charge_id, notice=notice), 303)


@bp.get("/charges/<charge_id>/qr.svg")
def qr_svg(charge_id: str) -> Response:
    """The code as a drawing of any size."""
    return _image(charge_id, Kind.SVG)


@bp.get("/charges/<charge_id>/qr.png")
def qr_png(charge_id: str) -> Response:
    """The code as a picture, 10 cm wide at 300 dpi."""
    return _image(charge_id, Kind.PNG)


@bp.get("/unclaimed")
def list_unclaimed() -> str:
    """Money that no charge has taken, what can be done with it, and where all other money is."""
    who, mode = me().merchant_id, livemode()
    items, has_more = unclaimed.list_unclaimed(
        who, livemode=mode, before=request.args.get("after"), limit=PAGE
    )
    return render_template(
        "dashboard/unclaimed.html",
        items=items,
        older=has_more and url_for("charges.list_unclaimed", after=items[-1].row.id),
        sums=unclaimed.account_for(who, livemode=mode),
        decided=decisions.list_decisions(who, livemode=mode),
        note_chars_max=decisions.NOTE_CHARS_MAX,
    )


@bp.post("/unclaimed/<attempt_id>/accept")
def accept_unclaimed(attempt_id: str) -> BaseResponse:
    """It pays the charge that it came for; what is too much goes back or stays."""
    back = request.form.get("surplus") != "keep"
    return _decide(attempt_id, "accepted", lambda press: decisions.accept(press, return_surplus=back))


@bp.post("/unclaimed/<attempt_id>/match")
def match_unclaimed(attempt_id: str) -> BaseResponse:
    """It pays another charge, by id or order number."""
    back, wanted = request.form.get("surplus") != "keep", request.form.get("wanted", "")
    return _decide(attempt_id, "matched", lambda press: decisions.match(press, wanted, return_surplus=back))


@bp.post("/unclaimed/<attempt_id>/refund")
def refund_unclaimed(attempt_id: str) -> BaseResponse:
    """It goes back, all that waits of it."""

    def send_back(press: Press) -> str:
        return "awaiting" if decisions.refund(press) == RefundState.AWAITING else "sent_back"

    return _decide(attempt_id, "sent_back", send_back)


@bp.post("/unclaimed/<attempt_id>/set-aside")
def set_aside_unclaimed(attempt_id: str) -> BaseResponse:
    """It was settled elsewhere, as a note says."""
    note = request.form.get("note", "")
    return _decide(attempt_id, "set_aside", lambda press: decisions.set_aside(press, note))


@bp.get("/incidents")
def list_incidents() -> str:
    """What a person must judge."""
    rows, has_more = incidents.list_open(me().merchant_id, before=request.args.get("after"), limit=PAGE)
    older = has_more and url_for("charges.list_incidents", after=rows[-1].id)
    return render_template("dashboard/incidents.html", incidents=rows, older=older)


@bp.post("/incidents/<incident_id>/resolve")
def resolve_incident(incident_id: str) -> BaseResponse:
    """Take it off the list."""
    incidents.resolve(me().merchant_id, incident_id)
    return redirect(url_for("charges.list_incidents", notice="resolved"), 303)


@bp.app_context_processor
def _badges() -> dict[str, Any]:
    """What the frame of every room asks for: how much unclaimed money waits."""
    return {"count_unclaimed": lambda: unclaimed.count_unclaimed(me().merchant_id, livemode=livemode())}


def _decide(attempt_id: str, notice: str, act: Callable[[Press], str | None]) -> BaseResponse:
    """Do it as this person who saw so much waiting; the page says ``notice``, or what came of it instead."""
    seen = request.form.get("seen", "")
    seen_minor = int(seen) if seen.isascii() and seen.isdigit() and len(seen) <= 15 else 0
    try:
        notice = act(Press(me().merchant_id, attempt_id, seen_minor, me().email, actor())) or notice
    except Conflict as refusal:
        notice = refusal.code
    except InvalidRequest:
        notice = "note_missing"
    except NotFound as refusal:
        if refusal.code != "no_such_charge":
            raise
        notice = refusal.code
    return redirect(url_for("charges.list_unclaimed", notice=notice), 303)


# The guard and the proof of who sits there differ from one sending to the next.
_NOT_SENT = ("csrf_token", "proof_password", "proof_code", "proof_passkey")


def as_sent() -> bytes:
    """What tells one filled-in form from another: the body itself is gone once its fields are read."""
    return json.dumps(
        sorted((name, text) for name, text in request.form.items() if name not in _NOT_SENT)
    ).encode()


def _form_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    mine = {row.provider for row in accounts.list_accounts(me().merchant_id, livemode=livemode())}
    currencies = set().union(*[REGISTRY[provider].info.currencies for provider in mine])
    page = render_template(
        "dashboard/charge_new.html",
        currencies=sorted(currencies) or ["CNY"],
        has_provider=bool(mine),
        lifetimes=forms.LIFETIMES_S,
        stores=names_of(me().merchant_id, livemode=livemode()),
        token=secrets.token_hex(16),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _image(charge_id: str, kind: Kind) -> Response:
    charge = lifecycle.find(me().merchant_id, charge_id)
    response = qr_answer(
        link_of(charge), kind=kind, level=Level.M, size_px=min(DOWNLOAD_PX, render.SIZE_PX_MAX)
    )
    if "download" in request.args:
        response.headers["Content-Disposition"] = f'attachment; filename="{charge.id}.{kind}"'
    return response


open_room(bp)
