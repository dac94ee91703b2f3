"""The worker's mailbag: one letter, handed to the operator's mail server, tried again while that may help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import mail, queue
from app.db import moment, reading, table_of, transaction
from app.mail import MailDelayed, MailHalted, MailRefused
from app.merchants import forgotten, letters
from app.merchants.letter_views import message_of
from app.merchants.letters import Letter, Topic
from app.merchants.models import Letter as Row
from app.queue import Claim
from app.runtime import settings, vault
from app.vault import SealBroken

# After 30 s, a minute, two ...: eleven tries in some eight hours.  The links in letters live for a day.
TRIES_MAX = 11
FIRST_WAIT = timedelta(seconds=30)

log = structlog.get_logger(__name__)
_letters = table_of(Row)


def deliver(claim: Claim) -> None:
    """Send a letter.  One that cannot be sent is given up, and the log names its topic and nothing more."""
    with reading() as connection:
        row = connection.execute(sa.select(*_letters.c).where(*_own(claim))).first()
    letter = None if row is None else _opened(row)
    if letter is None:
        _end(claim)
    elif letter.topic is Topic.RESET_ASKED:
        _look_up(claim, letter)
    else:
        _send(claim, letter)


def _send(claim: Claim, letter: Letter) -> None:
    facts = {"topic": letter.topic, "letter_id": claim.subject_id, "tries": claim.tries}
    try:
        mail.send(message_of(letter, claim.subject_id), letter.to, settings())
    except MailDelayed as error:
        if claim.tries < TRIES_MAX and settings().has_mail:
            # Nobody else would learn of it: what is meant for people by mail stays here.
            tell = log.critical if isinstance(error, MailHalted) else log.warning
            tell("mail delayed", reason=str(error), **facts)
            with transaction() as tx:
                queue.put_back(tx, claim, moment(tx) + FIRST_WAIT * 2 ** (claim.tries - 1))
            return
        log.error("mail given up", reason=str(error), **facts)
    except (MailRefused, ValueError) as error:
        log.error("mail refused", reason=str(error) if isinstance(error, MailRefused) else "address", **facts)
    else:
        log.info("mail sent", **facts)
    _end(claim)


def _look_up(claim: Claim, letter: Letter) -> None:
    with transaction() as tx:
        if queue.finish(tx, claim):
            _burn(tx, claim)
            forgotten.answer(tx, letter)


def _end(claim: Claim) -> None:
    with transaction() as tx:
        if queue.finish(tx, claim):
            _burn(tx, claim)


def _burn(tx: Connection, claim: Claim) -> None:
    tx.execute(sa.delete(_letters).where(*_own(claim)))


def _opened(row: sa.Row[Any]) -> Letter | None:
    try:
        return Letter.read(vault().unseal(row.sealed, letters.place_of(row.id)))
    except SealBroken:
        log.error("a letter cannot be opened any more", letter_id=row.id)
        return None


def _own(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (_letters.c.merchant_id == claim.merchant_id, _letters.c.id == claim.subject_id)
