"""A merchant's accounts at the providers: stored sealed, opened into an adapter that can speak."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock
from app.db import moment, reading, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.ids import is_id, new_id
from app.merchants import audit, health
from app.merchants.actor import SERVER, Actor
from app.merchants.audit import Action
from app.merchants.models import AccountHealth, ProviderAccount
from app.merchants.roles import Permission
from app.merchants.routing import Standing
from app.providers import REGISTRY
from app.providers.base import Provider
from app.runtime import runtime

NAME_CHARS_MAX = 80
_ADAPTERS_MAX = 1000

_accounts, _health = table_of(ProviderAccount), table_of(AccountHealth)
_TO_OPEN = (
    _accounts.c.merchant_id,
    _accounts.c.id,
    _accounts.c.provider,
    _accounts.c.livemode,
    _accounts.c.enabled,
    _accounts.c.version,
    _accounts.c.sealed,
)
_OF_HEALTH = (_health.c.failures, _health.c.left_at, _health.c.answers_since, _health.c.next_probe_at)
_FIND = sa.select(*_TO_OPEN).where(_accounts.c.id == sa.bindparam("account_id"))
_USABLE = (
    sa.select(*_TO_OPEN, *_OF_HEALTH)
    .outerjoin(
        _health,
        sa.and_(_health.c.merchant_id == _accounts.c.merchant_id, _health.c.account_id == _accounts.c.id),
    )
    .where(
        _accounts.c.merchant_id == sa.bindparam("of_merchant_id"),
        _accounts.c.livemode == sa.bindparam("of_livemode"),
        _accounts.c.provider == sa.bindparam("of_provider"),
        _accounts.c.enabled.is_(True),
    )
    .order_by(_accounts.c.id)
)


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account with its credentials parsed.  ``provider`` speaks with them."""

    id: str
    merchant_id: str
    livemode: bool
    enabled: bool
    provider: Provider
    version: int  # of the credentials that ``provider`` speaks with
    is_ailing: bool = False  # payments through it have failed lately: whether this one does is news
    rule_id: str | None = None  # that chose it


@dataclass(frozen=True, slots=True)
class Usable:
    """An enabled account, not opened yet, and how it does."""

    row: sa.Row[Any]
    standing: Standing

    @property
    def id(self) -> str:
        """The account's."""
        return str(self.row.id)


def add_account(
    merchant_id: str,
    provider: str,
    *,
    livemode: bool,
    name: str,
    settings: Mapping[str, str],
    by: Actor = SERVER,
) -> str:
    """Store credentials and return the account's id.  Raises InvalidRequest naming the field at fault."""
    by.require(Permission.PROVIDERS_WRITE)
    if not 1 <= len(name.strip()) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidRequest(f"an account's name has 1 to {NAME_CHARS_MAX} characters", param="name")
    _check(provider, settings)
    account_id = new_id("pa")
    with transaction() as tx:
        tx.execute(
            sa.insert(_accounts).values(
                merchant_id=merchant_id,
                id=account_id,
                provider=provider,
                livemode=livemode,
                name=name.strip(),
                sealed=_seal(account_id, settings),
                version=1,
                enabled=True,
                created_at=clock.now(),
            )
        )
        facts = {"provider": provider, "livemode": livemode, "name": name.strip()}
        audit.append(tx, merchant_id, by, Action.PROVIDER_ADDED, account_id, after=facts)
    return account_id


def change_account(
    account_id: str,
    settings: Mapping[str, str],
    *,
    by: Actor = SERVER,
    before_another: Callable[[Connection, str, str], None] | None = None,
) -> None:
    """Replace all credentials of an account; adapters in every process are built anew at the next use.

    ``before_another(tx, merchant_id, account_id)`` may refuse where they are another application's or
    merchant's: ``charges/rekeying.py``, which knows what is under way, is the way for people.
    Raises NotFound, InvalidRequest naming the field at fault.
    """
    by.require(Permission.PROVIDERS_WRITE)
    row = _find(account_id)
    _check(row.provider, settings)
    with transaction() as tx:
        own = (_accounts.c.merchant_id == row.merchant_id, _accounts.c.id == account_id)
        sealed = tx.execute(sa.select(_accounts.c.sealed).where(*own).with_for_update()).scalar_one()
        before = json.loads(runtime().vault.unseal(sealed, place_of(account_id)))
        if before_another is not None and _is_another(row.provider, before, settings):
            before_another(tx, row.merchant_id, account_id)
        tx.execute(
            sa.update(_accounts)
            .where(*own)
            .values(sealed=_seal(account_id, settings), version=_accounts.c.version + 1)
        )
        # That they changed, and never to what.
        audit.append(tx, row.merchant_id, by, Action.PROVIDER_CHANGED, account_id)


def settings_of(account_id: str) -> dict[str, str]:
    """The credentials as they were entered, secrets among them.  Raises NotFound, SealBroken."""
    settings: dict[str, str] = json.loads(
        runtime().vault.unseal(_find(account_id).sealed, place_of(account_id))
    )
    return settings


def open_account(account_id: str) -> OpenAccount:
    """The account by id, whoever owns it, enabled or not: late money still arrives.  Raises NotFound."""
    row = _find(account_id)
    return OpenAccount(row.id, row.merchant_id, row.livemode, row.enabled, _adapter(row), row.version)


def require_unchanged(tx: Connection, account: OpenAccount) -> None:
    """Whether these are its credentials still, and it is enabled.  A step.  Raises Conflict.

    It was opened perhaps some calls ago.  Asked after something that points at the account was stored: on
    PostgreSQL that shares the account's row, so whoever changes its credentials waits, and then sees what
    was stored.
    """
    mine = (_accounts.c.merchant_id == account.merchant_id, _accounts.c.id == account.id)
    row = tx.execute(sa.select(_accounts.c.version, _accounts.c.enabled).where(*mine)).one()
    if row.version != account.version or not row.enabled:
        raise Conflict("the account's settings have just changed: try again", code="account_changed")


def list_usable(merchant_id: str, provider: str, *, livemode: bool) -> list[Usable]:
    """The merchant's enabled accounts at a provider, the oldest first, and how each does."""
    mine = {"of_merchant_id": merchant_id, "of_provider": provider, "of_livemode": livemode}
    with reading() as connection:
        now = moment(connection)
        rows: list[sa.Row[Any]] = list(connection.execute(_USABLE, mine))
    return [Usable(row, health.standing_of(row.left_at, row.next_probe_at, now)) for row in rows]


def open_usable(usable: Usable, rule_id: str | None = None) -> OpenAccount:
    """The same with its credentials parsed."""
    row = usable.row
    is_ailing = row.failures is not None
    return OpenAccount(
        row.id, row.merchant_id, row.livemode, row.enabled, _adapter(row), row.version, is_ailing, rule_id
    )


def list_all(merchant_id: str, *, livemode: bool) -> list[sa.Row]:
    """Every account in one mode, disabled ones too, oldest first; also with ``enabled`` and ``version``."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(*[each for each in _accounts.c if each.name != "sealed"])
                .where(_accounts.c.merchant_id == merchant_id, _accounts.c.livemode == livemode)
                .order_by(_accounts.c.id)
            )
        )


def find_account(merchant_id: str, account_id: str) -> sa.Row:
    """One of a merchant's, without its credentials.  Raises NotFound."""
    with reading() as connection:
        return facts_in(connection, merchant_id, account_id)


def facts_in(connection: Connection, merchant_id: str, account_id: str) -> sa.Row[Any]:
    """The same on a connection of the caller's."""
    found = sa.select(*[each for each in _accounts.c if each.name != "sealed"])
    own = (_accounts.c.merchant_id == merchant_id, _accounts.c.id == account_id[:64])
    row = connection.execute(found.where(*own)).first()
    if row is None:
        raise NotFound("no such provider account")
    return row


def completed(account_id: str, typed: Mapping[str, str], *, forget: Collection[str] = ()) -> dict[str, str]:
    """What a form says, with the stored secrets where it says nothing: they were not shown in it.

    ``forget`` names secrets that go.  Raises NotFound, SealBroken.
    """
    stored, provider = settings_of(account_id), _find(account_id).provider
    kept = {
        field.name: stored[field.name]
        for field in REGISTRY[provider].credentials
        if field.secret and field.name in stored and field.name not in forget
    }
    return kept | {name: text for name, text in typed.items() if text}


def list_accounts(merchant_id: str, *, livemode: bool) -> list[sa.Row]:
    """A merchant's enabled accounts in one mode, oldest first: columns id, provider, name, created_at."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(_accounts.c.id, _accounts.c.provider, _accounts.c.name, _accounts.c.created_at)
                .where(
                    _accounts.c.merchant_id == merchant_id,
                    _accounts.c.livemode == livemode,
                    _accounts.c.enabled.is_(True),
                )
                .order_by(_accounts.c.id)
            )
        )


def names_of(merchant_id: str, *, livemode: bool) -> dict[str, tuple[str, str]]:
    """Provider and name of every account in one mode, by its id; money came through disabled ones, too."""
    query = sa.select(_accounts.c.id, _accounts.c.provider, _accounts.c.name).where(
        _accounts.c.merchant_id == merchant_id, _accounts.c.livemode == livemode
    )
    with reading() as connection:
        return {
            row.id: (row.provider, row.name) for row in connection.execute(query.order_by(_accounts.c.id))
        }


def _find(account_id: str) -> sa.Row:
    if not is_id(account_id, "pa"):  # it comes from the address of a callback, and may be anything
        raise NotFound("no such provider account")
    with reading() as connection:
        row = connection.execute(_FIND, {"account_id": account_id}).first()
    if row is None:
        raise NotFound("no such provider account")
    return row


def _check(provider: str, settings: Mapping[str, str]) -> None:
    """Raises InvalidRequest naming the field at fault."""
    adapter = REGISTRY.get(provider)
    if adapter is None:
        raise InvalidRequest(f"{provider[:32]!r} is not a provider we speak to", param="provider")
    known = {credential.name for credential in adapter.credentials}
    for extra in settings.keys() - known:
        raise InvalidRequest(f"{provider} has no setting {extra[:32]!r}", param=extra[:32])
    adapter(settings, runtime().outbound)  # refuses credentials that it could not use


def _is_another(provider: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether payments made with the one would not be found with the other.  Pure."""
    for field in REGISTRY[provider].credentials:
        was, is_now = before.get(field.name, "").strip(), after.get(field.name, "").strip()
        if field.identifies and was != is_now and (was or not field.told_late):
            return True
        if field.chooses and bool(was) != bool(is_now):
            return True
    return False


def _seal(account_id: str, settings: Mapping[str, str]) -> str:
    return runtime().vault.seal(json.dumps(dict(settings)), place_of(account_id))


def disable_account(merchant_id: str, account_id: str, *, by: Actor = SERVER) -> None:
    """Start nothing through it any more; money on its way is still heard of.  Raises NotFound."""
    _switch(merchant_id, account_id, Action.PROVIDER_DISABLED, by, enabled=False)


def enable_account(merchant_id: str, account_id: str, *, by: Actor = SERVER) -> None:
    """Let payments go through it again.  Raises NotFound."""
    _switch(merchant_id, account_id, Action.PROVIDER_ENABLED, by, enabled=True)


def _switch(merchant_id: str, account_id: str, action: Action, by: Actor, *, enabled: bool) -> None:
    by.require(Permission.PROVIDERS_WRITE)
    with transaction() as tx:
        changed = tx.execute(
            sa.update(_accounts)
            .where(_accounts.c.merchant_id == merchant_id, _accounts.c.id == account_id)
            .values(enabled=enabled)
        )
        if changed.rowcount != 1:
            raise NotFound("no such provider account")
        audit.append(tx, merchant_id, by, action, account_id)


def _adapter(row: sa.Row) -> Provider:
    adapters, key = runtime().adapters, (row.id, row.version)
    adapter = adapters.get(key)
    if adapter is None:
        settings = json.loads(runtime().vault.unseal(row.sealed, place_of(row.id)))
        adapter = REGISTRY[row.provider](settings, runtime().outbound)
        if len(adapters) >= _ADAPTERS_MAX:
            adapters.clear()
        adapters[key] = adapter
    return adapter


def place_of(account_id: str) -> str:
    """Where the vault believes an account's credentials to be stored.  Pure."""
    return f"provider_accounts/{account_id}/settings"
