"""A forgotten password: whoever types an address is told the same, and nothing is looked up while they wait.

Known or not, an address is written into a letter and that is all: one answer, one transaction, one time.
The worker sees later whose it is, and writes to them or forgets it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import table_of, transaction
from app.errors import InvalidRequest
from app.merchants import audit, guessing, letters, people
from app.merchants.actor import Actor
from app.merchants.audit import Action
from app.merchants.letters import Letter, Topic
from app.merchants.models import User

_users = table_of(User)


def ask(email: str, *, address: str) -> None:
    """Have a link to a new password sent, if somebody has this address.  Raises TooManyRequests.

    Each asking counts like a wrong password, against the address that was typed and the one it came from.
    """
    subjects = [guessing.subject("reset", email.strip().lower()), guessing.subject("resets", address)]
    guessing.refuse_if_guessing(subjects)
    try:
        to = people.checked_email(email)
    except InvalidRequest:
        to = ""
    with transaction() as tx:
        guessing.note_failure(tx, subjects)
        letters.write(tx, letters.UNKNOWN, Letter(Topic.RESET_ASKED, to, facts={"from": address}))


def answer(tx: Connection, asked: Letter) -> None:
    """Write to whoever has the address.  A step."""
    wanted = (_users.c.email == asked.to, _users.c.deactivated_at.is_(None))
    user = tx.execute(sa.select(*_users.c).where(*wanted)).first()
    if user is None:
        return
    token = people.store_link(tx, user.merchant_id, user.id, is_reset=True)
    letters.write_link(tx, user.merchant_id, Topic.RESET, user.email, f"/reset/{token}")
    by = Actor(user.email, user_id=user.id, address=asked.facts["from"])
    audit.append(tx, user.merchant_id, by, Action.PASSWORD_RESET_MADE, user.id)
