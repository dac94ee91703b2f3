"""The dashboard's print shop for a charge: a stand, a sticker, a label or a receipt that can be paid once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Response, redirect, url_for
from flask_babel import force_locale, gettext
from sqlalchemy import Row
from werkzeug.wrappers import Response as BaseResponse

from app import paper
from app.charges import lifecycle
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.clock import to_beijing
from app.errors import Conflict
from app.merchants import accounts, brand
from app.merchants.auth import me
from app.merchants.views import open_room
from app.money import Money
from app.paper import Order
from app.qr.print.card import Card

bp = Blueprint("printing", __name__)


@bp.get("/charges/<charge_id>/print")
def show(charge_id: str) -> Response | BaseResponse:
    """Choose what to print; only what can still be paid."""
    charge = lifecycle.find(me().merchant_id, charge_id)
    if charge.state != ChargeState.PENDING:
        return redirect(url_for("charges.show", charge_id=charge.id, notice="not_printed"))
    return paper.page(
        _cards_of(charge),
        here=partial(url_for, "printing.show", charge_id=charge.id),
        file=partial(url_for, "printing.draw", charge_id=charge.id),
        back=(url_for("charges.show", charge_id=charge.id), charge.description),
        room="charges",
        livemode=charge.livemode,
        usual=brand.find(charge.merchant_id).on_paper,
    )


@bp.get("/charges/<charge_id>/print/file")
def draw(charge_id: str) -> Response | BaseResponse:
    """One file.  The whole drawing is in the address."""
    charge = lifecycle.find(me().merchant_id, charge_id)
    if charge.state != ChargeState.PENDING:
        raise Conflict("only a charge that can still be paid can be printed", code="not_printed")
    return paper.file(_cards_of(charge), name=charge.id, usual=brand.find(charge.merchant_id).on_paper)


@bp.get("/print/calibration")
def calibrate() -> Response:
    """Frames to hold against a sheet of labels."""
    return paper.calibration()


def _cards_of(charge: Row[Any]) -> Callable[[Order], Sequence[Card]]:
    wallets = {row.provider for row in accounts.list_accounts(charge.merchant_id, livemode=charge.livemode)}

    def cards_of(order: Order) -> Sequence[Card]:
        words = paper.words_for(order.language, wallets)
        return [
            Card(
                address=link_of(charge),
                title=me().merchant_name,
                words=words,
                amount=Money(charge.amount_minor, charge.currency).text(),
                label=charge.description,
                note=_until(charge, [each.language for each in words]),
                serial=charge.id,
                test=not charge.livemode,
            )
        ]

    return cards_of


def _until(charge: Row[Any], languages: Sequence[str]) -> str:
    said = []
    for language in languages:
        with force_locale(language):
            said.append(gettext("Valid until"))
    return f"{' / '.join(said)} {to_beijing(charge.expires_at, '%Y-%m-%d %H:%M')} (UTC+8)"


open_room(bp)
