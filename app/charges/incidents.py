"""Incidents: what only a person can judge, raised once, listed until a person says it is dealt with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import clock
from app.charges.models import Incident
from app.db import insert_or_skip, reading, table_of, transaction
from app.errors import InvalidRequest, NotFound
from app.ids import is_id, new_id

log = structlog.get_logger(__name__)

_incidents = table_of(Incident)


def raise_incident(
    tx: Connection, merchant_id: str, *, kind: str, subject_id: str, charge_id: str | None, detail: str
) -> None:
    """Tell a person, once per kind and subject.  A step."""
    raised = tx.execute(
        insert_or_skip(tx, _incidents).returning(_incidents.c.id),
        {
            "merchant_id": merchant_id,
            "id": new_id("inc"),
            "kind": kind,
            "subject_id": subject_id,
            "charge_id": charge_id,
            "detail": detail[:300],
            "created_at": clock.now(),
        },
    ).first()
    if raised is not None:
        log.critical("incident", kind=kind, subject_id=subject_id, charge_id=charge_id, detail=detail)


def count_between(tx: Connection, merchant_id: str, *, kind: str, first: str, last: str) -> int:
    """How many were raised about subjects from this one to that, in their order.  A step."""
    query = sa.select(sa.func.count()).where(
        _incidents.c.merchant_id == merchant_id,
        _incidents.c.kind == kind,
        _incidents.c.subject_id.between(first, last),
    )
    return int(tx.execute(query).scalar_one())


def list_open(
    merchant_id: str, *, before: str | None = None, limit: int = 20
) -> tuple[list[sa.Row[Any]], bool]:
    """Unresolved incidents older than ``before``, newest first, and whether there are more.

    Of both modes: some are about a payment that we do not know.  Raises InvalidRequest.
    """
    if before is not None and not is_id(before, "inc"):
        raise InvalidRequest("a cursor is the id of an incident", param="before")
    query = sa.select(*_incidents.c).where(
        _incidents.c.merchant_id == merchant_id, _incidents.c.resolved_at.is_(None)
    )
    if before is not None:
        query = query.where(_incidents.c.id < before)
    with reading() as connection:
        rows = list(connection.execute(query.order_by(_incidents.c.id.desc()).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def list_of_charge(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """All incidents of a charge, resolved ones too, oldest first."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(*_incidents.c)
                .where(_incidents.c.merchant_id == merchant_id, _incidents.c.charge_id == charge_id)
                .order_by(_incidents.c.id)
                .limit(50)
            )
        )


def resolve(merchant_id: str, incident_id: str) -> None:
    """A person has dealt with it; once is enough.  Raises NotFound."""
    with transaction() as tx:
        resolved = tx.execute(
            sa.update(_incidents)
            .where(
                _incidents.c.merchant_id == merchant_id,
                _incidents.c.id == incident_id,
                _incidents.c.resolved_at.is_(None),
            )
            .values(resolved_at=clock.now())
        )
    if resolved.rowcount != 1:
        raise NotFound("no such incident, or it is resolved already")


def resolve_about(
    tx: Connection, merchant_id: str, *, kinds: Sequence[str], subject_ids: Sequence[str]
) -> None:
    """What was raised about these is dealt with, because a person has just done so.  A step."""
    tx.execute(
        sa.update(_incidents)
        .where(
            _incidents.c.merchant_id == merchant_id,
            _incidents.c.kind.in_(kinds),
            _incidents.c.subject_id.in_(subject_ids),
            _incidents.c.resolved_at.is_(None),
        )
        .values(resolved_at=clock.now())
    )
