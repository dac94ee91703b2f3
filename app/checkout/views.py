"""The shopper's pages: one address per payment link, from "pay" to the receipt.

The signed token in the address is the only authority.  GET shows how things stand and makes nothing;
POST starts an attempt; the status poll asks the provider on the shopper's behalf.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, current_app, g, render_template, request
from flask.blueprints import BlueprintSetupState
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from app import clock, i18n
from app.answers import json_answer
from app.charges import attempts, routes
from app.charges.attempts import Payer, Started, payer_key
from app.charges.commands import EXPIRES_IN_S_MAX
from app.checkout import device, steps
from app.checkout.look import look
from app.checkout.page import Shape, Visit, app_of, receipt_of, shape_of, texts_of
from app.checkout.scene import scene_of
from app.checkout.stencil import Stencil, cut, hole
from app.checkout.steps import Face, Opened, View
from app.errors import Conflict, NotFound, PaymentStopped, ProviderRejected, ProviderUnreachable
from app.ids import is_id
from app.merchants import accounts
from app.merchants.brand_views import dress
from app.providers import REGISTRY
from app.providers.base import CallBridge, PostForm, Redirect, Scene, ShowQR
from app.qr.encode import Level, matrix_for
from app.qr.links import link_for
from app.qr.render import svg
from app.runtime import runtime

log = structlog.get_logger(__name__)
bp = Blueprint("checkout", __name__)

WALLET_COOKIE = "mafu_wallet"
STATE_COOKIE = "mafu_payer"  # of an identification under way
STATE_LIFE_S = 600
STATE_CHARS = 32  # before the account's part
HELD_COOKIE = "mafu_attempts"  # begun by this browser, and payable by nobody else; newest first
DEVICE_COOKIE = "mafu_device"  # given only where a shop has a rule about devices
HELD_MAX = 8  # a shopper has few links open at once
YEAR_S = 31536000
STENCILS_MAX = 500  # 4 kB each; a shop in one language needs a handful
UNREACHABLE_RETRY_S = 5

# A shopper may say where they are, but not that they are the merchant's own app.
SCENES = frozenset(Scene) - {Scene.APP}

# WeChat's cashier looks at which domain sends it a shopper, so pages that lead to one say so; never the
# path, which holds the key to the charge.
_REFERRER_POLICY = "strict-origin"

# The names of wallets and apps, listed so that the catalogue of translations knows them.
LABELS = (_l("Alipay"), _l("WeChat Pay"), _l("UnionPay"), _l("WeChat"))

# Browsers hold form-action against every hop after a form was sent, and the wallets' cashiers hop among
# hosts of their own that nobody can list: hence a scheme and not names.  No page has a field to steal.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors {frames}; form-action {forms}"
)
_FURNITURE = "mafu.checkout"


@dataclass(frozen=True, slots=True)
class _Furniture:
    """What pages share: wallets' glyphs by provider, and the stencils cut so far."""

    glyphs: dict[str, Markup]
    stencils: dict[Shape, Stencil] = field(default_factory=dict)


@bp.get("/C/<token>")
@bp.get("/c/<token>")
def show(token: str) -> Response:
    """How the payment stands.  With ``?wait`` the provider is asked first, for pages without a script."""
    opened = _open(token)
    if "wait" in request.args:
        opened = _ask(token, opened)
    response = _page(token, opened, _visit())
    if request.args.get("lang") in i18n.LANGUAGES:
        _remember(response, i18n.COOKIE, request.args["lang"])
    return response


@bp.post("/C/<token>")
@bp.post("/c/<token>")
def pay(token: str) -> Response:
    """Start an attempt with the wallet in ``provider`` and send the shopper on to it.

    Whatever forbids it is said by the page itself, which knows how things stand now.
    """
    opened = _open(token)
    visit, wallet = _visit(), request.form.get("provider", "")
    choices = steps.choices_of(opened, visit.scene)
    is_over = steps.status_of(opened, clock.now()) in steps.ENDED
    if is_over or not any(choice.works and choice.info.code == wallet for choice in choices):
        return _see_other(_here(token, visit.said_scene))
    who, held, browser = None, visit.held, device.device_of(request.cookies.get(DEVICE_COOKIE, ""))
    try:
        known_to = _identified_at(visit)
        account = routes.account_for(
            opened.merchant_id, opened.charge_id, wallet, livemode=opened.livemode, known_to=known_to
        )
        # Known to another account the payer is nobody at this one, and is asked about anew.
        visit = replace(visit, identified=known_to == account.id)
        away = _identification(token, opened, account, visit)
        if away is not None:
            return away
        payer_id = account.provider.payer_from(request.args.to_dict()) if visit.identified else None
        who = payer_key(account.id, payer_id)
        payer = Payer(visit.scene, _return_url(token, visit), request.remote_addr, payer_id, held, browser)
        started = attempts.start_attempt(opened.charge_id, account, payer)
    except (Conflict, NotFound) as refusal:
        more = {"stopped": "1"} if isinstance(refusal, PaymentStopped) else {}
        return _see_other(_here(token, visit.said_scene, **more))
    except ProviderRejected as refusal:
        log.warning("refused", charge_id=opened.charge_id, provider=wallet, code=refusal.provider_code)
        held |= _begun_by(who, look(token))
        response = _see_other(_here(token, visit.said_scene, no=wallet))
    except ProviderUnreachable as silence:
        log.warning("no answer", charge_id=opened.charge_id, provider=wallet, reason=silence.detail)
        opened = look(token)
        held |= _begun_by(who, opened)
        response = _page(token, opened, replace(visit, chosen=wallet, held=held))
        response.status_code = 503
        response.headers["Retry-After"] = str(UNREACHABLE_RETRY_S)
    else:
        held |= {started.attempt_id} if started.is_personal else set()
        response = _see_other(_onward(token, started, visit))
        _know(response, browser if started.knows_device else "")
    if visit.identified:
        response.delete_cookie(STATE_COOKIE)  # good for one try
    if held != visit.held:
        _remember(response, HELD_COOKIE, ".".join(sorted(held, reverse=True)[:HELD_MAX]), EXPIRES_IN_S_MAX)
    _remember(response, WALLET_COOKIE, wallet)
    return response


def _know(response: Response, browser: str) -> None:
    """Let this browser be known again, if it shall be."""
    if browser:
        _remember(response, DEVICE_COOKIE, device.cookie_of(browser), device.LIFE_S)


def _identification(
    token: str, opened: Opened, account: accounts.OpenAccount, visit: Visit
) -> Response | None:
    """The way to where the network learns who pays; None if it need not know, or this browser can go on
    with what it began.

    The state that comes back must be the one that this browser was given: otherwise anybody could have
    another's browser finish an identification that they began.
    """
    code, now = account.provider.info.code, clock.now()
    begun = [
        each
        for each in opened.open_tries
        if (each.provider, each.scene) == (code, visit.scene) and each.is_of(visit.held)
    ]
    if visit.identified or any(each.way(now) is not None for each in begun):
        return None
    # With the account in it: what the network brings back is worth nothing at another.
    state = secrets.token_hex(STATE_CHARS // 2) + account.id.partition("_")[2]
    address = account.provider.identify(visit.scene, _return_url(token, visit, back=False), state)
    if address is None:
        return None
    response = _see_other(address)
    _remember(response, STATE_COOKIE, state, STATE_LIFE_S)
    _remember(response, WALLET_COOKIE, code)
    return response


def _identified_at(visit: Visit) -> str | None:
    """The account that this browser was sent away by, if it comes back identified."""
    return f"pa_{request.args['state'][STATE_CHARS:]}" if visit.identified else None


def _begun_by(who: str | None, opened: Opened) -> set[str]:
    """The attempts of the payer that this browser has just shown itself to be."""
    return {each.id for each in opened.tries if who is not None and each.payer_key == who}


def _is_identified() -> bool:
    given, back = request.cookies.get(STATE_COOKIE, ""), request.args.get("state", "")
    return bool(given) and secrets.compare_digest(given.encode(), back.encode())


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
    """Read the wallets' glyphs once.  Inline they cost no request; they are our own, so nothing to escape."""
    folder = Path(state.app.static_folder or "") / "img"
    glyphs = {code: Markup((folder / f"{code}.svg").read_text("utf-8")) for code in REGISTRY}  # noqa: S704
    state.app.extensions[_FURNITURE] = _Furniture(glyphs)


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


def _onward(token: str, started: Started, visit: Visit) -> str:
    """Where to go after an attempt was started."""
    if isinstance(started.step, Redirect):
        return started.step.url
    # Steps that need a page of ours are shown by GET, so that "back" and "reload" resend nothing.
    more = {"go": "1"} if isinstance(started.step, PostForm | CallBridge) else {}
    return _here(token, visit.said_scene, **more)


def _visit() -> Visit:
    args = request.args
    said = args.get("scene") or (request.form.get("scene", "") if request.method == "POST" else "")
    said_scene = said if said in SCENES else ""
    return Visit(
        language=i18n.language(),
        scene=Scene(said_scene) if said_scene else scene_of(request.headers.get("User-Agent", "")),
        said_scene=said_scene,
        # A shop's page may have asked already; of a cookie's word and a link's, the link's is the newer.
        chosen=args.get("wallet", "")
        if args.get("wallet") in REGISTRY
        else request.cookies.get(WALLET_COOKIE, ""),
        came_back="back" in args,
        go="go" in args,
        identified=_is_identified(),
        held=_held(request.cookies.get(HELD_COOKIE, "")),
        how=args.get("how", ""),
        refused=args.get("no", ""),
        stopped="stopped" in args,
    )


def _held(cookie: str) -> frozenset[str]:
    ids = cookie[: HELD_MAX * 32].split(".")
    return frozenset([text for text in ids if is_id(text, "at")])


def _page(token: str, opened: Opened, visit: Visit) -> Response:
    now = clock.now()
    view = steps.view_of(
        opened,
        visit.scene,
        now,
        chosen=visit.chosen,
        held=visit.held,
        came_back=visit.came_back,
        how=visit.how,
    )
    shape = shape_of(opened, view, visit)
    link = link_for(runtime().settings.origin, token.upper(), host_upper=False)
    texts = texts_of(opened, token, link, now) | dress(opened.accent, opened.logo_version)
    texts["drawing"] = _drawing_for(view, shape, link)
    if view.face in (Face.PAY, Face.HELP) and not visit.identified:
        page = _stencil_for(shape, texts).filled(texts)
    else:
        page = _rendered(
            shape,
            texts | receipt_of(opened),
            opened=opened,
            view=view,
            **_names(view.attempt.provider if view.attempt else opened.provider),
        )
    response = Response(page, content_type="text/html; charset=utf-8")
    # The dashboard's simulator shows it in a phone.  Nobody else ever frames it, nor anybody a live one.
    is_play = not opened.livemode and bool(runtime().settings.sandbox_origin)
    frames = "'self'" if is_play else "'none'"
    response.headers["Content-Security-Policy"] = _POLICY.format(forms=_forms(view), frames=frames)
    if is_play:
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = _REFERRER_POLICY
    return response


def _stencil_for(shape: Shape, texts: dict[str, object]) -> Stencil:
    """The first page of a payment, cut once per shape: it is what everybody who scans a code waits for."""
    stencils = _furniture().stencils
    stencil = stencils.get(shape)
    if stencil is None:
        stencil = cut(_rendered(shape, {name: hole(name) for name in texts}))
        if len(stencils) >= STENCILS_MAX:
            stencils.clear()
        stencils[shape] = stencil
    return stencil


def _rendered(shape: Shape, texts: Mapping[str, object], **more: Any) -> str:
    furniture = _furniture()

    def here(token: str, **changes: str) -> str:
        return _here(token, shape.said_scene, **changes)

    # What an identification brought back goes on with the form, and is kept nowhere.
    brought = urlencode(request.args) if shape.identified else ""
    return render_template(
        "checkout/page.html",
        glyphs=furniture.glyphs,
        here=here,
        brought=brought,
        **shape.variables(),
        **texts,
        **more,
    )


def _furniture() -> _Furniture:
    furniture: _Furniture = current_app.extensions[_FURNITURE]
    return furniture


def _names(provider: str | None) -> dict[str, str]:
    """A wallet's own name and its app's; empty where there is none to speak of."""
    adapter = REGISTRY.get(provider or "")
    if adapter is None:
        return {"wallet": "", "app": ""}
    return {"wallet": gettext(adapter.info.label), "app": gettext(app_of(adapter.info))}


def _drawing_for(view: View, shape: Shape, link: str) -> Markup:
    """The code on the page: the wallet's own, or the payment link, to go on with another phone or wallet."""
    if view.face is Face.SCAN and isinstance(view.step, ShowQR):
        return _drawn(view.step.content, gettext("Payment code"))
    return _drawn(link, gettext("Payment link")) if shape.draws else Markup()


@lru_cache(maxsize=512)  # 3 kB each; a page is loaded again whenever something changes
def _drawn(text: str, title: str) -> Markup:
    # Drawn by our own encoder, which escapes the title.
    return Markup(svg(matrix_for(text, Level.M), title=title).decode())  # noqa: S704


def _forms(view: View) -> str:
    if view.face not in (Face.PAY, Face.SCAN, Face.WAIT, Face.FAILED):
        return "'self'"
    # Over plain http this is a demonstration, whose sandbox has no certificate either.
    return "'self' https:" if runtime().settings.origin.startswith("https:") else "'self' https: http:"


def _here(token: str, said_scene: str, **changes: str) -> str:
    """A page's address, relative to itself, with where the shopper says they are kept in it."""
    query = ({"scene": said_scene} if said_scene else {}) | changes
    return f"{token}?{urlencode(query)}" if query else token


def _return_url(token: str, visit: Visit, *, back: bool = True) -> str:
    """Our address for a network to send the browser to; ``back`` marks the return from a cashier."""
    link = link_for(runtime().settings.origin, token.upper(), host_upper=False)
    more = {"back": "1"} if back else {}
    return link.rpartition("/")[0] + "/" + _here(token.upper(), visit.said_scene, **more)


def _attempt_json(opened: Opened) -> dict[str, str] | None:
    latest = next(iter(opened.open_tries or opened.tries), None)
    return None if latest is None else {"provider": latest.provider, "state": latest.state}


def _see_other(address: str) -> Response:
    # A browser that follows says who sent it by this answer's policy, not by the page's before.
    headers = {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": _REFERRER_POLICY}
    response = Response(status=303, headers=headers)
    response.autocorrect_location_header = False
    return response


def _remember(response: Response, name: str, value: str, life_s: int = YEAR_S) -> None:
    secure = runtime().settings.origin.startswith("https:")
    response.set_cookie(name, value, max_age=life_s, secure=secure, httponly=True, samesite="Lax")
