"""What a key may do: one scope for each resource and verb, and one for every address of the API.

ROUTES is the whole of it on one page.  An address that is not listed is open to nobody, so that a new
one cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from app.errors import InvalidRequest


class Scope(StrEnum):
    """Permission for one verb on one resource.  Who may write may read, where there is something to read."""

    CHARGES_READ = "charges:read"
    CHARGES_WRITE = "charges:write"
    REFUNDS_READ = "refunds:read"
    REFUNDS_WRITE = "refunds:write"
    BALANCE_READ = "balance:read"
    RECONCILIATION_READ = "reconciliation:read"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    TOPUPS_READ = "topups:read"
    TOPUPS_WRITE = "topups:write"
    DEBITS_READ = "debits:read"
    DEBITS_WRITE = "debits:write"
    ADJUSTMENTS_WRITE = "adjustments:write"  # they are read in the member's statement
    CODES_READ = "codes:read"
    CODES_WRITE = "codes:write"
    RISK_READ = "risk:read"
    RISK_WRITE = "risk:write"
    EVENTS_READ = "events:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    LOGS_READ = "logs:read"
    ROUTING_READ = "routing:read"


ALL = frozenset(Scope)

# Flask's name of an address -> what a key needs for it.
ROUTES: dict[str, Scope] = {
    "charges_api.create": Scope.CHARGES_WRITE,
    "charges_api.read": Scope.CHARGES_READ,
    "charges_api.list_all": Scope.CHARGES_READ,
    "charges_api.cancel": Scope.CHARGES_WRITE,
    "charges_api.qr_svg": Scope.CHARGES_READ,
    "charges_api.qr_png": Scope.CHARGES_READ,
    "charges_api.app_params": Scope.CHARGES_WRITE,
    "counter_api.take": Scope.CHARGES_WRITE,
    "refunds_api.create": Scope.REFUNDS_WRITE,
    "refunds_api.read": Scope.REFUNDS_READ,
    "refunds_api.list_all": Scope.REFUNDS_READ,
    "batch_api.create": Scope.CHARGES_WRITE,
    "balance_api.read": Scope.BALANCE_READ,
    "reconciliations_api.list_all": Scope.RECONCILIATION_READ,
    "reconciliations_api.read": Scope.RECONCILIATION_READ,
    "discrepancies_api.list_all": Scope.RECONCILIATION_READ,
    "discrepancies_api.read": Scope.RECONCILIATION_READ,
    "members_api.create": Scope.MEMBERS_WRITE,
    "members_api.list_all": Scope.MEMBERS_READ,
    "members_api.read": Scope.MEMBERS_READ,
    "members_api.update": Scope.MEMBERS_WRITE,
    "members_api.movements": Scope.MEMBERS_READ,
    "debits_api.create": Scope.DEBITS_WRITE,
    "debits_api.list_all": Scope.DEBITS_READ,
    "debits_api.read": Scope.DEBITS_READ,
    "debits_api.reverse": Scope.DEBITS_WRITE,
    "adjustments_api.create": Scope.ADJUSTMENTS_WRITE,
    "topups_api.create": Scope.TOPUPS_WRITE,
    "topups_api.list_all": Scope.TOPUPS_READ,
    "topups_api.read": Scope.TOPUPS_READ,
    "topups_api.ask": Scope.TOPUPS_WRITE,
    "bonus_rules_api.create": Scope.MEMBERS_WRITE,
    "bonus_rules_api.list_all": Scope.MEMBERS_READ,
    "bonus_rules_api.withdraw": Scope.MEMBERS_WRITE,
    "qr_codes_api.create": Scope.CODES_WRITE,
    "qr_codes_api.create_series": Scope.CODES_WRITE,
    "qr_codes_api.list_all": Scope.CODES_READ,
    "qr_codes_api.read": Scope.CODES_READ,
    "qr_codes_api.update": Scope.CODES_WRITE,
    "qr_codes_api.qr_svg": Scope.CODES_READ,
    "qr_codes_api.qr_png": Scope.CODES_READ,
    "qr_code_prints_api.draw": Scope.CODES_READ,
    "qr_code_prints_api.draw_series": Scope.CODES_READ,
    "stores_api.create": Scope.CODES_WRITE,
    "stores_api.list_all": Scope.CODES_READ,
    "stores_api.read": Scope.CODES_READ,
    "stores_api.update": Scope.CODES_WRITE,
    "risk_api.create_rule": Scope.RISK_WRITE,
    "risk_api.list_rules": Scope.RISK_READ,
    "risk_api.read_rule": Scope.RISK_READ,
    "risk_api.replace_rule": Scope.RISK_WRITE,
    "risk_api.end_rule": Scope.RISK_WRITE,
    "risk_api.close_review": Scope.RISK_WRITE,
    "risk_api.try_rule": Scope.RISK_READ,
    "risk_api.list_decisions": Scope.RISK_READ,
    "risk_api.read_decision": Scope.RISK_READ,
    "events_api.list_events": Scope.EVENTS_READ,
    "events_api.read_event": Scope.EVENTS_READ,
    "webhook_endpoints_api.create": Scope.WEBHOOKS_WRITE,
    "webhook_endpoints_api.list_all": Scope.WEBHOOKS_READ,
    "webhook_endpoints_api.read": Scope.WEBHOOKS_READ,
    "webhook_endpoints_api.update": Scope.WEBHOOKS_WRITE,
    "webhook_endpoints_api.rotate_secret": Scope.WEBHOOKS_WRITE,
    "webhook_endpoints_api.ping": Scope.WEBHOOKS_WRITE,
    "webhook_endpoints_api.delete": Scope.WEBHOOKS_WRITE,
    "events_api.replay_events": Scope.WEBHOOKS_WRITE,
    "deliveries_api.list_deliveries": Scope.WEBHOOKS_READ,
    "deliveries_api.read_delivery": Scope.WEBHOOKS_READ,
    "deliveries_api.resend_delivery": Scope.WEBHOOKS_WRITE,
    "routing_api.preview_route": Scope.ROUTING_READ,
    "routing_api.list_accounts": Scope.ROUTING_READ,
    "request_logs_api.list_all": Scope.LOGS_READ,
    "request_logs_api.read": Scope.LOGS_READ,
    "test_helpers_api.begin": Scope.CHARGES_WRITE,
    "test_helpers_api.pay": Scope.CHARGES_WRITE,
    "test_helpers_api.decline": Scope.CHARGES_WRITE,
    "test_helpers_api.expire": Scope.CHARGES_WRITE,
    "test_helpers_api.pull_lever": Scope.CHARGES_WRITE,
    "code_test_helpers_api.go_quiet": Scope.CODES_WRITE,
    "keys_api.create": Scope.KEYS_WRITE,
    "keys_api.read": Scope.KEYS_READ,
    "keys_api.list_all": Scope.KEYS_READ,
    "keys_api.update": Scope.KEYS_WRITE,
    "keys_api.roll": Scope.KEYS_WRITE,
    "keys_api.revoke": Scope.KEYS_WRITE,
}


# Addresses that make many things at once, or one that takes half a second: few calls of them are many
# calls of the others.
BATCHES: frozenset[str] = frozenset(
    {
        "batch_api.create",
        "qr_codes_api.create_series",
        "qr_code_prints_api.draw",
        "qr_code_prints_api.draw_series",
        "risk_api.try_rule",
    }
)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names, each with what it implies.  Pure.  Raises InvalidRequest."""
    known = {scope.value: scope for scope in Scope}
    chosen = set()
    for name in names:
        if name not in known:
            raise InvalidRequest(f"{name[:40]!r} is not a scope", code="unknown_scope", param="scopes")
        chosen.add(known[name])
    if not chosen:
        raise InvalidRequest("a restricted key has at least one scope", param="scopes")
    return frozenset(chosen | {read for scope in chosen if (read := _reading(scope)) is not None})


def stored(scopes: frozenset[Scope]) -> str:
    """For the table: ``"charges:read,charges:write"``, in the order of the enumeration.  Pure."""
    return ",".join(scope for scope in Scope if scope in scopes)


def read_stored(text: str | None) -> frozenset[Scope]:
    """The way back; None is a full key.  A scope that is gone from the code grants nothing.  Pure."""
    if text is None:
        return ALL
    names = set(text.split(","))
    return frozenset(scope for scope in Scope if scope in names)


def _reading(scope: Scope) -> Scope | None:
    wanted = f"{scope.partition(':')[0]}:read"
    return next((each for each in Scope if each == wanted), None)
