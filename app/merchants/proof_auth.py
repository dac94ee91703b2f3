"""Step-up: an address that wants a fresh proof asks for it and then does what it was asked to do.

The question is a page that carries the whole form in hidden fields and posts it to the same address, with
the proof beside it: nothing that was typed is lost, and no address has to remember where to go back to.
"""

from __future__ import annotations

import base64

from flask import Response, g, make_response, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from app.errors import NotAuthenticated, PermissionDenied, TooManyRequests
from app.merchants import passkeys, proofs, sessions
from app.merchants.auth import browser, me, recognise, session_token
from app.merchants.roles import FRESH, SECOND_FACTOR

# Never handed on: the form's guard is made anew, and a proof is used once.
_OWN_FIELDS = ("csrf_token", "proof_password", "proof_code", "proof_passkey")


def require_proof() -> BaseResponse | None:
    """After ``require_permission``: the page that asks for a proof, or None if there is one or none is due.

    Raises PermissionDenied where the shop wants a second factor and this person has none.
    """
    person = me()
    if request.endpoint in SECOND_FACTOR and person.requires_second_factor and not person.has_second_factor:
        raise PermissionDenied("this shop wants a second factor for that", code="second_factor_missing")
    if request.method != "POST" or request.endpoint not in FRESH or person.is_fresh:
        return None
    if not set(_OWN_FIELDS[1:]) & set(request.form):
        return _ask(None, 0)
    try:
        token = proofs.prove(
            person,
            session_token(),
            password=request.form.get("proof_password", ""),
            code=request.form.get("proof_code", ""),
            passkey=request.form.get("proof_passkey", ""),
            browser=browser(),
        )
    except NotAuthenticated as refusal:
        return _ask(refusal.code, 0)
    except TooManyRequests as refusal:
        return _ask(refusal.code, refusal.retry_after_s)
    renewed = sessions.who_is(token)
    if renewed is None:
        raise NotAuthenticated("this session has ended", code="sign_in_again")
    g.fresh_token = token
    recognise(renewed)
    return None


def text_of(file: bytes) -> str:
    """A file of a form as a field can hold it: its text (PEM, say), or the base64 of what is none.  Pure."""
    try:
        text = file.decode("utf-8-sig")
    except UnicodeDecodeError:
        return base64.b64encode(file).decode("ascii")
    return base64.b64encode(file).decode("ascii") if "\x00" in text else text


def _ask(fault: str | None, wait_s: int) -> Response:
    kept = [(name, text) for name, text in request.form.items(multi=True) if name not in _OWN_FIELDS]
    kept += [(name, text_of(file.read())) for name, file in request.files.items(multi=True) if file.filename]
    page = render_template(
        "dashboard/proof.html",
        address=request.full_path.rstrip("?"),
        kept=kept,
        passkey_options=passkeys.options_to_use() if me().has_passkey and passkeys.are_possible() else None,
        fault=fault,
        wait_s=wait_s,
    )
    response = make_response(page, 429 if wait_s else 401)
    if wait_s:
        response.headers["Retry-After"] = str(wait_s)
    return response
