"""The dashboard's room for payment methods: the accounts at the providers, their credentials and how they do.

It hangs on this floor because it tells of charges and callbacks both.
"""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app.callbacks.account_states import states_of
from app.callbacks.words_views import CURES, FAULTS
from app.charges import rekeying
from app.errors import Conflict, InvalidRequest, NotFound
from app.merchants import accounts, trial
from app.merchants.auth import actor, me
from app.merchants.proof_auth import text_of
from app.merchants.trial import Trial
from app.merchants.views import livemode, open_room
from app.providers import REGISTRY
from app.providers.base import Credential
from app.providers.rsa import PASTE_CHARS_MAX

_NAME_FAULT = _l("A name has 1 to 80 characters.")

bp = Blueprint("provider_accounts", __name__, url_prefix="/settings/providers")
open_room(bp)


@bp.get("")
def list_accounts() -> Response:
    """All of this mode, with what is known of each."""
    return _list_page()


@bp.get("/new")
def new_account() -> Response:
    """The form, drawn from the adapter's own list of fields."""
    return _form_page(_wanted_provider())


@bp.post("/new")
def add_account() -> Response | BaseResponse:
    """Store credentials, sealed."""
    provider = _wanted_provider()
    try:
        accounts.add_account(
            me().merchant_id,
            provider,
            livemode=livemode(),
            name=request.form.get("account_name", ""),
            settings=_typed(_fields(provider)),
            by=actor(),
        )
    except InvalidRequest as error:
        return _form_page(provider, faults=_faults(error), status=400)
    return redirect(url_for("provider_accounts.list_accounts", notice="saved"), 303)


@bp.get("/<account_id>")
def edit_account(account_id: str) -> Response:
    """The same form for an account that is there; its secrets are not in it."""
    account = accounts.find_account(me().merchant_id, account_id)
    return _form_page(account.provider, account_id=account.id)


@bp.post("/<account_id>")
def change_account(account_id: str) -> Response | BaseResponse:
    """Replace credentials; a secret that is left empty stays."""
    account = accounts.find_account(me().merchant_id, account_id)
    typed = _typed(_fields(account.provider))
    try:
        wanted = accounts.completed(account.id, typed, forget=request.form.getlist("forget"))
        rekeying.change_account(account.id, wanted, by=actor())
    except InvalidRequest as error:
        return _form_page(account.provider, account_id=account.id, faults=_faults(error), status=400)
    except Conflict:
        text = gettext(
            "Payments or refunds are under way under the present application or merchant number, and would "
            "never be found under another. Wait until they have ended, or add a second account."
        )
        return _form_page(account.provider, account_id=account.id, faults={"": text}, status=409)
    return redirect(url_for("provider_accounts.list_accounts", notice="saved"), 303)


@bp.post("/<account_id>/try")
def try_account(account_id: str) -> Response:
    """Ask the provider something harmless, and say what it answers."""
    account = accounts.find_account(me().merchant_id, account_id)
    found = trial.try_account(me().merchant_id, account.id, by=actor())
    return _list_page(tried={account.id: found})


@bp.post("/<account_id>/enable")
def enable_account(account_id: str) -> BaseResponse:
    """Offer it to shoppers again."""
    accounts.enable_account(me().merchant_id, account_id, by=actor())
    return redirect(url_for("provider_accounts.list_accounts", notice="saved"), 303)


@bp.post("/<account_id>/disable")
def disable_account(account_id: str) -> BaseResponse:
    """Offer it to nobody; money on its way is still heard of."""
    accounts.disable_account(me().merchant_id, account_id, by=actor())
    return redirect(url_for("provider_accounts.list_accounts", notice="saved"), 303)


def _wanted_provider() -> str:
    """The one that the address names; else the first."""
    return request.args.get("provider") or next(iter(REGISTRY))


def _fields(provider: str) -> tuple[Credential, ...]:
    """Raises NotFound for a provider that we do not speak to."""
    adapter = REGISTRY.get(provider)
    if adapter is None:
        raise NotFound("no such provider")
    return adapter.credentials


def _typed(fields: tuple[Credential, ...]) -> dict[str, str]:
    """What the form brings, field by field: what was pasted, else the file's text."""
    typed = {}
    for field in fields:
        files = [text_of(file.read(PASTE_CHARS_MAX)) for file in request.files.getlist(field.name)]
        texts = [text for text in [*request.form.getlist(field.name), *files] if text.strip()]
        if texts:
            # Blanks may be part of a password.
            typed[field.name] = texts[-1] if field.secret else texts[-1].strip()
    return typed


def _faults(error: InvalidRequest) -> dict[str, str]:
    """What is wrong, beside the field; an adapter's own words where there are no better ones."""
    if error.param == "name":
        return {"account_name": str(_NAME_FAULT)}
    known = FAULTS.get(error.detail)
    text = str(known) if known else gettext("This cannot be used: %(reason)s.", reason=error.detail)
    return {error.param or "": text}


def _list_page(tried: dict[str, Trial] | None = None) -> Response:
    page = render_template(
        "dashboard/provider_accounts.html",
        states=states_of(me().merchant_id, livemode=livemode()),
        providers=list(REGISTRY),
        tried=tried or {},
        cure_of=_cure_of,
    )
    return make_response(page)


def _cure_of(found: Trial) -> str:
    """What to do about a refusal; empty where nobody knows."""
    word = found.code.rpartition(".")[2]
    return str(CURES.get(found.code) or CURES.get(word) or "")


def _form_page(
    provider: str, *, account_id: str | None = None, faults: dict[str, str] | None = None, status: int = 200
) -> Response:
    fields = _fields(provider)
    stored = {} if account_id is None else accounts.settings_of(account_id)
    page = render_template(
        "dashboard/provider_account.html",
        provider_code=provider,
        account_id=account_id,
        fields=fields,
        # Never a secret: neither what is stored nor what has just been typed.
        values={
            field.name: request.form.get(field.name, stored.get(field.name, field.default))
            for field in fields
            if not field.secret
        },
        held={field.name for field in fields if field.secret and field.name in stored},
        name=request.form.get("account_name", ""),
        faults=faults or {},
    )
    return make_response(page, status)
