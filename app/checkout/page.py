"""What a page of the checkout is made of: its shape, which many payments share, and its texts.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from app import clock
from app.checkout import steps
from app.checkout.steps import Face, Opened, Status, View
from app.money import Money
from app.providers.base import Info, Scene

# From this many characters on ("¥1,234.50" has nine) a price is set in smaller type, to stay on one line.
LONG_PRICE_CHARS = 10
_DAY = timedelta(days=1)
# Apps that are not called as the wallet in them.
_APPS = {"wechatpay": "WeChat"}


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request says of the shopper.  Nothing of it is trusted with money.

    ``chosen`` is the wallet this browser picked last; ``said_scene`` is a scene the shopper insists on;
    ``held`` are attempts that this browser began; ``how`` is a wallet they ask about, and ``refused`` one
    that could not be opened just now; ``stopped`` says that the shop did not accept a payment just now.
    """

    language: str
    scene: Scene
    said_scene: str
    chosen: str
    came_back: bool
    go: bool  # arrived from a form of ours, on the way to a wallet
    identified: bool = False  # comes from where a network learned who pays
    held: frozenset[str] = frozenset()
    how: str = ""
    refused: str = ""
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A wallet as a page shows it; ``label`` and ``app`` are English and yet to be translated."""

    code: str
    label: str
    app: str  # what to open on a phone to scan with it
    works: bool
    checked: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """All that decides which words and parts a page has, but for the payment's own texts."""

    language: str
    face: Face
    scene: Scene
    said_scene: str
    livemode: bool
    choices: tuple[Offer, ...]
    is_long: bool
    has_logo: bool
    draws: bool  # the payment link as a code
    elsewhere: bool
    polls: bool
    waits: bool  # something is awaited, so a page without a script must load itself again
    came_back: bool
    go: bool  # the page goes on by itself, where there is a script
    identified: bool
    how: Offer | None  # the wallet that the page explains
    refused: str  # the label of a wallet that could not be opened just now, yet to be translated
    stopped: bool  # the shop did not accept a payment just now

    def variables(self) -> dict[str, Any]:
        """For a template, by name."""
        return {name: getattr(self, name) for name in _SHAPE_NAMES}


_SHAPE_NAMES = tuple([field.name for field in fields(Shape)])
_WITH_A_FORM = (Face.PAY, Face.FAILED)
_GOING_ON = (*_WITH_A_FORM, Face.WAIT)
_POLLED = (Status.PENDING, Status.PROCESSING, Status.FAILED, Status.HELD)


def shape_of(opened: Opened, view: View, visit: Visit) -> Shape:
    """The shape of the page for this visit."""
    offers = _offers(opened, visit)
    labels = {offer.code: offer.label for offer in offers if offer.works}
    return Shape(
        language=visit.language,
        face=view.face,
        scene=visit.scene,
        said_scene=visit.said_scene,
        livemode=opened.livemode,
        choices=offers,
        is_long=len(Money(opened.amount_minor, opened.currency).text()) >= LONG_PRICE_CHARS,
        has_logo=opened.logo_version is not None,
        draws=view.face is Face.HELP or (visit.scene is Scene.DESKTOP and view.face in _WITH_A_FORM),
        elsewhere=view.elsewhere,
        polls=view.status in _POLLED or view.unsure,
        waits=bool(opened.open_tries) or view.face is Face.HELD,
        came_back=visit.came_back,
        go=(visit.go and view.face is Face.WAIT) or (visit.identified and view.face in _GOING_ON),
        identified=visit.identified,
        how=next((offer for offer in offers if view.how and offer.code == view.how.code), None),
        refused=labels.get(visit.refused, "") if view.face is Face.PAY else "",
        stopped=visit.stopped and view.face in _WITH_A_FORM,
    )


def texts_of(opened: Opened, token: str, link: str, now: datetime) -> dict[str, object]:
    """The payment's own texts, by the names that the templates use."""
    near = opened.expires_at - now < _DAY
    return {
        "token": token,
        "link": link,
        "shop": opened.merchant_name,
        "initial": opened.merchant_name[:1],
        "amount": Money(opened.amount_minor, opened.currency).text(),
        "currency": opened.currency,
        "description": opened.description,
        "expires": clock.to_rfc3339(opened.expires_at),
        "pay_by": clock.to_beijing(opened.expires_at, "%H:%M" if near else "%Y-%m-%d %H:%M"),
        "version": steps.version_of(opened, now),
        "left_s": steps.seconds_left(opened, now),
        "total_s": int((opened.expires_at - opened.created_at).total_seconds()),
    }


def app_of(info: Info) -> str:
    """The app to open for a wallet, in English.  ``WeChat Pay`` is in ``WeChat``."""
    return _APPS.get(info.code, info.label)


def receipt_of(opened: Opened) -> dict[str, str]:
    """What only a paid charge has to tell; empty texts for what it has not."""
    refunded = Money(opened.refunded_minor, opened.currency).text() if opened.refunded_minor else ""
    paid_at = opened.paid_at
    paid_minor = opened.amount_minor if opened.paid_minor is None else opened.paid_minor
    return {
        "paid": Money(paid_minor, opened.currency).text(),
        "asked": Money(opened.amount_minor, opened.currency).text()
        if paid_minor < opened.amount_minor
        else "",
        "paid_at": clock.to_rfc3339(paid_at) if paid_at else "",
        "paid_at_beijing": clock.to_beijing(paid_at) if paid_at else "",
        "refunded": refunded,
    }


def _offers(opened: Opened, visit: Visit) -> tuple[Offer, ...]:
    choices = steps.choices_of(opened, visit.scene)
    codes = [choice.info.code for choice in choices if choice.works]
    first = visit.chosen if visit.chosen in codes else next(iter(codes), "")
    return tuple(
        [
            Offer(
                choice.info.code,
                choice.info.label,
                app_of(choice.info),
                choice.works,
                choice.info.code == first,
            )
            for choice in choices
        ]
    )
