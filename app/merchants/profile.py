"""What the people of a merchant may see and change: name and language of the shop, their own password."""

from __future__ import annotations

import sqlalchemy as sa

from app.db import reading, table_of, transaction
from app.errors import InvalidRequest, NotAuthenticated
from app.merchants import audit, people, sessions
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import Merchant
from app.merchants.people import LANGUAGES
from app.merchants.roles import Permission
from app.merchants.sessions import Browser, SignedIn

NAME_CHARS_MAX = 80

_merchants = table_of(Merchant)


def change_password(person: SignedIn, current: str, new: str, browser: Browser) -> str:
    """Set a new password, end every session of the person, and open the one whose token this returns.

    Guesses at the current password are slowed down like those at the door.  Raises InvalidRequest
    (``current`` or ``password``), TooManyRequests.
    """
    was = None
    if person.has_password:
        try:
            was = people.check_password(person.email, current, address=browser.address).password_hash
        except NotAuthenticated:
            raise InvalidRequest("this is not the current password", param="current") from None
    password_hash = people.hash_password(new, (person.email, person.name, person.merchant_name))
    with transaction() as tx:
        by = person.actor(browser.address)
        people.store_password(tx, person.merchant_id, person.user_id, password_hash, by, was=was)
        return sessions.open_session(tx, person.merchant_id, person.user_id, browser)


def name_of(merchant_id: str) -> str:
    """What shoppers call it."""
    with reading() as connection:
        return str(
            connection.execute(
                sa.select(_merchants.c.name).where(_merchants.c.id == merchant_id)
            ).scalar_one()
        )


def save_merchant(merchant_id: str, *, name: str, language: str, by: Actor = SERVER) -> None:
    """The name that shoppers read, and the language of those who choose none.  Raises InvalidRequest."""
    by.require(Permission.SETTINGS_WRITE)
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequest(f"a merchant's name has 1 to {NAME_CHARS_MAX} characters", param="name")
    if language not in LANGUAGES:
        raise InvalidRequest("the language is zh or en", param="language")
    own = _merchants.c.id == merchant_id
    with transaction() as tx:
        was = tx.execute(sa.select(_merchants.c.name, _merchants.c.language).where(own)).one()
        tx.execute(sa.update(_merchants).where(own).values(name=name, language=language))
        facts = {"before": was._asdict(), "after": {"name": name, "language": language}}
        audit.append(tx, merchant_id, by, Action.SETTINGS_CHANGED, merchant_id, **facts)
