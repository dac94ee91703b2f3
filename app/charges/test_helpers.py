"""What a test would wait for, done at once, in test mode alone: the shopper's hand, and time.

The shopper acts where shoppers act, at the sandbox, over its control API.  What came of it is then asked
of the provider and settled through the same door as ever, so that nothing here can make a charge paid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from app.charges import attempts, lifecycle, routes
from app.charges.attempts import Payer
from app.charges.present import link_of
from app.charges.states import ChargeState
from app.db import transaction
from app.errors import Conflict, InvalidRequest, NotFound
from app.merchants import accounts
from app.merchants.accounts import OpenAccount
from app.money import Money
from app.providers.base import NextStep, PostForm, Redirect, Scene
from app.runtime import runtime

ANSWER_S = 40.0  # the sandbox may have been told to dawdle


def begin(merchant_id: str, charge_id: str, provider: str | None) -> sa.Row[Any]:
    """The shopper chooses a wallet on a desktop, scans its code, and does nothing more; the charge.

    Raises NotFound, Conflict, ProviderRejected, ProviderUnreachable.
    """
    charge = lifecycle.find(merchant_id, charge_id, livemode=False)
    attempt = _begun(charge, provider)
    _tell(f"trades/{attempt.out_trade_no}/open", {})
    return lifecycle.find(merchant_id, charge_id)


def pay(merchant_id: str, charge_id: str, provider: str | None, amount_minor: int | None) -> sa.Row[Any]:
    """The shopper approves, another amount if one is named; the charge as it then is.

    A charge that has ended is paid through a wallet that was begun before: late, or twice.  Raises
    NotFound, Conflict (it was not begun, or the sandbox refused), ProviderRejected, ProviderUnreachable.
    """
    charge = lifecycle.find(merchant_id, charge_id, livemode=False)
    wish: dict[str, Any] = {"late": charge.state != ChargeState.PENDING}
    if amount_minor is not None:
        wish["amount"] = Money(amount_minor, charge.currency).major()
    attempt = _begun(charge, provider)
    _tell(f"trades/{attempt.out_trade_no}/pay", wish)
    attempts.ask(attempt)
    return lifecycle.find(merchant_id, charge_id)


def decline(merchant_id: str, charge_id: str, provider: str | None) -> sa.Row[Any]:
    """The wallet refuses; the charge.  The shopper may try again.  Raises as ``pay`` does."""
    charge = lifecycle.find(merchant_id, charge_id, livemode=False)
    attempt = _begun(charge, provider)
    _tell(f"trades/{attempt.out_trade_no}/decline", {})
    attempts.ask(attempt)
    return lifecycle.find(merchant_id, charge_id)


def expire(merchant_id: str, charge_id: str) -> sa.Row[Any]:
    """The charge's time ends now: closed at its providers, asked about, and closed here; the charge.

    Raises NotFound, Conflict (it is not pending, or was paid meanwhile), ProviderUnreachable.
    """
    charge = lifecycle.find(merchant_id, charge_id, livemode=False)
    if charge.state == ChargeState.PENDING:
        retired = attempts.retire_all(merchant_id, charge_id)
        with transaction() as tx:
            lifecycle.close_charge(tx, merchant_id, charge_id, ChargeState.EXPIRED, retired=retired)
        charge = lifecycle.find(merchant_id, charge_id)
    if charge.state != ChargeState.EXPIRED:
        raise Conflict(f"the charge is {charge.state} and cannot expire", code=f"charge_{charge.state}")
    return charge


def bend(merchant_id: str, charge_id: str, provider: str | None, lever: Mapping[str, Any]) -> dict[str, Any]:
    """Put one of the sandbox's levers in place for this charge's payment: ``name``, ``value``?, ``times``?.

    The lever as the sandbox tells it.  Raises as ``pay`` does; InvalidRequest for a lever that there is not.
    """
    charge = lifecycle.find(merchant_id, charge_id, livemode=False)
    attempt = _begun(charge, provider)
    return _tell("levers", {**lever, "scope": "trade", "out_trade_no": attempt.out_trade_no})


def _begun(charge: sa.Row[Any], provider: str | None) -> sa.Row[Any]:
    """The attempt to act on: this wallet's on a desktop; of a charge that has ended, the latest there was."""
    if charge.state == ChargeState.PENDING:
        account = _account(charge, provider)
        holds = frozenset(each.id for each in attempts.open_attempts(charge.merchant_id, charge.id))
        payer = Payer(Scene.DESKTOP, charge.return_url or link_of(charge), holds=holds)
        started = attempts.start_attempt(charge.id, account, payer)
        _open(started.step)
        return attempts.find_attempt(charge.merchant_id, started.attempt_id)
    for attempt in reversed(attempts.list_attempts(charge.merchant_id, charge.id)):
        if provider in (None, attempt.provider):
            return attempt
    raise Conflict(
        f"the charge is {charge.state}, and nobody had begun to pay it this way", code="charge_not_payable"
    )


def _account(charge: sa.Row[Any], provider: str | None) -> OpenAccount:
    held = [row.provider for row in accounts.list_accounts(charge.merchant_id, livemode=False)]
    wallet = provider or next(iter(held), "")
    try:
        return routes.account_for(charge.merchant_id, charge.id, wallet, livemode=False)
    except NotFound:
        raise Conflict(
            f"no {provider or 'provider'} account is set up in test mode", code="provider_not_set_up"
        ) from None


def _open(step: NextStep) -> None:
    """What the shopper's browser does first: some cashiers know of a payment only when it comes along."""
    send = runtime().outbound.send
    match step:
        case Redirect(url):
            send("GET", url, timeout_s=ANSWER_S)
        case PostForm(url, fields):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            send("POST", url, headers=kind, body=urlencode(fields).encode(), timeout_s=ANSWER_S)
        case _:
            pass


def _tell(path: str, wish: Mapping[str, Any]) -> dict[str, Any]:
    """One call of the control API.  Raises InvalidRequest or Conflict in its words, ProviderUnreachable."""
    settings = runtime().settings
    if not settings.sandbox_origin:
        raise Conflict("no sandbox is set up here: MAFU_SANDBOX_URL", code="no_sandbox")
    answer = runtime().outbound.send(
        "POST",
        f"{settings.sandbox_origin}/control/{path}",
        headers={"Content-Type": "application/json"},
        body=json.dumps(wish).encode(),
        timeout_s=ANSWER_S,
    )
    try:
        told: dict[str, Any] = json.loads(answer.body)
        refusal = told["error"] if answer.status >= 400 else None
        code, why = (refusal["code"], refusal["message"]) if refusal else ("", "")
    except (ValueError, KeyError, TypeError):
        raise Conflict("what answers at MAFU_SANDBOX_URL is no sandbox", code="no_sandbox") from None
    if code == "no_such_trade":
        raise Conflict("this payment is not at the sandbox: its account speaks to another", code="no_sandbox")
    if code:
        kind = InvalidRequest if answer.status == 400 else Conflict
        raise kind(f"the sandbox says: {why}", code=f"sandbox_{code}"[:64])
    return told


def only_in_test_mode(livemode: bool) -> None:
    """Raises NotFound for a live key: to it there are no such addresses."""
    if livemode:
        raise NotFound("test helpers are for keys of test mode")
