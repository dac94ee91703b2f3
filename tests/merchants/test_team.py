"""The team: invitations that work once, roles that nobody gives above their own, an owner who stays."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest

from app.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, PermissionDenied
from app.merchants import people, sessions, team
from app.merchants.actor import SERVER, Actor
from app.merchants.models import AuditEntry, Invitation, User
from app.merchants.roles import Role, permissions_of
from app.merchants.sessions import Browser
from app.merchants.team import NewPerson
from tests.books import row_of, rows_of

PASSWORD = "another good password"
HERE = Browser("198.51.100.7", "Firefox")
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def hire(shop, role: str, email: str | None = None) -> Actor:
    """Somebody of this role in the team, who may do what that grants."""
    email = email or f"{role}@team.example"
    token = team.invite(shop.id, NewPerson.of(email, role.title(), role), by=SERVER)
    person = sessions.who_is(team.join(token, PASSWORD, HERE))
    assert person is not None
    return person.actor(HERE.address)


@one_database
def test_an_invitation_makes_one_person_of_its_role_and_signs_them_in(merchant):
    token = team.invite(merchant.id, NewPerson.of(" Zhang@Cafe.example ", "张三", "manager"), by=SERVER)
    assert token not in str(rows_of(Invitation))
    person = sessions.who_is(team.join(token, PASSWORD, HERE))
    assert (person.email, person.name, person.role) == ("zhang@cafe.example", "张三", "manager")
    assert people.sign_in("zhang@cafe.example", PASSWORD, address="x")
    with pytest.raises(NotAuthenticated):
        team.join(token, PASSWORD, HERE)


def test_an_invitation_used_by_eight_at_once_makes_one_person(app, merchant):
    token = team.invite(merchant.id, NewPerson.of("li@cafe.example", "李四", "cashier"), by=SERVER)
    barrier, won = threading.Barrier(8), []

    def use() -> None:
        barrier.wait(timeout=30)
        with app.app_context():
            try:
                won.append(bool(team.join(token, PASSWORD, HERE)))
            except (NotAuthenticated, Conflict):
                won.append(False)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert Counter(won) == {True: 1, False: 7}


@one_database
def test_an_invitation_ends_by_time_by_withdrawal_and_by_a_newer_one(merchant, at):
    new = NewPerson.of("li@cafe.example", "李四", "cashier")
    first, second = (team.invite(merchant.id, new, by=SERVER) for _ in range(2))
    assert team.find_invitation(first) is None
    assert team.find_invitation(second).email == new.email
    team.withdraw(merchant.id, team.list_invitations(merchant.id)[0].id, by=SERVER)
    assert team.find_invitation(second) is None
    third = team.invite(merchant.id, new, by=SERVER)
    at(team.INVITATION_LIFE + timedelta(seconds=1))
    for token in (first, second, third, "", "x" * 5000, "\x00"):
        with pytest.raises(NotAuthenticated):
            team.join(token, PASSWORD, HERE)


@one_database
def test_only_who_has_the_link_learns_that_an_address_is_known_elsewhere(merchant, other_merchant):
    new = NewPerson.of(other_merchant.email, "王五", "cashier")
    token = team.invite(merchant.id, new, by=SERVER)  # as for anybody
    with pytest.raises(Conflict) as caught:
        team.join(token, PASSWORD, HERE)
    assert caught.value.code == "email_taken"
    assert team.find_invitation(token) is not None  # and nothing is spent


@one_database
def test_a_password_that_is_too_short_does_not_spend_an_invitation(merchant):
    token = team.invite(merchant.id, NewPerson.of("li@cafe.example", "李四", "cashier"), by=SERVER)
    with pytest.raises(InvalidRequest):
        team.join(token, "short", HERE)
    assert team.join(token, PASSWORD, HERE)


@one_database
def test_nobody_gives_or_takes_a_role_above_their_own(merchant):
    """Every pair of roles: inviting, promoting, resetting and ending follow one rule."""
    may = {(Role.OWNER, other) for other in Role} | {
        (Role.MANAGER, Role.CASHIER),
        (Role.MANAGER, Role.ACCOUNTANT),
    }
    actors, targets = ({role: hire(merchant, role, f"{n}{role}@x.example") for role in Role} for n in "ab")
    novice = hire(merchant, "cashier")
    for mine in Role:
        for other in Role:
            by, target = actors[mine], targets[other].user_id
            new = NewPerson.of(f"new-{mine}-{other}@x.example", "x", other)
            for name, act in {
                "invite": lambda by=by, new=new: team.invite(merchant.id, new, by=by),
                "reset": lambda by=by, target=target: team.make_reset_link(merchant.id, target, by=by),
                "end": lambda by=by, target=target: team.deactivate(merchant.id, target, by=by),
                "bring back": lambda by=by, target=target: team.reactivate(merchant.id, target, by=by),
                "promote": lambda by=by, other=other: team.change_role(
                    merchant.id, novice.user_id, other, by=by
                ),
            }.items():
                assert allows(act) == ((mine, other) in may), (mine, name, other)
            team.change_role(merchant.id, novice.user_id, "cashier", by=SERVER)


def allows(act) -> bool:
    try:
        act()
    except PermissionDenied:
        return False
    return True


@one_database
def test_nobody_changes_their_own_place(merchant):
    owner = Actor(merchant.email, permissions_of("owner"), "owner", merchant.user_id)
    hire(merchant, "owner")
    for act in (
        lambda: team.change_role(merchant.id, merchant.user_id, "cashier", by=owner),
        lambda: team.deactivate(merchant.id, merchant.user_id, by=owner),
        lambda: team.make_reset_link(merchant.id, merchant.user_id, by=owner),
    ):
        with pytest.raises(PermissionDenied):
            act()


@one_database
def test_the_last_owner_stays(merchant):
    for act in (
        lambda: team.change_role(merchant.id, merchant.user_id, "manager", by=SERVER),
        lambda: team.deactivate(merchant.id, merchant.user_id, by=SERVER),
    ):
        with pytest.raises(Conflict) as caught:
            act()
        assert caught.value.code == "last_owner"


def test_two_owners_who_end_each_other_leave_one(app, merchant):
    second = hire(merchant, "owner")
    first = Actor(merchant.email, permissions_of("owner"), "owner", merchant.user_id)
    pairs = [(first, second), (second, first)]
    barrier = threading.Barrier(2)

    def end(by: Actor, other: Actor) -> None:
        barrier.wait(timeout=30)
        with app.app_context():
            try:
                team.deactivate(merchant.id, other.user_id, by=by)
            except Conflict:
                pass

    threads = [threading.Thread(target=end, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum(row.deactivated_at is None for row in rows_of(User)) == 1


@one_database
def test_another_shops_people_do_not_exist(merchant, other_merchant):
    for act in (team.deactivate, team.reactivate, team.make_reset_link):
        with pytest.raises(NotFound):
            act(merchant.id, other_merchant.user_id, by=SERVER)


@one_database
def test_a_deactivated_person_is_out_at_once_and_comes_back_with_what_they_had(merchant):
    cashier = hire(merchant, "cashier")
    token = people.sign_in(cashier.name, PASSWORD, address="x")
    link = people.make_sign_in_link(merchant.id, cashier.user_id)
    reset = team.make_reset_link(merchant.id, cashier.user_id)
    team.deactivate(merchant.id, cashier.user_id, by=SERVER)
    assert sessions.who_is(token) is None
    with pytest.raises(NotAuthenticated, match="the e-mail address or the password is wrong"):
        people.sign_in(cashier.name, PASSWORD, address="x")
    with pytest.raises(NotAuthenticated):
        people.use_sign_in_link(link)
    with pytest.raises(NotAuthenticated):
        people.use_reset_link(reset, PASSWORD, address="x")
    team.reactivate(merchant.id, cashier.user_id, by=SERVER)
    assert people.sign_in(cashier.name, PASSWORD, address="x")


@one_database
def test_another_role_ends_the_sessions_of_the_old_one(merchant):
    cashier = hire(merchant, "cashier")
    token = people.sign_in(cashier.name, PASSWORD, address="x")
    team.change_role(merchant.id, cashier.user_id, "manager", by=SERVER)
    assert sessions.who_is(token) is None
    assert row_of(AuditEntry, action="person.role_changed").after == '{"role": "manager"}'


@one_database
def test_a_reset_link_sets_a_password_once_and_opens_no_door(merchant):
    link = team.make_reset_link(merchant.id, merchant.user_id)
    with pytest.raises(NotAuthenticated):
        people.use_sign_in_link(link)
    with pytest.raises(InvalidRequest):
        people.use_reset_link(link, "short", address="x")
    people.use_reset_link(link, PASSWORD, address="x")
    with pytest.raises(NotAuthenticated):
        people.use_reset_link(link, "yet another password", address="x")
    assert people.sign_in(merchant.email, PASSWORD, address="x")
