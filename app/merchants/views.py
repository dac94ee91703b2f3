"""The dashboard's doors and its own rooms: sign-in and settings; and what all rooms share.

``open_room`` makes a blueprint a room of the dashboard: nobody enters without a session, and the
chosen mode and language are remembered.  The home page hangs on this blueprint, too, but what it
shows are the books, so it is built a floor above, in ``charges/views.py``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from app import i18n
from app.clock import to_beijing, to_rfc3339
from app.errors import InvalidRequest, NotAuthenticated, TooManyRequests
from app.merchants import accounts, passkeys, people, profile
from app.merchants.auth import (
    actor,
    browser,
    forget,
    me,
    remember,
    require_permission,
    require_session,
)
from app.merchants.proof_auth import require_proof
from app.money import Money
from app.providers import REGISTRY
from app.runtime import settings

MODE_COOKIE = "mafu_mode"
_COOKIE_LIFE_S = 365 * 86400
_PUBLIC = {
    f"merchants.{name}" for name in ("sign_in", "sign_in_with_password", "use_link", "sign_in_with_link")
}
# One slash, then no second one and no backslash: "//host" and "/\host" lead a browser to another host.
# Browsers drop tabs and newlines before they read an address, so no such character may be in it.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}", re.ASCII)

_FAULTS = {
    "name": _l("A name has 1 to 80 characters."),
    "language": _l("Choose one of the languages."),
}

bp = Blueprint("merchants", __name__)


def open_room(room: Blueprint, *, is_public: bool = False) -> None:
    """Let a blueprint be part of the dashboard; a public one lies outside its door."""
    if not is_public:
        room.before_request(_let_in)
    room.after_request(_remember_choices)
    room.context_processor(_furniture)


def livemode() -> bool:
    """Whether this person looks at live money; test mode unless they chose otherwise.

    A form says in which mode it was shown: the choice may have changed in another window since.
    """
    try:
        sent = request.form.get("mode")
    except RequestEntityTooLarge:
        sent = None  # the page that says so has a mode, too
    return (sent or request.args.get("mode") or request.cookies.get(MODE_COOKIE)) == "live"


@bp.app_template_filter("money")
def money_text(minor: int, currency: str) -> str:
    """``(1250, "CNY") -> "¥12.50"``, with a true minus before what is less than nothing."""
    return Money(minor, currency).text().replace("-", "−")


@bp.app_template_filter("moment")
def moment_text(at: datetime) -> Markup:
    """A <time> that shows the merchant's clock and keeps UTC for the pointer and for machines."""
    shown, utc = to_beijing(at), f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(to_rfc3339(at), utc, shown)


@bp.app_template_filter("code")
def breakable(text: str) -> Markup:
    """An address or id that may break across lines after its punctuation, on a narrow screen."""
    return Markup("").join(
        [escape(part) + Markup("<wbr>") for part in re.split(r"(?<=[/_.?&=-])", text) if part]
    )


@bp.get("/sign-in")
def sign_in() -> Response | BaseResponse:
    """The door."""
    onward = request.args.get("next", "")
    if require_session() is None:
        return redirect(landing(onward))
    return sign_in_page(onward)


@bp.post("/sign-in")
def sign_in_with_password() -> Response | BaseResponse:
    """Open it with a password, or say in the same words for every reason that it stays shut."""
    email, onward = request.form.get("email", "")[:254], request.form.get("next", "")
    try:
        here = browser()
        password = request.form.get("password", "")
        token = people.sign_in(email, password, address=here.address, agent=here.agent)
    except (NotAuthenticated, TooManyRequests) as refusal:
        wait_s = refusal.retry_after_s if isinstance(refusal, TooManyRequests) else 0
        return sign_in_page(
            onward, email=email, fault=refusal.code, wait_s=wait_s, status=429 if wait_s else 401
        )
    return remember(make_response(redirect(landing(onward), 303)), token)


@bp.get("/sign-in/<token>")
def use_link(token: str) -> Response:
    """Show whose link this is.  It is used by the button, because previews and scanners open links, too."""
    email = people.link_owner(token)
    page = render_template("dashboard/use_link.html", email=email, token=token if email else "")
    return make_response(page, 200 if email else 410)


@bp.post("/sign-in/<token>")
def sign_in_with_link(token: str) -> Response | BaseResponse:
    """Use the link, once."""
    try:
        session_token = people.use_sign_in_link(token, browser())
    except NotAuthenticated:
        return make_response(render_template("dashboard/use_link.html", email=None, token=""), 410)
    return remember(make_response(redirect(url_for("merchants.home"), 303)), session_token)


@bp.post("/sign-out")
def sign_out() -> BaseResponse:
    """Leave, in this browser."""
    return forget(make_response(redirect(url_for("merchants.sign_in"), 303)))


@bp.get("/settings")
def show_settings() -> Response:
    """The merchant and its providers."""
    return _settings_page()


@bp.post("/settings")
def save_settings() -> Response | BaseResponse:
    """The name that shoppers read, and their language."""
    name, language = request.form.get("name", ""), request.form.get("language", "")
    try:
        profile.save_merchant(me().merchant_id, name=name, language=language, by=actor())
    except InvalidRequest as error:
        return _settings_page(faults=faults_of(error, _FAULTS), status=400)
    return redirect(url_for("merchants.show_settings", notice="saved"), 303)


def sign_in_page(
    onward: str, *, email: str = "", fault: str | None = None, wait_s: int = 0, status: int = 200
) -> Response:
    """The door, with what is to be said at it."""
    page = render_template(
        "dashboard/sign_in.html",
        onward=onward,
        email=email,
        fault=fault,
        wait_s=wait_s,
        passkey_options=passkey_options(),
        has_mail=settings().has_mail,
    )
    response = make_response(page, status)
    if wait_s:
        response.headers["Retry-After"] = str(wait_s)
    return response


def passkey_options() -> str | None:
    """What the browser is given to use a passkey; None where there can be none."""
    return passkeys.options_to_use() if passkeys.are_possible() else None


# What is said beside a field for a new password, by the code of the refusal or the field.
PASSWORD_FAULTS = {
    "password": _l("A password has 10 to 200 characters."),
    "password_weak": _l(
        "This is among the passwords that are guessed first. Several unrelated words are better."
    ),
}


def faults_of(error: InvalidRequest, known: dict[str, Any]) -> dict[str, str]:
    """The field at fault and what to say beside it, to this reader; ``""`` is the form as a whole.

    ``known`` has the words by the code of the refusal, or else by the field.
    """
    field = error.param or ""
    return {field: str(known.get(error.code, known.get(field, error.detail)))}


def _let_in() -> BaseResponse | None:
    if request.endpoint in _PUBLIC:
        return None
    return require_session() or require_permission() or require_proof()


def _remember_choices(response: Response) -> Response:
    if "fresh_token" in g:  # who has proved who they are goes on under another token
        remember(response, g.fresh_token)
    secure = settings().origin.startswith("https://")
    choices = (("mode", ("test", "live"), MODE_COOKIE), ("lang", tuple(i18n.LANGUAGES), i18n.COOKIE))
    for name, allowed, cookie in choices:
        if request.args.get(name) in allowed:
            response.set_cookie(
                cookie,
                request.args[name],
                max_age=_COOKIE_LIFE_S,
                httponly=True,
                secure=secure,
                samesite="Lax",
            )
    # Over https the forms' guard wants to see that the browser comes from here.  Nobody else is told.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _furniture() -> dict[str, Any]:
    """What the frame around every page takes."""
    return {
        "me": g.get("me"),
        "livemode": livemode(),
        "notice": request.args.get("notice", ""),
        "turned_to": _turned_to,
    }


def _turned_to(lang: str) -> str:
    """This page's address in another language."""
    return request.path + "?" + urlencode({**request.args.to_dict(), "lang": lang})


def landing(onward: str) -> str:
    """Where to go after the door: only ever to an address of ours."""
    return onward if _LOCAL.fullmatch(onward) else url_for("merchants.home")


def _settings_page(*, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    page = render_template(
        "dashboard/settings.html",
        accounts=accounts.list_accounts(me().merchant_id, livemode=livemode()),
        labels={code: adapter.info.label for code, adapter in REGISTRY.items()},
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


open_room(bp)
