"""What a person may do: five roles, one permission for each kind of deed, and one for every address.

GRANTS and ROUTES are the whole of it on one page.  An address of the dashboard that is not listed is
open to nobody, so that a new one cannot be forgotten.  Services ask an ``Actor`` for the same permissions,
so that a rule holds whichever face asks.
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """Permission for one kind of deed.  What is not named here nobody may do at the dashboard."""

    HOME_READ = "home:read"  # takings
    CHARGES_READ = "charges:read"
    CHARGES_WRITE = "charges:write"
    CODES_READ = "codes:read"  # printed ones, and the stores that they hang in
    CODES_WRITE = "codes:write"
    REFUNDS_READ = "refunds:read"
    REFUNDS_WRITE = "refunds:write"
    REFUNDS_APPROVE = "refunds:approve"
    SHIFTS_OWN = "shifts:own"  # open, see and close one's own
    SHIFTS_READ = "shifts:read"  # everybody's
    SHIFTS_ALL = "shifts:all"  # close one that somebody forgot
    UNCLAIMED_READ = "unclaimed:read"
    UNCLAIMED_WRITE = "unclaimed:write"
    LEDGER_READ = "ledger:read"  # balances, statements, entries
    RECONCILIATION_READ = "reconciliation:read"  # bills, statements, discrepancies
    RECONCILIATION_WRITE = "reconciliation:write"  # resolve, upload a bill, have a day read again
    MEMBERS_READ = "members:read"  # of the merchant's app: who they are and what they have to spend
    MEMBERS_WRITE = "members:write"  # add, rename, block; what is given on top of a top-up
    MEMBERS_ADJUST = "members:adjust"  # give and take by hand
    INCIDENTS_READ = "incidents:read"
    INCIDENTS_WRITE = "incidents:write"
    RISK_READ = "risk:read"  # what the rules about payments decided, and why
    RISK_WRITE = "risk:write"  # the rules, and who may pay all the same
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    LOGS_READ = "logs:read"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    POLICY_WRITE = "policy:write"  # limits and the second factor: what protects the shop from its people
    PROVIDERS_WRITE = "providers:write"
    TEAM_READ = "team:read"
    TEAM_WRITE = "team:write"
    AUDIT_READ = "audit:read"
    OWN_ACCOUNT = "account:own"  # one's own password, sessions, second factor


class Role(StrEnum):
    """What a person is in a shop."""

    OWNER = "owner"
    MANAGER = "manager"
    CASHIER = "cashier"
    DEVELOPER = "developer"
    ACCOUNTANT = "accountant"


_P = Permission
# An accountant also resolves discrepancies: whoever finds out why the books differ says so.
_READ_BOOKS = {
    *(_P.HOME_READ, _P.CHARGES_READ, _P.REFUNDS_READ, _P.UNCLAIMED_READ, _P.INCIDENTS_READ),
    *(_P.LEDGER_READ, _P.RECONCILIATION_READ, _P.RECONCILIATION_WRITE),
    _P.LEDGER_READ,
    _P.MEMBERS_READ,
    _P.RISK_READ,
}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.MANAGER: frozenset(
        _READ_BOOKS
        | {
            _P.CHARGES_WRITE,
            _P.CODES_READ,
            _P.CODES_WRITE,
            _P.REFUNDS_WRITE,
            _P.REFUNDS_APPROVE,
            _P.SHIFTS_OWN,
            _P.SHIFTS_READ,
            _P.SHIFTS_ALL,
            _P.UNCLAIMED_WRITE,
            _P.MEMBERS_WRITE,
            _P.MEMBERS_ADJUST,
            _P.INCIDENTS_WRITE,
            _P.RISK_WRITE,
            _P.WEBHOOKS_READ,
            _P.SETTINGS_READ,
            _P.SETTINGS_WRITE,
            _P.TEAM_READ,
            _P.TEAM_WRITE,
            _P.AUDIT_READ,
            _P.OWN_ACCOUNT,
        }
    ),
    Role.CASHIER: frozenset(
        {_P.CHARGES_READ, _P.CHARGES_WRITE, _P.CODES_READ, _P.RISK_READ, _P.SHIFTS_OWN, _P.OWN_ACCOUNT}
    ),
    Role.DEVELOPER: frozenset(
        {
            _P.HOME_READ,
            _P.CHARGES_READ,
            _P.CHARGES_WRITE,
            _P.CODES_READ,
            _P.REFUNDS_READ,
            _P.MEMBERS_READ,
            _P.RISK_READ,
            _P.SHIFTS_OWN,
            _P.WEBHOOKS_READ,
            _P.WEBHOOKS_WRITE,
            _P.KEYS_READ,
            _P.KEYS_WRITE,
            _P.LOGS_READ,
            _P.OWN_ACCOUNT,
        }
    ),
    Role.ACCOUNTANT: frozenset(_READ_BOOKS | {_P.CODES_READ, _P.SHIFTS_READ, _P.AUDIT_READ, _P.OWN_ACCOUNT}),
}

# Flask's name of an address -> what a person needs for it.
ROUTES: dict[str, Permission] = {
    "merchants.home": _P.HOME_READ,
    "merchants.show_settings": _P.SETTINGS_READ,
    "merchants.save_settings": _P.SETTINGS_WRITE,
    "merchants.sign_out": _P.OWN_ACCOUNT,
    "security.show": _P.OWN_ACCOUNT,
    "security.change_password": _P.OWN_ACCOUNT,
    "security.end_session": _P.OWN_ACCOUNT,
    "security.end_sessions": _P.OWN_ACCOUNT,
    "security.set_up_totp": _P.OWN_ACCOUNT,
    "security.confirm_totp": _P.OWN_ACCOUNT,
    "security.drop_totp": _P.OWN_ACCOUNT,
    "security.renew_recovery_codes": _P.OWN_ACCOUNT,
    "security.add_passkey": _P.OWN_ACCOUNT,
    "security.remove_passkey": _P.OWN_ACCOUNT,
    "branding.show": _P.SETTINGS_READ,
    "branding.save": _P.SETTINGS_WRITE,
    "branding.stand": _P.SETTINGS_READ,
    "provider_accounts.list_accounts": _P.PROVIDERS_WRITE,
    "provider_accounts.new_account": _P.PROVIDERS_WRITE,
    "provider_accounts.add_account": _P.PROVIDERS_WRITE,
    "provider_accounts.edit_account": _P.PROVIDERS_WRITE,
    "provider_accounts.change_account": _P.PROVIDERS_WRITE,
    "provider_accounts.try_account": _P.PROVIDERS_WRITE,
    "provider_accounts.enable_account": _P.PROVIDERS_WRITE,
    "provider_accounts.disable_account": _P.PROVIDERS_WRITE,
    "routing.show": _P.PROVIDERS_WRITE,
    "routing.new_rule": _P.PROVIDERS_WRITE,
    "routing.add_rule": _P.PROVIDERS_WRITE,
    "routing.edit_rule": _P.PROVIDERS_WRITE,
    "routing.change_rule": _P.PROVIDERS_WRITE,
    "routing.move_rule": _P.PROVIDERS_WRITE,
    "routing.switch_rule": _P.PROVIDERS_WRITE,
    "routing.delete_rule": _P.PROVIDERS_WRITE,
    "policy.show": _P.SETTINGS_READ,
    "policy.save": _P.POLICY_WRITE,
    "team.list_people": _P.TEAM_READ,
    "team.invite": _P.TEAM_WRITE,
    "team.withdraw": _P.TEAM_WRITE,
    "team.change_role": _P.TEAM_WRITE,
    "team.deactivate": _P.TEAM_WRITE,
    "team.reactivate": _P.TEAM_WRITE,
    "team.reset_password": _P.TEAM_WRITE,
    "audit.list_entries": _P.AUDIT_READ,
    "audit.export": _P.AUDIT_READ,
    "keys.list_keys": _P.KEYS_READ,
    "keys.create_key": _P.KEYS_WRITE,
    "keys.roll_key": _P.KEYS_WRITE,
    "keys.revoke_key": _P.KEYS_WRITE,
    "request_logs.list_calls": _P.LOGS_READ,
    "request_logs.show_call": _P.LOGS_READ,
    "charges.list_charges": _P.CHARGES_READ,
    "charges.new_charge": _P.CHARGES_WRITE,
    "charges.create_charge": _P.CHARGES_WRITE,
    "charges.show": _P.CHARGES_READ,
    "charges.cancel": _P.CHARGES_WRITE,
    "charges.ask": _P.CHARGES_WRITE,
    "lists.export_charges": _P.CHARGES_READ,
    "lists.save_view": _P.OWN_ACCOUNT,
    "lists.delete_view": _P.OWN_ACCOUNT,
    "charges.qr_svg": _P.CHARGES_READ,
    "charges.qr_png": _P.CHARGES_READ,
    "till.new_counter": _P.CHARGES_WRITE,
    "till.open_counter": _P.CHARGES_WRITE,
    "till.show_counter": _P.CHARGES_WRITE,
    "till.cancel_counter": _P.CHARGES_WRITE,
    "till.new_cashier": _P.CHARGES_WRITE,
    "till.open_cashier": _P.CHARGES_WRITE,
    "till.show_cashier": _P.CHARGES_WRITE,
    "till.take_code": _P.CHARGES_WRITE,
    "till.give_up": _P.CHARGES_WRITE,
    "till.cancel_cashier": _P.CHARGES_WRITE,
    "till.state": _P.CHARGES_WRITE,
    # The list and one of it are one's own for who may not see everybody's: shifts.py looks.
    "shifts.list_shifts": _P.CHARGES_READ,
    "shifts.show": _P.CHARGES_READ,
    "shifts.print_shift": _P.CHARGES_READ,
    "shifts.export": _P.CHARGES_READ,
    "shifts.open_one": _P.SHIFTS_OWN,
    "shifts.close_one": _P.SHIFTS_OWN,
    "shifts.show_day": _P.SHIFTS_READ,
    "simulator.new": _P.CHARGES_WRITE,
    "simulator.start": _P.CHARGES_WRITE,
    "simulator.show": _P.CHARGES_WRITE,
    "simulator.act": _P.CHARGES_WRITE,
    "printing.show": _P.CHARGES_READ,
    "printing.draw": _P.CHARGES_READ,
    "printing.calibrate": _P.CHARGES_READ,
    "codes.list_codes": _P.CODES_READ,
    "codes.new_code": _P.CODES_WRITE,
    "codes.create_code": _P.CODES_WRITE,
    "codes.new_series": _P.CODES_WRITE,
    "codes.create_series": _P.CODES_WRITE,
    "codes.show": _P.CODES_READ,
    "codes.edit": _P.CODES_WRITE,
    "codes.change": _P.CODES_WRITE,
    "codes.disable": _P.CODES_WRITE,
    "codes.enable": _P.CODES_WRITE,
    "codes.qr_svg": _P.CODES_READ,
    "codes.qr_png": _P.CODES_READ,
    "code_printing.show": _P.CODES_READ,
    "code_printing.draw": _P.CODES_READ,
    "code_printing.show_series": _P.CODES_READ,
    "code_printing.draw_series": _P.CODES_READ,
    "stores.list_stores": _P.CODES_READ,
    "stores.create_store": _P.CODES_WRITE,
    "stores.edit_store": _P.CODES_WRITE,
    "stores.change_store": _P.CODES_WRITE,
    "charges.callbacks": _P.CHARGES_READ,
    "charges.list_unclaimed": _P.UNCLAIMED_READ,
    "charges.accept_unclaimed": _P.UNCLAIMED_WRITE,
    "charges.match_unclaimed": _P.UNCLAIMED_WRITE,
    "charges.refund_unclaimed": _P.UNCLAIMED_WRITE,
    "charges.set_aside_unclaimed": _P.UNCLAIMED_WRITE,
    "charges.list_incidents": _P.INCIDENTS_READ,
    "charges.resolve_incident": _P.INCIDENTS_WRITE,
    "risk.list_rules": _P.RISK_READ,
    "risk.show_rule": _P.RISK_READ,
    "risk.new_rule": _P.RISK_WRITE,
    "risk.create_rule": _P.RISK_WRITE,
    "risk.edit_rule": _P.RISK_WRITE,
    "risk.replace_rule": _P.RISK_WRITE,
    "risk.end_rule": _P.RISK_WRITE,
    "risk.list_reviews": _P.RISK_READ,
    "risk.release": _P.RISK_WRITE,
    "risk.refuse": _P.RISK_WRITE,
    "risk.list_decisions": _P.RISK_READ,
    "ledger.show": _P.LEDGER_READ,
    "statements.download_csv": _P.LEDGER_READ,
    "statements.download_pdf": _P.LEDGER_READ,
    "ledger.add_rate": _P.PROVIDERS_WRITE,
    "reconciliation.list_days": _P.RECONCILIATION_READ,
    "reconciliation.show_day": _P.RECONCILIATION_READ,
    "reconciliation.upload": _P.RECONCILIATION_WRITE,
    "reconciliation.again": _P.RECONCILIATION_WRITE,
    "reconciliation.download_bill": _P.RECONCILIATION_READ,
    "reconciliation_papers.download_pdf": _P.RECONCILIATION_READ,
    "reconciliation_papers.download_csv": _P.RECONCILIATION_READ,
    "reconciliation_papers.download_json": _P.RECONCILIATION_READ,
    "discrepancies.list_items": _P.RECONCILIATION_READ,
    "discrepancies.show": _P.RECONCILIATION_READ,
    "discrepancies.change": _P.RECONCILIATION_WRITE,
    "discrepancies.resolve": _P.RECONCILIATION_WRITE,
    "discrepancies.resolve_all": _P.RECONCILIATION_WRITE,
    "discrepancies.reopen": _P.RECONCILIATION_WRITE,
    "members.list_members": _P.MEMBERS_READ,
    "members.add_member": _P.MEMBERS_WRITE,
    "members.show": _P.MEMBERS_READ,
    "members.change": _P.MEMBERS_WRITE,
    "members.block": _P.MEMBERS_WRITE,
    "members.unblock": _P.MEMBERS_WRITE,
    "members.adjust": _P.MEMBERS_ADJUST,
    "members.export": _P.MEMBERS_READ,
    "members.show_rules": _P.MEMBERS_READ,
    "members.add_rule": _P.MEMBERS_WRITE,
    "members.withdraw_rule": _P.MEMBERS_WRITE,
    "batch.show": _P.CHARGES_WRITE,
    "batch.upload": _P.CHARGES_WRITE,
    "refunds.list_refunds": _P.REFUNDS_READ,
    "refunds.new_refund": _P.REFUNDS_WRITE,
    "refunds.create_refund": _P.REFUNDS_WRITE,
    "refunds.try_again": _P.REFUNDS_WRITE,
    "refunds.approve": _P.REFUNDS_APPROVE,
    "refunds.decline": _P.REFUNDS_APPROVE,
    "webhooks.list_endpoints": _P.WEBHOOKS_READ,
    "webhooks.create_endpoint": _P.WEBHOOKS_WRITE,
    "webhooks.show_endpoint": _P.WEBHOOKS_READ,
    "webhooks.change_endpoint": _P.WEBHOOKS_WRITE,
    "webhooks.rotate_secret": _P.WEBHOOKS_WRITE,
    "webhooks.disable_endpoint": _P.WEBHOOKS_WRITE,
    "webhooks.enable_endpoint": _P.WEBHOOKS_WRITE,
    "webhooks.delete_endpoint": _P.WEBHOOKS_WRITE,
    "webhooks.replay_events": _P.WEBHOOKS_WRITE,
    "webhooks.ping": _P.WEBHOOKS_WRITE,
    "webhooks.list_events": _P.WEBHOOKS_READ,
    "webhooks.show_event": _P.WEBHOOKS_READ,
    "webhooks.resend": _P.WEBHOOKS_WRITE,
    "epay.show": _P.KEYS_READ,
    "epay.enable": _P.KEYS_WRITE,
    "epay.disable": _P.KEYS_WRITE,
    "epay.rotate": _P.KEYS_WRITE,
    "epay.allow_refunds": _P.KEYS_WRITE,
    "epay.show_order": _P.CHARGES_READ,
    "epay.resend": _P.CHARGES_WRITE,
}

# Addresses that want to see, within the last minutes, that it is still the same person who sits there.
FRESH: frozenset[str] = frozenset(
    {
        "keys.create_key",
        "keys.roll_key",
        "epay.enable",
        "epay.rotate",
        "epay.allow_refunds",
        "refunds.create_refund",
        "refunds.try_again",
        "refunds.approve",
        "charges.refund_unclaimed",
        "webhooks.create_endpoint",
        "webhooks.change_endpoint",
        "webhooks.rotate_secret",
        "team.invite",
        "team.change_role",
        "team.deactivate",
        "team.reactivate",
        "team.reset_password",
        "policy.save",
        "members.adjust",
        "risk.create_rule",
        "risk.replace_rule",
        "risk.end_rule",
        "risk.release",
        "provider_accounts.add_account",
        "provider_accounts.change_account",
        "provider_accounts.enable_account",
        "provider_accounts.disable_account",
        "routing.add_rule",
        "routing.change_rule",
        "routing.move_rule",
        "routing.switch_rule",
        "routing.delete_rule",
        "security.set_up_totp",
        "security.drop_totp",
        "security.renew_recovery_codes",
        "security.add_passkey",
        "security.remove_passkey",
    }
)
# Those of them that a merchant can close to whoever has no second factor.
SECOND_FACTOR: frozenset[str] = frozenset(
    {
        "keys.create_key",
        "keys.roll_key",
        "refunds.new_refund",  # the form, so that nobody fills it in for nothing
        "refunds.create_refund",
        "refunds.try_again",
        "refunds.approve",
        "charges.refund_unclaimed",
    }
)
# Where a person lands: the first of these that they may see.
LANDINGS = ("merchants.home", "till.new_counter")


def permissions_of(role: str) -> frozenset[Permission]:
    """What a stored role grants; one that is gone from the code grants nothing.  Pure."""
    return GRANTS[Role(role)] if role in set(Role) else frozenset()


def outranks(mine: str, other: str) -> bool:
    """Whether a person of role ``mine`` may give, change and end role ``other``.  Pure.

    Only what grants strictly less than one's own, or else two managers of one hand could approve each
    other's refunds; owners alone are equals.
    """
    return mine == Role.OWNER or permissions_of(other) < permissions_of(mine)


def landing_of(role: str) -> str:
    """Flask's name of the page on which this role begins.  Pure."""
    return next(place for place in LANDINGS if ROUTES[place] in permissions_of(role))
