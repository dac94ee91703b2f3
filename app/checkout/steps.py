"""Where a shopper stands, and what the page may offer next.  Pure.

The truth is the charge's state and the attempts' states, both moved by ``settle`` alone.  Coming back
from a wallet proves nothing: it only changes the words in which we ask for patience.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.charges.states import AttemptState, ChargeState, Review
from app.providers import REGISTRY
from app.providers.base import Info, NextStep, Scene, ShowQR


class Status(StrEnum):
    """How a payment stands, whoever looks.  The status poll says these words."""

    PENDING = "pending"
    PROCESSING = "processing"  # an attempt is open: money may be on its way
    PAID = "paid"
    FAILED = "failed"  # the last attempt came to nothing; another may be made
    EXPIRED = "expired"
    CANCELED = "canceled"
    REVIEW = "review"  # money came, but not this amount: a person decides
    HELD = "held"  # by a rule of the shop's: a person must say that it may be paid


class Face(StrEnum):
    """Which page a shopper sees."""

    PAY = "pay"
    HELP = "help"  # what to do about a wallet that cannot be opened here
    SCAN = "scan"  # a wallet's own code, on a desktop
    WAIT = "wait"
    FAILED = "failed"
    PAID = "paid"
    EXPIRED = "expired"
    CANCELED = "canceled"
    REVIEW = "review"
    HELD = "held"


ENDED = frozenset({Status.PAID, Status.CANCELED, Status.EXPIRED, Status.REVIEW})
_GAVE_UP = (AttemptState.FAILED, AttemptState.CLOSED)


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt, as far as a page needs it."""

    id: str
    provider: str
    scene: str
    state: str
    asked_at: datetime | None = None
    step_expires_at: datetime | None = None
    payer_key: str | None = None  # a digest, where only that payer can do what ``step`` says
    step: NextStep | None = None  # None: the provider has not said yet what the payer must do

    @property
    def is_open(self) -> bool:
        """Whether it may still be paid."""
        return self.state == AttemptState.STARTED

    def is_stale(self, now: datetime) -> bool:
        """Whether what the payer was told to do works no longer: it must be asked for again."""
        return self.step_expires_at is not None and self.step_expires_at <= now

    def way(self, now: datetime) -> NextStep | None:
        """What the payer must do, if that is known and works."""
        return None if self.is_stale(now) else self.step

    def is_of(self, held: frozenset[str]) -> bool:
        """Whether a browser that began the attempts ``held`` may be shown this one as its own."""
        return self.payer_key is None or self.id in held


@dataclass(frozen=True, slots=True)
class Opened:
    """What a payment link opens: the charge, who asks, which wallets they take, what was tried.

    ``tries`` run from the newest to the oldest.
    """

    charge_id: str
    merchant_id: str
    merchant_name: str
    merchant_language: str
    livemode: bool
    state: str
    amount_minor: int
    currency: str
    description: str
    merchant_order_no: str | None
    return_url: str | None
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    paid_minor: int | None  # less than asked if the shop has accepted less
    refunded_minor: int
    provider: str | None
    review: str | None  # what became of it, if a rule has held it
    accent: str | None  # the merchant's colour and logo, if it has chosen any
    logo_version: str | None
    providers: frozenset[str]
    tries: tuple[Try, ...]

    @property
    def is_held(self) -> bool:
        """Whether a person of the shop must look at it before it can be paid."""
        return self.review not in (None, Review.RELEASED)

    @property
    def open_tries(self) -> tuple[Try, ...]:
        """Newest first."""
        return tuple([each for each in self.tries if each.is_open])


@dataclass(frozen=True, slots=True)
class Choice:
    """A wallet that can be offered here, or that the shop takes but this place cannot open."""

    info: Info
    works: bool


@dataclass(frozen=True, slots=True)
class View:
    """What one shopper's page says.

    ``attempt`` is the one the page speaks of, and ``step`` how to go on with it, if this shopper can;
    ``stale`` that they could, some time ago.  ``unsure`` means that money may be on its way although the
    time is up or the charge withdrawn; ``elsewhere`` that somebody is paying on another device.
    """

    face: Face
    status: Status
    attempt: Try | None = None
    step: NextStep | None = None
    stale: bool = False
    how: Info | None = None  # the wallet that a page of help is about
    unsure: bool = False
    elsewhere: bool = False


def status_of(opened: Opened, now: datetime) -> Status:
    """The charge in one word.

    Past the deadline a charge without an open attempt has expired, even before the sweep says so:
    nobody can start one any more.
    """
    tries = opened.tries
    if opened.state in (ChargeState.PAID, ChargeState.CANCELED):
        return Status(opened.state)
    if any(each.state == AttemptState.MISMATCHED for each in tries):
        return Status.REVIEW
    if opened.state == ChargeState.EXPIRED:
        return Status.EXPIRED
    if any(each.is_open for each in tries):
        return Status.PROCESSING
    if opened.expires_at <= now:
        return Status.EXPIRED
    if opened.is_held:
        return Status.HELD
    return Status.FAILED if tries and tries[0].state in _GAVE_UP else Status.PENDING


def view_of(
    opened: Opened,
    scene: Scene,
    now: datetime,
    *,
    chosen: str = "",
    held: frozenset[str] = frozenset(),
    came_back: bool = False,
    how: str = "",
) -> View:
    """Which page to show to a shopper in ``scene``.

    ``chosen`` is the wallet that this browser picked last, for whatever charge ("" if none); ``held`` the
    attempts it began that nobody else can pay; ``came_back`` says that a wallet sent them here, which is
    evidence of nothing; ``how`` is the wallet they ask about.
    """
    status = status_of(opened, now)
    in_flight = opened.open_tries
    if status in ENDED:
        return View(Face(status), status, unsure=bool(in_flight))
    if opened.expires_at <= now:
        return View(Face.WAIT, status, in_flight[0], unsure=True)
    mine = _mine(opened.tries, scene, chosen, held)
    is_going = mine is not None and mine.is_open
    if came_back and in_flight:
        return _going_on(status, mine, now) if mine and is_going else View(Face.WAIT, status, in_flight[0])
    elsewhere = bool(in_flight) and not is_going
    if opened.is_held and not is_going:
        return View(Face.HELD, status)
    if wallet := _to_explain(choices_of(opened, scene), how):
        return View(Face.HELP, status, how=wallet, elsewhere=elsewhere)
    if mine and is_going:
        return _going_on(status, mine, now, scans=isinstance(mine.way(now), ShowQR))
    if mine is not None and mine.state in _GAVE_UP:
        return View(Face.FAILED, status, mine, elsewhere=elsewhere)
    return View(Face.PAY, status, elsewhere=elsewhere)


def choices_of(opened: Opened, scene: Scene) -> list[Choice]:
    """The wallets that the shop takes in this currency, in our order; those that work here first."""
    infos = [adapter.info for code, adapter in REGISTRY.items() if code in opened.providers]
    choices = [Choice(info, scene in info.scenes) for info in infos if opened.currency in info.currencies]
    return sorted(choices, key=lambda choice: not choice.works)


def version_of(opened: Opened, now: datetime) -> str:
    """A word that changes with everything a page shows of the payment: ``"paid-1f0c5a9e"``.

    A page that holds another version is out of date and loads itself again.
    """
    facts = [opened.state, str(opened.refunded_minor), str(opened.expires_at <= now), str(opened.review)]
    facts += [f"{each.id} {each.state} {each.way(now) is None}" for each in opened.tries]
    return f"{status_of(opened, now)}-{zlib.crc32(' '.join(facts).encode()):08x}"


def seconds_left(opened: Opened, now: datetime) -> int:
    """Whole seconds until the deadline, 0 after it."""
    return max(0, int((opened.expires_at - now).total_seconds()))


def is_due(opened: Opened, now: datetime, every: timedelta) -> bool:
    """Whether some open attempt has not been asked about for ``every``."""
    return any(each.asked_at is None or each.asked_at <= now - every for each in opened.open_tries)


def _going_on(status: Status, mine: Try, now: datetime, *, scans: bool = False) -> View:
    """The page of an open attempt that this shopper can go on with."""
    face = Face.SCAN if scans else Face.WAIT
    return View(face, status, mine, step=mine.way(now), stale=mine.is_stale(now))


def _to_explain(choices: Sequence[Choice], how: str) -> Info | None:
    """The wallet to explain: the one asked about, or the only one there is, if it cannot be opened here."""
    blocked = [choice.info for choice in choices if not choice.works]
    if len(blocked) == len(choices) == 1:
        return blocked[0]
    return next((info for info in blocked if info.code == how), None)


def _mine(tries: Sequence[Try], scene: Scene, chosen: str, held: frozenset[str]) -> Try | None:
    """The attempt this shopper is at: of this scene; of the chosen wallet, if they have tried it.

    What another payer began here is not theirs: they cannot pay it, and must not be told to.
    """
    here = [each for each in tries if each.scene == scene and each.is_of(held)]
    if of_choice := [each for each in here if each.provider == chosen]:
        # An older attempt is taken up again while it is open, so the newest need not be the one.
        return next((each for each in of_choice if each.is_open), of_choice[0])
    return here[0] if here else None
