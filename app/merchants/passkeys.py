"""Passkeys: a key pair in somebody's device opens the door, or proves who sits there (WebAuthn, level 3).

The device always verifies its user (finger, face, PIN), so a passkey is both factors at once.  It signs for
our name alone: a page under another name gets nothing that would be of use here.

A challenge carries its time and a MAC over what it is for, so that showing a page stores nothing; it is
stored when it is used, and is refused the second time.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import Connection
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from app import clock
from app.db import insert_or_skip, reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound
from app.ids import new_id
from app.merchants import audit, devices, guessing, letters, second_factor, sessions
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.letters import Topic
from app.merchants.models import Passkey, PasskeyChallenge, User
from app.merchants.sessions import Browser, SignedIn
from app.runtime import settings

CHALLENGE_LIFE = timedelta(minutes=10)
NAME_CHARS_MAX = 80
PASSKEYS_MAX = 20  # of one person
_JSON_CHARS_MAX = 20_000
_TIME_BYTES, _RANDOM_BYTES, _MAC_BYTES = 8, 16, 32
# Whatever a forged answer breaks in the reading of it.
_UNREADABLE = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, EOFError)

_passkeys, _challenges, _users = table_of(Passkey), table_of(PasskeyChallenge), table_of(User)


@dataclass(frozen=True, slots=True)
class _Used:
    """A passkey that has just signed a challenge of ours."""

    row: sa.Row[Any]
    sign_count: int
    challenge: bytes


def are_possible() -> bool:
    """Whether browsers offer them here: under a name, by https or on this machine.  An IP address is none."""
    parts = urlsplit(settings().origin)
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return parts.scheme == "https" or parts.hostname == "localhost"
    return False


def options_to_add(person: SignedIn) -> str:
    """What a browser is given to make a passkey, as JSON."""
    known = [
        PublicKeyCredentialDescriptor(id=base64url_to_bytes(row.credential_id))
        for row in list_passkeys(person)
    ]
    options = generate_registration_options(
        rp_id=_name(),
        rp_name="Mafu",
        user_name=person.email,
        user_display_name=person.name,
        user_id=person.user_id.encode(),
        challenge=_new_challenge(person.user_id),
        exclude_credentials=known,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
    )
    return options_to_json(options)


def options_to_use() -> str:
    """What a browser is given to use one, whosever it is, as JSON."""
    options = generate_authentication_options(
        rp_id=_name(),
        challenge=_new_challenge(""),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def add_passkey(person: SignedIn, name: str, answer: str, by: Actor) -> list[str]:
    """Keep the public half of what the browser made; recovery codes if there are none yet, else nothing.

    Raises InvalidRequest, Conflict.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequest(f"a passkey's name has 1 to {NAME_CHARS_MAX} characters", param="passkey_name")
    try:
        challenge = _challenge_of(answer, person.user_id)
        made = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=_name(),
            expected_origin=settings().origin,
            require_user_verification=True,
        )
    except _UNREADABLE:
        raise InvalidRequest("this is no passkey of ours", code="no_passkey", param="passkey") from None
    with transaction() as tx:
        if not _spend(tx, challenge):
            raise InvalidRequest("this passkey was sent before", code="no_passkey", param="passkey")
        if len(_rows(tx, person)) >= PASSKEYS_MAX:
            raise Conflict(f"there are {PASSKEYS_MAX} passkeys: remove one first", code="too_many_passkeys")
        passkey_id = new_id("pk")
        tx.execute(
            sa.insert(_passkeys).values(
                merchant_id=person.merchant_id,
                id=passkey_id,
                user_id=person.user_id,
                name=name,
                credential_id=bytes_to_base64url(made.credential_id),
                public_key=bytes_to_base64url(made.credential_public_key),
                sign_count=made.sign_count,
                created_at=clock.now(),
            )
        )
        codes = second_factor.first_codes(tx, person)
        facts = {"second_factor": "passkey", "passkey": passkey_id, "name": name}
        letters.warn(tx, person.merchant_id, person.user_id, Topic.FACTOR_ADDED, by)
        audit.append(tx, person.merchant_id, by, Action.SECOND_FACTOR_ADDED, person.user_id, after=facts)
    return codes


def list_passkeys(person: SignedIn) -> list[sa.Row[Any]]:
    """One's own, oldest first."""
    with reading() as connection:
        return _rows(connection, person)


def remove_passkey(person: SignedIn, passkey_id: str, by: Actor) -> None:
    """It opens nothing any more.  Raises NotFound."""
    own = (_passkeys.c.merchant_id == person.merchant_id, _passkeys.c.user_id == person.user_id)
    with transaction() as tx:
        gone = tx.execute(sa.delete(_passkeys).where(*own, _passkeys.c.id == passkey_id[:40]))
        if gone.rowcount != 1:
            raise NotFound("no such passkey")
        second_factor.drop_idle_codes(tx, person.merchant_id, person.user_id)
        facts = {"second_factor": "passkey", "passkey": passkey_id}
        letters.warn(tx, person.merchant_id, person.user_id, Topic.FACTOR_REMOVED, by)
        audit.append(tx, person.merchant_id, by, Action.SECOND_FACTOR_REMOVED, person.user_id, before=facts)


def sign_in(answer: str, browser: Browser) -> str:
    """A session token for whoever has the passkey.  Raises NotAuthenticated, in the same words for all."""
    used = _checked(answer)
    with transaction() as tx:
        user = _note_use(tx, used)
        by = Actor(user.email, user_id=user.id, address=browser.address)
        token = sessions.open_session(tx, user.merchant_id, user.id, browser)
        devices.greet(tx, user.merchant_id, user.id, user.email, browser)
        facts = {"by": "passkey", "passkey": used.row.id}
        audit.append(tx, user.merchant_id, by, Action.SIGNED_IN, user.id, after=facts)
    return token


def prove(person: SignedIn, token: str, answer: str, browser: Browser) -> str | None:
    """The token of a fresh session for a passkey of this very person.  Raises NotAuthenticated."""
    used = _checked(answer)
    if used.row.user_id != person.user_id:
        raise _refusal()
    with transaction() as tx:
        _note_use(tx, used)
        return sessions.replace(tx, token, browser)


def _checked(answer: str) -> _Used:
    """The passkey that signed a challenge of ours, by its own public key."""
    try:
        challenge = _challenge_of(answer, "")
        row = _find(str(json.loads(answer)["id"]))
        if row is None:
            raise _refusal()
        verdict = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=_name(),
            expected_origin=settings().origin,
            credential_public_key=base64url_to_bytes(row.public_key),
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    except _UNREADABLE:
        raise _refusal() from None
    return _Used(row, verdict.new_sign_count, challenge)


def _note_use(tx: Connection, used: _Used) -> sa.Row[Any]:
    """Spend the challenge and count; the passkey's owner.  Raises NotAuthenticated."""
    row = used.row
    counted = (
        sa.update(_passkeys)
        .where(_passkeys.c.merchant_id == row.merchant_id, _passkeys.c.id == row.id)
        .values(sign_count=used.sign_count, last_used_at=clock.now())
    )
    mine = (_users.c.merchant_id == row.merchant_id, _users.c.id == row.user_id)
    user = tx.execute(sa.select(*_users.c).where(*mine, _users.c.deactivated_at.is_(None))).first()
    if user is None or not _spend(tx, used.challenge) or tx.execute(counted).rowcount != 1:
        raise _refusal()
    return user


def _refusal() -> NotAuthenticated:
    return NotAuthenticated("this passkey opens nothing here", code="wrong_passkey")


def _find(credential_id: str) -> sa.Row[Any] | None:
    query = sa.select(*_passkeys.c).where(_passkeys.c.credential_id == credential_id[:1400])
    with reading() as connection:
        return connection.execute(query).first()


def _rows(connection: Connection, person: SignedIn) -> list[sa.Row[Any]]:
    own = (_passkeys.c.merchant_id == person.merchant_id, _passkeys.c.user_id == person.user_id)
    return list(connection.execute(sa.select(*_passkeys.c).where(*own).order_by(_passkeys.c.id)))


def _name() -> str:
    """What passkeys are bound to: the host of our address."""
    return urlsplit(settings().origin).hostname or ""


def _new_challenge(purpose: str) -> bytes:
    body = int(clock.now().timestamp()).to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_RANDOM_BYTES)
    return body + _mac(settings().secret_keys[-1], purpose, body)


def _challenge_of(answer: str, purpose: str) -> bytes:
    """The challenge that an answer claims to have signed, if it is ours and not too old.

    Raises ValueError, KeyError and the library's own.
    """
    if len(answer) > _JSON_CHARS_MAX:
        raise ValueError("too long")
    client_data = base64url_to_bytes(json.loads(answer)["response"]["clientDataJSON"])
    challenge = parse_client_data_json(client_data).challenge
    body, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(key, purpose, body)) for key in settings().secret_keys):
        raise ValueError("not a challenge of ours")
    age_s = clock.now().timestamp() - int.from_bytes(body[:_TIME_BYTES], "big")
    if age_s > CHALLENGE_LIFE.total_seconds():
        raise ValueError("too old")
    return challenge


def _spend(tx: Connection, challenge: bytes) -> bool:
    """Whether nobody has used it before.  A step."""
    now = clock.now()
    tx.execute(sa.delete(_challenges).where(_challenges.c.expires_at < now))
    row = {"digest": guessing.digest(challenge.hex()), "expires_at": now + 2 * CHALLENGE_LIFE}
    return bool(tx.execute(insert_or_skip(tx, _challenges), row).rowcount)


def _mac(key: str, purpose: str, body: bytes) -> bytes:
    return hmac.digest(key.encode(), b"mafu.passkey\0" + purpose.encode() + b"\0" + body, "sha256")
