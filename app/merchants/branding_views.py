"""The dashboard's page for how shoppers see the shop: its colour and its logo."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import paper
from app.errors import InvalidRequest
from app.merchants import accounts, brand
from app.merchants.auth import actor, me
from app.merchants.brand_views import dress
from app.merchants.views import faults_of, livemode, open_room
from app.qr.print import shop as print_shop
from app.qr.print.card import Card, Look
from app.qr.print.shop import Form, Kind
from app.runtime import settings

_FAULTS = {
    "accent": _l("White text on this colour could not be read. Choose a darker one."),
    "logo_too_large": _l("The logo is too large. Choose one of up to 1 MB and 16 million pixels."),
    "logo_too_small": _l("The logo is too small. Choose one at least 64 pixels wide and high."),
    "logo_unreadable": _l("The logo must be one PNG, JPEG or WebP picture."),
}

bp = Blueprint("branding", __name__)
open_room(bp)


@bp.get("/settings/branding")
def show() -> Response:
    """Colour and logo, with what shoppers see of them."""
    return _page()


@bp.post("/settings/branding")
def save() -> Response | BaseResponse:
    """Take what was chosen; ``form`` says which button was pressed.  No file means the logo that there is."""
    who, by, button = me().merchant_id, actor(), request.form.get("form", "")
    sent = request.files.get("logo")
    try:
        if button == "no_logo":
            brand.remove_logo(who, by=by)
        elif button == "no_accent":
            brand.choose_accent(who, "", by=by)
        else:
            # The picture first: if it is refused, nothing has changed.
            if sent is not None and sent.filename:
                brand.choose_logo(who, sent.read(), by=by)
            brand.choose_accent(who, request.form.get("accent", ""), by=by)
    except InvalidRequest as error:
        known = {"accent": _FAULTS["accent"], "logo": _FAULTS.get(error.code, error.detail)}
        return _page(faults=faults_of(error, known), status=400)
    return redirect(url_for("branding.show", notice="saved"), 303)


@bp.get("/settings/branding/stand.svg")
def stand() -> Response:
    """A stand as it would be printed, with a code that leads to the page where codes are looked up."""
    wallets = {row.provider for row in accounts.list_accounts(me().merchant_id, livemode=livemode())}
    card = Card(
        address=f"{settings().origin}/v", title=me().merchant_name, words=paper.words_for("both", wallets)
    )
    done = print_shop.draw(Kind.A6, [card], form=Form.SVG, look=brand.find(me().merchant_id).on_paper)
    return Response(done.body, content_type=done.media_type)


def _page(*, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    looks = brand.find(me().merchant_id)
    page = render_template(
        "dashboard/branding.html",
        looks=looks,
        usual=Look().accent,
        faults=faults or {},
        **dress(looks.accent, looks.logo_version),
    )
    return make_response(page, status)
