"""Mail to people: what there is to say is written in the transaction that makes it true, and sent later.

A letter may hold a link that opens a door, so it is sealed as a whole, logged by its topic alone, and gone
once it is sent.  Without a mail server nothing is written, and links are shown to be copied as ever.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, queue
from app.clock import to_rfc3339
from app.db import moment, table_of
from app.ids import new_id
from app.merchants.actor import Actor
from app.merchants.models import Letter as Row
from app.merchants.models import Merchant, User
from app.queue import Kind
from app.runtime import settings, vault

UNKNOWN = ""  # the merchant of a letter to an address that nobody has looked up yet

_letters, _users, _merchants = table_of(Row), table_of(User), table_of(Merchant)


class Topic(StrEnum):
    """What a letter is about."""

    INVITATION = "invitation"
    RESET_ASKED = "reset_asked"  # somebody has typed an address; whose it is, if anybody's, is seen later
    RESET = "reset"
    NEW_DEVICE = "new_device"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - no password, but what has become of one
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    CODES_RENEWED = "codes_renewed"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be said to whom.  ``facts`` are the words that its topic needs, by name."""

    topic: Topic
    to: str
    language: str = "zh"
    facts: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, text: str) -> Letter:
        """The way back from JSON.  Pure."""
        stored = json.loads(text)
        return cls(Topic(stored["topic"]), stored["to"], stored["language"], stored["facts"])


def write(tx: Connection, merchant_id: str, letter: Letter) -> bool:
    """Have it sent.  A step.  False: there is no mail here."""
    if not settings().has_mail:
        return False
    letter_id, now = new_id("ml"), moment(tx)
    sealed = vault().seal(json.dumps(asdict(letter)), place_of(letter_id))
    row = {"merchant_id": merchant_id, "id": letter_id, "sealed": sealed, "created_at": now}
    tx.execute(sa.insert(_letters).values(**row))
    queue.put(tx, Kind.MAIL, merchant_id, letter_id, now)
    return True


def write_link(tx: Connection, merchant_id: str, topic: Topic, to: str, path: str, **facts: str) -> bool:
    """A letter that carries a link to one of our pages.  A step.  False: there is no mail here."""
    if not settings().has_mail:
        return False
    shop = tx.execute(sa.select(_merchants).where(_merchants.c.id == merchant_id)).one()
    facts |= {"link": f"{settings().origin}{path}", "shop": shop.name}
    return write(tx, merchant_id, Letter(topic, to, shop.language, facts))


def warn(tx: Connection, merchant_id: str, user_id: str, topic: Topic, by: Actor, **facts: str) -> None:
    """Tell a person what was done in their name, in case it was somebody else.  A step."""
    if not settings().has_mail:
        return
    person = tx.execute(
        sa.select(_users.c.email, _merchants.c.name, _merchants.c.language)
        .join(_merchants, _merchants.c.id == _users.c.merchant_id)
        .where(_users.c.merchant_id == merchant_id, _users.c.id == user_id)
    ).one()
    facts |= {"shop": person.name, "who": by.name, "address": by.address, "at": to_rfc3339(clock.now())}
    write(tx, merchant_id, Letter(topic, person.email, person.language, facts))


def place_of(letter_id: str) -> str:
    """Where the vault believes a letter to be stored.  Pure."""
    return f"letters/{letter_id}/sealed"
