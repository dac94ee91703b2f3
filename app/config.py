"""Settings: read once from the environment, every fault reported at once, none guessed in live mode.

In demo mode (the default) whatever is secret is generated on first start and kept in the data
directory, readable by its owner alone.  In live mode nothing is generated: a missing or weak secret
is a fault, and the process refuses to start.
"""

from __future__ import annotations

import json
import os
import secrets
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import SettingsError

SECRET_CHARS_MIN = 32  # 32 characters of base64 carry 192 bits
_WEAK = ("changeme", "secret", "password", "example", "default")

CommaList = Annotated[tuple[str, ...], NoDecode]


class Mode(StrEnum):
    """DEMO trusts this machine's loopback and speaks to the sandbox; LIVE moves real money."""

    DEMO = "demo"
    LIVE = "live"


class Settings(BaseSettings):
    """Everything an operator can set.  ``MAFU_`` in front of each name, but for the usual four.

    Build it with ``load_settings()``, which turns faults into one readable SettingsError.
    """

    model_config = SettingsConfigDict(env_prefix="MAFU_", extra="ignore", frozen=True, populate_by_name=True)

    mode: Mode = Mode.DEMO
    data: Path = Path("instance")
    database_url: str = Field("", validation_alias="DATABASE_URL")
    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(8000, validation_alias="PORT", ge=1, le=65535)
    sandbox_port: int = Field(8001, validation_alias="SANDBOX_PORT", ge=1, le=65535)
    base_url: str = ""  # where shoppers and providers reach us; printed on paper, so choose it well
    # Oldest to newest: the newest signs, all verify.  Comma-separated.
    secret_keys: CommaList = ()  # payment links, sessions, forms
    encryption_keys: CommaList = ()  # credentials at rest
    webhook_allow: CommaList = ()  # networks that webhooks may reach besides public addresses
    webhook_ports: CommaList = ("443", "8443")
    proxy_count: int = Field(0, ge=0, le=5)  # trusted reverse proxies in front of us
    qr_host_upper: bool = True  # capitals pack tighter; a few scanners want lower case
    web_workers: int = Field(2, ge=1, le=64)
    web_threads: int = Field(8, ge=1, le=64)
    log_level: str = "INFO"

    @field_validator("secret_keys", "encryption_keys", "webhook_allow", "webhook_ports", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("base_url")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (
            parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
        ):
            raise ValueError("must look like https://pay.example.com")
        return value.rstrip("/")

    @field_validator("webhook_allow")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("webhook_ports")
    @classmethod
    def _are_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in value):
            raise ValueError("must be port numbers, comma-separated")
        return value

    @model_validator(mode="after")
    def _is_fit_for_money(self) -> Settings:
        faults = []
        for name, keys in (
            ("MAFU_SECRET_KEYS", self.secret_keys),
            ("MAFU_ENCRYPTION_KEYS", self.encryption_keys),
        ):
            if self.mode is Mode.LIVE and not keys:
                faults.append(f"{name} is empty")
            faults += [f"{name} holds a key that is short or well known" for key in keys if _is_weak(key)]
        if self.mode is Mode.LIVE and not self.base_url.startswith("https://"):
            faults.append("MAFU_BASE_URL must be the public https address")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_demo(self) -> bool:
        return self.mode is Mode.DEMO

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks that webhooks may reach although they are not public."""
        loopback = ("127.0.0.0/8", "::1/128") if self.is_demo else ()
        return tuple(ip_network(network) for network in (*self.webhook_allow, *loopback))

    @property
    def origin(self) -> str:
        """The address in links: the configured one, else this machine's."""
        return self.base_url or f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"  # noqa: S104

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.data / 'mafu.sqlite3').resolve()}"


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; ``overrides`` win.  Raises SettingsError listing every fault."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']}" for fault in error.errors()
        ]
        raise SettingsError("\n".join(["the settings cannot be used:", *lines])) from None
    if settings.is_demo:
        settings = settings.model_copy(update=_demo_secrets(settings))
    return settings


def _is_weak(key: str) -> bool:
    return len(key) < SECRET_CHARS_MIN or len(set(key)) < 8 or any(word in key.lower() for word in _WEAK)


def _demo_secrets(settings: Settings) -> dict[str, tuple[str, ...]]:
    """What is not set comes from ``secrets.json``, made on first use; two processes may race for it."""
    missing = {name for name in ("secret_keys", "encryption_keys") if not getattr(settings, name)}
    if not missing:
        return {}
    path = settings.data / "secrets.json"
    settings.data.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = {name: [secrets.token_urlsafe(32)] for name in ("secret_keys", "encryption_keys")}
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(fresh))
        try:
            os.link(draft, path)  # fails if another process was first: then its secrets hold
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 it")
    stored = json.loads(path.read_text())
    return {name: tuple(stored[name]) for name in missing}
