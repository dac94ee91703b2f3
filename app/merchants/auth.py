"""Who a request comes from: a bearer key on the API, a session cookie on the dashboard."""

from __future__ import annotations

import secrets
from typing import cast

from flask import Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app import versions
from app.errors import InvalidRequest, NotAuthenticated, PermissionDenied, TooManyRequests
from app.merchants import keys, roles, sessions
from app.merchants.actor import Actor
from app.merchants.devices import KNOWN_FOR
from app.merchants.keys import Caller
from app.merchants.scopes import BATCHES, ROUTES, Scope
from app.merchants.sessions import SESSION_LIFE, Browser, SignedIn
from app.rates import place_of
from app.runtime import runtime, settings

_COOKIE, _DEVICE = "mafu_session", "mafu_device"


def require_key() -> None:
    """Before each API request: ``caller()`` and ``version()`` are known afterwards.

    Raises NotAuthenticated, TooManyRequests, PermissionDenied (its scopes do not reach here) and
    InvalidRequest (a version that does not exist).
    """
    g.caller = _authenticated()
    _limit_rate(g.caller)
    require_scope(ROUTES.get(request.endpoint or ""))
    # Another version would read and write other fields: silence would be a wrong answer.
    g.version = request.headers.get("Mafu-Version", g.caller.version)
    if not versions.is_known(g.version):
        raise InvalidRequest(
            f"there is no such version; the newest is {versions.CURRENT}",
            code="unknown_version",
            param="Mafu-Version",
        )


def require_scope(scope: Scope | None) -> None:
    """Stop a caller whose key does not reach so far; None reaches nobody.  Raises PermissionDenied."""
    if scope is None:
        raise PermissionDenied("this address is open to no key", code="scope_missing")
    if scope not in caller().scopes:
        raise PermissionDenied(f"this key lacks the scope {scope}", code="scope_missing")


def version() -> str:
    """The version of the API that this request reads and writes."""
    return cast(str, g.version)


def _authenticated() -> Caller:
    """Whoever tries keys is slowed down by where they are.  Raises NotAuthenticated, TooManyRequests."""
    failures, place = runtime().rates.failures, place_of(request.remote_addr or "")
    if failures is None:
        return keys.authenticate(_presented_key())
    verdict = failures.look(place)
    if not verdict.allowed:
        raise TooManyRequests("too many calls without a valid key", retry_after_s=verdict.retry_after_s)
    try:
        return keys.authenticate(_presented_key())
    except NotAuthenticated:
        failures.take(place)
        raise


def _limit_rate(who: Caller) -> None:
    """Raises TooManyRequests."""
    rates = runtime().rates
    if request.endpoint in BATCHES:
        buckets = rates.batches
    else:
        buckets = rates.reads if request.method in ("GET", "HEAD") else rates.writes
    if buckets is None:
        return
    verdict = g.rate = buckets.take(who.key_id)
    if not verdict.allowed:
        raise TooManyRequests("this key calls too often: slow down", retry_after_s=verdict.retry_after_s)


def _presented_key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic" and request.authorization is not None:
        key = request.authorization.username or ""  # curl -u KEY: as Stripe's users do
    elif scheme.lower() != "bearer":
        raise NotAuthenticated("send your key as 'Authorization: Bearer mafu_sk_…'", code="missing_api_key")
    return key.strip()


def caller() -> Caller:
    """The API's caller."""
    return cast(Caller, g.caller)


def require_session() -> BaseResponse | None:
    """Before each dashboard request: ``me()`` is known afterwards, or the browser goes to sign in."""
    token = session_token()
    person = sessions.who_is(token)
    if person is None:
        back = request.full_path.rstrip("?") if request.method == "GET" else None
        is_half = token and sessions.half_of(token) is not None
        return redirect(url_for("door.ask_code" if is_half else "merchants.sign_in", next=back))
    sessions.note_seen(person, browser())
    recognise(person)
    return None


def require_permission() -> BaseResponse | None:
    """After that: whether this person may open this address.

    Where a role has no home, it is led to its own first page.  Raises PermissionDenied.
    """
    needed = roles.ROUTES.get(request.endpoint or "")
    if needed is not None and me().may(needed):
        return None
    if request.endpoint == "merchants.home":
        return redirect(url_for(roles.landing_of(me().role)))
    raise PermissionDenied("this role does not include that", code="role_insufficient")


def recognise(person: SignedIn) -> None:
    """From here on this request is made by ``person``."""
    g.me = person
    g.fallback_language = person.merchant_language


def me() -> SignedIn:
    """The person at the dashboard."""
    return cast(SignedIn, g.me)


def actor() -> Actor:
    """Who asks, at the dashboard or over the API, as services and the audit log know them."""
    address = request.remote_addr or ""
    return caller().actor(address) if "caller" in g else me().actor(address)


def browser() -> Browser:
    """Where this request comes from; it gets a word to be known by if it brings none."""
    if "device" not in g:
        g.device = request.cookies.get(_cookie_name(_DEVICE), "")[:64] or secrets.token_urlsafe(24)
    return Browser(request.remote_addr or "", request.headers.get("User-Agent", ""), g.device)


def session_token() -> str:
    """What this browser brings; "" if it brings nothing."""
    return request.cookies.get(_cookie_name(_COOKIE), "")


def remember(response: Response, token: str) -> Response:
    """Give the browser its session, and the word that it will be known by."""
    secure = settings().origin.startswith("https://")
    for name, value, life in ((_COOKIE, token, SESSION_LIFE), (_DEVICE, browser().device, KNOWN_FOR)):
        response.set_cookie(
            _cookie_name(name), value, max_age=life, httponly=True, secure=secure, samesite="Lax", path="/"
        )
    return response


def forget(response: Response) -> Response:
    """End the session here and in the browser."""
    sessions.sign_out(session_token())
    response.delete_cookie(
        _cookie_name(_COOKIE), path="/", secure=settings().origin.startswith("https://"), httponly=True
    )
    return response


def _cookie_name(name: str) -> str:
    # The __Host- prefix makes the browser insist on Secure and on our host alone; it needs https.
    return f"__Host-{name}" if settings().origin.startswith("https://") else name
