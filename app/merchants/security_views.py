"""The dashboard's room for one's own account: password, second factor, the browsers that are signed in."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from app.errors import Conflict, InvalidRequest, TooManyRequests
from app.merchants import passkeys, profile, second_factor, sessions
from app.merchants.auth import actor, browser, me, remember
from app.merchants.views import PASSWORD_FAULTS, faults_of, open_room
from app.qr import render
from app.qr.encode import Level, matrix_for

_FAULTS = {
    "current": _l("This is not your current password."),
    **PASSWORD_FAULTS,
    "passkey": _l("The passkey was not recognised. Try again, or use another way."),
    "passkey_name": _l("A name has 1 to 80 characters."),
    "code": _l(
        "This is not the code that the app shows now. Check the clock of your phone, and try the next one."
    ),
}

bp = Blueprint("security", __name__, url_prefix="/security")
open_room(bp)


@bp.get("")
def show() -> Response:
    """All of it on one page."""
    return _page()


@bp.post("/password")
def change_password() -> Response | BaseResponse:
    """A new password; every other browser is signed out."""
    current, new = request.form.get("current", ""), request.form.get("password", "")
    try:
        token = profile.change_password(me(), current, new, browser())
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except TooManyRequests as refusal:
        return _page(faults={"current": _wait(refusal)}, status=429)
    return remember(make_response(redirect(url_for("security.show", notice="password"), 303)), token)


@bp.post("/sessions/<session_id>/end")
def end_session(session_id: str) -> BaseResponse:
    """Sign one browser out."""
    sessions.end_session(me(), session_id, actor())
    return redirect(url_for("security.show", notice="signed_out"), 303)


@bp.post("/sessions/end")
def end_sessions() -> BaseResponse:
    """Sign out everywhere but here."""
    sessions.end_other_sessions(me(), actor())
    return redirect(url_for("security.show", notice="signed_out"), 303)


@bp.post("/totp")
def set_up_totp() -> BaseResponse:
    """A secret for the app; the page then shows its code."""
    try:
        second_factor.begin_totp(me())
    except Conflict:
        return redirect(url_for("security.show", notice="totp_in_use"), 303)
    return redirect(url_for("security.show", _anchor="totp"), 303)


@bp.post("/totp/confirm")
def confirm_totp() -> Response:
    """The first right code puts it into use; the recovery codes are in this answer and never again."""
    try:
        codes = second_factor.confirm_totp(me(), request.form.get("code", "")[:64], actor())
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except TooManyRequests as refusal:
        return _page(faults={"code": _wait(refusal)}, status=429)
    return _page(recovery_codes=codes, has_totp=True)


@bp.post("/totp/drop")
def drop_totp() -> BaseResponse:
    """A password alone opens the door again."""
    second_factor.drop_totp(me(), actor())
    return redirect(url_for("security.show", notice="totp_dropped"), 303)


@bp.post("/passkeys")
def add_passkey() -> Response | BaseResponse:
    """Keep what the device has made; first recovery codes are in this answer and never again."""
    name, answer = request.form.get("passkey_name", ""), request.form.get("passkey", "")
    try:
        codes = passkeys.add_passkey(me(), name, answer, actor())
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except Conflict:
        return redirect(url_for("security.show"), 303)
    return _page(recovery_codes=codes or None)


@bp.post("/passkeys/<passkey_id>/remove")
def remove_passkey(passkey_id: str) -> BaseResponse:
    """It opens nothing any more."""
    passkeys.remove_passkey(me(), passkey_id, actor())
    return redirect(url_for("security.show", notice="passkey_removed"), 303)


@bp.post("/recovery-codes")
def renew_recovery_codes() -> Response | BaseResponse:
    """Ten new ones, shown in this answer and never again."""
    try:
        codes = second_factor.renew_recovery_codes(me(), actor())
    except Conflict:
        return redirect(url_for("security.show"), 303)
    return _page(recovery_codes=codes)


def _page(
    *,
    recovery_codes: list[str] | None = None,
    has_totp: bool | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    address = second_factor.pending_totp(me())
    page = render_template(
        "dashboard/security.html",
        sessions=sessions.list_sessions(me()),
        name_of_browser=sessions.name_of_browser,
        has_totp=me().has_totp if has_totp is None else has_totp,
        totp_address=address,
        totp_secret=None if address is None else address.partition("secret=")[2].partition("&")[0],
        totp_code=None if address is None else _drawn(address),
        passkeys=passkeys.list_passkeys(me()),
        passkey_options=passkeys.options_to_add(me()) if passkeys.are_possible() else None,
        codes_left=second_factor.count_recovery_codes(me()),
        recovery_codes=recovery_codes,
        faults=faults or {},
    )
    return make_response(page, status)


def _drawn(address: str) -> Markup:
    """The address as a code.  Our own drawing, of nothing but numbers and letters: it needs no escaping."""
    title = gettext("Code for the authenticator app")
    return Markup(render.svg(matrix_for(address, Level.M), title=title).decode())  # noqa: S704


def _wait(refusal: TooManyRequests) -> str:
    return gettext("Too many wrong tries. Wait %(seconds)s seconds.", seconds=refusal.retry_after_s)
