"""Trying to pay: one attempt is one order number at one provider, stored before it is sent."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app import clock, queue
from app.charges import outcomes, reversal, screening
from app.charges.models import Attempt, Charge
from app.charges.screening import Screened, Visitor
from app.charges.settle import book
from app.charges.states import AttemptState, ChargeState, Review, move
from app.db import insert_or_skip, moment, reading, table_of, transaction
from app.errors import Conflict, NotFound, NumberTaken, ProviderRejected, ProviderUnreachable
from app.ids import new_id
from app.merchants import accounts
from app.merchants.accounts import OpenAccount
from app.merchants.risk import Action
from app.merchants.risk_rules import count_of
from app.money import Money
from app.providers.base import (
    COUNTER,
    AppParams,
    CallBridge,
    NextStep,
    Outcome,
    PaymentOrder,
    PaymentRef,
    PaymentResult,
    PostForm,
    Redirect,
    Scene,
    ShowQR,
)
from app.queue import Kind
from app.runtime import runtime

ASK_EVERY = timedelta(seconds=3)  # a shopper's page may ask the provider this often, not more
FIRST_QUERY_AFTER = timedelta(seconds=5)
# Each press may be a row here and a call there, and the address of the page is all it takes to press.
ATTEMPTS_MAX = 50
# In one process at a time; the others wait for the worker.  A provider that hangs would else hold every
# thread that could hear a callback.
ASKING_MAX = 4

_STEPS: dict[str, type[NextStep]] = {
    step.__name__: step for step in (Redirect, PostForm, ShowQR, CallBridge, AppParams)
}
_attempts, _charges = table_of(Attempt), table_of(Charge)
_asking = threading.BoundedSemaphore(ASKING_MAX)


@dataclass(frozen=True, slots=True)
class Payer:
    """Where the shopper is, who they are, and how to get back to them.

    ``ip`` and ``device`` are the shopper's own, or None; ``payer_id`` is the network's name for them, where a
    scene needs one; ``holds`` are the attempts that this very browser began, which it may take up again
    without being identified once more.
    """

    scene: Scene
    return_url: str
    ip: str | None = None
    payer_id: str | None = None
    holds: frozenset[str] = frozenset()
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What the payer must do next, and until when it works.

    ``is_personal``: only the payer it was made for can do it, so nobody else may be shown it.
    ``knows_device``: some rule of the merchant's looks at devices, so this one must be known again.
    """

    attempt_id: str
    step: NextStep
    good_until: datetime
    is_personal: bool
    knows_device: bool


def start_attempt(charge_id: str, account: OpenAccount, payer: Payer) -> Started:
    """Try a charge at one provider; say what the payer must do next.

    Three phases, because the call in the middle cannot be rolled back.  The attempt is stored
    before the provider hears of it: a crash leaves a row the worker can query, never a payment
    nobody knows of.  An open attempt of the same account, scene and payer is taken up again with its
    number, which the networks answer alike; all others are closed at their providers first.  A number
    that its provider will not open again is retired, and another taken: once, the shopper presses again.

    Raises NotFound, Conflict (not payable any more, or just begun elsewhere), PaymentStopped (by a rule of
    the merchant's, and no attempt was made), ProviderRejected (a definite no; the attempt is FAILED) or
    ProviderUnreachable (the attempt stays STARTED, and the worker asks about it).
    """
    known = _retire_others(charge_id, account, payer)
    with transaction() as tx:
        charge, attempt = _store(tx, charge_id, account, payer, known)
        now = moment(tx)
    if isinstance(attempt, Screened):
        raise attempt.refusal()
    try:
        return _begin(charge, attempt, account, payer, now)
    except NumberTaken:
        _make_way(attempt)
    with transaction() as tx:
        charge, other = _store(tx, charge_id, account, payer, known, instead_of=attempt.id)
        now = moment(tx)
    if isinstance(other, Screened):
        raise other.refusal()
    return _begin(charge, other, account, payer, now)


def payer_key(account_id: str, payer_id: str | None) -> str | None:
    """Who may pay an attempt, as a digest to compare: an openid itself is kept nowhere.  Pure."""
    if payer_id is None:
        return None
    return hashlib.sha256(f"{account_id}\n{payer_id}".encode()).hexdigest()


def ask(attempt: sa.Row[Any]) -> PaymentResult:
    """Query the provider about an attempt and settle what it says.

    Raises ProviderUnreachable or ProviderRejected when it says nothing of use.
    """
    account = accounts.open_account(attempt.account_id)
    result = account.provider.query(ref_of(attempt))
    book(account.id, result)
    return result


def ask_if_due(merchant_id: str, charge_id: str) -> bool:
    """Ask about a charge's open attempts on behalf of a waiting shopper, at most every 3 seconds each.

    True if anything was asked.  Silence from the provider is no news: the shopper goes on waiting.
    Nothing is asked while ASKING_MAX others are asking.
    """
    asked = False
    for attempt in open_attempts(merchant_id, charge_id):
        if not _asking.acquire(blocking=False):
            break
        try:
            if _take_turn(attempt):
                asked = True
                with suppress(ProviderUnreachable, ProviderRejected):
                    ask(attempt)
        finally:
            _asking.release()
    return asked


def retire(attempt: sa.Row[Any]) -> PaymentResult:
    """Make an open attempt unpayable if its provider agrees: close there, then ask what is true.

    A payment by code is reversed instead, and asked about before that as well.

    An attempt that the provider calls unpaid but not closed stays STARTED: it may still be paid, and
    the worker goes on asking.  Raises ProviderUnreachable when nothing is known.
    """
    account = accounts.open_account(attempt.account_id)
    if attempt.scene == COUNTER:
        known = _ask_surely(attempt)
        if known.outcome is not Outcome.PENDING:
            return known
        reversal.reverse(attempt, account.provider, ref_of(attempt))
    else:
        with suppress(ProviderRejected):  # In a state that forbids it, which may mean paid: the query tells.
            account.provider.close(ref_of(attempt))
    return _ask_surely(attempt)


def retire_all(merchant_id: str, charge_id: str) -> frozenset[str]:
    """Retire every open attempt of a charge; their ids.  Raises ProviderUnreachable."""
    tries = open_attempts(merchant_id, charge_id)
    for attempt in tries:
        retire(attempt)
    return frozenset(attempt.id for attempt in tries)


def is_open_besides(tx: Connection, merchant_id: str, charge_id: str, known: frozenset[str]) -> bool:
    """Whether a charge has an open attempt that is none of these.  A step."""
    tries = tx.execute(_OPEN, {"merchant_id": merchant_id, "charge_id": charge_id})
    return any(attempt.id not in known for attempt in tries)


def open_attempts(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """The attempts of a charge that may still be paid, oldest first."""
    with reading() as connection:
        return list(connection.execute(_OPEN, {"merchant_id": merchant_id, "charge_id": charge_id}))


def find_attempt(merchant_id: str, attempt_id: str) -> sa.Row[Any]:
    """Raises NotFound."""
    with reading() as connection:
        return find_in(connection, merchant_id, attempt_id)


def find_in(connection: Connection, merchant_id: str, attempt_id: str) -> sa.Row[Any]:
    """The same within a transaction.  A step."""
    attempt = connection.execute(
        sa.select(*_attempts.c).where(_attempts.c.merchant_id == merchant_id, _attempts.c.id == attempt_id)
    ).first()
    if attempt is None:
        raise NotFound("no such attempt")
    return attempt


def list_attempts(merchant_id: str, charge_id: str) -> list[sa.Row[Any]]:
    """All attempts of a charge, oldest first."""
    with reading() as connection:
        return list(
            connection.execute(
                sa.select(*_attempts.c)
                .where(_attempts.c.merchant_id == merchant_id, _attempts.c.charge_id == charge_id)
                .order_by(_attempts.c.id)
                .limit(100)
            )
        )


def is_fresh(step_expires_at: datetime | None, expires_at: datetime, now: datetime) -> bool:
    """Whether what the payer was told to do still works: not past its own end, nor the order's.  Pure."""
    return now < expires_at and (step_expires_at is None or now < step_expires_at)


def read_step(stored: dict[str, Any]) -> NextStep:
    """What the payer must do, as it was stored with the attempt."""
    fields = dict(stored)
    return _STEPS[fields.pop("kind")](**fields)


def ref_of(attempt: sa.Row[Any]) -> PaymentRef:
    """How its provider finds this attempt."""
    return PaymentRef(attempt.out_trade_no, attempt.started_at, attempt.provider_ref, attempt.expires_at)


def _ask_surely(attempt: sa.Row[Any]) -> PaymentResult:
    try:
        return ask(attempt)
    except ProviderRejected as refusal:
        raise ProviderUnreachable("the provider would not say what became of the payment") from refusal


_TRIES = (
    sa.select(*_attempts.c)
    .where(
        _attempts.c.merchant_id == sa.bindparam("merchant_id"),
        _attempts.c.charge_id == sa.bindparam("charge_id"),
    )
    .order_by(_attempts.c.id)
)
_OPEN = _TRIES.where(_attempts.c.state == AttemptState.STARTED)
_LIVE = _TRIES.where(
    sa.or_(_attempts.c.state == AttemptState.STARTED, _attempts.c.state == AttemptState.MISMATCHED)
)


_COUNT = sa.select(sa.func.count()).where(
    _attempts.c.merchant_id == sa.bindparam("merchant_id"), _attempts.c.charge_id == sa.bindparam("charge_id")
)


def _retire_others(charge_id: str, account: OpenAccount, payer: Payer) -> frozenset[str]:
    """Close what is open elsewhere, or of somebody else, before there is more of it; what was open.

    If one of them turns out paid, so does the charge, and ``_store`` says so.
    """
    tries = open_attempts(account.merchant_id, charge_id)
    mine = _taken_up(tries, account, payer)
    for other in tries:
        if other is not mine:
            # What cannot be closed now is left to the rule for double payments in settle.py.
            with suppress(ProviderUnreachable):
                retire(other)
    return frozenset(each.id for each in tries)


def _make_way(attempt: sa.Row[Any]) -> None:
    """Retire an attempt whose number is spent, unless another press got its answer meanwhile.

    If it turns out paid, so does the charge, and ``_store`` says so.  Raises ProviderUnreachable while
    nothing is known of it.
    """
    with reading() as connection:
        now = moment(connection)
    if not _has_step(find_attempt(attempt.merchant_id, attempt.id), now):
        retire(attempt)


def _taken_up(tries: list[sa.Row[Any]], account: OpenAccount, payer: Payer) -> sa.Row[Any] | None:
    """The newest open attempt that this payer can go on with.  Pure."""
    key = payer_key(account.id, payer.payer_id)
    for attempt in reversed(tries):
        is_same = attempt.payer_key == key or (key is None and attempt.id in payer.holds)
        if is_same and (attempt.account_id, attempt.scene) == (account.id, payer.scene):
            return attempt
    return None


def _is_beside(attempt: sa.Row[Any], account: OpenAccount) -> bool:
    """Whether it is of the same wallet, through another account.  Pure."""
    return attempt.account_id != account.id and attempt.provider == account.provider.info.code


def _has_step(attempt: sa.Row[Any], now: datetime) -> bool:
    """Whether the payer may be shown what to do, as it is stored.  Pure."""
    return attempt.next_step is not None and is_fresh(attempt.step_expires_at, attempt.expires_at, now)


# A charge may be canceled, or paid another way, while its provider is on the line.
_IS_WANTED = sa.exists().where(
    _charges.c.merchant_id == _attempts.c.merchant_id,
    _charges.c.id == _attempts.c.charge_id,
    _charges.c.state == ChargeState.PENDING,
)


def _store(
    tx: Connection,
    charge_id: str,
    account: OpenAccount,
    payer: Payer,
    known: frozenset[str],
    *,
    instead_of: str | None = None,
) -> tuple[sa.Row[Any], sa.Row[Any] | Screened]:
    """The locked charge, and this payer's open attempt: found, or made now, unless a rule stops it.

    An attempt that is taken up again was judged when it was made.  ``known`` are those that were open before
    and were to be closed.  ``instead_of`` is one whose number is spent: it is found only if it has something
    to show all the same, and those before it, which were retired, not at all.  Raises Conflict if another
    account of this wallet was begun at meanwhile.
    """
    charge, tries = lock_payable(tx, charge_id, account)
    now = moment(tx)
    if instead_of is not None:
        tries = [
            each for each in tries if each.id > instead_of or (each.id == instead_of and _has_step(each, now))
        ]
    attempt = _taken_up(tries, account, payer)
    if attempt is not None:
        return charge, attempt
    if any(each.id not in known and _is_beside(each, account) for each in tries):
        raise Conflict("another account has just been begun at: try again", code="charge_in_payment")
    key = payer_key(account.id, payer.payer_id)
    screened = screening.screen(tx, charge, account, Visitor(payer.scene, payer.ip, payer.device, key))
    if screened.stopped_by is not None:
        return charge, screened
    attempt = record(
        tx,
        charge,
        account,
        scene=payer.scene,
        payer_key=key,
        address_key=screening.address_key(charge.merchant_id, payer.ip),
        device_key=screened.device_key,
        expires_at=charge.expires_at,
    )
    if attempt is None:
        raise RuntimeError(f"a new attempt of {charge_id} has a number that is taken")
    return charge, attempt


# How many rules judge it comes with the charge, so that who has none waits for no statement more.
_LOCK: sa.Select[Any] = (
    sa.select(*_charges.c, count_of(_charges.c.merchant_id, _charges.c.livemode).label("live_rules"))
    .where(_charges.c.merchant_id == sa.bindparam("merchant_id"), _charges.c.id == sa.bindparam("charge_id"))
    .with_for_update()
)


def lock_payable(
    tx: Connection, charge_id: str, account: OpenAccount
) -> tuple[sa.Row[Any], list[sa.Row[Any]]]:
    """A charge that can be paid, locked, with ``live_rules``, and its attempts that are open.  A step.

    Raises NotFound, Conflict or PaymentStopped (a rule holds it until somebody has looked at it).
    """
    charge = tx.execute(_LOCK, {"merchant_id": account.merchant_id, "charge_id": charge_id}).first()
    if charge is None or charge.livemode != account.livemode or not account.enabled:
        raise NotFound("this merchant has no such charge or account")
    if charge.state != ChargeState.PENDING or charge.expires_at <= moment(tx):
        raise Conflict("this charge can no longer be paid", code="charge_not_payable")
    if charge.review not in (None, Review.RELEASED):
        raise screening.stop(Action.REVIEW)
    tries = list(tx.execute(_LIVE, {"merchant_id": charge.merchant_id, "charge_id": charge_id}))
    if any(each.state == AttemptState.MISMATCHED for each in tries):
        raise Conflict("this charge has received money of another amount", code="charge_in_review")
    return charge, tries


def record(
    tx: Connection,
    charge: sa.Row[Any],
    account: OpenAccount,
    *,
    scene: str,
    expires_at: datetime,
    **more: Any,
) -> sa.Row[Any] | None:
    """A new attempt of a locked charge, and the job that asks about it.  A step.

    None if a unique key of ``more`` is taken.  Raises Conflict after too many, or where the account's
    credentials have changed since it was opened.
    """
    key = {"merchant_id": charge.merchant_id, "charge_id": charge.id}
    if tx.execute(_COUNT, key).scalar_one() >= ATTEMPTS_MAX:
        raise Conflict("this charge was tried too often", code="too_many_attempts")
    attempt_id, now = new_id("at"), moment(tx)
    attempt = tx.execute(
        insert_or_skip(tx, _attempts, *_attempts.c),
        {
            **key,
            "id": attempt_id,
            "account_id": account.id,
            "routing_rule_id": account.rule_id,
            "provider": account.provider.info.code,
            "scene": scene,
            "out_trade_no": attempt_id.partition("_")[2].upper(),
            "state": AttemptState.STARTED,
            "settles": False,
            "amount_minor": charge.amount_minor,
            "currency": charge.currency,
            "refunded_minor": 0,
            "started_at": now,
            "expires_at": expires_at,
            **more,
        },
    ).first()
    if attempt is not None:
        # Begun under another application or merchant number, it would never be found: see rekeying.py.
        accounts.require_unchanged(tx, account)
        queue.put(tx, Kind.QUERY, charge.merchant_id, attempt_id, now + FIRST_QUERY_AFTER)
    return attempt


def _begin(
    charge: sa.Row[Any], attempt: sa.Row[Any], account: OpenAccount, payer: Payer, now: datetime
) -> Started:
    """What the payer must do, as it is stored, or as the provider says now."""
    if _has_step(attempt, now):
        return _started(attempt)
    try:
        step = account.provider.start(_order(charge, attempt, account, payer, now))
    except ProviderUnreachable as silence:
        outcomes.note_refusal(account, silence)
        raise
    except ProviderRejected as refusal:
        outcomes.note_refusal(account, refusal)
        if attempt.next_step is not None:  # an order once opened, and not to be had again: is it over?
            with suppress(ProviderUnreachable):
                retire(attempt)
            raise
        with transaction() as tx:
            _fail(tx, attempt, refusal)
        raise
    if isinstance(step, ShowQR | CallBridge):  # the others may be signed here, without a call
        outcomes.note_success(account)
    with transaction() as tx:
        return _started(_keep_step(tx, attempt, step))


def _started(attempt: sa.Row[Any]) -> Started:
    until = min(attempt.step_expires_at or attempt.expires_at, attempt.expires_at)
    return Started(
        attempt.id,
        read_step(attempt.next_step),
        until,
        attempt.payer_key is not None,
        attempt.device_key is not None,
    )


def _fail(tx: Connection, attempt: sa.Row[Any], refusal: ProviderRejected) -> None:
    """STARTED -> FAILED, unless the provider has let somebody in under the same number meanwhile.

    Two who press at once share an attempt.  If one of the two calls is refused, the other's answer holds:
    it can be paid, so the worker must go on asking.
    """
    stored = (
        sa.select(_attempts.c.next_step)
        .where(_attempts.c.merchant_id == attempt.merchant_id, _attempts.c.id == attempt.id)
        .with_for_update()
    )
    if tx.execute(stored).scalar_one() is not None:
        return
    move(
        tx,
        _attempts,
        attempt.merchant_id,
        attempt.id,
        AttemptState.FAILED,
        failure_code=(refusal.provider_code or refusal.code)[:64],
        finished_at=clock.now(),
    )
    queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))


def _keep_step(tx: Connection, attempt: sa.Row[Any], step: NextStep) -> sa.Row[Any]:
    """Store what the payer must do.  Raises Conflict for an attempt that has ended meanwhile.

    Nobody asks about that one any more, so nobody may be shown how to pay it; nor after the deadline.
    """
    now = moment(tx)
    ends = None if step.good_for_s is None else now + timedelta(seconds=step.good_for_s)
    kept = tx.execute(
        sa.update(_attempts)
        .where(
            _attempts.c.merchant_id == attempt.merchant_id,
            _attempts.c.id == attempt.id,
            _attempts.c.state == AttemptState.STARTED,
            _attempts.c.expires_at > now,
            _IS_WANTED,
        )
        .values(next_step={"kind": type(step).__name__, **asdict(step)}, step_expires_at=ends)
        .returning(*_attempts.c)
    ).first()
    if kept is None:
        raise Conflict("this attempt has ended meanwhile: try again", code="attempt_ended")
    return kept


def _order(
    charge: sa.Row[Any], attempt: sa.Row[Any], account: OpenAccount, payer: Payer, now: datetime
) -> PaymentOrder:
    return PaymentOrder(
        ref=ref_of(attempt),
        amount=Money(charge.amount_minor, charge.currency),
        description=charge.description,
        scene=payer.scene,
        notify_url=f"{runtime().settings.origin}/callbacks/{account.id}",
        return_url=payer.return_url,
        expires_at=charge.expires_at,
        payer_id=payer.payer_id,
        payer_ip=payer.ip,
        asked_at=now,
    )


def _take_turn(attempt: sa.Row[Any]) -> bool:
    now = clock.now()
    with transaction() as tx:
        taken = tx.execute(
            sa.update(_attempts)
            .where(
                _attempts.c.merchant_id == attempt.merchant_id,
                _attempts.c.id == attempt.id,
                _attempts.c.state == AttemptState.STARTED,
                sa.or_(_attempts.c.asked_at.is_(None), _attempts.c.asked_at <= now - ASK_EVERY),
            )
            .values(asked_at=now)
        )
    return taken.rowcount == 1
