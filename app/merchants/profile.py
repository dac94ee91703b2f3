"""What the people of a merchant may see and change of themselves: name, language, password."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from app import clock
from app.db import reading, table_of, transaction
from app.errors import InvalidRequest, NotAuthenticated, NotFound
from app.merchants import people
from app.merchants.models import Merchant, SignInLink, User
from app.merchants.people import SignedIn

NAME_CHARS_MAX = 80
LANGUAGES = ("zh", "en")

_merchants, _users, _links = table_of(Merchant), table_of(User), table_of(SignInLink)


def link_owner(token: str) -> str:
    """The e-mail address of the person whom a sign-in link would sign in; the link stays unused.

    Raises NotFound for a link that is unknown, used or too old.
    """
    digest = hashlib.sha256(token[:200].encode()).hexdigest()
    with reading() as connection:
        email = connection.execute(_LINK_OWNER, {"digest": digest, "now": clock.now()}).scalar()
    if email is None:
        raise NotFound("this sign-in link was used or is too old")
    return str(email)


def has_password(person: SignedIn) -> bool:
    """Whether this person can sign in without a link."""
    user = people.find_user(person.email)
    return user is not None and user.password_hash is not None


def change_password(person: SignedIn, current: str, new: str, *, address: str) -> str:
    """Set a new password, end every session of the person, and open the one whose token this returns.

    Guesses at the current password are slowed down like those at the door.  Raises InvalidRequest
    (``current`` or ``password``), TooManyRequests.
    """
    if has_password(person):
        try:
            people.sign_in(person.email, current, address=address)
        except NotAuthenticated:
            raise InvalidRequest("this is not the current password", param="current") from None
    people.set_password(person.merchant_id, person.user_id, new)
    return people.sign_in(person.email, new, address=address)


def save_merchant(merchant_id: str, *, name: str, language: str) -> None:
    """The name that shoppers read, and the language of those who choose none.  Raises InvalidRequest."""
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequest(f"a merchant's name has 1 to {NAME_CHARS_MAX} characters", param="name")
    if language not in LANGUAGES:
        raise InvalidRequest("the language is zh or en", param="language")
    with transaction() as tx:
        tx.execute(
            sa.update(_merchants).where(_merchants.c.id == merchant_id).values(name=name, language=language)
        )


_LINK_OWNER = (
    sa.select(_users.c.email)
    .join(_links, sa.and_(_links.c.merchant_id == _users.c.merchant_id, _links.c.user_id == _users.c.id))
    .where(
        _links.c.digest == sa.bindparam("digest"),
        _links.c.used_at.is_(None),
        _links.c.expires_at > sa.bindparam("now", type_=_links.c.expires_at.type),
    )
)
