"""What passers-by report of a code: it becomes an incident, which a person at the shop looks at."""

from __future__ import annotations

from enum import StrEnum

from app.charges.incidents import raise_incident
from app.clock import day_of
from app.codes.scan import Sign
from app.db import moment, transaction
from app.errors import InvalidRequest
from app.qr.short_code import in_groups

NOTE_CHARS_MAX = 160
KIND = "code_reported"


class Reason(StrEnum):
    """What is wrong with a sign."""

    COVERED = "covered"  # another was pasted over it
    OTHER_PAYEE = "other_payee"  # the page names somebody else than the shop
    WRONG_PLACE = "wrong_place"
    OTHER = "other"


def report(sign: Sign, reason: str, note: str) -> None:
    """Tell the merchant, once a day for each code and reason: strangers can ask for attention, not flood.

    Raises InvalidRequest.
    """
    if reason not in set(Reason):
        raise InvalidRequest("say what is wrong", param="reason")
    text = " ".join(note.split())
    if len(text) > NOTE_CHARS_MAX or not text.isprintable():
        raise InvalidRequest(f"a note has at most {NOTE_CHARS_MAX} characters", param="note")
    row = sign.row
    told = " · ".join([part for part in (in_groups(row.code), row.name, Reason(reason), text) if part])
    with transaction() as tx:
        subject = f"{row.id}:{Reason(reason)}:{day_of(moment(tx))}"
        raise_incident(tx, row.merchant_id, kind=KIND, subject_id=subject, charge_id=None, detail=told)
