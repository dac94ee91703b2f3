"""Who shops at the sandbox: one person, known to an app by user_id, or only by an open_id of its own.

Source: Alipay open platform, 从 user_id 到 open_id: an app that was switched over hears no user_id again.
"""

from __future__ import annotations

import base64
import hashlib

from sandbox.alipay.apps import App

BUYER_ID = "2088722000000017"
BUYER_LOGON_ID = "138****0017"


def open_id_of(app_id: str) -> str:
    """What the shopper is called at one app and nowhere else.  Pure."""
    digest = hashlib.sha256(f"{app_id} {BUYER_ID}".encode()).digest()
    return "0" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def named(app: App, user_id_as: str, open_id_as: str) -> dict[str, str]:
    """The shopper under the name that this app may hear.  Pure.

    ``(app, "buyer_id", "buyer_open_id") -> {"buyer_id": "2088..."}``
    """
    if app.payer == "open_id":
        return {open_id_as: open_id_of(app.app_id)}
    return {user_id_as: BUYER_ID}
