"""The dashboard's room for the audit log: what was done, by whom, and from where."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request, url_for
from flask_babel import lazy_gettext as _l

from app.merchants import audit
from app.merchants.audit import Action, AuditFilter
from app.merchants.auth import me
from app.merchants.views import open_room

# What a deed is called, and what kinds of deeds there are, in the order of the form.
WORDS = {
    Action.SIGNED_IN: _l("Signed in"),
    Action.SIGN_IN_FAILED: _l("Sign-in failed"),
    Action.SESSION_ENDED: _l("Browser signed out"),
    Action.PASSWORD_CHANGED: _l("Password changed"),
    Action.PASSWORD_RESET_MADE: _l("Password reset link made"),
    Action.SECOND_FACTOR_ADDED: _l("Second factor added"),
    Action.SECOND_FACTOR_REMOVED: _l("Second factor removed"),
    Action.RECOVERY_CODES_RENEWED: _l("Recovery codes renewed"),
    Action.RECOVERY_CODE_USED: _l("Recovery code used"),
    Action.PERSON_INVITED: _l("Person invited"),
    Action.INVITATION_WITHDRAWN: _l("Invitation withdrawn"),
    Action.PERSON_JOINED: _l("Person joined"),
    Action.ROLE_CHANGED: _l("Role changed"),
    Action.PERSON_DEACTIVATED: _l("Person deactivated"),
    Action.PERSON_REACTIVATED: _l("Person reactivated"),
    Action.KEY_CREATED: _l("API key made"),
    Action.KEY_CHANGED: _l("API key changed"),
    Action.KEY_ROLLED: _l("API key rolled"),
    Action.KEY_REVOKED: _l("API key revoked"),
    Action.REFUND_ASKED: _l("Refund asked for"),
    Action.REFUND_APPROVED: _l("Refund approved"),
    Action.REFUND_DECLINED: _l("Refund declined"),
    Action.SHIFT_OPENED: _l("Shift opened"),
    Action.SHIFT_CLOSED: _l("Shift closed"),
    Action.UNCLAIMED_DECIDED: _l("Unclaimed money decided"),
    Action.ENDPOINT_CREATED: _l("Webhook endpoint added"),
    Action.ENDPOINT_CHANGED: _l("Webhook endpoint changed"),
    Action.ENDPOINT_ROTATED: _l("Signing secret changed"),
    Action.ENDPOINT_DELETED: _l("Webhook endpoint deleted"),
    Action.EPAY_ENABLED: _l("Yizhifu front switched on"),
    Action.EPAY_DISABLED: _l("Yizhifu front switched off"),
    Action.EPAY_CHANGED: _l("Yizhifu front changed"),
    Action.EPAY_ROTATED: _l("Yizhifu key changed"),
    Action.SETTINGS_CHANGED: _l("Settings changed"),
    Action.POLICY_CHANGED: _l("Safety rules changed"),
    Action.PROVIDER_ADDED: _l("Provider connected"),
    Action.PROVIDER_CHANGED: _l("Provider credentials changed"),
    Action.PROVIDER_ENABLED: _l("Provider connected again"),
    Action.PROVIDER_DISABLED: _l("Provider disconnected"),
    Action.RATE_ADDED: _l("Fee rate added"),
    Action.BILL_UPLOADED: _l("Bill brought by hand"),
    Action.DISCREPANCY_CHANGED: _l("Discrepancy noted"),
    Action.DISCREPANCY_RESOLVED: _l("Discrepancy resolved"),
    Action.DISCREPANCY_REOPENED: _l("Discrepancy opened again"),
    Action.MEMBER_ADDED: _l("Member added"),
    Action.MEMBER_CHANGED: _l("Member changed"),
    Action.MEMBER_ADJUSTED: _l("Member's balance changed by hand"),
    Action.BONUS_RULE_ADDED: _l("Bonus rule added"),
    Action.BONUS_RULE_WITHDRAWN: _l("Bonus rule taken back"),
    Action.PROVIDER_LEFT: _l("Payments left a failing account"),
    Action.PROVIDER_RETURNED: _l("Payments returned to an account"),
    Action.ROUTING_ADDED: _l("Routing rule added"),
    Action.ROUTING_CHANGED: _l("Routing rule changed"),
    Action.ROUTING_MOVED: _l("Routing rule moved"),
    Action.ROUTING_DELETED: _l("Routing rule deleted"),
    Action.RISK_RULE_ADDED: _l("Risk rule added"),
    Action.RISK_RULE_REPLACED: _l("Risk rule replaced"),
    Action.RISK_RULE_ENDED: _l("Risk rule ended"),
    Action.REVIEW_RELEASED: _l("Held payment released"),
    Action.REVIEW_REFUSED: _l("Held payment refused"),
}
KINDS = {
    "bill": _l("Bills"),
    "discrepancy": _l("Discrepancies"),
    "sign_in": _l("Sign-ins"),
    "session": _l("Browsers"),
    "password": _l("Passwords"),
    "second_factor": _l("Second factors"),
    "recovery_codes": _l("Recovery codes"),
    "person": _l("Team"),
    "key": _l("API keys"),
    "refund": _l("Refunds"),
    "shift": _l("Shifts"),
    "unclaimed": _l("Unclaimed money"),
    "webhook_endpoint": _l("Webhooks"),
    "epay": _l("Yizhifu"),
    "settings": _l("Settings"),
    "policy": _l("Safety rules"),
    "risk_rule": _l("Risk rules"),
    "risk_review": _l("Held payments"),
    "provider_account": _l("Payment providers"),
    "member": _l("Members"),
    "bonus_rule": _l("Bonus rules"),
    "routing_rule": _l("Routing"),
}

bp = Blueprint("audit", __name__, url_prefix="/audit")
open_room(bp)


@bp.get("")
def list_entries() -> str:
    """Filters and the cursor are in the address."""
    wanted = _wanted()
    rows, has_more = audit.search(me().merchant_id, wanted)
    kept = _kept()
    return render_template(
        "dashboard/audit.html",
        entries=rows,
        wanted=wanted,
        kinds=list(KINDS),
        words=WORDS,
        kind_words=KINDS,
        older=has_more and _here(**kept, before=str(rows[-1].number)),
        newest=wanted.before is not None and _here(**kept),
        export=url_for("audit.export") + "?" + urlencode(kept),
    )


@bp.get("/export.csv")
def export() -> Response:
    """The same rows for a spreadsheet."""
    pieces = audit.export_csv(me().merchant_id, _wanted())
    response = Response("".join(pieces), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="mafu-audit.csv"'
    return response


def _here(**kept: str) -> str:
    return url_for("audit.list_entries") + "?" + urlencode(kept)


def _wanted() -> AuditFilter:
    kept, before = _kept(), request.args.get("before", "")
    return AuditFilter(
        actor=kept.get("who"),
        action=kept.get("what"),
        object_id=kept.get("object"),
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None,
    )


def _kept() -> dict[str, str]:
    """The filters that are set."""
    typed = {name: request.args.get(name, "").strip()[:254] for name in ("who", "what", "object")}
    return {name: text for name, text in typed.items() if text and "\x00" not in text}
