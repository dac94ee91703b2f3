"""Settings: read once from the environment, every fault reported at once, none guessed in live mode.

In demo mode (the default) whatever is secret is generated on first start and kept in the data
directory, readable by its owner alone.  In live mode nothing is generated: a missing or weak secret
is a fault, and the process refuses to start.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import SettingsError

KEEP_DAYS_MIN = 30  # who comes back from a long holiday can still catch up
SECRET_CHARS_MIN = 32  # 32 characters of base64 carry 192 bits
_PROXY = re.compile(r"http://([!-.0-9;-?A-~]+:[!-.0-9;-?A-~]+@)?[0-9A-Za-z.-]+:[1-9][0-9]{0,4}/?", re.ASCII)
_SENDER = re.compile(r"[0-9A-Za-z._%+-]{1,64}@[0-9A-Za-z.-]{1,189}", re.ASCII)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
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

    # Defaults are checked too: in live mode some of them are faults.
    model_config = SettingsConfigDict(
        env_prefix="MAFU_", extra="ignore", frozen=True, populate_by_name=True, validate_default=True
    )

    mode: Mode = Mode.DEMO
    data: Path = Path("instance")
    database_url: str = Field("", validation_alias="DATABASE_URL", repr=False)  # may hold a password
    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(8000, validation_alias="PORT", ge=1, le=65535)
    sandbox_port: int = Field(8001, validation_alias="SANDBOX_PORT", ge=1, le=65535)
    sandbox_url: str = ""  # where this machine steers a sandbox; in demo mode the demo's if left out
    base_url: str = ""  # where shoppers and providers reach us; printed on paper, so choose it well
    # Oldest to newest: the newest signs, all verify.  Comma-separated.
    secret_keys: CommaList = Field((), repr=False)  # payment links, sessions, forms
    encryption_keys: CommaList = Field((), repr=False)  # credentials at rest
    webhook_allow: CommaList = ()  # networks that webhooks may reach besides public addresses
    webhook_ports: CommaList = ("443", "8443")
    webhook_host_rate: int = Field(100, ge=0)  # messages a second to one host and process; 0: no limit
    webhook_proxy: str = Field("", repr=False)  # webhooks go through it, and it judges addresses
    # For how many days; 0 is for ever.  Nothing that is on its way is ever forgotten.
    keep_tries_days: int = Field(90, ge=0)  # the log of webhook tries
    keep_events_days: int = Field(400, ge=0)  # events and their deliveries
    keep_callbacks_days: int = Field(400, ge=0)  # the bodies of providers' callbacks
    metrics_token: str = Field("", repr=False)  # who brings it may read /metrics; else this machine may
    operator_token: str = Field("", repr=False)  # who brings it may open /operator; else this machine may
    proxy_count: int = Field(0, ge=0, le=5)  # trusted reverse proxies in front of us
    qr_host_upper: bool = True  # capitals pack tighter; a few scanners want lower case
    web_workers: int = Field(2, ge=1, le=64)
    web_threads: int = Field(8, ge=1, le=64)
    # Calls of the API in a second, for each key and process; a burst may take two seconds' worth.
    # 0: no limit.
    rate_reads: int = Field(100, ge=0)
    rate_writes: int = Field(100, ge=0)
    # In a minute, for each address: calls without a valid key, and scans of codes that do not exist.
    rate_failures: int = Field(30, ge=0)
    # In a minute, for each address and printed code: charges begun.  A shop's guests may share an address.
    rate_payments: int = Field(30, ge=0)
    rate_redis_url: str = Field("", repr=False)  # where all processes count together; may hold a password
    request_log_days: int = Field(30, ge=0, le=3650)  # how long calls of the API are kept; 0: not at all
    # Mail, if there is a server for it; else links are shown to be copied.
    smtp_host: str = ""
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"  # "none" is for this machine alone
    smtp_ca: str = ""  # a file of certificates to trust instead of the system's
    smtp_user: str = ""
    smtp_password: str = Field("", repr=False)
    smtp_from: str = ""  # the sender's address
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @field_validator("secret_keys", "encryption_keys", "webhook_allow", "webhook_ports", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("keep_tries_days", "keep_events_days", "keep_callbacks_days")
    @classmethod
    def _is_a_month(cls, value: int) -> int:
        if 0 < value < KEEP_DAYS_MIN:
            raise ValueError(f"must be at least {KEEP_DAYS_MIN}, or 0 for ever")
        return value

    @field_validator("metrics_token", "operator_token")
    @classmethod
    def _is_strong(cls, value: str) -> str:
        if value and _is_weak(value):
            raise ValueError(f"has less than {SECRET_CHARS_MIN} characters, or is a well-known one")
        return value

    @field_validator("rate_redis_url")
    @classmethod
    def _is_a_redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("smtp_security")
    @classmethod
    def _is_private(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and info.data.get("smtp_host") and info.data["smtp_host"] not in LOOPBACK:
            raise ValueError("none would send links in the clear: only to a server on this machine")
        return value

    @field_validator("smtp_from")
    @classmethod
    def _is_sender(cls, value: str, info: ValidationInfo) -> str:
        if (value or info.data.get("smtp_host")) and _SENDER.fullmatch(value) is None:
            raise ValueError("must be an address like mafu@example.com")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_a_database_of_ours(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_origin(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("mode") is Mode.LIVE and not value.startswith("https://"):
            raise ValueError("must be the public https address")
        if value and not _is_web_address(value):
            raise ValueError("must look like https://pay.example.com")
        return value.rstrip("/")

    @field_validator("sandbox_url")
    @classmethod
    def _is_place(cls, value: str) -> str:
        if value and not _is_web_address(value):
            raise ValueError("must look like http://127.0.0.1:8001")
        return value.rstrip("/")

    @field_validator("secret_keys", "encryption_keys")
    @classmethod
    def _are_strong(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("mode") is Mode.LIVE and not value:
            raise ValueError("is empty")
        if any(_is_weak(key) for key in value):
            raise ValueError(f"holds a key of less than {SECRET_CHARS_MIN} characters, or a well-known one")
        return value

    @field_validator("webhook_allow")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)  # its ValueError names the network
        return value

    @field_validator("webhook_ports")
    @classmethod
    def _are_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in value):
            raise ValueError("must be port numbers, comma-separated")
        return value

    @field_validator("webhook_proxy")
    @classmethod
    def _is_a_proxy(cls, value: str) -> str:
        if value and _PROXY.fullmatch(value) is None:
            raise ValueError(
                "must look like http://proxy.internal:4750, with name:password@ if it wants them"
            )
        return value

    @property
    def has_mail(self) -> bool:
        """Whether there is a server that takes our mail."""
        return bool(self.smtp_host)

    @property
    def is_demo(self) -> bool:
        """Whether nothing here moves real money."""
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
    def sandbox_origin(self) -> str:
        """Where the sandbox is steered from this machine; empty if there is none."""
        if self.sandbox_url or not self.is_demo:
            return self.sandbox_url
        # The demo's sandbox is always on loopback as well: see cli/places.py.
        near = self.host if self.host in LOOPBACK else "127.0.0.1"
        return f"http://{f'[{near}]' if ':' in near else near}:{self.sandbox_port}"

    @property
    def sqlalchemy_url(self) -> str:
        """The database's address: the configured one, else a file in the data directory."""
        return self.database_url or f"sqlite:///{(self.data / 'mafu.sqlite3').resolve()}"


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; ``overrides`` win.  Raises SettingsError listing every fault."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [
            f"  {_name_of(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False)
        ]
        raise SettingsError("\n".join(["the settings cannot be used:", *faults])) from None
    if settings.is_demo:
        settings = settings.model_copy(update=_demo_secrets(settings))
    return settings


def _name_of(place: tuple[int | str, ...]) -> str:
    """What the operator calls a setting: ``("base_url",) -> "MAFU_BASE_URL"``."""
    field = str(place[0]) if place else "settings"
    return f"MAFU_{field.upper()}" if field in Settings.model_fields else field


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = parts.username is None and not parts.query and not parts.fragment
        return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and parts.port != 0
    except ValueError:  # a port that is no number, brackets that hold no address
        return False


def _is_weak(key: str) -> bool:
    return len(key) < SECRET_CHARS_MIN or len(set(key)) < 8 or any(word in key.lower() for word in _WEAK)


def _demo_secrets(settings: Settings) -> dict[str, tuple[str, ...]]:
    """What is not set comes from ``secrets.json``, made on first use; two processes may race for it."""
    missing = {name for name in ("secret_keys", "encryption_keys") if not getattr(settings, name)}
    if not missing:
        return {}
    path = settings.data / "secrets.json"
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    try:
        stored = json.loads(path.read_text())
        found = {name: tuple(stored[name]) for name in missing}
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{path} does not hold the secrets that were generated into it") from None
    if not all(found.values()) or any(_is_weak(key) for keys in found.values() for key in keys):
        raise SettingsError(f"{path} holds an empty list or a weak key")
    return found
