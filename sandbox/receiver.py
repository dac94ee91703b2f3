"""A merchant's system in small: receives Mafu's webhooks, verifies them, and shows what came."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sqlite3
import time
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import desk, timing
from sandbox.box import here
from sandbox.desk import Answer, Fault

bp = Blueprint("receiver", __name__, url_prefix="/receiver")

TOLERANCE_S = 300
_KEPT = 200
_SLOW_MAX_S = 60.0
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent")


def verifies(secret: str, headers: dict[str, str], body: bytes, now: float) -> bool:
    """Whether a webhook is genuine and fresh: all that a merchant needs to write.  Pure.

    Source: Standard Webhooks, symmetric signatures.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        sent_s = int(headers.get("webhook-timestamp", ""))
    except ValueError:
        return False
    if not key or abs(now - sent_s) > TOLERANCE_S:
        return False
    signed = f"{headers.get('webhook-id', '')}.{sent_s}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected, one) for one in given)


@bp.post("/hook")
def hook() -> Response:
    """Take one webhook: 204 when it is genuine, 401 when it is not, or what the lever says."""
    body = request.get_data(cache=False)
    headers = {name: request.headers.get(name, "") for name in _HEADERS}
    with here().store.write() as db:
        settings = _settings(db)
        secret, slow_s = settings.get("secret", ""), float(settings.get("slow_s", "0"))
        genuine = bool(secret) and verifies(secret, headers, body, timing.now())
        status = _forced_status(db, settings) or (204 if genuine else 401)
        db.execute(
            "INSERT INTO hooks (received_ts, verified, status, headers, body) VALUES (?, ?, ?, ?, ?)",
            (timing.now(), genuine, status, json.dumps(headers), body),
        )
        db.execute("DELETE FROM hooks WHERE id <= (SELECT max(id) FROM hooks) - ?", (_KEPT,))
    if slow_s:
        time.sleep(slow_s)
    return Response(status=status)


@bp.post("/secret")
def set_secret() -> Answer:
    """Give the receiver its endpoint's secret, ``whsec_`` and base64; it is never shown again."""
    secret = desk.text(desk.body(), "secret")
    if re.fullmatch(r"whsec_[A-Za-z0-9+/]{16,120}={0,2}", secret, re.ASCII) is None:
        raise Fault(400, "invalid_secret", "a secret is whsec_ and base64")
    with here().store.write() as db:
        _set(db, "secret", secret)
    return {"secret": "set"}, 200


@bp.post("/levers")
def pull() -> Answer:
    """``fail_times`` webhooks are answered with ``status``; every answer waits ``slow_s`` seconds."""
    body = desk.body()
    fail_times = body.get("fail_times", 0)
    status, slow_s = body.get("status", 500), body.get("slow_s", 0)
    numbers = type(fail_times) is int and type(status) is int and type(slow_s) in (int, float)
    if not numbers or not (0 <= fail_times <= 10_000 and 200 <= status <= 599 and 0 <= slow_s <= _SLOW_MAX_S):
        raise Fault(400, "invalid_lever", "fail_times, status 200 to 599, slow_s up to 60")
    with here().store.write() as db:
        for name, value in (("fail_times", fail_times), ("status", status), ("slow_s", slow_s)):
            _set(db, name, str(value))
    return {"fail_times": fail_times, "status": status, "slow_s": slow_s}, 200


@bp.post("/form")
def pull_form() -> AnyResponse:
    """The page's form for the same levers."""
    with here().store.write() as db:
        for name, most in (("fail_times", 10_000), ("slow_s", _SLOW_MAX_S)):
            number = request.form.get(name, 0.0, float)
            _set(db, name, f"{min(max(number, 0), most):g}")
        _set(db, "status", "500")
    return redirect("/receiver", 303)


@bp.get("/events")
def events() -> Answer:
    """What came in, newest first, with headers and the raw body."""
    with here().store.read() as db:
        rows = db.execute("SELECT * FROM hooks ORDER BY id DESC").fetchall()
    return {"data": [_event(row) for row in rows]}, 200


@bp.get("")
def page() -> str:
    """The same for people."""
    with here().store.read() as db:
        rows = db.execute("SELECT * FROM hooks ORDER BY id DESC LIMIT 50").fetchall()
        settings = _settings(db)
    return render_template(
        "sandbox/receiver.html",
        events=[_event(row) for row in rows],
        has_secret=bool(settings.get("secret")),
        fail_times=settings.get("fail_times", "0"),
        slow_s=settings.get("slow_s", "0"),
        hook_url=f"{here().public_url}/receiver/hook",
    )


def _forced_status(db: sqlite3.Connection, settings: dict[str, str]) -> int | None:
    left = int(float(settings.get("fail_times", "0")))
    if left <= 0:
        return None
    _set(db, "fail_times", str(left - 1))
    return int(settings.get("status", "500"))


def _event(row: sqlite3.Row) -> dict[str, Any]:
    headers = json.loads(row["headers"])
    body = bytes(row["body"]).decode("utf-8", "replace")
    try:
        content = json.loads(body)
        kind = str(content.get("type", "")) if isinstance(content, dict) else ""
    except ValueError:
        kind = ""
    return {
        "id": headers["webhook-id"],
        "type": kind,
        "verified": bool(row["verified"]),
        "status": row["status"],
        "received_at": timing.rfc3339(row["received_ts"]),
        "headers": headers,
        "body": body,
    }


def _settings(db: sqlite3.Connection) -> dict[str, str]:
    return {row["name"]: row["value"] for row in db.execute("SELECT name, value FROM settings")}


def _set(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
