"""Taking a payment at the counter: a cashier scans the code on the shopper's phone.

The code is money for a minute, so it goes to its network and nowhere else: what is stored is a keyed
digest, by which the same code scanned twice, or sent twice at once, is known and charged once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from app import clock, queue
from app.charges import attempts, lifecycle, outcomes, reversal, routes, screening
from app.charges.models import Attempt
from app.charges.screening import Screened, Visitor
from app.charges.settle import book
from app.charges.states import AttemptState, move
from app.db import moment, reading, retried, table_of, transaction
from app.errors import Conflict, InvalidRequest, NotFound, ProviderRejected, ProviderUnreachable
from app.merchants.accounts import OpenAccount
from app.money import Money
from app.providers import REGISTRY
from app.providers.base import COUNTER, CodeOrder, Info, Outcome
from app.queue import Kind
from app.runtime import runtime

DEVICE_ID = "00000001"  # where nobody names the till
CODE_CHARS_MAX = 64  # with the blanks that people type between groups of digits
# No network lets its code live longer than a few minutes; after that a like one is another one.
CODE_IS_KNOWN = timedelta(minutes=10)
# What a network that takes a deadline is told; before that the attempt is given up.
ATTEMPT_LIFE = timedelta(minutes=2)

log = structlog.get_logger(__name__)
_attempts = table_of(Attempt)
_DIGITS = re.compile(r"[0-9]{16,24}", re.ASCII)
_SCANNED = sa.select(*_attempts.c).where(
    _attempts.c.merchant_id == sa.bindparam("merchant_id"), _attempts.c.code_key == sa.bindparam("code_key")
)


@dataclass(frozen=True, slots=True)
class Till:
    """Where the code was scanned.  ``device_id`` has 8 letters or digits."""

    device_id: str = DEVICE_ID
    ip: str = "127.0.0.1"


def read_code(text: str) -> tuple[str, Info]:
    """A payment code as it was scanned or typed, and whose it is.  Pure.  Raises InvalidRequest."""
    code = "".join(unicodedata.normalize("NFKC", text[:CODE_CHARS_MAX]).split())
    if _DIGITS.fullmatch(code) is None:
        raise InvalidRequest("a payment code has 16 to 24 digits", code="pay_code_invalid", param="code")
    for adapter in REGISTRY.values():
        if re.fullmatch(adapter.info.pay_code, code, re.ASCII):
            return code, adapter.info
    raise InvalidRequest("no wallet's payment code looks like this", code="pay_code_invalid", param="code")


def take_code(merchant_id: str, charge_id: str, text: str, till: Till, *, livemode: bool) -> sa.Row[Any]:
    """Charge whoever shows this code; the attempt as it stands then.

    STARTED: the shopper is asked in the wallet, or nothing is known; the worker asks every few seconds and
    gives up after a while.  The same code again is the same attempt.  Raises InvalidRequest (no code),
    NotFound (no such charge), Conflict (not payable, no account for this wallet, somebody else is paying, or
    the code was scanned for another charge a moment ago), PaymentStopped (by a rule of the merchant's) or
    ProviderRejected (the wallet's definite no).
    """
    code, info = read_code(text)
    charge = lifecycle.find(merchant_id, charge_id, livemode=livemode)
    account = _account(charge, info)
    known = find_scanned(merchant_id, code)
    if known is None:
        _make_way(charge)
        known = _begin(charge, account, code, till)
    if known.charge_id != charge.id:
        raise Conflict("this code was scanned for another charge a moment ago", code="pay_code_used")
    if known.state == AttemptState.FAILED:
        raise ProviderRejected(f"{known.provider} refused the payment", provider_code=known.failure_code)
    return known


def find_scanned(merchant_id: str, code: str) -> sa.Row[Any] | None:
    """The attempt that was made with this code in the last minutes."""
    with reading() as connection:
        known = connection.execute(_SCANNED, _key(merchant_id, code)).first()
        return known if known is None or known.started_at + CODE_IS_KNOWN > moment(connection) else None


def give_up(merchant_id: str, charge_id: str) -> None:
    """The cashier cancels: what is open by code ends without money, or its money goes back.

    Asked first: one that turns out paid pays its charge.  One that is too young to be reversed is left to
    the worker, which does it as soon as it may.
    """
    for attempt in attempts.open_attempts(merchant_id, charge_id):
        if attempt.scene != COUNTER:
            continue
        with suppress(ProviderUnreachable, ProviderRejected):
            if attempts.ask(attempt).outcome is not Outcome.PENDING:
                continue
        with transaction() as tx:
            if not reversal.give_up(tx, attempt):
                continue
            ready_at = max(moment(tx), attempt.started_at + reversal.NOT_BEFORE)
            queue.hasten(tx, Kind.QUERY, merchant_id, attempt.id, ready_at)
        with suppress(ProviderUnreachable):
            attempts.retire(attempt)


def _account(charge: sa.Row[Any], info: Info) -> OpenAccount:
    try:
        account = routes.account_for(charge.merchant_id, charge.id, info.code, livemode=charge.livemode)
    except NotFound:
        mode = "live" if charge.livemode else "test"
        raise Conflict(
            f"no {info.code} account is set up in {mode} mode", code="provider_not_set_up"
        ) from None
    if charge.currency not in info.currencies:
        raise Conflict(f"{info.code} cannot take {charge.currency}", code="provider_unsuitable")
    return account


def _make_way(charge: sa.Row[Any]) -> None:
    """Close what is open elsewhere.  Raises Conflict while another shopper's code is being charged."""
    for other in attempts.open_attempts(charge.merchant_id, charge.id):
        _refuse_second(other)
        if other.scene != COUNTER:
            with suppress(ProviderUnreachable):  # what cannot be closed: see double payments in settle.py
                attempts.retire(other)


def _begin(charge: sa.Row[Any], account: OpenAccount, code: str, till: Till) -> sa.Row[Any]:
    """Store the attempt, send the code, book the answer; the attempt as it is then.

    The one of a faster press, if there is one.  A crash after the first commit leaves a job that asks and,
    as nobody has the code any more, gives up in the end.
    """
    attempt, is_new = _stored(charge, account, code)
    if isinstance(attempt, Screened):
        raise attempt.refusal()
    if not is_new:
        return attempt
    order = CodeOrder(
        ref=attempts.ref_of(attempt),
        amount=Money(attempt.amount_minor, attempt.currency),
        description=charge.description,
        code=code,
        device_id=till.device_id,
        device_ip=till.ip,
        notify_url=f"{runtime().settings.origin}/callbacks/{account.id}",
        expires_at=attempt.expires_at,
    )
    try:
        result = account.provider.charge_code(order)
    except ProviderRejected as refusal:
        outcomes.note_refusal(account, refusal)
        with transaction() as tx:
            _fail(tx, attempt, refusal)
    except ProviderUnreachable as silence:
        outcomes.note_refusal(account, silence)
        log.warning("no answer to a payment code", attempt_id=attempt.id, code=silence.provider_code)
    else:
        outcomes.note_success(account)
        book(account.id, result)
    return attempts.find_attempt(attempt.merchant_id, attempt.id)


# Storing holds the charge, and then an older attempt to take its code away; settling holds that attempt, and
# then its charge.  Whoever the database stops for that has done nothing, and does it again: the code is sent
# in between, once.
@retried
def _stored(charge: sa.Row[Any], account: OpenAccount, code: str) -> tuple[sa.Row[Any] | Screened, bool]:
    with transaction() as tx:
        return _store(tx, charge, account, code)


def _store(
    tx: Connection, charge: sa.Row[Any], account: OpenAccount, code: str
) -> tuple[sa.Row[Any] | Screened, bool]:
    """The new attempt, or the one that this code made already, and whether it is new; or what stops it."""
    key = _key(charge.merchant_id, code)
    try:
        charge, tries = attempts.lock_payable(tx, charge.id, account)
    except Conflict:
        known = tx.execute(_SCANNED, key).first()
        if known is None or known.charge_id != charge.id:
            raise
        return known, False  # another press of this very code has just paid it
    now = moment(tx)
    known = tx.execute(_SCANNED, key).first()
    if known is not None and known.started_at + CODE_IS_KNOWN > now:
        return known, False
    for other in tries:
        _refuse_second(other)
    screened = screening.screen(tx, charge, account, Visitor(COUNTER))
    if screened.stopped_by is not None:
        return screened, False
    if known is not None:
        tx.execute(
            sa.update(_attempts)
            .where(_attempts.c.merchant_id == known.merchant_id, _attempts.c.id == known.id)
            .values(code_key=None)
        )
    attempt = attempts.record(
        tx,
        charge,
        account,
        scene=COUNTER,
        code_key=key["code_key"],
        expires_at=min(charge.expires_at, now + ATTEMPT_LIFE),
    )
    if attempt is None:  # another press, of another charge, was a moment faster
        return tx.execute(_SCANNED, key).one(), False
    return attempt, True


def _refuse_second(other: sa.Row[Any]) -> None:
    """Two codes for one charge at once would charge two shoppers.  Raises Conflict."""
    if other.scene == COUNTER and other.state == AttemptState.STARTED and other.given_up_at is None:
        raise Conflict("a shopper is confirming this charge in the wallet", code="charge_in_payment")


def _fail(tx: Connection, attempt: sa.Row[Any], refusal: ProviderRejected) -> None:
    moved = move(
        tx,
        _attempts,
        attempt.merchant_id,
        attempt.id,
        AttemptState.FAILED,
        failure_code=(refusal.provider_code or refusal.code)[:64],
        finished_at=clock.now(),
    )
    if moved is not None:
        queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))


def _key(merchant_id: str, code: str) -> dict[str, str]:
    """By what a code is known again.  Keyed: there are too few codes for a plain digest to hide one."""
    secret = runtime().settings.secret_keys[-1].encode()
    digest = hmac.new(secret, f"pay code\n{merchant_id}\n{code}".encode(), hashlib.sha256).hexdigest()
    return {"merchant_id": merchant_id, "code_key": digest}
