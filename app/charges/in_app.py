"""Trying to pay inside the merchant's own app, whose wallet SDK takes what a provider gives."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.charges import attempts, lifecycle, routes
from app.charges.attempts import Payer, Started
from app.charges.present import link_of
from app.clock import to_rfc3339
from app.errors import Conflict, InvalidRequest, NotFound
from app.merchants.accounts import OpenAccount
from app.providers import REGISTRY
from app.providers.base import AppParams, Scene


def start_in_app(merchant_id: str, charge_id: str, provider: str, *, livemode: bool) -> Started:
    """Try a charge in the merchant's app.  Calling again goes on with the open attempt, and another
    provider retires it.

    Raises InvalidRequest (no such provider), NotFound (no such charge), Conflict (not payable, or not
    through this provider), ProviderRejected or ProviderUnreachable.
    """
    if provider not in REGISTRY:
        raise InvalidRequest(
            f"{provider[:32]!r} is not one of {', '.join(REGISTRY)}",
            code="unknown_provider",
            param="provider",
        )
    charge = lifecycle.find(merchant_id, charge_id, livemode=livemode)
    account = _account(charge, provider)
    info = account.provider.info
    if Scene.APP not in info.scenes or charge.currency not in info.currencies:
        raise Conflict(f"{provider} cannot take {charge.currency} in an app", code="provider_unsuitable")
    return attempts.start_attempt(charge.id, account, Payer(Scene.APP, charge.return_url or link_of(charge)))


def app_params_json(charge_id: str, provider: str, started: Started) -> dict[str, Any]:
    """What the API says of it: ``params`` go to the wallet's SDK as they are, until ``expires_at``."""
    if not isinstance(started.step, AppParams):
        raise TypeError(f"{provider} gave an app a {type(started.step).__name__}")
    return {
        "object": "app_params",
        "charge": charge_id,
        "provider": provider,
        "params": dict(started.step.params),
        "expires_at": to_rfc3339(started.good_until),
    }


def _account(charge: sa.Row[Any], provider: str) -> OpenAccount:
    try:
        return routes.account_for(charge.merchant_id, charge.id, provider, livemode=charge.livemode)
    except NotFound:
        mode = "live" if charge.livemode else "test"
        raise Conflict(
            f"no {provider} account is set up in {mode} mode", code="provider_not_set_up"
        ) from None
