"""The one door for every provider's callbacks, and the dashboard's page where a merchant reads them."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, render_template, request

from app import clock
from app.callbacks import evidence, inbox
from app.charges import lifecycle
from app.charges.views import bp as charges_room
from app.errors import PlatformError
from app.merchants import accounts
from app.merchants.auth import me
from app.providers.base import Inbound

log = structlog.get_logger(__name__)
bp = Blueprint("callbacks", __name__)


@bp.post("/callbacks/<account_id>")
def notify(account_id: str) -> Response:
    """The account in the path picks adapter and keys.

    The provider is told "accepted" only after our commit; anything else makes it send again.
    """
    account = accounts.open_account(account_id)
    inbound = Inbound(
        {name.lower(): value for name, value in request.headers},
        request.get_data(),
        clock.now(),
        request.query_string.decode("ascii", "replace"),
    )
    try:
        inbox.receive(account, inbound)
        accepted = True
    except PlatformError as error:
        log.warning("callback refused", account_id=account_id, code=error.code, reason=error.detail)
        accepted = False
    reply = account.provider.reply(accepted)
    return Response(reply.body, reply.status, content_type=reply.content_type)


# The page belongs to a charge and is reached from there, behind the same door; charges, a floor below,
# cannot know of callbacks.
@charges_room.get("/charges/<charge_id>/callbacks")
def callbacks(charge_id: str) -> str:
    """The messages that providers sent about a charge, as they came."""
    charge = lifecycle.find(me().merchant_id, charge_id)
    exhibits = evidence.exhibits_of(charge.merchant_id, charge.id)
    return render_template(
        "dashboard/callbacks.html", charge=charge, livemode=charge.livemode, exhibits=exhibits
    )
