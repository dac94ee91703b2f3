"""How a merchant looks to shoppers, on screens and on paper: a colour and a logo, kept once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.errors import NotFound
from app.merchants import audit
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import Brand
from app.merchants.roles import Permission
from app.qr.print.card import Look
from app.qr.print.logo import Logo, for_screens, read_logo

_VERSION_CHARS = 32  # of a digest: nobody makes two pictures of one version

_brands = table_of(Brand)


@dataclass(frozen=True, slots=True)
class Looks:
    """A merchant's own look; empty texts and None for what it has not chosen.

    ``logo_version`` names the logo's picture for screens, and changes with it.
    """

    accent: str = ""
    logo: Logo | None = None
    logo_version: str = ""

    @property
    def on_paper(self) -> Look:
        """What prints begin with."""
        return Look(accent=self.accent, logo=self.logo) if self.accent else Look(logo=self.logo)


def find(merchant_id: str) -> Looks:
    """How this merchant looks; as everybody does if it has chosen nothing."""
    query = sa.select(_brands.c.accent, _brands.c.paper_logo, _brands.c.logo_version)
    with reading() as connection:
        row = connection.execute(query.where(_brands.c.merchant_id == merchant_id)).first()
    if row is None:
        return Looks()
    logo = None if row.paper_logo is None else Logo(row.paper_logo)
    return Looks(row.accent or "", logo, row.logo_version or "")


def choose_accent(merchant_id: str, colour: str, *, by: Actor = SERVER) -> None:
    """Take a colour as ``#rrggbb``, or ``""`` to be like everybody again.  Raises InvalidRequest."""
    colour = colour.strip().lower()
    if colour:
        Look(accent=colour)
    _save(merchant_id, {"accent": colour or None}, by)


def choose_logo(merchant_id: str, data: bytes, *, by: Actor = SERVER) -> None:
    """Take a picture, drawn anew twice: for paper, and small for screens.  Raises InvalidRequest."""
    logo = read_logo(data)
    small = for_screens(logo)
    version = hashlib.sha256(small).hexdigest()[:_VERSION_CHARS]
    _save(merchant_id, {"paper_logo": logo.png, "screen_logo": small, "logo_version": version}, by)


def remove_logo(merchant_id: str, *, by: Actor = SERVER) -> None:
    """Be without one.  Browsers that have it may show it until they ask again; pages no longer name it."""
    _save(merchant_id, {"paper_logo": None, "screen_logo": None, "logo_version": None}, by)


def screen_logo(version: str) -> bytes:
    """The PNG of this version, whosever it is: a logo is made to be seen.  Raises NotFound."""
    query = sa.select(_brands.c.screen_logo).where(_brands.c.logo_version == version[:_VERSION_CHARS])
    with reading() as connection:
        found = connection.execute(query.limit(1)).scalar()
    if found is None:
        raise NotFound("no such logo")
    return bytes(found)


def _save(merchant_id: str, values: Mapping[str, Any], by: Actor) -> None:
    """The log is told what can be read: the colour, and which logo."""
    by.require(Permission.SETTINGS_WRITE)
    own = _brands.c.merchant_id == merchant_id
    with transaction() as tx:
        now = moment(tx)
        tx.execute(insert_or_skip(tx, _brands), {"merchant_id": merchant_id, "updated_at": now})
        was = tx.execute(sa.select(_brands.c.accent, _brands.c.logo_version).where(own)).one()._asdict()
        after = {name: values[name] for name in was if name in values}
        if any(was[name] != value for name, value in after.items()):
            tx.execute(sa.update(_brands).where(own).values({**values, "updated_at": now}))
            before = {name: was[name] for name in after}
            audit.append(
                tx, merchant_id, by, Action.SETTINGS_CHANGED, merchant_id, before=before, after=after
            )
