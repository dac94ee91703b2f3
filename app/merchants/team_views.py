"""The dashboard's room for the team: who is in it, who is let in, and with which role."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.errors import Conflict, InvalidRequest
from app.merchants import team
from app.merchants.auth import actor, me
from app.merchants.roles import Role, outranks
from app.merchants.team import NewPerson
from app.merchants.views import faults_of, open_room
from app.runtime import settings

_FAULTS = {
    "email": _l("Enter an e-mail address."),
    "name": _l("A name has 1 to 80 characters."),
    "role": _l("Choose a role."),
}

bp = Blueprint("team", __name__, url_prefix="/team")
open_room(bp)


@bp.get("")
def list_people() -> Response:
    """Everybody, and who is invited."""
    return _page()


@bp.post("/invitations")
def invite() -> Response:
    """Keep a place, and show its link: in this answer, and never again."""
    try:
        new = NewPerson.of(*[request.form.get(name, "")[:254] for name in ("email", "name", "role")])
        token = team.invite(me().merchant_id, new, by=actor())
    except InvalidRequest as error:
        return _page(faults=faults_of(error, _FAULTS), status=400)
    except Conflict as refusal:
        words = {
            "in_team": gettext("This person is in the team already."),
            "team_full": gettext("The team has as many people as it can have."),
        }
        return _page(faults={"email": words[refusal.code]}, status=409)
    link = f"{settings().origin}{url_for('door.show_invitation', token=token)}"
    return _page(link=link, link_for=new.email, status=201)


@bp.post("/invitations/<invitation_id>/withdraw")
def withdraw(invitation_id: str) -> BaseResponse:
    """Its link opens nothing any more."""
    return _done(lambda: team.withdraw(me().merchant_id, invitation_id, by=actor()), "withdrawn")


@bp.post("/<user_id>/role")
def change_role(user_id: str) -> BaseResponse:
    """Another role; the person signs in anew."""
    role = request.form.get("role", "")
    return _done(lambda: team.change_role(me().merchant_id, user_id, role, by=actor()), "role")


@bp.post("/<user_id>/deactivate")
def deactivate(user_id: str) -> BaseResponse:
    """Signed out everywhere, and let in no more."""
    return _done(lambda: team.deactivate(me().merchant_id, user_id, by=actor()), "deactivated")


@bp.post("/<user_id>/reactivate")
def reactivate(user_id: str) -> BaseResponse:
    """Let in again."""
    return _done(lambda: team.reactivate(me().merchant_id, user_id, by=actor()), "reactivated")


@bp.post("/<user_id>/reset")
def reset_password(user_id: str) -> Response | BaseResponse:
    """A link with which they choose a new password, shown in this answer and never again."""
    try:
        token = team.make_reset_link(me().merchant_id, user_id, by=actor())
    except Conflict as refusal:
        return redirect(url_for("team.list_people", notice=refusal.code), 303)
    [email] = [row.email for row in team.list_people(me().merchant_id) if row.id == user_id]
    link = f"{settings().origin}{url_for('door.show_reset', token=token)}"
    return _page(link=link, link_for=email, is_reset=True, status=201)


def _done(act: Callable[[], None], notice: str) -> BaseResponse:
    try:
        act()
    except Conflict as refusal:
        notice = refusal.code
    return redirect(url_for("team.list_people", notice=notice), 303)


def _page(
    *,
    link: str | None = None,
    link_for: str = "",
    is_reset: bool = False,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    mine = me().role
    page = render_template(
        "dashboard/team.html",
        people=team.list_people(me().merchant_id),
        invitations=team.list_invitations(me().merchant_id),
        grantable=[role.value for role in Role if outranks(mine, role)],
        link=link,
        link_for=link_for,
        has_mail=settings().has_mail,
        is_reset=is_reset,
        faults=faults or {},
        form=request.form if faults else {},
    )
    return make_response(page, status)
