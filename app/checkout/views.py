"""The shopper's pages: one address per payment link, from "pay" to the receipt.

The signed token in the address is the only authority.  GET shows how things stand and makes nothing;
POST starts an attempt; the status poll asks the provider on the shopper's behalf.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog
from flask import Blueprint, Response, current_app, g, render_template, request
from flask.blueprints import BlueprintSetupState
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from app import clock, i18n
from app.answers import json_answer
from app.charges import attempts
from app.charges.attempts import Payer
from app.checkout import steps
from app.checkout.look import look
from app.checkout.scene import scene_of
from app.checkout.steps import Face, Opened, Status, View
from app.errors import Conflict, NotFound, ProviderRejected, ProviderUnreachable
from app.merchants import accounts
from app.money import Money
from app.providers import REGISTRY
from app.providers.base import CallBridge, NextStep, PostForm, Redirect, Scene, ShowQR
from app.qr.encode import Level, matrix_for
from app.qr.links import link_for
from app.qr.render import svg
from app.runtime import runtime

log = structlog.get_logger(__name__)
bp = Blueprint("checkout", __name__)

WALLET_COOKIE = "mafu_wallet"
YEAR_S = 31536000
UNREACHABLE_RETRY_S = 5

# A shopper may say where they are, but not that they are the merchant's own app.
SCENES = frozenset(Scene) - {Scene.APP}

# The labels of the adapters, listed so that the catalogue of translations knows them.
LABELS = (_l("Alipay"), _l("WeChat Pay"), _l("UnionPay"))

# Browsers hold form-action against every hop after a form was sent, and the wallets' cashiers hop among
# hosts of their own that nobody can list: hence a scheme and not names.  No page has a field to steal.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action {forms}"
)
_FILES = {
    "tokens": "css/tokens.css",
    "css": "css/checkout.css",
    "js": "js/checkout.js",
    "icon": "img/favicon.svg",
}
_FURNITURE = "mafu.checkout"


@dataclass(frozen=True, slots=True)
class _Furniture:
    """What is the same on every page: addresses of files by name, wallets' glyphs by provider, policy."""

    files: dict[str, str]
    glyphs: dict[str, Markup]


@bp.get("/C/<token>")
@bp.get("/c/<token>")
def show(token: str) -> Response:
    """How the payment stands.  With ``?wait`` the provider is asked first, for pages without a script."""
    opened = _open(token)
    if "wait" in request.args:
        opened = _ask(token, opened)
    response = _page(token, opened)
    if request.args.get("lang") in i18n.LANGUAGES:
        _remember(response, i18n.COOKIE, request.args["lang"])
    return response


@bp.post("/C/<token>")
@bp.post("/c/<token>")
def pay(token: str) -> Response:
    """Start an attempt with the wallet in ``provider`` and send the shopper on to it.

    Whatever forbids it is said by the page itself, which knows how things stand now.
    """
    opened, scene = _open(token), _scene()
    wallet = request.form.get("provider", "")
    if not any(choice.works and choice.info.code == wallet for choice in steps.choices_of(opened, scene)):
        return _see_other(_here(token))
    payer = Payer(scene, _return_url(token), ip=request.remote_addr)
    try:
        step = attempts.start_attempt(opened.charge_id, _account_of(opened, wallet), payer)
    except (Conflict, NotFound):
        return _see_other(_here(token))
    except ProviderRejected as refusal:
        log.warning(
            "attempt refused", charge_id=opened.charge_id, provider=wallet, code=refusal.provider_code
        )
        response = _see_other(_here(token))
    except ProviderUnreachable as silence:
        log.warning(
            "provider unreachable", charge_id=opened.charge_id, provider=wallet, reason=silence.detail
        )
        response = _page(token, look(token), chosen=wallet)
        response.status_code = 503
        response.headers["Retry-After"] = str(UNREACHABLE_RETRY_S)
    else:
        response = _see_other(_onward(token, step))
    _remember(response, WALLET_COOKIE, wallet)
    return response


@bp.get("/C/<token>/status")
@bp.get("/c/<token>/status")
def status(token: str) -> Response:
    """The payment in a few words, for the page's poll.  304 while nothing has changed.

    While an attempt is open the provider is asked, at most every few seconds, so that a callback that
    was lost strands nobody.
    """
    opened = _ask(token, look(token))
    now = clock.now()
    version = steps.version_of(opened, now)
    if request.if_none_match.contains_weak(version):
        response = Response(status=304, headers={"Cache-Control": "no-store"})
    else:
        news = {
            "status": steps.status_of(opened, now),
            "version": version,
            "expires_in_s": steps.seconds_left(opened, now),
            "attempt": _attempt_json(opened),
        }
        response = json_answer(json.dumps(news))
    response.set_etag(version)
    return response


def _prepare(state: BlueprintSetupState) -> None:
    """Read glyphs and fingerprint files once.

    Browsers keep static files for a year, so a changed file needs another address.  Addresses are
    relative to ``/C/<token>``: they hold under any prefix that a proxy adds.
    """
    folder = Path(state.app.static_folder or "")
    files = {}
    for name, file in _FILES.items():
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()[:10]
        files[name] = f"..{state.app.static_url_path}/{file}?v={digest}"
    # The files are ours, so they need no escaping.  Inline they cost no request.
    glyphs = {code: Markup((folder / f"img/{code}.svg").read_text("utf-8")) for code in REGISTRY}  # noqa: S704
    state.app.extensions[_FURNITURE] = _Furniture(files, glyphs)


bp.record_once(_prepare)


def _open(token: str) -> Opened:
    opened = look(token)
    g.fallback_language = opened.merchant_language
    return opened


def _ask(token: str, opened: Opened) -> Opened:
    """The same after asking the provider about open attempts, where that is due."""
    if steps.is_due(opened, clock.now(), attempts.ASK_EVERY) and attempts.ask_if_due(
        opened.merchant_id, opened.charge_id
    ):
        return look(token)
    return opened


def _scene() -> Scene:
    said = request.values.get("scene", "")
    return Scene(said) if said in SCENES else scene_of(request.user_agent.string)


def _account_of(opened: Opened, wallet: str) -> accounts.OpenAccount:
    """The merchant's oldest enabled account at this provider.  Raises NotFound."""
    for row in accounts.list_accounts(opened.merchant_id, livemode=opened.livemode):
        if row.provider == wallet:
            return accounts.open_account(row.id)
    raise NotFound("this merchant has no such account")


def _onward(token: str, step: NextStep) -> str:
    """Where to go after an attempt was started."""
    if isinstance(step, Redirect):
        return step.url
    # Steps that need a page of ours are shown by GET, so that "back" and "reload" resend nothing.
    return _here(token, go="1") if isinstance(step, PostForm | CallBridge) else _here(token)


def _page(token: str, opened: Opened, *, chosen: str | None = None) -> Response:
    now, scene = clock.now(), _scene()
    chosen = request.cookies.get(WALLET_COOKIE, "") if chosen is None else chosen
    view = steps.view_of(opened, scene, now, chosen=chosen, came_back="back" in request.args)
    furniture: _Furniture = current_app.extensions[_FURNITURE]
    link = link_for(runtime().settings.origin, token.upper(), host_upper=False)
    page = render_template(
        "checkout/page.html",
        furniture=furniture,
        token=token,
        opened=opened,
        view=view,
        scene=scene,
        amount=Money(opened.amount_minor, opened.currency).text(),
        refunded=Money(opened.refunded_minor, opened.currency).text() if opened.refunded_minor else None,
        choices=_named(opened, scene, chosen),
        wallet=_label(view.attempt.provider if view.attempt else opened.provider),
        came_back="back" in request.args,
        go="go" in request.args and view.face is Face.WAIT,
        link=link,
        drawing=_drawing_for(view, scene, link),
        version=steps.version_of(opened, now),
        left_s=steps.seconds_left(opened, now),
        total_s=int((opened.expires_at - opened.created_at).total_seconds()),
        polls=view.status in (Status.PENDING, Status.PROCESSING, Status.FAILED) or view.unsure,
        waits=bool(opened.open_tries),
        here=_here,
        beijing=clock.to_beijing,
        rfc3339=clock.to_rfc3339,
    )
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY.format(forms=_forms(view))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Vary"] = "User-Agent, Accept-Language, Cookie"
    return response


def _named(opened: Opened, scene: Scene, chosen: str) -> list[dict[str, Any]]:
    """The wallets for the template: code, label in the reader's language, works, checked."""
    choices = steps.choices_of(opened, scene)
    codes = [choice.info.code for choice in choices if choice.works]
    first = chosen if chosen in codes else next(iter(codes), "")
    return [
        {
            "code": choice.info.code,
            "label": gettext(choice.info.label),
            "works": choice.works,
            "checked": choice.info.code == first,
        }
        for choice in choices
    ]


def _label(provider: str | None) -> str:
    adapter = REGISTRY.get(provider or "")
    return gettext(adapter.info.label) if adapter else ""


def _drawing_for(view: View, scene: Scene, link: str) -> Markup | None:
    """The code on the page: the wallet's own, or on a desktop the payment link, to go on with a phone."""
    if view.face is Face.SCAN and view.attempt is not None and isinstance(view.attempt.step, ShowQR):
        return _drawn(view.attempt.step.content, gettext("Payment code"))
    if scene is Scene.DESKTOP and view.face in (Face.PAY, Face.FAILED):
        return _drawn(link, gettext("Payment link"))
    return None


@lru_cache(maxsize=512)  # 3 kB each; a page is loaded again whenever something changes
def _drawn(text: str, title: str) -> Markup:
    # Drawn by our own encoder, which escapes the title.
    return Markup(svg(matrix_for(text, Level.M), title=title).decode())  # noqa: S704


def _forms(view: View) -> str:
    if view.face not in (Face.PAY, Face.SCAN, Face.WAIT, Face.FAILED):
        return "'self'"
    # Over plain http this is a demonstration, whose sandbox has no certificate either.
    return "'self' https:" if runtime().settings.origin.startswith("https:") else "'self' https: http:"


def _here(token: str, **changes: str) -> str:
    """This page's address, relative to itself, with where the shopper says they are kept in it."""
    kept = {"scene": request.values["scene"]} if request.values.get("scene") in SCENES else {}
    query = kept | changes
    return f"{token}?{urlencode(query)}" if query else token


def _return_url(token: str) -> str:
    link = link_for(runtime().settings.origin, token.upper(), host_upper=False)
    return f"{link}?{urlsplit(_here(token, back='1')).query}"


def _attempt_json(opened: Opened) -> dict[str, str] | None:
    latest = next(iter(opened.open_tries or opened.tries), None)
    return None if latest is None else {"provider": latest.provider, "state": latest.state}


def _see_other(address: str) -> Response:
    response = Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})
    response.autocorrect_location_header = False
    return response


def _remember(response: Response, name: str, value: str) -> None:
    secure = runtime().settings.origin.startswith("https:")
    response.set_cookie(name, value, max_age=YEAR_S, secure=secure, httponly=True, samesite="Lax")
