"""Merchants and their people: opening a shop, signing in and out.

Own code and not Flask-Login: sessions must be revocable rows of one tenant, and a token in the
cookie whose digest is in the table is all it takes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection

from app import clock
from app.db import insert_or_skip, reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated, TooManyRequests
from app.ids import new_id
from app.merchants.models import Merchant, Session, SignInFailure, SignInLink, User

SESSION_LIFE = timedelta(days=14)
LINK_LIFE = timedelta(hours=24)
PASSWORD_CHARS_MIN = 10
# After the fifth wrong password each further one doubles the wait, up to a quarter of an hour.
FREE_TRIES = 5
WAIT_S_MAX = 900

# OWASP's profile for argon2id: 19 MiB, 2 passes, 50 ms; the library's defaults cost eight times that.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_DUMMY_HASH = _hasher.hash(secrets.token_urlsafe(16))  # so that an unknown e-mail takes as long
_EMAIL = re.compile(
    r"[^@\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,189}"
)

_merchants, _users, _sessions = table_of(Merchant), table_of(User), table_of(Session)
_links, _failures = table_of(SignInLink), table_of(SignInFailure)


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


def add_merchant(
    name: str, *, email: str, owner: str = "", language: str = "zh", password: str | None = None
) -> tuple[str, str]:
    """A new merchant with its owner: both ids.  Raises InvalidRequest, Conflict (e-mail taken)."""
    name, email = name.strip(), email.strip().lower()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest("a merchant's name has 1 to 80 characters", param="name")
    if len(owner) > 80 or not owner.isprintable():
        raise InvalidRequest("a person's name has at most 80 characters", param="owner")
    if not _EMAIL.fullmatch(email):
        raise InvalidRequest("this is not an e-mail address", param="email")
    if language not in ("zh", "en"):
        raise InvalidRequest("the language is zh or en", param="language")
    password_hash = None if password is None else _hash(password)
    merchant_id, user_id, now = new_id("mch"), new_id("usr"), clock.now()
    try:
        with transaction() as tx:
            tx.execute(
                sa.insert(_merchants).values(id=merchant_id, name=name, language=language, created_at=now)
            )
            tx.execute(
                sa.insert(_users).values(
                    merchant_id=merchant_id,
                    id=user_id,
                    email=email,
                    name=owner.strip() or name,
                    role="owner",
                    password_hash=password_hash,
                    created_at=now,
                )
            )
    except sa.exc.IntegrityError:
        raise Conflict("this e-mail address is taken", code="email_taken") from None
    return merchant_id, user_id


def set_password(merchant_id: str, user_id: str, password: str) -> None:
    """A new password; all sessions of the user and unused sign-in links end.  Raises InvalidRequest."""
    password_hash = _hash(password)
    with transaction() as tx:
        mine = (_users.c.merchant_id == merchant_id, _users.c.id == user_id)
        tx.execute(sa.update(_users).where(*mine).values(password_hash=password_hash))
        for table in (_sessions, _links):
            tx.execute(sa.delete(table).where(table.c.merchant_id == merchant_id, table.c.user_id == user_id))


def find_user(email: str) -> sa.Row | None:
    """The user with this e-mail address, if any."""
    if not _EMAIL.fullmatch(email.strip()):
        return None  # nor may the database see what it cannot store
    with reading() as connection:
        return connection.execute(sa.select(_users).where(_users.c.email == email.strip().lower())).first()


def sign_in(email: str, password: str, *, address: str) -> str:
    """A session token for the right password.  ``address`` is the caller's, to slow guessing down.

    Raises NotAuthenticated (the same words whether the e-mail exists or not), TooManyRequests.
    """
    email = email.strip().lower()
    subjects = [_digest(f"email:{email}"), _digest(f"address:{address}")]
    _refuse_if_guessing(subjects)
    user = find_user(email)
    stored = (user.password_hash if user else None) or _DUMMY_HASH
    try:
        _hasher.verify(stored, password[:200])
    except (VerifyMismatchError, InvalidHashError):
        _note_failure(subjects)
        raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password") from None
    if user is None or user.password_hash is None:
        raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password")
    with transaction() as tx:
        # A password that was changed while it was being checked opens nothing any more.
        still = (
            _users.c.merchant_id == user.merchant_id,
            _users.c.id == user.id,
            _users.c.password_hash == stored,
        )
        if tx.execute(sa.select(_users.c.id).where(*still).with_for_update()).first() is None:
            raise NotAuthenticated("the e-mail address or the password is wrong", code="wrong_password")
        tx.execute(sa.delete(_failures).where(_failures.c.subject == subjects[0]))
        return _open_session(tx, user.merchant_id, user.id)


def make_sign_in_link(merchant_id: str, user_id: str) -> str:
    """A token that signs this user in once within a day."""
    token = secrets.token_urlsafe(24)
    with transaction() as tx:
        tx.execute(
            sa.insert(_links).values(
                digest=_digest(token),
                merchant_id=merchant_id,
                user_id=user_id,
                expires_at=clock.now() + LINK_LIFE,
            )
        )
    return token


def use_sign_in_link(token: str) -> str:
    """A session token in exchange for the link's, once.  Raises NotAuthenticated."""
    now, digest = clock.now(), _digest(token[:200])
    with transaction() as tx:
        row = tx.execute(
            sa.update(_links)
            .where(_links.c.digest == digest, _links.c.used_at.is_(None), _links.c.expires_at > now)
            .values(used_at=now)
            .returning(_links.c.merchant_id, _links.c.user_id)
        ).first()
        if row is None:
            raise NotAuthenticated("this sign-in link was used or is too old", code="link_used")
        return _open_session(tx, row.merchant_id, row.user_id)


def who_is(token: str) -> SignedIn | None:
    """The person a session token stands for, or None if it is unknown, expired or signed out."""
    with reading() as connection:
        row = connection.execute(_WHO_IS, {"digest": _digest(token[:200]), "now": clock.now()}).first()
    return None if row is None else SignedIn(*row)


_WHO_IS = (
    sa.select(
        _users.c.id,
        _users.c.merchant_id,
        _users.c.name,
        _users.c.email,
        _users.c.role,
        _merchants.c.name,
        _merchants.c.language,
    )
    .join(
        _sessions,
        sa.and_(_sessions.c.merchant_id == _users.c.merchant_id, _sessions.c.user_id == _users.c.id),
    )
    .join(_merchants, _merchants.c.id == _users.c.merchant_id)
    .where(
        _sessions.c.digest == sa.bindparam("digest"),
        _sessions.c.expires_at > sa.bindparam("now", type_=_sessions.c.expires_at.type),
    )
)


def sign_out(token: str) -> None:
    """End this session."""
    with transaction() as tx:
        tx.execute(sa.delete(_sessions).where(_sessions.c.digest == _digest(token[:200])))


def _open_session(tx: Connection, merchant_id: str, user_id: str) -> str:
    token, now = secrets.token_urlsafe(32), clock.now()
    tx.execute(sa.delete(_sessions).where(_sessions.c.expires_at < now))
    tx.execute(
        sa.insert(_sessions).values(
            digest=_digest(token),
            merchant_id=merchant_id,
            user_id=user_id,
            created_at=now,
            expires_at=now + SESSION_LIFE,
        )
    )
    return token


def _hash(password: str) -> str:
    if not PASSWORD_CHARS_MIN <= len(password) <= 200:
        raise InvalidRequest(f"a password has {PASSWORD_CHARS_MIN} to 200 characters", param="password")
    return _hasher.hash(password)


def _refuse_if_guessing(subjects: list[str]) -> None:
    now = clock.now()
    with reading() as connection:
        until = connection.execute(
            sa.select(sa.func.max(_failures.c.until)).where(_failures.c.subject.in_(subjects))
        ).scalar()
    if until is not None and until > now:
        wait_s = int((until - now).total_seconds()) + 1
        raise TooManyRequests("too many wrong passwords", retry_after_s=wait_s)


def _note_failure(subjects: list[str]) -> None:
    now = clock.now()
    with transaction() as tx:
        tx.execute(sa.delete(_failures).where(_failures.c.until < now - timedelta(days=1)))
        for subject in subjects:
            # Inserted or not, the row is counted up where it stands: guesses at the same time all count.
            tx.execute(insert_or_skip(tx, _failures), {"subject": subject, "count": 0, "until": now})
            mine = _failures.c.subject == subject
            counted = sa.update(_failures).where(mine).values(count=_failures.c.count + 1)
            count = tx.execute(counted.returning(_failures.c.count)).scalar_one()
            tx.execute(sa.update(_failures).where(mine).values(until=now + timedelta(seconds=_wait_s(count))))


def _wait_s(count: int) -> int:
    """How long to wait after so many wrong passwords: none before the fifth, then 1, 2, 4 … 900 s.  Pure."""
    return 0 if count < FREE_TRIES else min(2 ** min(count - FREE_TRIES, 10), WAIT_S_MAX)


def _digest(token: str) -> str:
    # What a browser sends may hold anything; it only has to be looked for.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
