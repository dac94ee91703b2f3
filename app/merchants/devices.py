"""Browsers that a person has signed in with: one that is new is told of by mail, in case it is a thief's.

A browser is known by a random word that it was given and brings along.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import insert_or_skip, table_of
from app.merchants import letters
from app.merchants.actor import Actor
from app.merchants.guessing import digest
from app.merchants.letters import Topic
from app.merchants.models import KnownDevice
from app.merchants.sessions import Browser, name_of_browser

KNOWN_FOR = timedelta(days=400)  # as long as browsers keep a cookie at most

_devices = table_of(KnownDevice)


def greet(tx: Connection, merchant_id: str, user_id: str, email: str, browser: Browser) -> None:
    """Remember with what a person has signed in; they are told of a new one, but of their first.  A step."""
    now = clock.now()
    mine = (_devices.c.merchant_id == merchant_id, _devices.c.user_id == user_id)
    tx.execute(sa.delete(_devices).where(*mine, _devices.c.seen_at < now - KNOWN_FOR))
    is_first = tx.execute(sa.select(_devices.c.digest).where(*mine).limit(1)).first() is None
    row = {"merchant_id": merchant_id, "user_id": user_id, "digest": digest(browser.device), "seen_at": now}
    if tx.execute(insert_or_skip(tx, _devices), row).rowcount == 0:
        tx.execute(sa.update(_devices).where(*mine, _devices.c.digest == row["digest"]).values(seen_at=now))
    elif not is_first:
        by = Actor(email, user_id=user_id, address=browser.address)
        device = name_of_browser(browser.agent)[:80] or "–"
        letters.warn(tx, merchant_id, user_id, Topic.NEW_DEVICE, by, device=device)
