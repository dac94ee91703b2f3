"""What a printed code opens, for whoever scans it: /P/ to pay, /v/ to see whose it is and to report it.

Opening a page makes nothing: previews and scanners open addresses, too.  A charge is made by the form.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request
from flask_babel import gettext
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app import i18n
from app.charges.forms import shopper_amount
from app.charges.present import link_of
from app.codes import reports, scan
from app.codes.reports import Reason
from app.codes.scan import Sign
from app.codes.tally import Tally
from app.codes.terms import SUGGESTED_MAX, CodePurpose, Standing, limits_of
from app.db import reading, retried
from app.errors import BadLink, Conflict, InvalidRequest, NotFound, PlatformError, TooManyRequests
from app.merchants.brand_views import dress
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.money import EXPONENTS, SYMBOLS, Money
from app.purses import bonus, members
from app.purses.bonus import Tier
from app.qr.short_code import in_groups
from app.rates import must_allow, place_of
from app.runtime import runtime, settings

YEAR_S = 31536000
# What a refused form says above the keypad, by the word of the refusal.
_BUSY = ("in_payment", "daily_cap", "too_many_pending")

bp = Blueprint("signs", __name__)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a form came back: the word of the refusal, and what was typed."""

    word: str
    typed: str
    status: int


@bp.get("/P/<code>")
@bp.get("/p/<code>")
def show(code: str) -> Response:
    """The sign's own page: what it is for, and the keypad or the price."""
    sign = _find(code)
    if request.method == "GET" and "lang" not in request.args and "Sec-Purpose" not in request.headers:
        cast(Tally, current_app.extensions["mafu.tally"]).add(sign.row.merchant_id, sign.row.id)
    return _page(sign)


@bp.post("/P/<code>")
@bp.post("/p/<code>")
def pay(code: str) -> Response | BaseResponse:
    """Make a charge of the amount, once for each page that was shown, and go on to its checkout."""
    sign = _find(code)
    row = sign.row
    typed = request.form.get("pick") or request.form.get("amount", "")
    if sign.standing is not Standing.ACTIVE:
        return _page(sign)
    member = None
    if row.purpose == CodePurpose.TOPUP:
        try:
            member = _member_of(row)
        except NotFound:
            return _page(sign, _Refused("no_member", "", 404))
        if member is None or not ("amount" in request.form or "pick" in request.form):
            return _page(sign, member=member)
    try:
        must_allow(runtime().rates.payments, f"{place_of(request.remote_addr or '')} {row.id}")
        if row.amount_minor is None:
            amount = shopper_amount(typed, row.currency)
        else:
            amount = Money(row.amount_minor, row.currency)
        token = request.form.get("token", "")[:32]
        link = _begin(row, amount, token if token.isalnum() and token.isascii() else "", member)
    except InvalidRequest as refusal:
        return _page(sign, _Refused(refusal.code, typed, 400), member)
    except Conflict as refusal:
        if refusal.code in _BUSY:
            return _page(sign, _Refused(refusal.code, typed, 409), member)
        return _page(_find(code))
    response = redirect(link, 303)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/V")
@bp.get("/v")
def ask() -> Response | BaseResponse:
    """A field for a code that somebody read off a sign."""
    typed = request.args.get("code", "").strip()
    if not typed:
        return _asking("", 200)
    try:
        sign = _find(typed)
    except BadLink:
        return _asking(typed, 404)
    return redirect(f"/v/{sign.row.code}", 303)


@bp.get("/V/<code>")
@bp.get("/v/<code>")
def verify(code: str) -> Response:
    """Whose sign this is, and whether it is in use."""
    return _verification(_find(code))


@bp.post("/V/<code>")
@bp.post("/v/<code>")
def report(code: str) -> Response | BaseResponse:
    """Tell the merchant that something is wrong with this sign."""
    sign = _find(code)
    must_allow(runtime().rates.payments, f"{place_of(request.remote_addr or '')} report")
    try:
        reports.report(sign, request.form.get("reason", ""), request.form.get("note", ""))
    except InvalidRequest as refusal:
        return _verification(sign, fault=refusal.param or "", status=400)
    return redirect(f"/v/{sign.row.code}?told=1", 303)


def _find(code: str) -> Sign:
    """The sign of a code.  Whoever tries codes that nobody has is slowed down.

    Raises BadLink, TooManyRequests.
    """
    with _missing(BadLink):
        sign = scan.find_public(code)
    g.fallback_language = sign.row.merchant_language
    return sign


@contextmanager
def _missing(miss: type[PlatformError]) -> Iterator[None]:
    """Whoever names what is not there again and again is slowed down.  Raises TooManyRequests."""
    misses, place = runtime().rates.misses, place_of(request.remote_addr or "")
    if misses is not None:
        verdict = misses.look(place)
        if not verdict.allowed:
            raise TooManyRequests("too many that nobody has", retry_after_s=verdict.retry_after_s)
    try:
        yield
    except miss:
        if misses is not None:
            misses.take(place)
        raise


def _member_of(row: Any) -> Any:
    """Who tops up here, as they named themselves; None while nobody has.  Raises NotFound."""
    typed = request.form.get("who", "").strip()[:64]
    if row.purpose != CodePurpose.TOPUP or not typed:
        return None
    must_allow(runtime().rates.payments, f"{place_of(request.remote_addr or '')} who")
    with _missing(NotFound):
        member = members.find_typed(row.merchant_id, typed, livemode=row.livemode)
        if member.currency != row.currency or member.blocked_at is not None:
            raise NotFound("nobody who can top up here")
    return member


@retried
def _begin(row: Any, amount: Money, token: str, member: Any = None) -> str:
    """The link of a fresh charge; the same again for a form that was sent twice.

    Raises InvalidRequest, Conflict.
    """
    who = Caller(row.merchant_id, "", row.livemode)
    key = f"sign:{row.id}:{token}:{amount.minor}" if token else None
    member_id = None if member is None else member.id

    def work(tx: Connection) -> Answer:
        return Answer(json.dumps(link_of(scan.begin_charge(tx, row, amount, member_id))))

    answer = once(who, key, ("POST", f"/P/{row.code}", f"{amount} {member_id}".encode()), work)
    return "/C/" + str(json.loads(answer.body)).rpartition("/")[2]


def _page(sign: Sign, refused: _Refused | None = None, member: Any = None) -> Response:
    row = sign.row
    least, most = limits_of(row)
    tiers: tuple[Tier, ...] = ()
    if row.purpose == CodePurpose.TOPUP:
        with reading() as connection:
            tiers = bonus.promise_of(connection, row.merchant_id, row.currency, livemode=row.livemode).tiers
    suggested = list(row.suggested) or [pay for pay, _ in tiers if least <= pay <= most][:SUGGESTED_MAX]
    is_active = sign.standing is Standing.ACTIVE
    page = render_template(
        "codes/scan.html",
        **_about(sign),
        language=i18n.language(),
        decimals=EXPONENTS[row.currency],
        currency=row.currency,
        symbol=SYMBOLS[row.currency],
        price=None if row.amount_minor is None else Money(row.amount_minor, row.currency).text(),
        preset="" if row.preset_minor is None else Money(row.preset_minor, row.currency).major(),
        least=Money(least, row.currency),
        most=Money(most, row.currency),
        suggested=[Money(minor, row.currency) for minor in suggested],
        message=_message(row),
        refused=refused,
        is_topup=row.purpose == CodePurpose.TOPUP,
        who=request.form.get("who", "")[:64],
        masked=members.masked(member) if member is not None else "",
        on_top=bonus.on_top_of(tiers, suggested, row.currency),
        token=secrets.token_hex(8),
    )
    # 410: it was here and may be again; a message of the merchant's is no error of the shopper's.
    status = refused.status if refused else 200 if is_active else 410
    return _remembering(make_response(page, status))


def _verification(sign: Sign, *, fault: str = "", status: int = 200) -> Response:
    page = render_template(
        "codes/verify.html",
        **_about(sign),
        language=i18n.language(),
        host=settings().origin.partition("://")[2],
        since=sign.row.created_at,
        reasons=list(Reason),
        note_chars_max=reports.NOTE_CHARS_MAX,
        told="told" in request.args,
        fault=fault,
        form=request.form,
    )
    return _remembering(make_response(page, status))


def _asking(typed: str, status: int) -> Response:
    page = render_template("codes/ask.html", typed=typed[:40], language=i18n.language(), **dress(None, None))
    return _remembering(make_response(page, status))


def _about(sign: Sign) -> dict[str, Any]:
    """What every page about a sign says of it."""
    row = sign.row
    return {
        "shop": row.merchant_name,
        "store": row.store_name or "",
        "address": row.store_address or "",
        "name": row.name,
        "label_kind": row.label_kind,
        "label": row.label_text,
        "code": row.code,
        "shown_code": in_groups(row.code),
        "livemode": row.livemode,
        "standing": sign.standing,
        "valid_from": row.valid_from,
        **dress(row.accent, row.logo_version),
    }


def _message(row: Any) -> str:
    """What the merchant says of a sign that is not in use: in the reader's language, else in the other."""
    words = (row.inactive_zh, row.inactive_en)
    first, other = words if i18n.language() == "zh" else words[::-1]
    return first or other or gettext("Please ask at the counter how to pay.")


def _remembering(response: Response) -> Response:
    """With the language that was asked for kept."""
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
