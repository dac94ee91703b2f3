"""``Mafu``: the API as Python, one method an operation.

What may be sent twice by accident is sent under one key: a POST has an Idempotency-Key from its first try
to its last, so a broken line never makes a second charge or refund.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from mafu.errors import BY_STATUS, ApiError, ServerError, Unreachable
from mafu.objects import (
    BatchLine,
    BonusRule,
    Charge,
    Debit,
    Event,
    Json,
    Member,
    Movement,
    Refund,
    Topup,
    WebhookEndpoint,
)

VERSION = "0.1.0"
TIMEOUT_S = 20.0
TRIES = 4
WAIT_MAX_S = 30.0
PAGE = 100
_AGAIN = frozenset({429, 500, 502, 503, 504})
_UNDER_WAY = "request_under_way"  # a 409: our first try still goes on over there
_NOT_OURS = "the answer is not one of Mafu's: check base_url"

T = TypeVar("T", Charge, Refund, Event, WebhookEndpoint, Member, Movement, Topup, Debit)


class Mafu:
    """The API at ``base_url``, with a secret key of yours.  May be shared among threads."""

    def __init__(
        self,
        key: str,
        base_url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = TIMEOUT_S,
        tries: int = TRIES,
    ) -> None:
        line = _Line(key, base_url.rstrip("/") + "/v1", timeout_s, tries)
        self.charges = Charges(line)
        self.refunds = Refunds(line)
        self.members = Members(line)
        self.topups = Topups(line)
        self.bonus_rules = BonusRules(line)
        self.events = Events(line)
        self.webhook_endpoints = WebhookEndpoints(line)
        self.test_helpers = TestHelpers(line)

    def __repr__(self) -> str:
        return "Mafu(…)"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, as the API gives it."""

    data: tuple[T, ...]
    has_more: bool


class Charges:
    """``/v1/charges``."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def create(  # noqa: PLR0913 - the API's own fields, by name
        self,
        *,
        amount: int,
        currency: str,
        description: str,
        merchant_order_no: str | None = None,
        store: str | None = None,
        metadata: Mapping[str, str] | None = None,
        return_url: str | None = None,
        expires_in_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Charge:
        """Ask for an amount in minor units.  The same order number again answers the same charge."""
        body = {
            "amount": amount,
            "currency": currency,
            "description": description,
            "merchant_order_no": merchant_order_no,
            "store": store,
            "metadata": metadata,
            "return_url": return_url,
            "expires_in_s": expires_in_s,
        }
        return Charge.read(self._line.post("/charges", body, idempotency_key))

    def create_from_csv(self, file: bytes) -> tuple[BatchLine, ...]:
        """Up to 1,000 lines, each with an order number; a file sent again makes nothing twice."""
        body = self._line.send("POST", "/charges/batch", file, None, content_type="text/csv")
        return tuple(BatchLine.read(one) for one in _parsed(body)["data"])

    def get(self, charge_id: str) -> Charge:
        """The charge as it stands."""
        return Charge.read(self._line.get(f"/charges/{_part(charge_id)}"))

    def list(
        self,
        *,
        status: str | None = None,
        merchant_order_no: str | None = None,
        store: str | None = None,
        created_from: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Charge]:
        """All of them, newest first; pages are fetched as they are needed."""
        query = {
            "status": status,
            "merchant_order_no": merchant_order_no,
            "store": store,
            "created_from": _stamp(created_from),
            "created_before": _stamp(created_before),
        }
        return self._line.walk("/charges", query, Charge.read)

    def cancel(self, charge_id: str) -> Charge:
        """It can no longer be paid; canceling twice is harmless.  Raises Conflict if it is paid."""
        return Charge.read(self._line.post(f"/charges/{_part(charge_id)}/cancel", is_harmless=True))

    def pay_code(self, charge_id: str, code: str, *, device_id: str | None = None) -> Charge:
        """Charge the payment code that a till has scanned; ``pending`` while the shopper is asked.

        The same code again is the same payment.  Raises Rejected for the wallet's no.
        """
        body = {"code": code} if device_id is None else {"code": code, "device_id": device_id}
        return Charge.read(self._line.post(f"/charges/{_part(charge_id)}/pay_code", body, is_harmless=True))

    def app_params(self, charge_id: str, provider: str) -> Mapping[str, str]:
        """What a wallet's mobile SDK takes, to be handed on unchanged: alipay, wechatpay or unionpay."""
        body = {"provider": provider}
        answer = self._line.post(f"/charges/{_part(charge_id)}/app_params", body, is_harmless=True)
        params: Mapping[str, str] = answer["params"]
        return params

    def qr_svg(self, charge_id: str) -> bytes:
        """The QR code as a drawing."""
        return self._line.fetch(f"/charges/{_part(charge_id)}/qr.svg")

    def qr_png(self, charge_id: str, *, size: int = 600) -> bytes:
        """The QR code as a picture of so many pixels a side."""
        return self._line.fetch(f"/charges/{_part(charge_id)}/qr.png?size={size}")


class Refunds:
    """``/v1/refunds``."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def create(
        self,
        charge: str,
        *,
        amount: int | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Refund:
        """Give back a part in minor units, or all that is left; ``pending`` until the wallet says so."""
        body = {"charge": charge, "amount": amount, "reason": reason, "metadata": metadata}
        return Refund.read(self._line.post("/refunds", body, idempotency_key))

    def get(self, refund_id: str) -> Refund:
        """The refund as it stands."""
        return Refund.read(self._line.get(f"/refunds/{_part(refund_id)}"))

    def list(self, *, charge: str | None = None, status: str | None = None) -> Iterator[Refund]:
        """All of them, or those of one charge, newest first."""
        return self._line.walk("/refunds", {"charge": charge, "status": status}, Refund.read)


class Members:
    """``/v1/members``: a member is named by its id, or by the account that you gave."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def put(
        self,
        account: str,
        *,
        name: str | None = None,
        phone: str | None = None,
        currency: str | None = None,
        idempotency_key: str | None = None,
    ) -> Member:
        """Add a member, or bring one up to date: the same account is the same member."""
        body = {"account": account, "name": name, "phone": phone, "currency": currency}
        return Member.read(self._line.post("/members", body, idempotency_key))

    def get(self, member: str) -> Member:
        """The member, with what they have now."""
        return Member.read(self._line.get(f"/members/{_part(member)}"))

    def movements(self, member: str) -> Iterator[Movement]:
        """The member's statement, newest first."""
        return self._line.walk(f"/members/{_part(member)}/movements", {}, Movement.read)

    def debit(self, member: str, debit_no: str, amount: int, *, description: str | None = None) -> Debit:
        """Spend from the balance, once for each ``debit_no``.

        Raises Conflict: ``member_balance_too_low``, or the number has other content.
        """
        body = {"debit_no": debit_no, "amount": amount, "description": description}
        return Debit.read(self._line.post(f"/members/{_part(member)}/debits", body))

    def reverse(
        self,
        member: str,
        debit_id: str,
        *,
        amount: int | None = None,
        idempotency_key: str | None = None,
    ) -> Debit:
        """Give back a debit, all of it or a part, once."""
        path = f"/members/{_part(member)}/debits/{_part(debit_id)}/reverse"
        return Debit.read(self._line.post(path, {"amount": amount}, idempotency_key))

    def adjust(
        self,
        member: str,
        reason: str,
        *,
        amount: int = 0,
        bonus: int = 0,
        idempotency_key: str | None = None,
    ) -> Movement:
        """Give by hand, or below 0: take.  Raises Conflict: ``member_balance_too_low``."""
        body = {"amount": amount, "bonus": bonus, "reason": reason}
        path = f"/members/{_part(member)}/adjustments"
        return Movement.read(self._line.post(path, body, idempotency_key))


class Topups:
    """``/v1/topups``."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def create(  # noqa: PLR0913 - the API's own fields, by name
        self,
        *,
        member: str,
        amount: int,
        method: str | None = None,
        description: str | None = None,
        merchant_order_no: str | None = None,
        store: str | None = None,
        metadata: Mapping[str, str] | None = None,
        return_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Topup:
        """Begin a top-up.  With a ``method`` in your own app, for its SDK; without one on a page.

        After Unreachable or ServerError send the same order number again: it goes on with the same top-up.
        """
        body = {
            "member": member,
            "amount": amount,
            "scene": "app" if method else "page",
            "method": method,
            "description": description,
            "merchant_order_no": merchant_order_no,
            "store": store,
            "metadata": metadata,
            "return_url": return_url,
        }
        return Topup.read(self._line.post("/topups", body, idempotency_key))

    def get(self, topup_id: str) -> Topup:
        """The top-up as the books have it."""
        return Topup.read(self._line.get(f"/topups/{_part(topup_id)}"))

    def ask(self, topup_id: str) -> Topup:
        """The same, after the wallet was asked: for when your app comes back from it."""
        return Topup.read(self._line.post(f"/topups/{_part(topup_id)}/ask", is_harmless=True))

    def list(self, *, member: str | None = None, merchant_order_no: str | None = None) -> Iterator[Topup]:
        """All of them, or a member's, newest first."""
        query = {"member": member, "merchant_order_no": merchant_order_no}
        return self._line.walk("/topups", query, Topup.read)


class BonusRules:
    """``/v1/bonus_rules``: what comes on top of a top-up."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def create(self, tiers: Mapping[int, int], *, idempotency_key: str | None = None) -> BonusRule:
        """From now on: amount -> bonus, in fen.  It stands in place of the rule before."""
        body = {"tiers": [{"amount": amount, "bonus": bonus} for amount, bonus in sorted(tiers.items())]}
        return BonusRule.read(self._line.post("/bonus_rules", body, idempotency_key))

    def list(self) -> tuple[BonusRule, ...]:
        """Latest first."""
        return tuple(BonusRule.read(one) for one in self._line.get("/bonus_rules")["data"])


class Events:
    """``/v1/events``."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def get(self, event_id: str) -> Event:
        """One event."""
        return Event.read(self._line.get(f"/events/{_part(event_id)}"))

    def list(self, *, type: str | None = None, object_id: str | None = None) -> Iterator[Event]:  # noqa: A002
        """All of them, newest first."""
        return self._line.walk("/events", {"type": type, "object_id": object_id}, Event.read)

    def after(self, event_id: str | None = None) -> Iterator[Event]:
        """Everything that was committed after an event, oldest first: how to catch up after an outage.

        From the oldest that is kept without one.  Give it the last id that you have handled.  Raises
        NotFound if that event is not kept any more.
        """
        has_more, last = True, event_id or "start"
        while has_more:
            page = self._line.page("/events", {"after": last}, Event.read)
            for event in page.data:
                yield event
                last = event.id
            has_more = page.has_more

    def follow(self, event_id: str | None = None, *, every_s: float = 1.0) -> Iterator[Event]:
        """The same, and on and on: each event once, in order, without a gap.  Never ends by itself."""
        while True:
            for event in self.after(event_id):
                yield event
                event_id = event.id
            time.sleep(every_s)


class WebhookEndpoints:
    """``/v1/webhook_endpoints``."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def create(
        self,
        url: str,
        *,
        event_types: tuple[str, ...] = ("*",),
        description: str = "",
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Send events to this address.  Keep ``secret``: it is in this answer alone."""
        body = {"url": url, "event_types": list(event_types), "description": description}
        return WebhookEndpoint.read(self._line.post("/webhook_endpoints", body, idempotency_key))

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint, without its secret."""
        return WebhookEndpoint.read(self._line.get(f"/webhook_endpoints/{_part(endpoint_id)}"))

    def list(self) -> tuple[WebhookEndpoint, ...]:
        """All of them: there are at most twenty."""
        return tuple(WebhookEndpoint.read(one) for one in self._line.get("/webhook_endpoints")["data"])

    def delete(self, endpoint_id: str) -> None:
        """Send nothing there any more."""
        self._line.delete(f"/webhook_endpoints/{_part(endpoint_id)}")


class TestHelpers:
    """``/v1/test_helpers``: in test mode, your tests play the shopper, and need not wait."""

    __test__ = False  # nothing for pytest to collect

    def __init__(self, line: _Line) -> None:
        self._line = line

    def begin(self, charge_id: str, *, provider: str | None = None) -> Charge:
        """The shopper chooses a wallet, scans its code, and does nothing more."""
        return self._act(charge_id, "begin", {"provider": provider})

    def pay(self, charge_id: str, *, provider: str | None = None, amount: int | None = None) -> Charge:
        """The shopper approves; another sum than was asked if ``amount`` says so."""
        return self._act(charge_id, "pay", {"provider": provider, "amount": amount})

    def decline(self, charge_id: str, *, provider: str | None = None) -> Charge:
        """The wallet refuses."""
        return self._act(charge_id, "decline", {"provider": provider})

    def expire(self, charge_id: str) -> Charge:
        """The charge's time ends now."""
        return self._act(charge_id, "expire", None)

    def pull_lever(
        self,
        charge_id: str,
        name: str,
        *,
        value: str | None = None,
        times: int | None = None,
        provider: str | None = None,
    ) -> None:
        """Bend what happens next to this payment: a lever of the sandbox."""
        body = {"name": name, "value": value, "times": times, "provider": provider}
        self._line.post(f"/test_helpers/charges/{_part(charge_id)}/levers", body, is_harmless=True)

    def _act(self, charge_id: str, verb: str, body: Mapping[str, Any] | None) -> Charge:
        path = f"/test_helpers/charges/{_part(charge_id)}/{verb}"
        return Charge.read(self._line.post(path, body, is_harmless=True))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key must not follow a redirect to somebody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Line:
    """Requests, and patience."""

    key: str = field(repr=False)
    base: str
    timeout_s: float
    tries: int
    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(_NoRedirects), repr=False
    )

    def get(self, path: str) -> Json:
        return self._json("GET", path)

    def delete(self, path: str) -> Json:
        return self._json("DELETE", path)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        *,
        is_harmless: bool = False,
    ) -> Json:
        """``is_harmless`` twice: then it needs no Idempotency-Key."""
        given = None if body is None else {name: value for name, value in body.items() if value is not None}
        key = None if is_harmless else idempotency_key or str(uuid.uuid4())
        return self._json("POST", path, given, key)

    def fetch(self, path: str) -> bytes:
        return self.send("GET", path, None, None)

    def page(self, path: str, query: Mapping[str, str | None], read: Callable[[Json], T]) -> Page[T]:
        given = {name: value for name, value in query.items() if value is not None} | {"limit": str(PAGE)}
        listed = _parsed(self.send("GET", f"{path}?{urlencode(given)}", None, None))
        return Page(tuple(read(one) for one in listed["data"]), listed["has_more"])

    def walk(self, path: str, query: Mapping[str, str | None], read: Callable[[Json], T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self.page(path, {**query, "starting_after": cursor}, read)
            yield from page.data
            if not page.has_more or not page.data:
                return
            cursor = page.data[-1].id

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Json:
        sent = None if body is None else json.dumps(body).encode()
        return _parsed(self.send(method, path, sent, key))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        key: str | None,
        *,
        content_type: str = "application/json",
    ) -> bytes:
        """The body of an answer, after as many tries as it takes.  Raises MafuError."""
        headers = {"Authorization": f"Bearer {self.key}", "User-Agent": f"mafu-python/{VERSION}"}
        if body is not None:
            headers["Content-Type"] = content_type
        if key is not None:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(self.base + path, body, headers, method=method)  # noqa: S310  # as configured
        for number in range(1, self.tries + 1):
            wait_s = min(WAIT_MAX_S, 0.5 * 2**number) * random.uniform(0.5, 1.0)
            try:
                with self.opener.open(request, timeout=self.timeout_s) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    problem = _problem(error)
                    asked_s = error.headers.get("Retry-After", "")
                again = error.code in _AGAIN or problem.code == _UNDER_WAY
                if not again or number == self.tries:
                    raise problem from None
                if asked_s.isascii() and asked_s.isdigit():
                    wait_s = min(WAIT_MAX_S, float(asked_s))
            except (OSError, http.client.HTTPException) as error:
                if number == self.tries:
                    raise Unreachable(f"{self.base}: {error}", key) from None
            time.sleep(wait_s)
        raise ValueError("tries must be at least 1")


def _problem(error: urllib.error.HTTPError) -> ApiError:
    kind = BY_STATUS.get(error.code, ServerError if error.code >= 500 else ApiError)
    try:
        said = json.loads(error.read())["error"]
        return kind(
            said["message"],
            status=error.code,
            type=said["type"],
            code=said["code"],
            param=said["param"],
            request_id=said["request_id"],
        )
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return kind(_NOT_OURS, status=error.code)


def _parsed(body: bytes) -> Json:
    try:
        found: Json = json.loads(body)
    except ValueError:
        raise ApiError(_NOT_OURS, status=200) from None
    return found


def _part(text: str) -> str:
    return quote(text, safe="")


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
