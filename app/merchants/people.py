"""Merchants and their people: opening a shop, passwords and links at the door.

Own code and not Flask-Security-Too or Flask-Login: docs/decisions/0010-people.md.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection

from app import clock
from app.db import reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated
from app.ids import new_id
from app.merchants import audit, devices, guessing, letters, sessions
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.guessing import digest
from app.merchants.letters import Topic
from app.merchants.models import Merchant, Passkey, SignInLink, User
from app.merchants.roles import Role
from app.merchants.sessions import Browser
from app.merchants.weak import is_weak

LINK_LIFE = timedelta(hours=24)
PASSWORD_CHARS_MIN = 10
LANGUAGES = ("zh", "en")

# OWASP's profile for argon2id: 19 MiB, 2 passes, 50 ms; the library's defaults cost eight times that.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_DUMMY_HASH = _hasher.hash(secrets.token_urlsafe(16))  # so that an unknown e-mail takes as long
_EMAIL = re.compile(
    r"[^@\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,189}"
)

_merchants, _users, _links = table_of(Merchant), table_of(User), table_of(SignInLink)
_passkeys = table_of(Passkey)


def add_merchant(
    name: str, *, email: str, owner: str = "", language: str = "zh", password: str | None = None
) -> tuple[str, str]:
    """A new merchant with its owner: both ids.  Raises InvalidRequest, Conflict (e-mail taken)."""
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest("a merchant's name has 1 to 80 characters", param="name")
    if len(owner) > 80 or not owner.isprintable():
        raise InvalidRequest("a person's name has at most 80 characters", param="owner")
    email = checked_email(email)
    if language not in LANGUAGES:
        raise InvalidRequest("the language is zh or en", param="language")
    password_hash = None if password is None else hash_password(password, (email, name, owner))
    merchant_id, now = new_id("mch"), clock.now()
    try:
        with transaction() as tx:
            tx.execute(
                sa.insert(_merchants).values(id=merchant_id, name=name, language=language, created_at=now)
            )
            user_id = store_user(tx, merchant_id, email, owner.strip() or name, Role.OWNER, password_hash)
    except sa.exc.IntegrityError:
        raise Conflict("this e-mail address is taken", code="email_taken") from None
    return merchant_id, user_id


def store_user(
    tx: Connection, merchant_id: str, email: str, name: str, role: str, password_hash: str | None
) -> str:
    """A new person's id.  A step.  The database refuses a second one with the same e-mail address."""
    user_id = new_id("usr")
    tx.execute(
        sa.insert(_users).values(
            merchant_id=merchant_id,
            id=user_id,
            email=email,
            name=name,
            role=role,
            password_hash=password_hash,
            created_at=clock.now(),
        )
    )
    return user_id


def store_password(
    tx: Connection, merchant_id: str, user_id: str, password_hash: str, by: Actor, *, was: str | None = None
) -> None:
    """A new password; all sessions of the user and unused links end.  A step.

    With ``was``, the hash that was checked: NotAuthenticated if it is another one meanwhile.
    """
    mine = [_users.c.merchant_id == merchant_id, _users.c.id == user_id]
    if was is not None:
        mine.append(_users.c.password_hash == was)
    if tx.execute(sa.update(_users).where(*mine).values(password_hash=password_hash)).rowcount != 1:
        raise NotAuthenticated("the password was changed meanwhile", code="wrong_password")
    sessions.end_all(tx, merchant_id, user_id)
    end_links(tx, merchant_id, user_id)
    letters.warn(tx, merchant_id, user_id, Topic.PASSWORD_CHANGED, by)
    audit.append(tx, merchant_id, by, Action.PASSWORD_CHANGED, user_id)


def find_user(email: str) -> sa.Row | None:
    """The user with this e-mail address, if any, deactivated or not."""
    if not _EMAIL.fullmatch(email.strip()):
        return None  # nor may the database see what it cannot store
    with reading() as connection:
        return connection.execute(sa.select(_users).where(_users.c.email == email.strip().lower())).first()


def check_password(email: str, password: str, *, address: str) -> sa.Row[Any]:
    """The user of the right password.  ``address`` is the caller's, to slow guessing down.

    Raises NotAuthenticated (the same words whether the e-mail exists or not), TooManyRequests.
    """
    email = email.strip().lower()
    subjects = [guessing.subject("email", email), guessing.subject("address", address)]
    guessing.refuse_if_guessing(subjects)
    user = find_user(email)
    stored = (user.password_hash if user else None) or _DUMMY_HASH
    try:
        _hasher.verify(stored, password[:200])
    except (VerifyMismatchError, InvalidHashError):
        _note_failure(subjects, user, email, address)
        raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password") from None
    if user is None or user.password_hash is None or user.deactivated_at is not None:
        _note_failure(subjects, user, email, address)
        raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password")
    return user


def sign_in(email: str, password: str, *, address: str, agent: str = "") -> str:
    """A session token for the right password; of a half session if there is a second factor.

    Raises NotAuthenticated, TooManyRequests.
    """
    user = check_password(email, password, address=address)
    browser = Browser(address, agent)
    with transaction() as tx:
        # A password that was changed while it was being checked opens nothing any more.
        still = (
            _users.c.merchant_id == user.merchant_id,
            _users.c.id == user.id,
            _users.c.password_hash == user.password_hash,
            _users.c.deactivated_at.is_(None),
        )
        if tx.execute(sa.select(_users.c.id).where(*still).with_for_update()).first() is None:
            raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password")
        guessing.forgive(tx, guessing.subject("email", user.email))
        return enter(tx, user, browser)


def enter(tx: Connection, user: sa.Row[Any], browser: Browser) -> str:
    """A session for whoever has shown the first factor: half if there is a second.  A step."""
    whose = (_passkeys.c.merchant_id == user.merchant_id, _passkeys.c.user_id == user.id)
    is_half = user.totp_since is not None or (
        tx.execute(sa.select(_passkeys.c.id).where(*whose)).first() is not None
    )
    token = sessions.open_session(tx, user.merchant_id, user.id, browser, is_half=is_half)
    if not is_half:
        devices.greet(tx, user.merchant_id, user.id, user.email, browser)
        by = Actor(user.email, user_id=user.id, address=browser.address)
        audit.append(tx, user.merchant_id, by, Action.SIGNED_IN, user.id)
    return token


def make_sign_in_link(merchant_id: str, user_id: str) -> str:
    """A token that signs this user in once within a day."""
    with transaction() as tx:
        return store_link(tx, merchant_id, user_id)


def store_link(tx: Connection, merchant_id: str, user_id: str, *, is_reset: bool = False) -> str:
    """The same, or a token that lets this user choose a password.  A step."""
    token = secrets.token_urlsafe(24)
    tx.execute(
        sa.insert(_links).values(
            digest=digest(token),
            merchant_id=merchant_id,
            user_id=user_id,
            is_reset=is_reset,
            expires_at=clock.now() + LINK_LIFE,
        )
    )
    return token


def use_sign_in_link(token: str, browser: Browser = Browser()) -> str:  # noqa: B008 - frozen
    """A session token in exchange for the link's, once.  Raises NotAuthenticated."""
    with transaction() as tx:
        return enter(tx, _use_link(tx, token, is_reset=False), browser)


def use_reset_link(token: str, password: str, *, address: str) -> None:
    """A new password in exchange for the link, once; then one signs in, second factor and all.

    Raises InvalidRequest (the link stays good), NotAuthenticated.
    """
    email = link_owner(token, is_reset=True)
    if email is None:
        raise NotAuthenticated("this link was used or is too old", code="link_used")
    password_hash = hash_password(password, (email,))
    with transaction() as tx:
        user = _use_link(tx, token, is_reset=True)
        by = Actor(user.email, user_id=user.id, address=address)
        store_password(tx, user.merchant_id, user.id, password_hash, by)


def link_owner(token: str, *, is_reset: bool = False) -> str | None:
    """The e-mail address of the person whom a link is for; the link stays unused.  None if it is spent."""
    query = (
        sa.select(_users.c.email)
        .join(_links, sa.and_(_links.c.merchant_id == _users.c.merchant_id, _links.c.user_id == _users.c.id))
        .where(*_good(token, is_reset), _users.c.deactivated_at.is_(None))
    )
    with reading() as connection:
        email = connection.execute(query).scalar()
    return None if email is None else str(email)


def end_links(tx: Connection, merchant_id: str, user_id: str) -> None:
    """Make a person's links open nothing.  A step."""
    tx.execute(sa.delete(_links).where(_links.c.merchant_id == merchant_id, _links.c.user_id == user_id))


def checked_email(email: str) -> str:
    """As it is stored.  Pure.  Raises InvalidRequest."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise InvalidRequest("this is not an e-mail address", param="email")
    return email


def hash_password(password: str, about: Iterable[str] = ()) -> str:
    """Takes 50 ms, so never inside a transaction.  ``about`` is what is known of the person.

    Raises InvalidRequest (``password_weak`` for one that is guessed first).
    """
    if not PASSWORD_CHARS_MIN <= len(password) <= 200:
        raise InvalidRequest(f"a password has {PASSWORD_CHARS_MIN} to 200 characters", param="password")
    if is_weak(password, about):
        raise InvalidRequest(
            "this password is among the first that a guesser tries", code="password_weak", param="password"
        )
    return _hasher.hash(password)


def _use_link(tx: Connection, token: str, *, is_reset: bool) -> sa.Row[Any]:
    used = sa.update(_links).where(*_good(token, is_reset)).values(used_at=clock.now())
    link = tx.execute(used.returning(_links.c.merchant_id, _links.c.user_id)).first()
    user = None
    if link is not None:
        own = (_users.c.merchant_id == link.merchant_id, _users.c.id == link.user_id)
        user = tx.execute(sa.select(_users).where(*own, _users.c.deactivated_at.is_(None))).first()
    if user is None:
        raise NotAuthenticated("this sign-in link was used or is too old", code="link_used")
    return user


def _good(token: str, is_reset: bool) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _links.c.digest == digest(token[:200]),
        _links.c.is_reset.is_(is_reset),
        _links.c.used_at.is_(None),
        _links.c.expires_at > clock.now(),
    )


@retried
def _note_failure(subjects: list[str], user: sa.Row[Any] | None, email: str, address: str) -> None:
    with transaction() as tx:
        guessing.note_failure(tx, subjects)
        if user is not None:
            by = Actor(email, address=address)
            audit.append(tx, user.merchant_id, by, Action.SIGN_IN_FAILED, user.id)
