"""``flask simulate``: a shopper without eyes, who knows nothing but addresses, pages, codes and forms.

``pay`` opens a payment link somewhere (a phone's browser, a wallet, a desktop) and pays with a wallet;
``app`` pays with the parameters that a merchant's app hands to a wallet's SDK; ``code`` holds out a
payment code.  Everything goes over
HTTP, as it would from a phone, so it works against any test mode that can be reached.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import click
from flask.cli import AppGroup, with_appcontext

from app import runtime
from app.addresses import split_url
from app.cli import demo, output, places, wallets
from app.cli.browser import Browser, Exit, GaveUp, place_of
from app.cli.pages import Form, Page
from app.cli.wallets import USER_AGENTS
from app.errors import InvalidRequest, ProviderUnreachable
from app.providers import REGISTRY

TURNS_MAX = 8  # pages on which something is to be done; the longest way has four
POLL_S = 0.5
PARAMS_CHARS_MAX = 20_000  # an order string of Alipay's has about 1,500

# What the checkout's pages carry: a wallet's code on a desktop, a bridge to call, the bar of test mode.
_CODE, _BRIDGE, _PARAMS, _TEST_BAR = "data-wallet-code", "data-bridge", "data-params", "test"
_ENDED = ("paid", "expired", "canceled", "failed", "review")
_OVER = ("paid", "expired", "canceled", "review")


@dataclass
class Shopper:
    """Somebody in one place with one wallet, who says what they do.  ``sandbox`` plays the networks."""

    browser: Browser
    place: str
    provider: str
    action: str
    sandbox: str
    tell: Callable[[str], None]

    def status(self) -> dict[str, Any]:
        """What the page's script asks for."""
        return self.browser.ask("GET", place_of(self.browser.home) + "/status")

    def offers(self, page: Page) -> Form | None:
        """The form in which this wallet can be chosen."""
        return page.form_offering("provider", self.provider)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for option in (
        output.json_option,
        click.option("--sandbox", help="The sandbox's address; the demo's if left out."),
        click.option("--decline", is_flag=True, help="Refuse in the wallet instead of approving."),
    ):
        command = option(command)
    return command


simulate_group = AppGroup("simulate", help="Play the shopper, in test mode.")


@simulate_group.command("pay")
@click.argument("url", required=False)
@click.option(
    "--provider",
    type=click.Choice(list(REGISTRY)),
    default="alipay",
    show_default=True,
    help="The wallet to pay with.",
)
@click.option(
    "--as",
    "place",
    type=click.Choice(list(USER_AGENTS)),
    default="browser",
    show_default=True,
    help="Where the link is opened: in a phone's browser, in a wallet, on a desktop.",
)
@click.option("--wait", "wait_s", default=20.0, show_default=True, help="Seconds to wait for the outcome.")
@_options
@with_appcontext
def pay_command(
    *,
    url: str | None,
    provider: str,
    place: str,
    wait_s: float,
    decline: bool,
    sandbox: str | None,
    as_json: bool,
) -> None:
    """Pay a charge in test mode as a shopper would.  URL is its payment link; the demo's if left out.

    Exit codes: 0 paid, 1 not paid, 2 typed wrongly, 3 this wallet cannot pay there; the page's advice is
    printed.
    """
    url = _address(url or _demo_link(), "URL")
    steps, tell = _teller(as_json)
    shopper = Shopper(
        Browser(url, USER_AGENTS[place]),
        place,
        provider,
        "decline" if decline else "approve",
        _sandbox(sandbox),
        tell,
    )
    try:
        status = _shop(shopper, wait_s)
        code = Exit.PAID if status == "paid" else Exit.NOT_PAID
    except (GaveUp, InvalidRequest, ProviderUnreachable) as stop:
        tell(str(stop))
        status, code = "unknown", stop.code if isinstance(stop, GaveUp) else Exit.NOT_PAID
    if as_json:
        output.say_json({"paid": code is Exit.PAID, "status": status, "url": url, "steps": steps})
    sys.exit(code)


@simulate_group.command("app")
@click.argument("provider", type=click.Choice(list(wallets.SDKS)))
@click.argument("params", type=click.File("r"), default="-")
@_options
@with_appcontext
def app_command(provider: str, params: IO[str], decline: bool, sandbox: str | None, as_json: bool) -> None:
    """Pay as a wallet opened by your app would.  PARAMS is a file, or standard input: the JSON that
    POST /v1/charges/{id}/app_params answered.

    Exit codes: 0 the wallet says "paid", 1 it does not, 2 typed wrongly.  As in your app its word proves
    nothing: ask for the charge, or wait for the webhook.
    """
    given = _app_params(params.read(PARAMS_CHARS_MAX))
    steps, tell = _teller(as_json)
    address = _sandbox(sandbox)
    is_paid = False
    try:
        phone, action = Browser("", USER_AGENTS["browser"]), "decline" if decline else "approve"
        is_paid, said = wallets.call_sdk(phone, address, provider, given, action)
        tell(f"pressed {action} in {provider}, whose SDK answered {said}")
    except (GaveUp, InvalidRequest, ProviderUnreachable) as stop:
        tell(str(stop))
    if as_json:
        output.say_json({"paid": is_paid, "steps": steps})
    sys.exit(Exit.PAID if is_paid else Exit.NOT_PAID)


@simulate_group.command("code")
@click.argument("provider", type=click.Choice(list(REGISTRY)))
@click.option("--expired", is_flag=True, help="One whose minute is over.")
@output.json_option
@click.option("--sandbox", help="The sandbox's address; the demo's if left out.")
@with_appcontext
def code_command(provider: str, *, expired: bool, as_json: bool, sandbox: str | None) -> None:
    """Print a payment code as the shopper's wallet shows it, for a till to scan within a minute.

    Exit codes: 0, 1 no sandbox answers, 2 typed wrongly.
    """
    phone, address = Browser("", USER_AGENTS["browser"]), _sandbox(sandbox)
    wish = {"network": provider, "expired": expired}
    try:
        made = phone.ask("POST", f"{address}/control/pay_codes", wish)
    except (GaveUp, InvalidRequest, ProviderUnreachable) as stop:
        output.say(str(stop))
        sys.exit(Exit.NOT_PAID)
    if as_json:
        output.say_json({"provider": provider, "code": made["code"], "good_for_s": made["good_for_s"]})
    else:
        output.say(made["code"])


def _shop(shopper: Shopper, wait_s: float) -> str:
    """From the link to the outcome; the charge's last status."""
    page = shopper.browser.open(shopper.browser.home)
    if _TEST_BAR not in page.classes:
        raise GaveUp("this is not a checkout in test mode: nothing was sent")
    shopper.tell(f"opened {shopper.browser.home}")
    news = shopper.status()
    if news["status"] in _OVER:
        shopper.tell(f"the charge is {news['status']} already")
        return str(news["status"])
    under_way = (news.get("attempt") or {}).get("provider")
    if shopper.offers(page) is None and under_way != shopper.provider:
        _read_advice(shopper)
    _go_on(shopper, page)
    # Declining changes nothing here: the wallet would let the shopper try again.
    return _await(shopper, 0.0 if shopper.action == "decline" else wait_s)


def _go_on(shopper: Shopper, page: Page) -> None:
    """From the checkout to the wallet and back, whatever the pages ask for on the way."""
    has_chosen = False
    for _ in range(TURNS_MAX):
        sheet, wish = page.form_offering("action", shopper.action), shopper.offers(page)
        if sheet is not None:
            return _press(shopper, sheet)
        if _CODE in page.marks and (has_chosen or wish is None):
            page = _scan(shopper, page.marks[_CODE])
        elif _BRIDGE in page.marks and (has_chosen or wish is None):
            return _call_bridge(shopper, page)
        elif page.onward is not None and (has_chosen or wish is None):
            page = shopper.browser.submit(page.onward, page.onward.onward or {})
            shopper.tell(f"was sent on to {place_of(page.address)}")
        elif wish is not None and not has_chosen:
            page = shopper.browser.submit(wish, {"provider": shopper.provider})
            shopper.tell(f"chose {shopper.provider}, and came to {place_of(page.address)}")
            has_chosen = True
        else:
            raise GaveUp(f"{place_of(page.address)} has no button to {shopper.action}")
    raise GaveUp(f"after {TURNS_MAX} pages there is still nothing to {shopper.action}")


def _press(shopper: Shopper, sheet: Form) -> None:
    """The wallet's pay sheet, and the way back to the shop that it offers."""
    page = shopper.browser.submit(sheet, {"action": shopper.action})
    shopper.tell(f"pressed {shopper.action}, and came to {place_of(page.address)}")
    shop = urlsplit(shopper.browser.home).netloc
    back = next((form for form in page.forms if urlsplit(form.address).netloc == shop), None)
    if back is not None and urlsplit(page.address).netloc != shop:
        page = shopper.browser.submit(back, {})
        shopper.tell(f"went back to {place_of(page.address)}")


def _scan(shopper: Shopper, code: str) -> Page:
    """Take out the phone, and read the code on the screen with the wallet's camera."""
    app = wallets.CAMERAS[shopper.provider]
    phone = Browser(shopper.browser.home, USER_AGENTS[app], shopper.browser.client)
    page = phone.open(wallets.address_in(code, shopper.sandbox))
    shopper.tell(f"scanned the code with {app}, and came to {place_of(page.address)}")
    return page


def _call_bridge(shopper: Shopper, page: Page) -> None:
    name, params = page.marks[_BRIDGE], json.loads(page.marks.get(_PARAMS, "{}"))
    said = wallets.call_bridge(shopper.browser, shopper.sandbox, shopper.place, name, params, shopper.action)
    shopper.tell(f"pressed {shopper.action} in the sheet of {name}, which answered {said}")


def _read_advice(shopper: Shopper) -> None:
    """The help screen, read aloud.  Raises GaveUp, always."""
    parts = urlsplit(shopper.browser.home)
    more = urlencode({"how": shopper.provider})
    query = f"{parts.query}&{more}" if parts.query else more
    page = shopper.browser.open(urlunsplit(parts._replace(query=query)))
    for line in page.words:
        shopper.tell(f"read: {line}")
    raise GaveUp(f"{shopper.provider} cannot pay here; the page tells how to go on", Exit.NO_WAY)


def _await(shopper: Shopper, wait_s: float) -> str:
    deadline_s = time.monotonic() + wait_s
    status = str(shopper.status()["status"])
    while status not in _ENDED and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        status = str(shopper.status()["status"])
    shopper.tell(f"the charge is {status}")
    return status


def _teller(as_json: bool) -> tuple[list[str], Callable[[str], None]]:
    """The steps so far, and how to say one more."""
    steps: list[str] = []

    def tell(step: str) -> None:
        steps.append(step)
        if not as_json:
            output.say(f"{len(steps)}. {step}")

    return steps, tell


def _address(url: str, name: str) -> str:
    try:
        split_url(url)
    except InvalidRequest as error:
        raise click.UsageError(f"{name} {error.detail}") from None
    return url


def _sandbox(given: str | None) -> str:
    """The one that was named; the running demo's, whatever this terminal's SANDBOX_PORT; the usual one."""
    settings = runtime.settings()
    running = demo.load(settings)
    usual = running.sandbox_url if running else places.places_of(settings).near_sandbox_url
    return _address(given or usual, "--sandbox").rstrip("/")


def _app_params(text: str) -> dict[str, Any]:
    """The parameters, alone or in the answer that the API gave."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("params"), dict):
        found = found["params"]
    if not isinstance(found, dict):
        raise click.UsageError("PARAMS is not the JSON object that app_params answered")
    return found


def _demo_link() -> str:
    found = demo.load(runtime.settings())
    if found is None:
        raise click.UsageError("name a payment link; there is no demo in this data folder")
    return found.charge_url
