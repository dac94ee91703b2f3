"""The dashboard's other doors: the second factor, an invitation, a new password."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.errors import Conflict, InvalidRequest, NotAuthenticated, TooManyRequests
from app.merchants import forgotten, passkeys, people, second_factor, sessions, team
from app.merchants.auth import browser, remember, session_token
from app.merchants.views import PASSWORD_FAULTS, faults_of, landing, open_room, passkey_options, sign_in_page
from app.runtime import settings

bp = Blueprint("door", __name__)
open_room(bp, is_public=True)


@bp.get("/second-factor")
def ask_code() -> Response | BaseResponse:
    """The password was right; now the code."""
    return _code_page(request.args.get("next", ""))


@bp.post("/second-factor")
def finish() -> Response | BaseResponse:
    """Open the door with a code of the app, or a recovery code."""
    onward = request.form.get("next", "")
    try:
        token = second_factor.finish_sign_in(session_token(), request.form.get("code", "")[:64], browser())
    except TooManyRequests as refusal:
        response = _code_page(onward, fault=refusal.code, wait_s=refusal.retry_after_s, status=429)
        response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response
    except NotAuthenticated as refusal:
        return _code_page(onward, fault=refusal.code, status=401)
    return remember(make_response(redirect(landing(onward), 303)), token)


@bp.post("/passkey")
def use_passkey() -> Response | BaseResponse:
    """Open the door, both locks of it, with a passkey."""
    onward = request.form.get("next", "")
    try:
        token = passkeys.sign_in(request.form.get("passkey", ""), browser())
    except NotAuthenticated:
        return sign_in_page(onward, fault="wrong_passkey", status=401)
    return remember(make_response(redirect(landing(onward), 303)), token)


@bp.get("/join/<token>")
def show_invitation(token: str) -> Response:
    """What one is invited to.  The link is used by the button, because previews open links, too."""
    return _join_page(token, {})


@bp.post("/join/<token>")
def join(token: str) -> Response | BaseResponse:
    """Take the place in the team, with a password of one's own."""
    try:
        session = team.join(token, request.form.get("password", ""), browser())
    except InvalidRequest as error:
        return _join_page(token, faults_of(error, PASSWORD_FAULTS), 400)
    except Conflict as refusal:
        return _join_page(token, {"": refusal.code}, 409)
    except NotAuthenticated:
        return _join_page("", {})
    return remember(make_response(redirect(url_for("merchants.home"), 303)), session)


@bp.get("/reset/<token>")
def show_reset(token: str) -> Response:
    """The form for a new password."""
    return _reset_page(token, {})


@bp.post("/reset/<token>")
def reset(token: str) -> Response | BaseResponse:
    """Set it; then one signs in with it, and with the second factor if there is one."""
    address = request.remote_addr or ""
    try:
        people.use_reset_link(token, request.form.get("password", ""), address=address)
    except InvalidRequest as error:
        return _reset_page(token, faults_of(error, PASSWORD_FAULTS), 400)
    except NotAuthenticated:
        return _reset_page("", {})
    return redirect(url_for("merchants.sign_in", notice="reset"), 303)


@bp.get("/forgot")
def forget() -> Response:
    """Where one asks for a link to a new password."""
    return _forgot_page()


@bp.post("/forgot")
def ask_for_reset() -> Response:
    """Known or not, the answer is the same."""
    if not settings().has_mail:
        return _forgot_page()
    try:
        forgotten.ask(request.form.get("email", "")[:254], address=request.remote_addr or "")
    except TooManyRequests as refusal:
        response = _forgot_page(wait_s=refusal.retry_after_s, status=429)
        response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response
    return _forgot_page(is_asked=True)


def _forgot_page(*, is_asked: bool = False, wait_s: int = 0, status: int = 200) -> Response:
    page = render_template(
        "dashboard/forgot.html", has_mail=settings().has_mail, is_asked=is_asked, wait_s=wait_s
    )
    return make_response(page, status)


def _code_page(onward: str, **shown: Any) -> Any:
    status = shown.pop("status", 200)
    half = sessions.half_of(session_token())
    if half is None:
        return redirect(url_for("merchants.sign_in", next=onward or None), 303)
    known = {"fault": None, "wait_s": 0, "passkey_options": passkey_options() if half.has_passkey else None}
    page = render_template("dashboard/second_factor.html", onward=onward, **(known | shown))
    return make_response(page, status)


def _join_page(token: str, faults: dict[str, str], status: int = 200) -> Response:
    invitation = team.find_invitation(token)
    page = render_template("dashboard/join.html", invitation=invitation, token=token, faults=faults)
    return make_response(page, status if invitation is not None else 410)


def _reset_page(token: str, faults: dict[str, str], status: int = 200) -> Response:
    email = people.link_owner(token, is_reset=True)
    page = render_template("dashboard/reset.html", email=email, token=token if email else "", faults=faults)
    return make_response(page, status if email else 410)
