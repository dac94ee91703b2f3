"""Signed-in browsers: opened, renewed under another token, listed, ended.

A person with a second factor first gets a *half* session: it opens nothing but the page that asks for
the code, for ten minutes and five tries.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import reading, table_of, transaction
from app.errors import NotFound
from app.ids import new_id
from app.merchants import audit
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.guessing import digest
from app.merchants.models import Merchant, Passkey, Session, User
from app.merchants.roles import Permission, permissions_of

SESSION_LIFE = timedelta(days=14)
HALF_LIFE = timedelta(minutes=10)
TRIES_MAX = 5
PROOF_LIFE = timedelta(minutes=10)  # for so long it is believed that the same person sits there
_SEEN_EVERY = timedelta(minutes=5)

_merchants, _users, _sessions = table_of(Merchant), table_of(User), table_of(Session)
_passkeys = table_of(Passkey)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person behind a request to the dashboard."""

    user_id: str
    merchant_id: str
    name: str
    email: str
    role: str
    merchant_name: str
    merchant_language: str
    session_id: str
    proved_at: datetime
    last_seen_at: datetime
    has_password: bool
    has_totp: bool
    has_passkey: bool
    requires_second_factor: bool  # the shop does, for refunds and keys

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role grants."""
        return permissions_of(self.role)

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone does not open the door."""
        return self.has_totp or self.has_passkey

    @property
    def is_fresh(self) -> bool:
        """Whether it was shown lately who sits there."""
        return clock.now() - self.proved_at < PROOF_LIFE

    def may(self, permission: str) -> bool:
        """Whether they may."""
        return permission in self.permissions

    def actor(self, address: str = "") -> Actor:
        """The same person, as services and the audit log know them."""
        return Actor(self.email, self.permissions, self.role, self.user_id, address)


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a session is opened from."""

    address: str = ""
    agent: str = ""
    device: str = ""  # the random word that it was given


# The first mark that a browser's own account of itself holds names it: most claim to be several.
_PROGRAMS = (
    ("MicroMessenger", "WeChat"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def name_of_browser(agent: str) -> str:
    """``"Mozilla/5.0 (X11; Linux x86_64) … Chrome/142.0 Safari/537.36" -> "Chrome · Linux"``.  Pure.

    What is neither is said as it says itself.
    """
    names = [next((name for mark, name in marks if mark in agent), "") for marks in (_PROGRAMS, _SYSTEMS)]
    return " · ".join(filter(None, names)) or agent


def who_is(token: str) -> SignedIn | None:
    """The person a session token stands for; None if it is unknown, half, expired or ended."""
    with reading() as connection:
        row = connection.execute(_WHO_IS, {"digest": digest(token[:200]), "now": clock.now()}).first()
    return None if row is None else SignedIn(*tuple(row))


def half_of(token: str) -> sa.Row[Any] | None:
    """The half session of this token, if it is one: its merchant_id, user_id and email."""
    query = (
        sa.select(_sessions.c.merchant_id, _sessions.c.user_id, _users.c.email, *_FACTORS)
        .join(_users, _OF_USER)
        .where(
            _sessions.c.digest == digest(token[:200]),
            _sessions.c.is_half,
            _sessions.c.expires_at > clock.now(),
            _sessions.c.tries < TRIES_MAX,
            _users.c.deactivated_at.is_(None),
        )
    )
    with reading() as connection:
        return connection.execute(query).first()


def note_seen(person: SignedIn, browser: Browser) -> None:
    """Keep when and where a session was last used, to five minutes."""
    now = clock.now()
    if now - person.last_seen_at < _SEEN_EVERY:
        return
    with transaction() as tx:
        tx.execute(
            sa.update(_sessions)
            .where(_sessions.c.id == person.session_id)
            .values(last_seen_at=now, address=browser.address[:45])
        )


def open_session(
    tx: Connection, merchant_id: str, user_id: str, browser: Browser, *, is_half: bool = False
) -> str:
    """A new session: its token.  A step."""
    token, now = secrets.token_urlsafe(32), clock.now()
    tx.execute(sa.delete(_sessions).where(_sessions.c.expires_at < now))
    tx.execute(
        sa.insert(_sessions).values(
            digest=digest(token),
            id=new_id("ses"),
            merchant_id=merchant_id,
            user_id=user_id,
            is_half=is_half,
            tries=0,
            address=browser.address[:45],
            agent="".join(char for char in browser.agent if char.isprintable())[:200],
            created_at=now,
            last_seen_at=now,
            proved_at=now,
            expires_at=now + (HALF_LIFE if is_half else SESSION_LIFE),
        )
    )
    return token


def take_try(tx: Connection, token: str) -> bool:
    """Count a try against a half session, before the code is looked at.  A step.  False: none is left."""
    taken = (
        sa.update(_sessions)
        .where(
            _sessions.c.digest == digest(token[:200]),
            _sessions.c.is_half,
            _sessions.c.expires_at > clock.now(),
            _sessions.c.tries < TRIES_MAX,
        )
        .values(tries=_sessions.c.tries + 1)
    )
    return tx.execute(taken).rowcount == 1


def replace(tx: Connection, token: str, browser: Browser) -> str | None:
    """End a session, half or whole, and open a whole one for the same person.  A step.

    The old token is dead from the commit on: whoever had learned it has nothing.  None if it was dead.
    """
    ended = sa.delete(_sessions).where(_sessions.c.digest == digest(token[:200]))
    row = tx.execute(ended.returning(_sessions.c.merchant_id, _sessions.c.user_id)).first()
    return None if row is None else open_session(tx, row.merchant_id, row.user_id, browser)


def sign_out(token: str) -> None:
    """End this session."""
    with transaction() as tx:
        tx.execute(sa.delete(_sessions).where(_sessions.c.digest == digest(token[:200])))


def list_sessions(person: SignedIn) -> list[sa.Row[Any]]:
    """A person's browsers, the latest first."""
    query = (
        sa.select(*_sessions.c)
        .where(*_own(person), _sessions.c.is_half.is_(False), _sessions.c.expires_at > clock.now())
        .order_by(_sessions.c.last_seen_at.desc(), _sessions.c.id.desc())
        .limit(50)
    )
    with reading() as connection:
        return list(connection.execute(query))


def end_session(person: SignedIn, session_id: str, by: Actor) -> None:
    """Sign one of one's own browsers out.  Raises NotFound."""
    with transaction() as tx:
        ended = tx.execute(sa.delete(_sessions).where(*_own(person), _sessions.c.id == session_id[:40]))
        if ended.rowcount != 1:
            raise NotFound("no such session")
        audit.append(tx, person.merchant_id, by, Action.SESSION_ENDED, session_id)


def end_other_sessions(person: SignedIn, by: Actor) -> None:
    """Sign out everywhere but here."""
    with transaction() as tx:
        tx.execute(sa.delete(_sessions).where(*_own(person), _sessions.c.id != person.session_id))
        audit.append(tx, person.merchant_id, by, Action.SESSION_ENDED, person.user_id)


def end_all(tx: Connection, merchant_id: str, user_id: str) -> None:
    """Sign a person out everywhere.  A step."""
    tx.execute(
        sa.delete(_sessions).where(_sessions.c.merchant_id == merchant_id, _sessions.c.user_id == user_id)
    )


def _own(person: SignedIn) -> tuple[sa.ColumnElement[bool], ...]:
    return (_sessions.c.merchant_id == person.merchant_id, _sessions.c.user_id == person.user_id)


_OF_USER = sa.and_(_sessions.c.merchant_id == _users.c.merchant_id, _sessions.c.user_id == _users.c.id)
_FACTORS = (
    _users.c.totp_since.is_not(None).label("has_totp"),
    sa.exists()
    .where(_passkeys.c.merchant_id == _users.c.merchant_id, _passkeys.c.user_id == _users.c.id)
    .label("has_passkey"),
)
_WHO_IS = (
    sa.select(
        _users.c.id,
        _users.c.merchant_id,
        _users.c.name,
        _users.c.email,
        _users.c.role,
        _merchants.c.name,
        _merchants.c.language,
        _sessions.c.id,
        _sessions.c.proved_at,
        _sessions.c.last_seen_at,
        _users.c.password_hash.is_not(None),
        *_FACTORS,
        _merchants.c.requires_second_factor,
    )
    .join(_sessions, _OF_USER)
    .join(_merchants, _merchants.c.id == _users.c.merchant_id)
    .where(
        _sessions.c.digest == sa.bindparam("digest"),
        _sessions.c.is_half.is_(False),
        _sessions.c.expires_at > sa.bindparam("now", type_=_sessions.c.expires_at.type),
        _users.c.deactivated_at.is_(None),
    )
)
