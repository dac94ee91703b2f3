"""What a printed code opens, for whoever scans it: /P/ to pay, /v/ to see whose it is and to report it.

Opening a page makes nothing: previews and scanners open addresses, too.  A charge is made by the form.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request
from flask_babel import gettext
from sqlalchemy import Connection
from werkzeug.wrappers import Response as BaseResponse

from app import i18n
from app.charges.present import link_of
from app.codes import reports, scan
from app.codes.forms import shopper_amount
from app.codes.reports import Reason
from app.codes.scan import Sign
from app.codes.tally import Tally
from app.codes.terms import Standing, limits_of
from app.db import retried
from app.errors import BadLink, Conflict, InvalidRequest, TooManyRequests
from app.merchants.brand_views import dress
from app.merchants.idempotency import Answer, once
from app.merchants.keys import Caller
from app.money import EXPONENTS, SYMBOLS, Money
from app.qr.short_code import in_groups
from app.rates import Counts, place_of
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
    try:
        _take(runtime().rates.payments, f"{place_of(request.remote_addr or '')} {row.id}")
        if row.amount_minor is None:
            amount = shopper_amount(typed, row.currency)
        else:
            amount = Money(row.amount_minor, row.currency)
        token = request.form.get("token", "")[:32]
        link = _begin(row, amount, token if token.isalnum() and token.isascii() else "")
    except InvalidRequest as refusal:
        return _page(sign, _Refused(refusal.code, typed, 400))
    except Conflict as refusal:
        if refusal.code in _BUSY:
            return _page(sign, _Refused(refusal.code, typed, 409))
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
    _take(runtime().rates.payments, f"{place_of(request.remote_addr or '')} report")
    try:
        reports.report(sign, request.form.get("reason", ""), request.form.get("note", ""))
    except InvalidRequest as refusal:
        return _verification(sign, fault=refusal.param or "", status=400)
    return redirect(f"/v/{sign.row.code}?told=1", 303)


def _find(code: str) -> Sign:
    """The sign of a code.  Whoever tries codes that nobody has is slowed down.

    Raises BadLink, TooManyRequests.
    """
    misses, place = runtime().rates.misses, place_of(request.remote_addr or "")
    if misses is not None:
        verdict = misses.look(place)
        if not verdict.allowed:
            raise TooManyRequests("too many codes that nobody has", retry_after_s=verdict.retry_after_s)
    try:
        sign = scan.find_public(code)
    except BadLink:
        if misses is not None:
            misses.take(place)
        raise
    g.fallback_language = sign.row.merchant_language
    return sign


def _take(buckets: Counts | None, who: str) -> None:
    """Raises TooManyRequests."""
    if buckets is None:
        return
    verdict = buckets.take(who)
    if not verdict.allowed:
        raise TooManyRequests("too often: wait a little", retry_after_s=verdict.retry_after_s)


@retried
def _begin(row: Any, amount: Money, token: str) -> str:
    """The link of a fresh charge; the same again for a form that was sent twice.

    Raises InvalidRequest, Conflict.
    """
    who = Caller(row.merchant_id, "", row.livemode)
    key = f"sign:{row.id}:{token}:{amount.minor}" if token else None

    def work(tx: Connection) -> Answer:
        return Answer(json.dumps(link_of(scan.begin_charge(tx, row, amount))))

    answer = once(who, key, ("POST", f"/P/{row.code}", str(amount).encode()), work)
    return "/C/" + str(json.loads(answer.body)).rpartition("/")[2]


def _page(sign: Sign, refused: _Refused | None = None) -> Response:
    row = sign.row
    is_active = sign.standing is Standing.ACTIVE
    least, most = limits_of(row)
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
        suggested=[Money(minor, row.currency) for minor in row.suggested],
        message=_message(row),
        refused=refused,
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
