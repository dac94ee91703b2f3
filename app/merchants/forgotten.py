"""A forgotten password: whoever types an address is told the same, and nothing is looked up while they wait.

Known or not, an address is written into a letter and that is all: one answer, one transaction, one time.
The worker sees later whose it is, and writes to them or forgets it.

What slows an asker down is where they ask from, and never whom they name: else anybody could keep anybody
from a new password.  What keeps a mailbox from being filled is that a link which still opens counts as sent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import retried, table_of, transaction
from app.errors import InvalidRequest
from app.merchants import audit, guessing, letters, people
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.letters import Letter, Topic
from app.merchants.models import SignInLink, User

# A second letter soon after the first would open nothing that the first does not.  Strangers who go on asking
# fill no mailbox, and take nothing away: while there are so many, each of them still opens.
LETTER_GAP = timedelta(hours=1)
LETTERS_MAX = 3

_users, _links = table_of(User), table_of(SignInLink)


@retried
def ask(email: str, *, address: str) -> None:
    """Have a link to a new password sent, if somebody has this address.  Raises TooManyRequests.

    Each asking counts like a wrong password, against the address it came from.
    """
    subjects = [guessing.subject("resets", address)]
    guessing.refuse_if_guessing(subjects)
    try:
        to = people.checked_email(email)
    except InvalidRequest:
        to = ""
    with transaction() as tx:
        guessing.note_failure(tx, subjects)
        letters.write(tx, letters.UNKNOWN, Letter(Topic.RESET_ASKED, to, facts={"from": address}))


def answer(tx: Connection, asked: Letter) -> None:
    """Write to whoever has the address, unless what they were sent counts for it.  A step."""
    wanted = (_users.c.email == asked.to, _users.c.deactivated_at.is_(None))
    # Locked, so that two letters of one moment see each other's links.
    user = tx.execute(sa.select(*_users.c).where(*wanted).with_for_update()).first()
    if user is None or not _may_be_sent_another(tx, user):
        return
    token = people.store_link(tx, user.merchant_id, user.id, is_reset=True)
    letters.write_link(tx, user.merchant_id, Topic.RESET, user.email, f"/reset/{token}")
    by = Actor(user.email, user_id=user.id, address=asked.facts["from"])
    audit.append(tx, user.merchant_id, by, Action.PASSWORD_RESET_MADE, user.id)


def _may_be_sent_another(tx: Connection, user: sa.Row[Any]) -> bool:
    now = clock.now()
    good = (
        _links.c.merchant_id == user.merchant_id,
        _links.c.user_id == user.id,
        _links.c.is_reset,
        _links.c.used_at.is_(None),
        _links.c.expires_at > now,
    )
    count, latest = tx.execute(
        sa.select(sa.func.count(), sa.func.max(_links.c.expires_at)).where(*good)
    ).one()
    return count < LETTERS_MAX and (latest is None or latest - people.LINK_LIFE + LETTER_GAP <= now)
