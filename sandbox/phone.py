"""The shopper's phone with a wallet open at its payment code, for a cashier to scan or to type."""

from __future__ import annotations

import qrcode
from flask import Blueprint, Response, redirect, render_template
from qrcode.constants import ERROR_CORRECT_M
from werkzeug.wrappers import Response as AnyResponse

from sandbox import desk, paycodes, tickets, timing
from sandbox.box import here
from sandbox.desk import Answer, Fault

bp = Blueprint("phone", __name__)

_NO_STORE = {"Cache-Control": "no-store"}


@bp.get("/wallet")
def wallets() -> Response:
    """Which wallet to open."""
    page = render_template("sandbox/wallet.html", networks=here().networks, network=None)
    return Response(page, headers=_NO_STORE)


@bp.get("/wallet/<network>")
def open_wallet(network: str) -> AnyResponse:
    """A fresh code."""
    box = here()
    if network not in box.networks:
        return redirect("/wallet", 303)
    with box.store.write() as db:
        code = paycodes.issue(db, box.networks[network])
    return redirect(f"/wallet/{network}/{code}", 303)


@bp.get("/wallet/<network>/<code>")
def show(network: str, code: str) -> AnyResponse:
    """The code while it is good; once it was scanned, the sheet of what it pays for."""
    box = here()
    with box.store.read() as db:
        ticket = tickets.find(db, network, code)
    if ticket is None or network not in box.networks:
        return redirect("/wallet", 303)
    if ticket.about != paycodes.UNUSED:
        return redirect(f"/cashier/{ticket.about}", 303)
    left_s = int(ticket.made_ts + paycodes.LIFE_S - timing.now())
    page = render_template(
        "sandbox/wallet.html",
        networks=box.networks,
        network=box.networks[network],
        digits=" ".join(code[at : at + 4] for at in range(0, len(code), 4)),
        path=_path_of(code),
        left_s=left_s,
    )
    return Response(page, headers=_NO_STORE)


@bp.post("/control/pay_codes")
def make() -> Answer:
    """A code without a screen: ``network``; ``expired`` true for one whose minute is over."""
    box, body = here(), desk.body()
    network = box.networks.get(desk.text(body, "network"))
    if network is None:
        raise Fault(404, "no_such_network", f"network is one of {', '.join(box.networks)}")
    with box.store.write() as db:
        code = paycodes.issue(db, network, expired=desk.yes(body, "expired"))
    return {"network": network.code, "code": code, "good_for_s": paycodes.LIFE_S}, 200


def _path_of(code: str) -> tuple[int, str]:
    """The side of the symbol with its quiet zone, and the SVG path of its dark modules.  Pure."""
    symbol = qrcode.QRCode(error_correction=ERROR_CORRECT_M, border=4)
    symbol.add_data(code)
    rows = symbol.get_matrix()
    dark = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, cell in enumerate(row) if cell]
    return len(rows), "".join(dark)
