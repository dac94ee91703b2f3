"""The demo: a shop that can be paid at once.  Made on the first start, found again on the next.

What only the sandbox knows is asked for over HTTP, as a merchant would copy it from a provider's
console.  What only we know (the key, the webhook's secret) is kept readable in ``demo.json``, which
live mode neither writes nor reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import current_app, url_for

from app import clock, runtime
from app.charges import lifecycle
from app.charges.commands import NewCharge
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.cli.places import Places
from app.config import Settings
from app.errors import NotAuthenticated, NotFound
from app.http import Client
from app.merchants import accounts, keys, people
from app.money import Money
from app.webhooks import endpoints
from app.webhooks.signature import keys_of

NAME, EMAIL = "晨光咖啡馆", "owner@demo.example"
PRICE, DESCRIPTION = Money(1250, "CNY"), "拿铁 Latte"
LIFE = timedelta(days=1)
LEFT_MIN = timedelta(hours=1)  # a charge that ends sooner is replaced, so that nobody finds it expired

_FILE = "demo.json"
_KEY_NAME, _RECEIVER = "demo", "demo receiver"


@dataclass(frozen=True, slots=True)
class _Home:
    """How the shop comes to be known at one of the sandbox's networks.

    ``mode`` is how the network signs for it; ``copied`` are our settings by name, and what the network's
    console calls them; ``chosen`` are settings that nobody has to look up.  ``under_provider`` is where it
    gets to know a merchant of a service provider, if it has any, and ``told_of_merchant`` what it then says.
    """

    provider: str
    name: str
    door: str
    mode: str
    copied: Mapping[str, str]
    chosen: Mapping[str, str] = field(default_factory=dict)
    under_provider: str = ""
    told_of_merchant: tuple[str, ...] = ()


# Each as a merchant who signs up today would have it: keys, but for UnionPay, which knows certificates only.
_HOMES = (
    _Home(
        "alipay",
        "支付宝 (sandbox)",
        door="apps",
        mode="key",
        copied={
            name: name for name in ("app_id", "alipay_public_key", "seller_id", "gateway_url", "auth_url")
        },
        under_provider="apps/{app_id}/authorize",
        told_of_merchant=("app_auth_token", "seller_id"),
    ),
    _Home(
        "wechatpay",
        "微信支付 (sandbox)",
        door="merchants",
        mode="public_key",
        copied={
            **{name: name for name in ("appid", "mchid", "merchant_cert", "app_secret")},
            **{name: name for name in ("public_key_id", "public_key")},
            "api_v3_key": "apiv3_key",
            "api_url": "api_base",
            "open_url": "oauth_base",
            "sns_url": "oauth_base",
        },
        under_provider="merchants/{mchid}/subs",
        told_of_merchant=("sub_mchid",),
    ),
    _Home(
        "unionpay",
        "云闪付 (sandbox)",
        door="merchants",
        mode="test",
        copied={
            **{name: name for name in ("mer_id", "middle_cert", "root_cert", "gateway_url", "file_url")},
            "sign_cert": "merchant_cert",
        },
        chosen={"environment": "test"},
    ),
)


@dataclass(frozen=True, slots=True, repr=False)
class Demo:
    """What ``demo.json`` says: all that a script needs to try everything."""

    base_url: str
    sandbox_url: str
    api_key: str
    webhook_secret: str
    sign_in_url: str
    charge_url: str
    charge_id: str


def load(settings: Settings) -> Demo | None:
    """The demo as last started, if there was one."""
    try:
        return Demo(**json.loads((settings.data / _FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def settle_in(base_url: str) -> None:
    """Let this process write links with ``base_url``, as its siblings do."""
    runtime.init_app(current_app, runtime.settings().model_copy(update={"base_url": base_url}))


def adopt() -> None:
    """In a second terminal: write links as the running demo does, unless MAFU_BASE_URL says otherwise."""
    settings = runtime.settings()
    found = load(settings) if settings.is_demo and not settings.base_url else None
    if found is not None:
        settle_in(found.base_url)


def seed(places: Places) -> Demo:
    """Make what is missing, keep what is there, and write it down.  The sandbox must be up."""
    before = load(runtime.settings())
    merchant_id, user_id = _merchant()
    for home in _HOMES:
        _open_account(merchant_id, places.near_sandbox_url, home)
    _let_cameras_read(places.near_sandbox_url)
    secret = _webhook_secret(merchant_id, places.near_sandbox_url)  # before the charge, which is news
    charge = _charge(merchant_id, before)
    demo = Demo(
        base_url=places.base_url,
        sandbox_url=places.sandbox_url,
        api_key=_api_key(merchant_id, before),
        webhook_secret=secret,
        sign_in_url=sign_in_url(merchant_id, user_id),
        charge_url=link_of(charge),
        charge_id=charge.id,
    )
    _write(runtime.settings().data / _FILE, json.dumps(asdict(demo), indent=2) + "\n")
    return demo


def sign_in_url(merchant_id: str, user_id: str) -> str:
    """A link that signs this user in once, within a day."""
    token = people.make_sign_in_link(merchant_id, user_id)
    with current_app.test_request_context(base_url=runtime.settings().origin):
        return url_for("merchants.use_link", token=token, _external=True)


def _merchant() -> tuple[str, str]:
    owner = people.find_user(EMAIL)
    return (owner.merchant_id, owner.id) if owner else people.add_merchant(NAME, email=EMAIL)


def _open_account(merchant_id: str, sandbox_url: str, home: _Home) -> None:
    """The shop's account at one network, which follows the sandbox when that moves or forgets."""
    every = accounts.list_accounts(merchant_id, livemode=False)
    rows = [row for row in every if row.provider == home.provider]
    stored = accounts.settings_of(rows[0].id) if rows else {}
    wanted = _moved_in(sandbox_url, home, stored.get("private_key") or _new_private_key(), NAME)
    if not rows:
        accounts.add_account(merchant_id, home.provider, livemode=False, name=home.name, settings=wanted)
    elif wanted != stored:
        accounts.change_account(rows[0].id, wanted)


def sample(sandbox_url: str, provider: str, *, under_provider: bool) -> dict[str, str]:
    """Credentials of a merchant that the sandbox meets now, as they would be entered.

    ``under_provider``: of a merchant whose service provider we are.  Raises ClickException where a network
    has no such thing.
    """
    [home] = [home for home in _HOMES if home.provider == provider]
    if under_provider and not home.under_provider:
        raise click.ClickException(f"{provider} has no service providers: a merchant enters its own number")
    mine = _moved_in(sandbox_url, home, _new_private_key(), f"{NAME} 服务商" if under_provider else NAME)
    if not under_provider:
        return mine
    path, names = home.under_provider, home.told_of_merchant
    facts = _ask_sandbox("POST", f"{sandbox_url}/control/{provider}/{path.format(**mine)}", {})
    return mine | {name: str(facts[name]) for name in names}


def _moved_in(sandbox_url: str, home: _Home, private_key: str, name: str) -> dict[str, str]:
    """The settings of whoever has this key, who is known to the network from now on."""
    facts = _ask_sandbox(
        "POST",
        f"{sandbox_url}/control/{home.provider}/{home.door}",
        {"mode": home.mode, "public_key": _public_key(private_key), "name": name},
    )
    copied = {ours: str(facts[theirs]) for ours, theirs in home.copied.items()}
    return {"private_key": private_key, **copied, **home.chosen}


def _let_cameras_read(sandbox_url: str) -> None:
    """Have WeChat Pay's codes lead to the sandbox: ``weixin://`` would open the real one, on any phone."""
    name, scope = "http_code", "always"
    pulled = _ask_sandbox("GET", f"{sandbox_url}/control/levers")["data"]
    if not any((lever["name"], lever["scope"]) == (name, scope) for lever in pulled):
        _ask_sandbox("POST", f"{sandbox_url}/control/levers", {"name": name, "scope": scope})


def _api_key(merchant_id: str, before: Demo | None) -> str:
    if before is not None:
        with suppress(NotAuthenticated):
            caller = keys.authenticate(before.api_key)
            if caller.merchant_id == merchant_id and not caller.livemode:
                return before.api_key
    return keys.create_key(merchant_id, livemode=False, name=_KEY_NAME)[1]


def _webhook_secret(merchant_id: str, sandbox_url: str) -> str:
    """The secret of the endpoint at the sandbox's receiver, which is told of it."""
    url, found = f"{sandbox_url}/receiver/hook", None
    for row in endpoints.list_endpoints(merchant_id, livemode=False):
        if row.url == url:
            found = row
        elif row.description == _RECEIVER:  # the sandbox has moved to another port
            endpoints.delete_endpoint(merchant_id, row.id)
    if found is None:
        _, secret = endpoints.create_endpoint(merchant_id, livemode=False, url=url, description=_RECEIVER)
    else:
        endpoints.enable_endpoint(merchant_id, found.id)
        secret, _ = keys_of(runtime.vault().unseal(found.sealed_secret, endpoints.secret_place(found.id)))
    _ask_sandbox("POST", f"{sandbox_url}/receiver/secret", {"secret": secret})
    return secret


def _charge(merchant_id: str, before: Demo | None) -> sa.Row[Any]:
    if before is not None:
        with suppress(NotFound):
            charge = lifecycle.find(merchant_id, before.charge_id, livemode=False)
            if charge.state == ChargeState.PENDING and charge.expires_at > clock.now() + LEFT_MIN:
                return charge
    new = NewCharge(PRICE, DESCRIPTION, expires_in_s=int(LIFE.total_seconds()))
    return lifecycle.open_charge(merchant_id, livemode=False, new=new)


def _ask_sandbox(method: str, url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    answer = Client().send(
        method,
        url,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode() if body else b"",
    )
    if answer.status not in (200, 201):
        raise click.ClickException(f"the sandbox answered {answer.status} to {urlsplit(url).path}")
    facts: dict[str, Any] = json.loads(answer.body)
    return facts


def _new_private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*pem).decode()


def _public_key(private_key: str) -> str:
    key = serialization.load_pem_private_key(private_key.encode(), password=None).public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


def _write(path: Path, text: str) -> None:
    """In one piece and for its owner alone: who reads it while we write finds the old text or the new."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
