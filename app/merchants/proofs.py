"""Showing once more who sits there, before something that must not happen at a table left alone.

Whoever has a second factor shows that one, the others their password.
"""

from __future__ import annotations

from app.db import transaction
from app.errors import NotAuthenticated
from app.merchants import guessing, passkeys, people, second_factor, sessions
from app.merchants.sessions import Browser, SignedIn


def prove(
    person: SignedIn, token: str, *, password: str = "", code: str = "", passkey: str = "", browser: Browser
) -> str:
    """The token of a session that is fresh again; the old one opens nothing any more.

    Guesses are slowed down like those at the door.  Raises NotAuthenticated, TooManyRequests.
    """
    if passkey:
        return _renewed(passkeys.prove(person, token, passkey, browser))
    if person.has_second_factor:
        return _prove_by_code(person, token, code, browser)
    people.check_password(person.email, password, address=browser.address)
    with transaction() as tx:
        return _renewed(sessions.replace(tx, token, browser))


def _prove_by_code(person: SignedIn, token: str, code: str, browser: Browser) -> str:
    mine = guessing.subject("second", person.user_id)
    guessing.refuse_if_guessing([mine])
    with transaction() as tx:
        by = person.actor(browser.address)
        if second_factor.use_code(tx, person.merchant_id, person.user_id, code, by):
            guessing.forgive(tx, mine)
            return _renewed(sessions.replace(tx, token, browser))
        guessing.note_failure(tx, [mine])
    raise NotAuthenticated("this code is wrong, or was used before", code="wrong_code")


def _renewed(token: str | None) -> str:
    if token is None:
        raise NotAuthenticated("this session has ended", code="sign_in_again")
    return token
