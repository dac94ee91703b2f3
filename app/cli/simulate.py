"""``flask simulate pay``: a shopper without eyes, who knows nothing but addresses, pages and forms.

Everything goes over HTTP, as it would from a phone, so it works against any test mode that can be
reached.  It goes nowhere but to the charge's own host, to this machine and to private networks: a real
network's cashier is never touched.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address, ip_network
from urllib.parse import urlencode, urljoin, urlsplit

import click
from flask.cli import AppGroup, with_appcontext

from app import runtime
from app.addresses import split_url
from app.cli import demo, output
from app.cli.pages import Form, Page, read_page
from app.errors import InvalidRequest, ProviderUnreachable
from app.http import Client

HOPS_MAX = 8
POLL_S = 0.5
ANSWER_S = 40.0  # a cashier may dawdle on purpose

_PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko)"
_DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
USER_AGENTS = {
    "browser": f"{_PHONE} Chrome/130.0.0.0 Mobile Safari/537.36",
    "alipay": f"{_PHONE} Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36 AlipayClient/10.6.0",
    "wechat": f"{_PHONE} Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.50",
    "desktop": f"{_DESKTOP} Chrome/130.0.0.0 Safari/537.36",
}
# What the checkout's pages carry: the link of a wallet's code on a desktop, the bar that says "test mode".
_CODE, _TEST_BAR = "data-wallet-code", "test"
# Not ``is_private``, which holds more than the networks that people have at home.  Sources: RFC 1918, 4193.
_NEAR = tuple(
    ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
_ENDED = ("paid", "expired", "canceled", "failed", "review")


class Exit(IntEnum):
    """The command's exit codes, besides 2 for a command typed wrongly."""

    PAID = 0
    NOT_PAID = 1
    NO_WAY = 3  # the page only helps the shopper on to another app or browser


class GaveUp(Exception):
    """The shopper can go no further; ``code`` is what the command exits with."""

    def __init__(self, why: str, code: Exit = Exit.NOT_PAID) -> None:
        super().__init__(why)
        self.code = code


@dataclass
class Shopper:
    """Walks from page to page and says what it does.  ``home`` is the charge's address."""

    home: str
    user_agent: str
    tell: Callable[[str], None]
    client: Client = field(default_factory=Client)

    def open(self, address: str, *, as_wallet: bool = False) -> Page:
        """Go there, and on to wherever it leads."""
        return self._walk("GET", address, b"", as_wallet)

    def submit(self, form: Form, name: str, value: str) -> Page:
        """Choose ``value`` and send the form."""
        data = urlencode(form.fields | {name: value})
        if form.method == "GET":
            return self._walk("GET", f"{form.address.partition('?')[0]}?{data}", b"", as_wallet=False)
        return self._walk(form.method, form.address, data.encode(), as_wallet=False)

    def status(self) -> str:
        """The charge in the checkout's own word."""
        address = self.home.partition("?")[0] + "/status"
        answer = self.client.send("GET", address, headers={"User-Agent": self.user_agent})
        if answer.status != 200:
            raise GaveUp(f"{address} answered {answer.status}")
        return str(json.loads(answer.body)["status"])

    def _walk(self, method: str, address: str, body: bytes, as_wallet: bool) -> Page:
        headers = {"User-Agent": USER_AGENTS["alipay"] if as_wallet else self.user_agent}
        headers |= {"Accept": "text/html", "Accept-Language": "en"}
        for _ in range(HOPS_MAX):
            self._stay_near(address)
            more = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            answer = self.client.send(method, address, headers=headers | more, body=body, timeout_s=ANSWER_S)
            if answer.status not in (301, 302, 303, 307, 308):
                if answer.status >= 400:
                    raise GaveUp(f"{_place(address)} answered {answer.status}")
                return read_page(address, answer.body.decode(errors="replace"))
            address = urljoin(address, answer.headers.get("location", ""))
            if answer.status not in (307, 308):
                method, body = "GET", b""
        raise GaveUp(f"more than {HOPS_MAX} redirects")

    def _stay_near(self, address: str) -> None:
        host = urlsplit(address).hostname or ""
        if host != urlsplit(self.home).hostname and not _is_near(host):
            raise GaveUp(f"the way leads to {host}, which is no sandbox: nothing was approved there")


simulate_group = AppGroup("simulate", help="Play the shopper, in test mode.")


@simulate_group.command("pay")
@click.argument("url", required=False)
@click.option("--provider", default="alipay", show_default=True, help="The wallet to pay with.")
@click.option(
    "--as",
    "place",
    type=click.Choice(list(USER_AGENTS)),
    default="browser",
    show_default=True,
    help="Where the link is opened: in a phone's browser, in a wallet, on a desktop.",
)
@click.option("--decline", is_flag=True, help="Refuse at the cashier instead of approving.")
@click.option("--wait", "wait_s", default=20.0, show_default=True, help="Seconds to wait for the outcome.")
@output.json_option
@with_appcontext
def pay_command(
    url: str | None, provider: str, place: str, decline: bool, wait_s: float, as_json: bool
) -> None:
    """Pay a charge in test mode as a shopper would.  URL is its payment link; the demo's if left out.

    Exit codes: 0 paid, 1 not paid, 2 typed wrongly, 3 this wallet cannot be opened there.
    """
    steps: list[str] = []

    def tell(step: str) -> None:
        steps.append(step)
        if not as_json:
            output.say(f"{len(steps)}. {step}")

    url = url or _demo_link()
    try:
        split_url(url)
    except InvalidRequest as error:
        raise click.UsageError(f"URL {error.detail}") from None
    shopper = Shopper(url, USER_AGENTS[place], tell)
    try:
        status = _shop(shopper, provider, "decline" if decline else "approve", wait_s)
        code = Exit.PAID if status == "paid" else Exit.NOT_PAID
    except (GaveUp, InvalidRequest, ProviderUnreachable) as stop:
        tell(str(stop))
        status, code = "unknown", stop.code if isinstance(stop, GaveUp) else Exit.NOT_PAID
    if as_json:
        output.say_json({"paid": code is Exit.PAID, "status": status, "url": shopper.home, "steps": steps})
    sys.exit(code)


def _shop(shopper: Shopper, provider: str, action: str, wait_s: float) -> str:
    """From the link to the outcome; the charge's last status."""
    page = shopper.open(shopper.home)
    _refuse_live(page)
    shopper.tell(f"opened {shopper.home}")
    status = shopper.status()
    if status in ("paid", "expired", "canceled", "review"):
        shopper.tell(f"the charge is {status} already")
        return status
    sheet = _cashier(shopper, page, provider)
    form = sheet.form_offering("action", action)
    if form is None:
        raise GaveUp(f"{_place(sheet.address)} has no button to {action}")
    back = shopper.submit(form, "action", action)
    shopper.tell(f"pressed {action}, and came to {_place(back.address)}")
    # Declining changes nothing here: the wallet would let the shopper try again.
    return _await(shopper, 0.0 if action == "decline" else wait_s)


def _cashier(shopper: Shopper, page: Page, provider: str) -> Page:
    """From the checkout to the wallet's pay sheet."""
    if _CODE not in page.links:
        form = page.form_offering("provider", provider)
        if form is None:
            raise GaveUp(f"{provider} cannot be opened here; the page tells how to go on", Exit.NO_WAY)
        page = shopper.submit(form, "provider", provider)
        shopper.tell(f"chose {provider}, and came to {_place(page.address)}")
    if _CODE in page.links:
        page = shopper.open(page.links[_CODE], as_wallet=True)
        shopper.tell(f"scanned the wallet's code, and came to {_place(page.address)}")
    return page


def _await(shopper: Shopper, wait_s: float) -> str:
    deadline_s = time.monotonic() + wait_s
    status = shopper.status()
    while status not in _ENDED and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        status = shopper.status()
    shopper.tell(f"the charge is {status}")
    return status


def _refuse_live(page: Page) -> None:
    if _TEST_BAR not in page.classes:
        raise GaveUp("this is not a checkout in test mode: nothing was sent")


def _demo_link() -> str:
    found = demo.load(runtime.settings())
    if found is None:
        raise click.UsageError("name a payment link; there is no demo in this data folder")
    return found.charge_url


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return any(ip_address(host) in network for network in _NEAR)
    except ValueError:
        return False


def _place(address: str) -> str:
    """An address without its query, which may carry signatures."""
    return address.partition("?")[0]
