"""The team: who is in it, who is let in, what becomes of their role.

Nobody gives, changes or ends a role that grants as much as their own (owners alone are equals), nobody
changes themselves, and the last owner stays.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, PermissionDenied
from app.ids import new_id
from app.merchants import audit, devices, letters, people, second_factor, sessions
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.guessing import digest
from app.merchants.letters import Topic
from app.merchants.models import Invitation, Merchant, Passkey, Session, User
from app.merchants.roles import Permission, Role, outranks
from app.merchants.sessions import Browser

INVITATION_LIFE = timedelta(days=7)
NAME_CHARS_MAX = 80
PEOPLE_MAX = 200  # of one merchant, with those who are invited: one page shows them all

_users, _invitations, _merchants = table_of(User), table_of(Invitation), table_of(Merchant)
_sessions, _passkeys = table_of(Session), table_of(Passkey)


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody who may be invited.  Building one checks it: raises InvalidRequest."""

    email: str
    name: str
    role: Role

    @classmethod
    def of(cls, email: str, name: str, role: str) -> NewPerson:
        """From what was typed.  Raises InvalidRequest."""
        name = name.strip()
        if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise InvalidRequest(f"a person's name has 1 to {NAME_CHARS_MAX} characters", param="name")
        return cls(people.checked_email(email), name, _role(role))


def list_people(merchant_id: str) -> list[sa.Row[Any]]:
    """Everybody, deactivated ones last; with each ``has_second_factor`` and ``last_seen_at``."""
    seen = (
        sa.select(sa.func.max(_sessions.c.last_seen_at, type_=_sessions.c.last_seen_at.type))
        .where(_sessions.c.merchant_id == _users.c.merchant_id, _sessions.c.user_id == _users.c.id)
        .scalar_subquery()
    )
    has_passkey = sa.exists().where(
        _passkeys.c.merchant_id == _users.c.merchant_id, _passkeys.c.user_id == _users.c.id
    )
    query = (
        sa.select(
            *_users.c,
            sa.or_(_users.c.totp_since.is_not(None), has_passkey).label("has_second_factor"),
            seen.label("last_seen_at"),
        )
        .where(_users.c.merchant_id == merchant_id)
        .order_by(_users.c.deactivated_at.is_not(None), _users.c.id)
        .limit(PEOPLE_MAX)
    )
    with reading() as connection:
        return list(connection.execute(query))


def list_invitations(merchant_id: str) -> list[sa.Row[Any]]:
    """Those that can still be used, newest first."""
    query = sa.select(*_invitations.c).where(_invitations.c.merchant_id == merchant_id, *_open())
    with reading() as connection:
        return list(connection.execute(query.order_by(_invitations.c.id.desc()).limit(PEOPLE_MAX)))


def invite(merchant_id: str, new: NewPerson, *, by: Actor) -> str:
    """Keep a place: the token of a link that works once within a week.  It is never seen again.

    Where there is mail it is sent as well.

    Whether the address has an account at another shop only whoever has the link will learn.
    Raises PermissionDenied, Conflict (in this team already; too many).
    """
    _refuse_rank(by, new.role)
    token, invitation_id, now = secrets.token_urlsafe(24), new_id("inv"), clock.now()
    with transaction() as tx:
        here = sa.select(_users.c.id).where(_users.c.merchant_id == merchant_id)
        if tx.execute(here.where(_users.c.email == new.email)).first() is not None:
            raise Conflict("this person is in the team already", code="in_team")
        _refuse_too_many(tx, merchant_id)
        same = (_invitations.c.merchant_id == merchant_id, _invitations.c.email == new.email)
        tx.execute(sa.update(_invitations).where(*same, _invitations.c.used_at.is_(None)).values(used_at=now))
        tx.execute(
            sa.insert(_invitations).values(
                merchant_id=merchant_id,
                id=invitation_id,
                digest=digest(token),
                email=new.email,
                name=new.name,
                role=new.role,
                invited_by=by.name,
                created_at=now,
                expires_at=now + INVITATION_LIFE,
            )
        )
        letters.write_link(tx, merchant_id, Topic.INVITATION, new.email, f"/join/{token}", who=by.name)
        facts = {"email": new.email, "role": new.role}
        audit.append(tx, merchant_id, by, Action.PERSON_INVITED, invitation_id, after=facts)
    return token


def withdraw(merchant_id: str, invitation_id: str, *, by: Actor) -> None:
    """The link opens nothing any more.  Raises NotFound, PermissionDenied."""
    own = (_invitations.c.merchant_id == merchant_id, _invitations.c.id == invitation_id[:40])
    with transaction() as tx:
        row = tx.execute(sa.select(*_invitations.c).where(*own, *_open()).with_for_update()).first()
        if row is None:
            raise NotFound("no such invitation")
        _refuse_rank(by, row.role)
        tx.execute(sa.update(_invitations).where(*own).values(used_at=clock.now()))
        facts = {"email": row.email, "role": row.role}
        audit.append(tx, merchant_id, by, Action.INVITATION_WITHDRAWN, invitation_id, before=facts)


def find_invitation(token: str) -> sa.Row | None:
    """What a link invites to, with ``merchant_name``; the link stays unused.  None if it is spent."""
    query = (
        sa.select(*_invitations.c, _merchants.c.name.label("merchant_name"))
        .join(_merchants, _merchants.c.id == _invitations.c.merchant_id)
        .where(_invitations.c.digest == digest(token[:200]), *_open())
    )
    with reading() as connection:
        return connection.execute(query).first()


def join(token: str, password: str, browser: Browser) -> str:
    """Take the place: a session token.  Raises InvalidRequest, NotAuthenticated, Conflict (email_taken)."""
    invitation = find_invitation(token)
    if invitation is None:
        raise NotAuthenticated("this invitation was used or is too old", code="link_used")
    known = (invitation.email, invitation.name, invitation.merchant_name)
    password_hash = people.hash_password(password, known)
    try:
        with transaction() as tx:
            used = sa.update(_invitations).where(_invitations.c.digest == digest(token[:200]), *_open())
            row = tx.execute(used.values(used_at=clock.now()).returning(*_invitations.c)).first()
            if row is None:
                raise NotAuthenticated("this invitation was used or is too old", code="link_used")
            user_id = people.store_user(tx, row.merchant_id, row.email, row.name, row.role, password_hash)
            session_token = sessions.open_session(tx, row.merchant_id, user_id, browser)
            devices.greet(tx, row.merchant_id, user_id, row.email, browser)
            by = Actor(row.email, user_id=user_id, address=browser.address)
            audit.append(tx, row.merchant_id, by, Action.PERSON_JOINED, user_id, after={"role": row.role})
    except sa.exc.IntegrityError:
        raise Conflict("this e-mail address has an account already", code="email_taken") from None
    return session_token


def change_role(merchant_id: str, user_id: str, role: str, *, by: Actor) -> None:
    """Give a person another role; they sign in anew.

    Raises NotFound, PermissionDenied, InvalidRequest, Conflict.
    """
    with transaction() as tx:
        row = _managed(tx, merchant_id, user_id, by)
        wanted = _role(role)
        _refuse_rank(by, wanted)
        if row.role == wanted:
            return
        if wanted != Role.OWNER:
            _refuse_last_owner(tx, row)
        tx.execute(_update(row).values(role=wanted))
        sessions.end_all(tx, merchant_id, row.id)
        facts = {"before": {"role": row.role}, "after": {"role": wanted}}
        audit.append(tx, merchant_id, by, Action.ROLE_CHANGED, row.id, **facts)


def deactivate(merchant_id: str, user_id: str, *, by: Actor) -> None:
    """Sign a person out everywhere and let them in no more.  Raises NotFound, PermissionDenied, Conflict."""
    with transaction() as tx:
        row = _managed(tx, merchant_id, user_id, by)
        _refuse_last_owner(tx, row)
        tx.execute(_update(row).values(deactivated_at=clock.now()))
        sessions.end_all(tx, merchant_id, row.id)
        people.end_links(tx, merchant_id, row.id)
        audit.append(tx, merchant_id, by, Action.PERSON_DEACTIVATED, row.id)


def reactivate(merchant_id: str, user_id: str, *, by: Actor) -> None:
    """Let a person in again, with what they had.  Raises NotFound, PermissionDenied."""
    with transaction() as tx:
        row = _managed(tx, merchant_id, user_id, by)
        tx.execute(_update(row).values(deactivated_at=None))
        audit.append(tx, merchant_id, by, Action.PERSON_REACTIVATED, row.id)


def make_reset_link(
    merchant_id: str, user_id: str, *, by: Actor = SERVER, drops_second_factor: bool = False
) -> str:
    """A token with which this person chooses a new password, once within a day; sent where there is mail.

    Their second factor stays and is asked for afterwards; only whoever runs the server can take it off.
    Raises NotFound, PermissionDenied, Conflict (deactivated).
    """
    if drops_second_factor and by != SERVER:
        raise PermissionDenied("only whoever runs the server takes off a second factor", code="server_only")
    with transaction() as tx:
        row = _managed(tx, merchant_id, user_id, by)
        if row.deactivated_at is not None:
            raise Conflict("this person is deactivated", code="deactivated")
        if drops_second_factor:
            second_factor.drop_all(tx, merchant_id, row.id)
            audit.append(tx, merchant_id, by, Action.SECOND_FACTOR_REMOVED, row.id)
        token = people.store_link(tx, merchant_id, row.id, is_reset=True)
        letters.write_link(tx, merchant_id, Topic.RESET, row.email, f"/reset/{token}")
        audit.append(tx, merchant_id, by, Action.PASSWORD_RESET_MADE, row.id)
    return token


def _managed(tx: Connection, merchant_id: str, user_id: str, by: Actor) -> sa.Row[Any]:
    """A person whom this actor may manage, locked.  Raises NotFound, PermissionDenied.

    The owners are locked with them, in one order: of two who end each other one comes second and is told.
    """
    wanted = sa.or_(_users.c.id == user_id[:40], _users.c.role == Role.OWNER)
    locked = (
        sa.select(*_users.c)
        .where(_users.c.merchant_id == merchant_id, wanted)
        .order_by(_users.c.id)
        .with_for_update()
    )
    row = next((each for each in tx.execute(locked) if each.id == user_id), None)
    if row is None:
        raise NotFound("no such person")
    if row.id == by.user_id:
        raise PermissionDenied("nobody changes their own place in the team", code="own_role")
    _refuse_rank(by, row.role)
    return row


def _refuse_rank(by: Actor, role: str) -> None:
    by.require(Permission.TEAM_WRITE)
    if not outranks(by.role, role):
        raise PermissionDenied(f"a {by.role} does not decide about a {role}", code="role_exceeded")


def _refuse_last_owner(tx: Connection, row: sa.Row[Any]) -> None:
    """Raises Conflict."""
    if row.role != Role.OWNER:
        return
    others = sa.select(_users.c.id).where(
        _users.c.merchant_id == row.merchant_id,
        _users.c.id != row.id,
        _users.c.role == Role.OWNER,
        _users.c.deactivated_at.is_(None),
    )
    if tx.execute(others).first() is None:
        raise Conflict("a shop keeps its last owner", code="last_owner")


def _refuse_too_many(tx: Connection, merchant_id: str) -> None:
    mine = (
        sa.select(sa.func.count()).select_from(_users).where(_users.c.merchant_id == merchant_id),
        sa.select(sa.func.count())
        .select_from(_invitations)
        .where(_invitations.c.merchant_id == merchant_id, *_open()),
    )
    if sum(tx.execute(each).scalar_one() for each in mine) >= PEOPLE_MAX:
        raise Conflict(f"a team has at most {PEOPLE_MAX} people", code="team_full")


def _open() -> tuple[sa.ColumnElement[bool], ...]:
    return (_invitations.c.used_at.is_(None), _invitations.c.expires_at > clock.now())


def _update(row: sa.Row[Any]) -> sa.Update:
    return sa.update(_users).where(_users.c.merchant_id == row.merchant_id, _users.c.id == row.id)


def _role(name: str) -> Role:
    if name not in set(Role):
        raise InvalidRequest(f"{name[:20]!r} is not a role", param="role")
    return Role(name)
