"""The dashboard's room for 易支付: the switch and its key, and what shops were told of their orders."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.epay import notices, orders, switch
from app.errors import Conflict
from app.ids import is_id
from app.merchants.auth import actor, me
from app.merchants.views import livemode, open_room
from app.runtime import settings

PAGE = 20

bp = Blueprint("epay", __name__, url_prefix="/epay")


@bp.get("")
def show() -> Response:
    """The switch of this mode, what to enter at the shop, and its orders."""
    return _page()


@bp.post("/enable")
def enable() -> Response:
    """Switch it on.  A key that is made now is shown in this answer, and never again."""
    key = switch.enable(me().merchant_id, livemode=livemode(), by=actor())
    return _page(fresh_key=key, status=201)


@bp.post("/disable")
def disable() -> BaseResponse:
    """Switch it off."""
    switch.disable(me().merchant_id, livemode=livemode(), by=actor())
    return redirect(url_for("epay.show", notice="saved"), 303)


@bp.post("/rotate")
def rotate() -> Response:
    """A new key, shown in this answer and never again."""
    key = switch.rotate(me().merchant_id, livemode=livemode(), by=actor())
    return _page(fresh_key=key, status=201)


@bp.post("/refunds")
def allow_refunds() -> BaseResponse:
    """Whether shops may send money back by ``act=refund``."""
    allowed = "allowed" in request.form
    switch.allow_refunds(me().merchant_id, allowed, livemode=livemode(), by=actor())
    return redirect(url_for("epay.show", notice="saved"), 303)


@bp.get("/orders/<order_id>")
def show_order(order_id: str) -> str:
    """An order, by its charge's id: the notice and every try of it."""
    order = orders.find_of_charge(me().merchant_id, order_id)
    return render_template(
        "dashboard/epay_order.html",
        order=order,
        livemode=order.livemode,
        tries=notices.list_tries(order.merchant_id, order.charge_id),
        can_resend=order.notice is not None and orders.is_paid(order),
    )


@bp.post("/orders/<order_id>/resend")
def resend(order_id: str) -> BaseResponse:
    """Tell the shop once more."""
    try:
        notices.resend(me().merchant_id, order_id)
        notice = "told_again"
    except Conflict:
        notice = "not_told"
    return redirect(url_for("epay.show_order", order_id=order_id, notice=notice), 303)


def _page(*, fresh_key: str | None = None, status: int = 200) -> Response:
    who, mode = me().merchant_id, livemode()
    after = request.args.get("after", "")
    rows: list[Any] = orders.list_orders(
        who, livemode=mode, limit=PAGE + 1, before=after if is_id(after, "ch") else None
    )
    page = render_template(
        "dashboard/epay.html",
        front=switch.find_row(who, livemode=mode),
        base=f"{settings().origin}/",
        fresh_key=fresh_key,
        orders=rows[:PAGE],
        older=url_for("epay.show", after=rows[PAGE - 1].charge_id) if len(rows) > PAGE else "",
    )
    return make_response(page, status)


open_room(bp)
