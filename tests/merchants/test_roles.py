"""Roles: a table that leaves nothing out, and the rule of who decides about whom."""

from __future__ import annotations

import pytest
from flask import Flask

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
from tests.dashboard.person import rules
from tests.dashboard.test_rooms import PUBLIC


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_address_of_the_dashboard_is_in_the_table_and_nothing_else(app: Flask) -> None:
    addresses = {rule.endpoint for rule in rules(app) if rule.rule not in PUBLIC}
    assert addresses == set(ROUTES)
    assert set(ROUTES) >= FRESH
    assert set(ROUTES) >= SECOND_FACTOR


def test_every_permission_is_used_by_an_address_or_a_service() -> None:
    """Provider accounts have no page: their permission is asked for by ``accounts.py``."""
    assert set(Permission) - set(ROUTES.values()) == {Permission.PROVIDERS_WRITE}


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
        Permission.OWN_ACCOUNT,
    }
    assert landing_of(Role.CASHIER) == "charges.list_charges"


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
