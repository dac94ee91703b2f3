"""Roles: a table that leaves nothing out, and the rule of who decides about whom."""

from __future__ import annotations

import pytest
from flask import Flask

from app.merchants.audit import Action
from app.merchants.audit_views import KINDS, WORDS
from app.merchants.roles import (
    FRESH,
    GRANTS,
    LANDINGS,
    ROUTES,
    SECOND_FACTOR,
    Permission,
    Role,
    landing_of,
    outranks,
    permissions_of,
)
from app.merchants.sessions import name_of_browser
from tests.dashboard.person import rules
from tests.dashboard.test_rooms import PUBLIC


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_address_of_the_dashboard_is_in_the_table_and_nothing_else(app: Flask) -> None:
    addresses = {rule.endpoint for rule in rules(app) if rule.rule not in PUBLIC}
    assert addresses == set(ROUTES)
    assert set(ROUTES) >= FRESH
    assert set(ROUTES) >= SECOND_FACTOR


def test_every_permission_is_used_by_an_address_or_a_service() -> None:
    """A shift that somebody forgot is closed where one closes one's own: ``shifts.py`` asks whose it is."""
    assert set(Permission) - set(ROUTES.values()) == {Permission.SHIFTS_ALL}


def test_who_may_change_a_thing_may_see_it() -> None:
    for role in Role:
        mine = permissions_of(role)
        for permission in mine:
            resource, _, verb = permission.partition(":")
            if verb in ("write", "approve") and f"{resource}:read" in set(Permission):
                assert f"{resource}:read" in mine, (role, permission)


def test_a_cashier_sees_charges_and_neither_gives_back_nor_sees_takings() -> None:
    assert GRANTS[Role.CASHIER] == {
        Permission.CHARGES_READ,
        Permission.CHARGES_WRITE,
        Permission.CODES_READ,
        Permission.RISK_READ,
        Permission.SHIFTS_OWN,
        Permission.OWN_ACCOUNT,
    }
    assert landing_of(Role.CASHIER) == "till.new_counter"


def test_every_role_lands_somewhere() -> None:
    assert {landing_of(role) for role in Role} == set(LANDINGS)


def test_a_role_that_is_gone_grants_nothing() -> None:
    assert permissions_of("intern") == frozenset()


@pytest.mark.parametrize(
    ("mine", "below"),
    [
        (Role.OWNER, set(Role)),
        (Role.MANAGER, {Role.CASHIER, Role.ACCOUNTANT}),
        (Role.DEVELOPER, {Role.CASHIER}),
        (Role.CASHIER, set()),
        (Role.ACCOUNTANT, set()),
    ],
)
def test_nobody_decides_about_a_role_that_grants_as_much_as_their_own(mine: Role, below: set[Role]) -> None:
    assert {role for role in Role if outranks(mine, role)} == below


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36", "Chrome · Linux"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/142.0 Mobile MicroMessenger/8.0", "WeChat · Android"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari · iPhone",
        ),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0 Safari/537.36 Edg/142.0", "Edge · Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)
def test_a_browser_is_called_what_people_call_it(agent: str, name: str) -> None:
    assert name_of_browser(agent) == name


def test_every_deed_of_the_log_has_a_name_for_people() -> None:
    assert set(WORDS) == set(Action)
    assert set(KINDS) == {action.partition(".")[0] for action in Action}
