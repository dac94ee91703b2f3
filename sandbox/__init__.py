"""The far side of Mafu: payment networks as seen from the wire, a shopper's phone, a merchant's receiver.

Nothing here is imported by ``app/``, and nothing of ``app/`` is imported here: the two meet on HTTP
only, so that a mistake in one is not excused by the same mistake in the other.  A new network is a
package beside ``alipay`` and one line in ``NETWORKS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, request
from jinja2 import StrictUndefined

from sandbox import cashier, control, panel, phone, receiver, words
from sandbox.alipay import Alipay
from sandbox.box import Box, Network
from sandbox.desk import Answer, Fault
from sandbox.notifier import Notifier
from sandbox.store import Store
from sandbox.unionpay import UnionPay
from sandbox.wechatpay import WechatPay
from sandbox.yuan import yuan_of

NETWORKS: tuple[Callable[[Box], Network], ...] = (Alipay, WechatPay, UnionPay)

_BODY_BYTES_MAX = 1 << 20
_ADDRESS = re.compile(r"https?://[^/\s]+", re.ASCII)
# No script anywhere; forms may lead anywhere, because a browser applies form-action to the redirect
# that takes the shopper back to the shop.
_CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'"


def create_sandbox(
    data_dir: str, *, public_url: str, speed: float = 60.0, magic: bool = True, notify: bool = True
) -> Flask:
    """A sandbox over the files of ``data_dir``, which is made if it is missing.

    ``public_url`` is scheme, host and port as shoppers' phones and merchants' servers see them.
    ``speed`` divides the networks' retry gaps: 60 makes four minutes four seconds.  ``magic`` lets
    some amounts pull levers.  ``notify`` False keeps the notifications in the queue.
    Raises ValueError.
    """
    if _ADDRESS.fullmatch(public_url.rstrip("/")) is None:
        raise ValueError("public_url is scheme, host and port, for instance http://127.0.0.1:9000")
    if not 0 < speed <= 1_000_000:
        raise ValueError("speed is above 0")
    folder = Path(data_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    box = Box(folder, public_url.rstrip("/"), speed, Store(folder / "sandbox.sqlite3"), magic=magic)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = _BODY_BYTES_MAX
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["sandbox"] = box
    for make in NETWORKS:
        network = make(box)
        box.networks[network.code] = network
        for blueprint in network.blueprints():
            app.register_blueprint(blueprint)
    for blueprint in (cashier.bp, control.bp, panel.bp, phone.bp, receiver.bp):
        app.register_blueprint(blueprint)
    _wire(app, Notifier(box), notify)
    return app


def _wire(app: Flask, notifier: Notifier, notify: bool) -> None:
    app.extensions["sandbox_notifier"] = notifier
    app.jinja_env.undefined = StrictUndefined
    app.add_template_filter(yuan_of, "yuan")
    words.install(app)

    @app.get("/healthz")
    def healthz() -> Answer:
        return {"status": "ok", "networks": sorted(app.extensions["sandbox"].networks)}, 200

    @app.errorhandler(Fault)
    def fault(error: Fault) -> Answer | tuple[str, int]:
        if request.path.startswith("/panel/"):
            return panel.refused(error), error.status
        return error.answer()

    @app.before_request
    def refuse_other_sites() -> Answer | None:
        # A page of another site must not pull levers through the tester's browser.
        guarded = request.path.startswith(("/control", "/panel", "/receiver/")) and request.method != "GET"
        if guarded and request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return Fault(403, "other_site", "sent by a page of another site").answer()
        return None

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _CSP)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        return response

    if notify:
        app.before_request(notifier.start)  # A forked worker has no thread yet.
        notifier.start()
