"""The dashboard's rooms for money going back: the form, its confirmation, and the list of all refunds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app.charges import approvals, forms, lifecycle, refund_search, refunds
from app.charges.commands import NewRefund
from app.charges.refund_search import RefundFilter
from app.charges.states import ChargeState, RefundState
from app.charges.views import PAGE, as_sent
from app.db import transaction
from app.errors import Conflict, IdempotencyMismatch, InvalidRequest
from app.merchants import policy
from app.merchants.auth import actor, me
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.merchants.views import faults_of, livemode, open_room
from app.money import Money
from app.purses.change import TOO_LOW

_FAULTS = {
    "amount": _l("Enter an amount such as 12.50, at least 0.01 and at most what is left."),
    "reason": _l("A reason has at most 80 characters, on one line."),
}

bp = Blueprint("refunds", __name__)


class Shown(StrEnum):
    """What the list is narrowed to."""

    AWAITING = "awaiting"  # a second person's approval
    PENDING = "pending"
    ATTENTION = "attention"  # pending, and somebody must do something at the provider
    SUCCEEDED = "succeeded"
    FAILED = "failed"


_STATES = {
    Shown.AWAITING: RefundState.AWAITING,
    Shown.PENDING: RefundState.RESERVED,
    Shown.ATTENTION: RefundState.RESERVED,
    Shown.SUCCEEDED: RefundState.SUCCEEDED,
    Shown.FAILED: RefundState.FAILED,
}


@bp.get("/refunds")
def list_refunds() -> str:
    """All of them, newest first; the filter and the cursor are in the address."""
    status = request.args.get("status", "")
    shown = Shown(status) if status in set(Shown) else None
    wanted = RefundFilter(
        state=_STATES[shown] if shown else None,
        needs_person=shown is Shown.ATTENTION,
        starting_after=request.args.get("after"),
        ending_before=request.args.get("before"),
        limit=PAGE,
    )
    rows, has_more = refund_search.search(me().merchant_id, livemode=livemode(), wanted=wanted)
    backwards = wanted.ending_before is not None
    return render_template(
        "dashboard/refunds.html",
        refunds=rows,
        older=rows and (backwards or has_more) and _turn(shown, after=rows[-1].id),
        newer=rows
        and (has_more if backwards else wanted.starting_after is not None)
        and _turn(shown, before=rows[0].id),
        shown=shown,
        choices=list(Shown),
        is_first=wanted.starting_after is None and not backwards,
    )


@bp.get("/charges/<charge_id>/refund")
def new_refund(charge_id: str) -> Response:
    """The form; filled in, the question whether that is what is meant.  It needs no script."""
    charge = lifecycle.find(me().merchant_id, charge_id)
    if "amount" not in request.args or "change" in request.args:
        return _form_page(charge, {})
    try:
        new = _read(charge, request.args)
        if (new.amount_minor or 0) > _left_minor(charge):
            raise InvalidRequest("more than is left", param="amount")
    except InvalidRequest as error:
        return _form_page(charge, faults_of(error, _FAULTS), 400)
    page = render_template(
        "dashboard/refund_confirm.html",
        charge=charge,
        livemode=charge.livemode,
        amount_minor=new.amount_minor,
        left_minor=_left_minor(charge),
        is_held=policy.policy_of(charge.merchant_id).holds_back(
            actor(), charge.refunded_minor + (new.amount_minor or 0)
        ),
        token=secrets.token_hex(16),
        form=request.args,
    )
    return make_response(page)


@bp.post("/charges/<charge_id>/refund")
def create_refund(charge_id: str) -> Response | BaseResponse:
    """Send the money back.  A form sent twice, by a double click, makes one refund."""
    charge = lifecycle.find(me().merchant_id, charge_id)
    who = Caller(me().merchant_id, "", charge.livemode)
    token = request.form.get("token", "")[:64]
    try:
        new = _read(charge, request.form)

        def work(tx: Connection) -> Answer:
            return Answer(json.dumps(refunds.create_refund(tx, who.merchant_id, new, by=actor()).id))

        answer = once(
            who,
            f"form:{token}" if token.isalnum() else None,
            (request.method, request.path, as_sent()),
            work,
        )
    except InvalidRequest as error:
        return _form_page(charge, faults_of(error, _FAULTS), 400)
    except IdempotencyMismatch:
        text = gettext("This form was sent before. Send it again to make another refund.")
        return _form_page(charge, {"": text}, 409)
    except Conflict as refusal:
        text = gettext("Meanwhile more of it went back. This is what is left now.")
        if refusal.code == TOO_LOW:
            text = gettext("The member has spent it: so much is not left of their balance or their bonus.")
        return _form_page(lifecycle.find(me().merchant_id, charge_id), {"": text}, 409)
    made = refund_search.find(who.merchant_id, json.loads(answer.body))
    return _back_to(charge.id, "awaiting" if made.state == RefundState.AWAITING else "refunding")


@bp.post("/refunds/<refund_id>/again")
def try_again(refund_id: str) -> BaseResponse:
    """Repeat a failed refund under a new number; twice is once."""
    refund, notice = refund_search.find(me().merchant_id, refund_id), "refunding"
    try:
        with transaction() as tx:
            refunds.try_again(tx, refund.merchant_id, refund.id, by=actor())
    except Conflict:
        notice = "not_refunded"
    return _back_to(refund.charge_id, notice)


@bp.post("/refunds/<refund_id>/approve")
def approve(refund_id: str) -> BaseResponse:
    """Have a refund sent that somebody else asked for."""
    return _decide(refund_id, approvals.approve, "refunding")


@bp.post("/refunds/<refund_id>/decline")
def decline(refund_id: str) -> BaseResponse:
    """Send nothing; what it had reserved can be refunded again."""
    return _decide(refund_id, approvals.decline, "declined")


def _decide(refund_id: str, act: Callable[..., None], notice: str) -> BaseResponse:
    refund = refund_search.find(me().merchant_id, refund_id)
    try:
        act(refund.merchant_id, refund.id, by=actor())
    except Conflict as refusal:
        notice = refusal.code
    return _back_to(refund.charge_id, notice)


def _back_to(charge_id: str | None, notice: str) -> BaseResponse:
    if charge_id is None:
        return redirect(url_for("refunds.list_refunds", notice=notice), 303)
    return redirect(url_for("charges.show", charge_id=charge_id, notice=notice, _anchor="refunds"), 303)


@bp.app_context_processor
def _badges() -> dict[str, Any]:
    """What the frame of every room asks for: how many refunds wait for approval."""
    return {"count_approvals": lambda: approvals.count_waiting(me().merchant_id, livemode=livemode())}


def _read(charge: sa.Row[Any], fields: Any) -> NewRefund:
    """What a person typed.  Raises InvalidRequest naming the field at fault."""
    amount = forms.amount_of(fields.get("amount", ""), charge.currency)
    return NewRefund(charge.id, amount.minor, fields.get("reason", "").strip())


def _form_page(charge: sa.Row[Any], faults: dict[str, str], status: int = 200) -> Response:
    page = render_template(
        "dashboard/refund_new.html",
        charge=charge,
        livemode=charge.livemode,
        left=Money(_left_minor(charge), charge.currency),
        faults=faults,
        form=request.values,
    )
    return make_response(page, status)


def _left_minor(charge: sa.Row[Any]) -> int:
    return int(charge.paid_minor - charge.refunded_minor) if charge.state == ChargeState.PAID else 0


def _turn(shown: Shown | None, **cursor: Any) -> str:
    """This list, from another page on."""
    kept: dict[str, Any] = {"status": shown} if shown else {}
    return url_for("refunds.list_refunds", **kept, **cursor)


open_room(bp)
