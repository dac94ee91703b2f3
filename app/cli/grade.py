"""``flask webhooks grade``: plays every trick that the network and strangers play on a webhook receiver.

What a receiver does inside cannot be seen from here: it is judged by its answers, and for the rest told
what to look at.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from app import clock, runtime
from app.addresses import NEARBY, Guard
from app.cli import output
from app.cli.listen import stable_secret
from app.http import POST_TIMEOUT_S, Post, Sender, Sent
from app.ids import new_id
from app.webhooks.signature import headers_for, new_secret, sign

STALE_S = 600  # the tolerance of Standard Webhooks is five minutes either way
BIG_CHARS = 60_000  # a charge with all the metadata there is room for
CROWD = 20
PROMPT_MS = 3000  # who takes longer works before answering, and will be too slow one day

webhooks_group = AppGroup("webhooks", help="Your own webhook receiver, tried out.")


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery in the making.  ``signed`` is what was signed, if not what is sent."""

    id: str
    timestamp: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Hand:
    """Who signs, and when."""

    secret: str
    now: int

    def message(self, type_: str = "charge.paid", sequence: int = 2, **more: Any) -> Message:
        """A genuine delivery about a charge that nobody knows."""
        event_id = new_id("evt")
        return self.signed(event_id, _body(event_id, type_, sequence, **more))

    def signed(self, id_: str, body: bytes) -> Message:
        """These bytes with the headers that go with them."""
        return Message(id_, self.now, body, headers_for([self.secret], id_, self.now, body))


@dataclass(frozen=True, slots=True)
class Check:
    """One trick: the deliveries in order, whether they must be taken or refused, and what to mend if not."""

    name: str
    make: Callable[[Hand], Sequence[Message]]
    takes: bool
    advice: str
    at_once: bool = False
    pace_bytes_s: int = 0


@dataclass(frozen=True, slots=True)
class Grade:
    """How a check went; ``why`` is empty if it passed."""

    check: Check
    answers: tuple[str, ...]
    why: str

    @property
    def passed(self) -> bool:
        return not self.why


def _body(event_id: str, type_: str, sequence: int, **more: Any) -> bytes:
    at = clock.to_rfc3339(clock.now())
    charge = {
        "id": new_id("ch"),
        "object": "charge",
        "livemode": False,
        "status": "paid",
        "amount": 1250,
        "amount_refunded": 0,
        "currency": "cny",
        "description": "一杯拿铁 ☕",
        "merchant_order_no": None,
        "metadata": {},
        **more,
    }
    event = {
        "id": event_id,
        "object": "event",
        "type": type_,
        "created_at": at,
        "timestamp": at,
        "livemode": False,
        "sequence": sequence,
        "data": {"object": charge},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _genuine(hand: Hand) -> list[Message]:
    return [hand.message()]


def _ping(hand: Hand) -> list[Message]:
    return [hand.message("endpoint.ping", 1)]


def _unknown_type(hand: Hand) -> list[Message]:
    return [hand.message("charge.turned_blue")]


def _unknown_fields(hand: Hand) -> list[Message]:
    return [hand.message(surprise={"deep": [1, None, {"a": "b"}]}, status="paid")]


def _duplicate(hand: Hand) -> list[Message]:
    first = hand.message()
    return [first, first, Hand(hand.secret, hand.now + 1).signed(first.id, first.body)]


def _reordered(hand: Hand) -> list[Message]:
    charge = {"id": new_id("ch")}
    later, earlier = hand.message("charge.paid", 2, **charge), hand.message("charge.created", 1, **charge)
    return [later, earlier]


def _spaced(hand: Hand) -> list[Message]:
    one = hand.message()
    pretty = json.dumps(json.loads(one.body), indent=2, ensure_ascii=False).encode()
    return [hand.signed(one.id, pretty)]


def _big(hand: Hand) -> list[Message]:
    metadata = {f"key_{number}": "汉" * 500 for number in range(20)}
    return [hand.message(metadata=metadata, description="长" * (BIG_CHARS // 6))]


def _slow(hand: Hand) -> list[Message]:
    return [hand.message(metadata={f"key_{number}": "x" * 3000 for number in range(20)})]


def _crowd(hand: Hand) -> list[Message]:
    return [hand.message() for _ in range(CROWD)]


def _rotated(hand: Hand) -> list[Message]:
    one = hand.message()
    both = sign([new_secret(), hand.secret], one.id, one.timestamp, one.body)
    return [Message(one.id, one.timestamp, one.body, {**one.headers, "webhook-signature": both})]


def _with(**headers: str | None) -> Callable[[Hand], list[Message]]:
    """A genuine delivery whose headers are changed, or left out where None."""

    def make(hand: Hand) -> list[Message]:
        one = hand.message()
        changed = {**one.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        left = {name: value for name, value in changed.items() if value is not None}
        return [Message(one.id, one.timestamp, one.body, left)]

    return make


def _other_key(hand: Hand) -> list[Message]:
    return [Hand(new_secret(), hand.now).message()]


def _tampered(hand: Hand) -> list[Message]:
    one = hand.message()
    return [Message(one.id, one.timestamp, one.body.replace(b'"amount":1250', b'"amount":9250'), one.headers)]


def _other_id(hand: Hand) -> list[Message]:
    one = hand.message()
    return [Message(one.id, one.timestamp, one.body, {**one.headers, "webhook-id": new_id("evt")})]


def _stale(hand: Hand) -> list[Message]:
    return [Hand(hand.secret, hand.now - STALE_S).message()]


def _early(hand: Hand) -> list[Message]:
    return [Hand(hand.secret, hand.now + STALE_S).message()]


def _made_fresh(hand: Hand) -> list[Message]:
    [old] = _stale(hand)
    return [Message(old.id, hand.now, old.body, {**old.headers, "webhook-timestamp": str(hand.now)})]


_IGNORE = "answer 2xx to what you do not know: a new event must not stop your webhooks"
_VERIFY = "verify the signature over webhook-id, webhook-timestamp and the raw body before anything else"
_TIME = "refuse a webhook-timestamp more than five minutes from now, or a recorded delivery works for ever"
CHECKS = (
    Check("a genuine delivery", _genuine, True, "check URL and secret; answer 2xx once the event is stored"),
    Check("a ping", _ping, True, "answer 2xx to endpoint.ping: it only asks whether you are there"),
    Check("an event type from the future", _unknown_type, True, _IGNORE),
    Check("fields from the future", _unknown_fields, True, _IGNORE),
    Check(
        "the same delivery three times",
        _duplicate,
        True,
        "answer 2xx to an event you have seen, and do nothing: remember webhook-id",
    ),
    Check(
        "news in the wrong order",
        _reordered,
        True,
        "answer 2xx to older news, and drop it if its sequence is lower than what you know",
    ),
    Check(
        "another layout of the JSON",
        _spaced,
        True,
        "verify the bytes as they came, before any JSON parser: do not write them anew",
    ),
    Check("a big delivery", _big, True, "accept bodies of 128 kB, and read until their end"),
    Check(
        "a slowly written delivery",
        _slow,
        True,
        "read until content-length, however long that takes",
        pace_bytes_s=20_000,
    ),
    Check(
        f"{CROWD} deliveries at once",
        _crowd,
        True,
        "answer before working: store the event, then let something else act on it",
        at_once=True,
    ),
    Check(
        "two signatures, the second one yours",
        _rotated,
        True,
        "any one signature that fits is enough: two come while a secret is changed",
    ),
    Check("no signature", _with(webhook_signature=None), False, _VERIFY),
    Check("an empty signature", _with(webhook_signature="v1,"), False, _VERIFY),
    Check("a signature of nonsense", _with(webhook_signature="v1,bm9uc2Vuc2U="), False, _VERIFY),
    Check("a signature of another scheme", _with(webhook_signature="v0,bm9uc2Vuc2U= none"), False, _VERIFY),
    Check("another key's signature", _other_key, False, _VERIFY),
    Check("an amount changed on the way", _tampered, False, _VERIFY),
    Check("another delivery's id", _other_id, False, "webhook-id is signed as well: put it into the check"),
    Check("no timestamp", _with(webhook_timestamp=None), False, _TIME),
    Check("a timestamp that is no number", _with(webhook_timestamp="now"), False, _TIME),
    Check("a delivery ten minutes old", _stale, False, _TIME),
    Check("a delivery from the future", _early, False, _TIME),
    Check("an old delivery under a new timestamp", _made_fresh, False, _TIME),
)


@webhooks_group.command("grade")
@click.argument("url")
@click.option(
    "--secret",
    envvar="MAFU_WEBHOOK_SECRET",
    default="",
    help="What your receiver verifies with: whsec_…; that of flask listen if left out.",
)
@click.option("--public", is_flag=True, help="URL may be on the public internet, if it is yours.")
@output.json_option
@with_appcontext
@output.told
def grade_command(url: str, secret: str, public: bool, as_json: bool) -> None:
    """Send good and bad deliveries to your own receiver at URL and say what it got wrong.

    The events are about charges that do not exist.  Only this machine and private networks are reached
    unless --public is said.  Exit codes: 0 all passed, 1 something is to be mended, 2 typed wrongly.
    """
    guard = Guard(NEARBY.allowed, https_only=False, ports=frozenset()) if public else NEARBY
    guard.check_url(url)
    secret = secret or stable_secret(runtime.settings().data)
    _refuse_bad_secret(secret)
    grades: list[Grade] = []
    for check in CHECKS:
        grades.append(grade(check, url, secret, guard))
        if not as_json:
            _say(grades[-1])
        if check is CHECKS[0] and not grades[0].passed:
            break  # nothing else would mean anything
    failed = [one for one in grades if not one.passed]
    if as_json:
        output.say_json({"passed": not failed, "checks": [_facts(one) for one in grades]})
    else:
        output.say(f"{len(grades) - len(failed)} of {len(CHECKS)} passed")
    sys.exit(1 if failed else 0)


def grade(check: Check, url: str, secret: str, guard: Guard) -> Grade:
    """Play one trick."""
    messages = check.make(Hand(secret, int(clock.now().timestamp())))
    sender = Sender(guard, slots=len(messages) if check.at_once else 1, pace_bytes_s=check.pace_bytes_s)
    try:
        groups = [messages] if check.at_once else [[message] for message in messages]
        sent = [one for group in groups for one in _send(sender, url, group)]
    finally:
        sender.close()
    why = next((fault for fault in (_fault(check, one) for one in sent) if fault), "")
    return Grade(check, tuple(dict.fromkeys(_answer(one) for one in sent)), why)


def _send(sender: Sender, url: str, messages: Sequence[Message]) -> list[Sent]:
    for place, message in enumerate(messages):
        sender.start(Post(str(place), url, message.headers, message.body, POST_TIMEOUT_S))
    sent: list[Sent] = []
    while len(sent) < len(messages):
        sent += sender.finished(0.1)
    return sent


def _fault(check: Check, sent: Sent) -> str:
    """What is wrong with one answer, "" if nothing is.  Pure."""
    if sent.status is None:
        return f"there was no answer ({sent.error})"
    if 300 <= sent.status < 400:
        return f"it answered {sent.status}, and redirects are not followed: name the final address"
    if check.takes:
        if not 200 <= sent.status < 300:
            return f"it answered {sent.status}"
        # A delivery that is written slowly takes as long as that.
        if sent.duration_ms > PROMPT_MS and not check.pace_bytes_s:
            return f"it took {sent.duration_ms / 1000:.1f} s to answer"
        return ""
    if 200 <= sent.status < 300:
        return f"it accepted this with {sent.status}"
    return "" if sent.status < 500 else f"it answered {sent.status}: refuse with 401, and do not fall over"


def _answer(sent: Sent) -> str:
    return str(sent.status) if sent.status is not None else str(sent.error)


def _say(one: Grade) -> None:
    mark = click.style("pass", fg="green") if one.passed else click.style("FAIL", fg="red", bold=True)
    output.say(f"{mark}  {one.check.name}  ({', '.join(one.answers)})")
    if not one.passed:
        output.say(f"      {one.why}")
        output.say(f"      {one.check.advice}")


def _facts(one: Grade) -> dict[str, Any]:
    return {
        "name": one.check.name,
        "passed": one.passed,
        "answers": list(one.answers),
        "why": one.why or None,
        "advice": None if one.passed else one.check.advice,
    }


def _refuse_bad_secret(secret: str) -> None:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key or not secret.startswith("whsec_"):
        raise click.UsageError("--secret is no whsec_… secret")
