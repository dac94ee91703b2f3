"""The dashboard's simulator: a charge at the left, a shopper's phone at the right, and levers below."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.answers import POLICY
from app.charges import attempts, forms, lifecycle, simulator, test_helpers
from app.charges.commands import NewCharge
from app.charges.present import link_of
from app.charges.simulator import Deed
from app.charges.till_views import CURRENCY
from app.errors import Conflict, InvalidRequest, ProviderError
from app.merchants import accounts
from app.merchants.auth import me
from app.merchants.views import livemode, open_room
from app.providers.base import Scene
from app.runtime import settings
from app.webhooks import history
from app.webhooks.history import Page

EVENTS_SHOWN = 10
SCENES = (Scene.MOBILE, Scene.WECHAT, Scene.ALIPAY, Scene.UNIONPAY, Scene.DESKTOP)

_AMOUNT_FAULT = _l("Enter an amount such as 12.50, at least 0.01 and at most 100,000,000.")
_REFUSALS = {
    "no_sandbox": _l("The sandbox does not know this payment, or none is set up: MAFU_SANDBOX_URL."),
    "charge_not_payable": _l("The charge has ended, and nobody had begun to pay it this way."),
    "provider_not_set_up": _l("This takes a wallet that is not set up in test mode."),
    "charge_paid": _l("The charge is paid: that can no longer happen to it."),
    "charge_canceled": _l("The charge is canceled: that can no longer happen to it."),
}

bp = Blueprint("simulator", __name__, url_prefix="/simulator")
open_room(bp)


@bp.get("")
def new() -> Response:
    """An amount to play with; or why there is nothing to play with."""
    return _start_page()


@bp.post("")
def start() -> Response | BaseResponse:
    """A charge in test mode."""
    test_helpers.only_in_test_mode(livemode())
    try:
        new = NewCharge(
            forms.amount_of(request.form.get("amount", ""), CURRENCY), gettext("In the simulator")
        )
    except InvalidRequest:
        return _start_page({"amount": str(_AMOUNT_FAULT)}, 400)
    charge = lifecycle.open_charge(me().merchant_id, livemode=False, new=new)
    return redirect(url_for("simulator.show", charge_id=charge.id), 303)


@bp.get("/<charge_id>")
def show(charge_id: str) -> Response:
    """The charge as it stands, and the phone."""
    return _page(charge_id)


@bp.post("/<charge_id>")
def act(charge_id: str) -> Response | BaseResponse:
    """Pull one lever."""
    test_helpers.only_in_test_mode(livemode())
    wanted, provider = request.form.get("deed", ""), request.form.get("provider") or None
    kept: dict[str, Any] = {
        name: text for name in ("scene", "provider") if (text := request.form.get(name, ""))
    }
    try:
        if wanted not in set(Deed):
            raise InvalidRequest("no such lever")
        simulator.act(me().merchant_id, charge_id, Deed(wanted), provider)
    except (Conflict, InvalidRequest, ProviderError) as refusal:
        text = str(_REFUSALS.get(refusal.code) or gettext("Nothing came of it: %(why)s.", why=refusal.detail))
        return _page(charge_id, text, 409)
    return redirect(url_for("simulator.show", charge_id=charge_id, done=wanted, **kept), 303)


def _start_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    page = render_template(
        "dashboard/simulator_start.html",
        has_sandbox=bool(settings().sandbox_origin),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _page(charge_id: str, fault: str = "", status: int = 200) -> Response:
    charge = lifecycle.find(me().merchant_id, charge_id, livemode=False)
    scene, chosen = request.values.get("scene", ""), request.values.get("provider", "")
    said = Scene(scene) if scene in SCENES else Scene.MOBILE
    events, _ = history.list_events(
        charge.merchant_id, livemode=False, object_id=charge.id, page=Page(limit=EVENTS_SHOWN)
    )
    page = render_template(
        "dashboard/simulator.html",
        charge=charge,
        livemode=False,
        attempts=attempts.list_attempts(charge.merchant_id, charge.id),
        events=events,
        deeds=list(Deed),
        done=request.args.get("done", ""),
        providers=[row.provider for row in accounts.list_accounts(charge.merchant_id, livemode=False)],
        chosen=chosen,
        scenes=SCENES,
        scene=said,
        phone=urlsplit(link_of(charge)).path + "?" + urlencode({"scene": said}),
        has_sandbox=bool(settings().sandbox_origin),
        fault=fault,
    )
    response = make_response(page, status)
    # The one page of ours with a frame in it: of our own checkout, and of the sandbox that it leads to.
    response.headers["Content-Security-Policy"] = f"{POLICY}; frame-src {' '.join(_framed())}"
    return response


def _framed() -> list[str]:
    """Whose pages the phone shows: ours, and the sandbox's, as this machine and as other ones call it."""
    sandbox, host = urlsplit(settings().sandbox_origin), urlsplit(settings().origin).hostname
    if not sandbox.netloc:
        return ["'self'"]
    port = f":{sandbox.port}" if sandbox.port else ""
    return sorted({"'self'", f"{sandbox.scheme}://{sandbox.netloc}", f"{sandbox.scheme}://{host}{port}"})
