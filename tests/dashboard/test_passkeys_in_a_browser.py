"""Passkeys in Chromium, whose virtual authenticator plays the device: added, used at both doors, removed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from app.errors import NotAuthenticated
from app.merchants import passkeys
from app.merchants.models import AuditEntry, Passkey, PasskeyChallenge
from app.merchants.sessions import PROOF_LIFE, Browser
from tests import books
from tests.conftest import Shop
from tests.dashboard.test_in_a_browser import ARGUMENTS, CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The application under a name: a passkey is bound to one, and an IP address is none."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    mine, here = app.extensions["mafu.runtime"], f"http://localhost:{server.server_port}"
    app.extensions["mafu.runtime"] = replace(
        mine, settings=mine.settings.model_copy(update={"base_url": here})
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield here
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    """A browser with a device that knows its user.  A page that breaks its own policy fails the test."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_context(base_url=address, locale="en-US").new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "console",
            lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None,
        )
        devices = opened.context.new_cdp_session(opened)
        devices.send("WebAuthn.enable")
        device = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        devices.send("WebAuthn.addVirtualAuthenticator", {"options": device})
        yield opened
        browser.close()
    assert complaints == []


def test_a_passkey_is_added_opens_the_door_proves_and_is_removed(
    page: Page, address: str, merchant: Shop, at
) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(merchant.email)
    page.get_by_label("Password").fill(merchant.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto("/security")
    page.get_by_label("Name").fill("my phone")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    [row] = books.rows_of(Passkey)
    assert (row.user_id, row.name) == (merchant.user_id, "my phone")

    # A password alone opens the door no more; the passkey alone does.
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_label("E-mail address").fill(merchant.email)
    page.get_by_label("Password").fill(merchant.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    answers: list[str] = []
    page.on("request", lambda sent: answers.append(_passkey_in(sent.post_data or "")))
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{address}/")
    page.context.clear_cookies()
    page.goto("/sign-in?next=/keys")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{address}/keys")

    # What was sent once opens nothing the second time, nor with a letter changed.
    [sent] = [answer for answer in answers if answer][:1]
    for forged in (sent, sent.replace('"signature":"M', '"signature":"N'), "{}", "x", "[1]"):
        with pytest.raises(NotAuthenticated):
            passkeys.sign_in(forged, Browser())
    assert len(books.rows_of(PasskeyChallenge)) == 3

    # It proves, too, and the form goes on.
    at(PROOF_LIFE + timedelta(seconds=1))
    page.get_by_label("Name").fill("till")
    page.get_by_role("button", name="Create test key").click()
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Your new key")).to_be_visible()

    page.goto("/security")
    page.get_by_text("Remove…").click()
    page.get_by_role("button", name="Remove passkey").click()
    page.wait_for_url(f"{address}/security*")
    assert books.rows_of(Passkey) == []
    told = [entry.action for entry in books.rows_of(AuditEntry, object_id=merchant.user_id)]
    assert told.count("second_factor.added") == told.count("second_factor.removed") == 1


def _passkey_in(body: str) -> str:
    """The answer of the device in a form that was sent."""
    found = parse_qs(body).get("passkey", [""])[0]
    return found if found and "signature" in json.loads(found).get("response", {}) else ""
