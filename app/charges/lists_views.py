"""What surrounds the list of charges: its export, and the names that a person gives to its filters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, redirect, request, stream_with_context, url_for
from flask_babel import gettext, pgettext
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges import export, saved_views, search
from app.charges.export import Words
from app.charges.states import ChargeState
from app.clock import to_beijing
from app.errors import Conflict, InvalidRequest
from app.merchants.auth import me
from app.merchants.views import livemode, open_room

bp = Blueprint("lists", __name__)


@bp.get("/charges.csv")
def export_charges() -> Response:
    """All charges that the filters of this address leave, as a file, row by row as they are read."""
    rows = export.csv_of(
        me().merchant_id, livemode=livemode(), wanted=search.read_wanted(request.args), words=_words()
    )
    response = Response(stream_with_context(rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{_file_name(clock.now())}"'
    response.headers["X-Accel-Buffering"] = "no"  # nginx would wait for more before it sends the first row
    return response


@bp.post("/charges/views")
def save_view() -> BaseResponse:
    """Keep the filters that the form was shown with."""
    wanted, notice = search.read_wanted(request.form), "view_saved"
    try:
        saved_views.save_view(me().merchant_id, me().user_id, request.form.get("name", ""), wanted)
    except InvalidRequest:
        notice = "view_unnamed"
    except Conflict as refusal:
        notice = refusal.code
    kept: dict[str, Any] = {**wanted.query(), "mode": "live" if livemode() else "test"}
    return redirect(url_for("charges.list_charges", **kept, notice=notice), 303)


@bp.post("/charges/views/<view_id>/delete")
def delete_view(view_id: str) -> BaseResponse:
    """Forget the name; the charges stay."""
    saved_views.delete_view(me().merchant_id, me().user_id, view_id)
    return redirect(url_for("charges.list_charges", notice="view_deleted"), 303)


def _file_name(now: datetime) -> str:
    return f"charges-{'live' if livemode() else 'test'}-{to_beijing(now, '%Y%m%d-%H%M')}.csv"


def _words() -> Words:
    """This reader's."""
    return Words(
        columns={
            "created_beijing": gettext("Created (Beijing time)"),
            "created_utc": gettext("Created (UTC)"),
            "paid_beijing": gettext("Paid (Beijing time)"),
            "paid_utc": gettext("Paid (UTC)"),
            "id": gettext("Charge id"),
            "order_no": gettext("Order number"),
            "description": gettext("Description"),
            "status": gettext("Status"),
            "currency": gettext("Currency"),
            "amount": gettext("Amount"),
            "amount_minor": gettext("Amount (minor units)"),
            "paid": gettext("Amount paid"),
            "paid_minor": gettext("Amount paid (minor units)"),
            "refunded": gettext("Amount refunded"),
            "refunded_minor": gettext("Amount refunded (minor units)"),
            "provider": gettext("Provider"),
            "provider_ref": gettext("Provider's number"),
            "out_trade_no": "out_trade_no",
            "store": gettext("Store"),
            "qr_code": gettext("Printed code"),
        },
        states={
            ChargeState.PENDING: gettext("Waiting"),
            ChargeState.PAID: pgettext("charge", "Paid"),
            ChargeState.EXPIRED: gettext("Expired"),
            ChargeState.CANCELED: gettext("Canceled"),
        },
        providers={
            "alipay": gettext("Alipay"),
            "wechatpay": gettext("WeChat Pay"),
            "unionpay": gettext("UnionPay"),
        },
    )


open_room(bp)
