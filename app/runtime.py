"""What a service needs from the running application, and nothing of Flask besides: its settings,
its vault, its link signer and its way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app

from app.config import Settings
from app.http import Client
from app.providers.base import Provider
from app.qr.links import LinkSigner
from app.rates import Rates, in_memory, rates_of
from app.shared_rates import counted_at
from app.vault import Vault

_NAME = "mafu.runtime"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Built once by ``create_app``; shared by all threads."""

    settings: Settings
    vault: Vault
    charge_links: LinkSigner
    member_links: LinkSigner
    outbound: Client
    rates: Rates
    # Opened provider accounts by (id, version): parsing a private key takes 35 ms.
    adapters: dict[tuple[str, int], Provider] = field(default_factory=dict)


def init_app(app: Flask, settings: Settings) -> None:
    """Attach a Runtime to the application."""
    app.extensions[_NAME] = Runtime(
        settings=settings,
        vault=Vault(settings.encryption_keys),
        charge_links=LinkSigner(settings.secret_keys, purpose="charge"),
        member_links=LinkSigner(settings.secret_keys, purpose="member"),
        outbound=Client(),
        rates=rates_of(
            reads_per_s=settings.rate_reads,
            writes_per_s=settings.rate_writes,
            failures_per_min=settings.rate_failures,
            payments_per_min=settings.rate_payments,
            make=counted_at(settings.rate_redis_url) if settings.rate_redis_url else in_memory,
        ),
    )


def runtime() -> Runtime:
    """The running application's."""
    return cast(Runtime, current_app.extensions[_NAME])


def settings() -> Settings:
    """The running application's."""
    return runtime().settings


def vault() -> Vault:
    """The running application's."""
    return runtime().vault
