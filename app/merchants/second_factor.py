"""The second factor: codes of an authenticator app (TOTP), and recovery codes for the day it is lost.

Source: RFC 6238.  A code counts for its own step of 30 seconds and one to either side, for clocks that
are a little off, and opens once: the step of the last used code rises in a guarded UPDATE.
"""

from __future__ import annotations

import secrets
from typing import Any

import pyotp
import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated
from app.merchants import audit, devices, guessing, letters, sessions
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.letters import Topic
from app.merchants.models import Passkey, RecoveryCode, User
from app.merchants.sessions import Browser, SignedIn
from app.runtime import vault

ISSUER = "Mafu"
STEP_S = 30
RECOVERY_CODES = 10
# Without letters and digits that are taken for one another.
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_CODE_CHARS = 16  # 31**16 > 2**79

_users, _codes, _passkeys = table_of(User), table_of(RecoveryCode), table_of(Passkey)


def begin_totp(person: SignedIn) -> str:
    """A new secret, not in use before its first code was right: the address that an app scans.

    Raises Conflict if one is in use.
    """
    secret = pyotp.random_base32()
    with transaction() as tx:
        changed = tx.execute(
            sa.update(_users)
            .where(*_own(person.merchant_id, person.user_id), _users.c.totp_since.is_(None))
            .values(totp_sealed=vault().seal(secret, totp_place(person.user_id)), totp_step=0)
        )
    if changed.rowcount != 1:
        raise Conflict("an authenticator app is set up already", code="totp_in_use")
    return pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name=ISSUER)


def pending_totp(person: SignedIn) -> str | None:
    """The address of a secret that waits for its first code; None if there is none."""
    with reading() as connection:
        row = connection.execute(sa.select(*_users.c).where(*_own(person.merchant_id, person.user_id))).one()
    if row.totp_sealed is None or row.totp_since is not None:
        return None
    secret = vault().unseal(row.totp_sealed, totp_place(person.user_id))
    return pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name=ISSUER)


def confirm_totp(person: SignedIn, code: str, by: Actor) -> list[str]:
    """The first right code puts the secret into use: the recovery codes, shown once.

    Guesses are slowed down.  Raises InvalidRequest, TooManyRequests.
    """
    mine = guessing.subject("second", person.user_id)
    guessing.refuse_if_guessing([mine])
    with transaction() as tx:
        row = _lock(tx, person.merchant_id, person.user_id)
        is_right = row.totp_since is None and _use_totp(tx, row, code)
        if is_right:
            tx.execute(
                sa.update(_users)
                .where(*_own(person.merchant_id, person.user_id))
                .values(totp_since=clock.now())
            )
            fresh = _fresh_codes(tx, person)
            letters.warn(tx, person.merchant_id, person.user_id, Topic.FACTOR_ADDED, by)
            audit.append(tx, person.merchant_id, by, Action.SECOND_FACTOR_ADDED, person.user_id, after=_TOTP)
            return fresh
        guessing.note_failure(tx, [mine])
    raise InvalidRequest("this is not the code of this moment", code="wrong_code", param="code")


def drop_totp(person: SignedIn, by: Actor) -> None:
    """A password alone opens the door again, unless there is a passkey.  Recovery codes end with the last."""
    with transaction() as tx:
        _drop_totp(tx, person.merchant_id, person.user_id)
        letters.warn(tx, person.merchant_id, person.user_id, Topic.FACTOR_REMOVED, by)
        audit.append(tx, person.merchant_id, by, Action.SECOND_FACTOR_REMOVED, person.user_id, before=_TOTP)


def drop_all(tx: Connection, merchant_id: str, user_id: str) -> None:
    """Take every second factor off a person.  A step, for whoever runs the server."""
    whose = (_passkeys.c.merchant_id == merchant_id, _passkeys.c.user_id == user_id)
    tx.execute(sa.delete(_passkeys).where(*whose))
    _drop_totp(tx, merchant_id, user_id)


def renew_recovery_codes(person: SignedIn, by: Actor) -> list[str]:
    """Ten new codes; the old ones open nothing any more.  Raises Conflict without a second factor."""
    if not person.has_second_factor:
        raise Conflict("there is no second factor to recover", code="no_second_factor")
    with transaction() as tx:
        fresh = _fresh_codes(tx, person)
        letters.warn(tx, person.merchant_id, person.user_id, Topic.CODES_RENEWED, by)
        audit.append(tx, person.merchant_id, by, Action.RECOVERY_CODES_RENEWED, person.user_id)
    return fresh


def count_recovery_codes(person: SignedIn) -> int:
    """How many are left."""
    query = (
        sa.select(sa.func.count())
        .select_from(_codes)
        .where(
            _codes.c.merchant_id == person.merchant_id,
            _codes.c.user_id == person.user_id,
            _codes.c.used_at.is_(None),
        )
    )
    with reading() as connection:
        return int(connection.execute(query).scalar_one())


def finish_sign_in(token: str, code: str, browser: Browser) -> str:
    """The whole session for a half one and a right code, of the app or for recovery.

    A half session has five tries; whoever knows the password and opens one after the other is slowed
    down besides.  Raises NotAuthenticated, TooManyRequests.
    """
    half = sessions.half_of(token)
    if half is None:
        raise NotAuthenticated("sign in again", code="sign_in_again")
    mine = guessing.subject("second", half.user_id)
    guessing.refuse_if_guessing([mine])
    by = Actor(half.email, user_id=half.user_id, address=browser.address)
    with transaction() as tx:
        if not sessions.take_try(tx, token):
            raise NotAuthenticated("sign in again", code="sign_in_again")
        if use_code(tx, half.merchant_id, half.user_id, code, by):
            whole = sessions.replace(tx, token, browser)
            if whole is not None:
                guessing.forgive(tx, mine)
                devices.greet(tx, half.merchant_id, half.user_id, half.email, browser)
                audit.append(tx, half.merchant_id, by, Action.SIGNED_IN, half.user_id)
                return whole
        guessing.note_failure(tx, [mine])
        audit.append(tx, half.merchant_id, by, Action.SIGN_IN_FAILED, half.user_id)
    raise NotAuthenticated("this code is wrong, or was used before", code="wrong_code")


def use_code(tx: Connection, merchant_id: str, user_id: str, code: str, by: Actor) -> bool:
    """Use a code of the app, or a recovery code.  A step.  False: it is wrong, or was used before."""
    row = _lock(tx, merchant_id, user_id)
    if row.totp_since is not None and _use_totp(tx, row, code):
        return True
    used = (
        sa.update(_codes)
        .where(
            _codes.c.merchant_id == merchant_id,
            _codes.c.user_id == user_id,
            _codes.c.digest == guessing.digest(_plain(code)),
            _codes.c.used_at.is_(None),
        )
        .values(used_at=clock.now())
    )
    if tx.execute(used).rowcount != 1:
        return False
    audit.append(tx, merchant_id, by, Action.RECOVERY_CODE_USED, user_id)
    return True


_TOTP = {"second_factor": "totp"}


def _use_totp(tx: Connection, row: sa.Row[Any], code: str) -> bool:
    """Whether a code is right for about now, and no code of its step or a later one was used."""
    code = "".join(code.split())
    if row.totp_sealed is None or len(code) != 6 or not (code.isascii() and code.isdigit()):
        return False
    totp = pyotp.TOTP(vault().unseal(row.totp_sealed, totp_place(row.id)))
    now_step = int(clock.now().timestamp()) // STEP_S
    for step in (now_step - 1, now_step, now_step + 1):
        if secrets.compare_digest(totp.at(step * STEP_S), code):
            used = (
                sa.update(_users)
                .where(*_own(row.merchant_id, row.id), _users.c.totp_step < step)
                .values(totp_step=step)
            )
            return tx.execute(used).rowcount == 1
    return False


def _fresh_codes(tx: Connection, person: SignedIn) -> list[str]:
    whose = {"merchant_id": person.merchant_id, "user_id": person.user_id}
    _drop_codes(tx, person.merchant_id, person.user_id)
    fresh = ["".join(secrets.choice(_LETTERS) for _ in range(_CODE_CHARS)) for _ in range(RECOVERY_CODES)]
    tx.execute(sa.insert(_codes), [whose | {"digest": guessing.digest(code)} for code in fresh])
    return ["-".join(code[at : at + 4] for at in range(0, _CODE_CHARS, 4)) for code in fresh]


def first_codes(tx: Connection, person: SignedIn) -> list[str]:
    """Recovery codes for whoever has none yet; else nothing.  A step."""
    own = (_codes.c.merchant_id == person.merchant_id, _codes.c.user_id == person.user_id)
    has_some = tx.execute(sa.select(_codes.c.digest).where(*own, _codes.c.used_at.is_(None))).first()
    return _fresh_codes(tx, person) if has_some is None else []


def drop_idle_codes(tx: Connection, merchant_id: str, user_id: str) -> None:
    """Recovery codes end with the last second factor: they would open the door alone.  A step."""
    row = _lock(tx, merchant_id, user_id)
    whose = (_passkeys.c.merchant_id == merchant_id, _passkeys.c.user_id == user_id)
    has_passkey = tx.execute(sa.select(_passkeys.c.id).where(*whose)).first() is not None
    if row.totp_since is None and not has_passkey:
        _drop_codes(tx, merchant_id, user_id)


def _drop_totp(tx: Connection, merchant_id: str, user_id: str) -> None:
    tx.execute(
        sa.update(_users)
        .where(*_own(merchant_id, user_id))
        .values(totp_sealed=None, totp_since=None, totp_step=0)
    )
    drop_idle_codes(tx, merchant_id, user_id)


def _drop_codes(tx: Connection, merchant_id: str, user_id: str) -> None:
    tx.execute(sa.delete(_codes).where(_codes.c.merchant_id == merchant_id, _codes.c.user_id == user_id))


def _lock(tx: Connection, merchant_id: str, user_id: str) -> sa.Row[Any]:
    return tx.execute(sa.select(*_users.c).where(*_own(merchant_id, user_id)).with_for_update()).one()


def _own(merchant_id: str, user_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_users.c.merchant_id == merchant_id, _users.c.id == user_id)


def _plain(code: str) -> str:
    """As it is stored: without what people put in between.  Pure."""
    return "".join(char for char in code[:64].lower() if char in _LETTERS)


def totp_place(user_id: str) -> str:
    """Where the vault believes the secret of a person's app to be stored.  Pure."""
    return f"users/{user_id}/totp"
