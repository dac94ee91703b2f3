"""A member's own page, /M/…: what they have, what comes on top, and the way to pay for more.

Its address is signed and was given to this member alone, so it says what they have.  It needs no script, and
works in a browser and in the web view of an app or a mini program.  Paying goes on at the checkout.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app import i18n
from app.charges import inquiry, topups
from app.charges.crediting import Known
from app.charges.forms import shopper_amount
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.charges.topups import NewTopup, TopupFilter
from app.db import reading, retried, table_of
from app.errors import BadLink, Conflict, InvalidRequest
from app.merchants.brand_views import dress
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.merchants.models import Brand, Merchant
from app.money import EXPONENTS, SYMBOLS, Money
from app.purses import bonus, members
from app.purses.models import Member
from app.purses.present import available_of, facts_of
from app.qr.links import Purpose, parse_token
from app.rates import must_allow, place_of
from app.runtime import runtime, settings

YEAR_S = 31536000
PAGE_LIFE_S = 900  # long enough to choose a wallet and pay
MAX_MAJOR = 5_000  # a slip of two digits more is caught; a tier above it raises it
PRESETS_MAJOR = (50, 100, 200, 500)  # where no rule names amounts of its own
PRESETS_MAX = 6  # two rows of keys on a phone

_members, _merchants, _brands = table_of(Member), table_of(Merchant), table_of(Brand)
_FIND: sa.Select[Any] = (
    sa.select(
        *_members.c,
        _merchants.c.name.label("merchant_name"),
        _merchants.c.language.label("merchant_language"),
        _brands.c.accent,
        _brands.c.logo_version,
    )
    .join(_merchants, _merchants.c.id == _members.c.merchant_id)
    .outerjoin(_brands, _brands.c.merchant_id == _members.c.merchant_id)
    .where(_members.c.id == sa.bindparam("member_id"))
)

bp = Blueprint("topup_pages", __name__)


@bp.get("/M/<token>")
@bp.get("/m/<token>")
def show(token: str) -> Response:
    """What this member has, and the form.  Back from the checkout: what became of their top-up."""
    member = _find(token)
    return _page(member, latest=_latest(member) if "back" in request.args else None)


@bp.post("/M/<token>")
@bp.post("/m/<token>")
def pay(token: str) -> Response | BaseResponse:
    """Begin a top-up, once for each page that was shown, and go on to its checkout."""
    member = _find(token)
    typed = request.form.get("pick") or request.form.get("amount", "")
    must_allow(runtime().rates.payments, f"{place_of(request.remote_addr or '')} {member.id}")
    try:
        amount = shopper_amount(typed, member.currency)
        _, least, most = _offers(member)
        if not least.minor <= amount.minor <= most.minor:
            raise InvalidRequest("not between the least and the most", code="amount_out_of_range")
        link = _begin(member, amount, f"{settings().origin}/M/{token}?back=1")
    except InvalidRequest as refusal:
        return _page(member, fault=refusal.code, typed=typed, status=400)
    except Conflict:
        return _page(member, fault="blocked", status=409)
    response = redirect(link, 303)
    response.headers["Cache-Control"] = "no-store"
    return response


def _find(token: str) -> Any:
    """The member whose page this is.  Raises BadLink, in the same words for an unknown member."""
    claimed = parse_token(token, purpose=Purpose.MEMBER)
    with reading() as connection:
        member = connection.execute(_FIND, {"member_id": claimed.charge_id}).first()
    if member is None or not runtime().member_links.is_genuine(claimed, facts_of(member)):
        raise BadLink("this link does not open a page")
    g.fallback_language = member.merchant_language
    return member


def _latest(member: Any) -> Known | None:
    """Their last top-up, after its wallet was asked if it is not paid yet: a way back proves nothing."""
    wanted = TopupFilter(member=member.id, limit=1)
    found, _ = topups.list_topups(member.merchant_id, livemode=member.livemode, wanted=wanted)
    if not found or found[0].charge.state != ChargeState.PENDING:
        return found[0] if found else None
    inquiry.ask_now(member.merchant_id, found[0].charge.id)
    return topups.find(member.merchant_id, found[0].topup.id, livemode=member.livemode)


@retried
def _begin(member: Any, amount: Money, back: str) -> str:
    """The checkout of a fresh top-up; the same again for a form that was sent twice.  Raises Conflict."""
    token = request.form.get("token", "")[:32]
    key = f"purse:{member.id}:{token}:{amount.minor}" if token.isalnum() and token.isascii() else None
    new = NewTopup(member.id, amount.minor, return_url=back, expires_in_s=PAGE_LIFE_S)

    def work(tx: Connection) -> Answer:
        known = topups.begin(tx, member.merchant_id, new, livemode=member.livemode)
        return Answer(json.dumps(link_of(known.charge)))

    who = Caller(member.merchant_id, "", member.livemode)
    answer = once(who, key, ("POST", f"/M/{member.id}", str(amount).encode()), work)
    return "/C/" + str(json.loads(answer.body)).rpartition("/")[2]


def _offers(member: Any) -> tuple[bonus.Promise, Money, Money]:
    """What comes on top now, the least and the most that is topped up here."""
    with reading() as connection:
        promise = bonus.promise_of(connection, member.merchant_id, member.currency, livemode=member.livemode)
    one = 10 ** EXPONENTS[member.currency]
    highest = max([pay for pay, _ in promise.tiers], default=0)
    return promise, Money(one, member.currency), Money(max(MAX_MAJOR * one, highest), member.currency)


def _page(
    member: Any, *, latest: Known | None = None, fault: str = "", typed: str = "", status: int = 200
) -> Response:
    promise, least, most = _offers(member)
    fresh = members.find(member.merchant_id, member.id, livemode=member.livemode)
    suggested = [pay for pay, _ in promise.tiers][:PRESETS_MAX] or [
        major * least.minor for major in PRESETS_MAJOR
    ]
    page = render_template(
        "members/topup.html",
        shop=member.merchant_name,
        livemode=member.livemode,
        language=i18n.language(),
        member=fresh,
        who=members.masked(fresh),
        available=Money(available_of(fresh), fresh.currency),
        balance=Money(fresh.balance_minor, fresh.currency),
        bonus=Money(fresh.bonus_minor, fresh.currency),
        latest=latest,
        decimals=EXPONENTS[fresh.currency],
        currency=fresh.currency,
        symbol=SYMBOLS[fresh.currency],
        least=least,
        most=most,
        suggested=[Money(minor, fresh.currency) for minor in suggested],
        on_top=bonus.on_top_of(promise.tiers, suggested, fresh.currency),
        fault=fault,
        typed=typed[:20],
        token=secrets.token_hex(8),
        **dress(member.accent, member.logo_version),
    )
    response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"  # the address opens the page
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    if request.args.get("lang") in i18n.LANGUAGES:
        response.set_cookie(
            i18n.COOKIE,
            request.args["lang"],
            max_age=YEAR_S,
            secure=settings().origin.startswith("https:"),
            httponly=True,
            samesite="Lax",
        )
    return response
