"""A tea house with a members' app: top up in a wallet, spend from the balance, believe only the books.

The four steps of a wallet payment, as seen from here:
1. the app asks for a payment: ``POST /api/topups`` begins it at Mafu and hands on what the wallet takes
2. the wallet pays it, and tells the app something, which is shown, and believed by nobody
3. the result comes by itself: ``POST /hook``
4. the app asks us, and we ask Mafu, before anything is handed over: ``GET /api/topups/<no>``
"""

import json
import os
import re
import secrets
import sqlite3
import urllib.request
from contextlib import closing
from itertools import islice
from pathlib import Path

from flask import Flask, abort, g, jsonify, make_response, render_template, request
from mafu import ApiError, Conflict, InvalidSignature, Mafu, MafuError, NotFound, ServerError, verify

GOODS = {
    "tea": ("明前龙井 50 克", "Longjing tea, 50 g", 6800),
    "class": ("周末茶艺课", "Weekend tea class", 12800),
    "cup": ("手作茶杯", "Handmade cup", 4500),
}
TIERS = {10_000: 1_000, 20_000: 3_000, 50_000: 10_000}  # top up ¥100, get ¥10
AMOUNTS = (5_000, *TIERS)
TABLES = """
CREATE TABLE IF NOT EXISTS topups
    (no TEXT PRIMARY KEY, account TEXT, amount INTEGER, topup_id TEXT, credited_at TEXT);
CREATE TABLE IF NOT EXISTS purchases (no TEXT PRIMARY KEY, account TEXT, item TEXT, handed_over_at TEXT)"""

app = Flask(__name__)
KEY, SECRET = os.environ["MAFU_KEY"], os.environ["MAFU_WEBHOOK_SECRET"]
# Somebody is looking at a spinner: rather say soon that nothing is known, and let the app ask again.
mafu = Mafu(KEY, os.environ.get("MAFU_URL", "http://127.0.0.1:8000"), timeout_s=8, tries=2)
FILE = Path(os.environ.get("MEMBER_APP_DB", "member_app.sqlite3"))
# In test mode the sandbox plays the wallets' SDKs; a real app calls theirs on the phone.
SANDBOX = os.environ.get("SANDBOX_URL", "http://127.0.0.1:8001") if KEY.startswith("mafu_sk_test_") else ""
NEWS = {"drop": {}, "delay": {"value": "10"}, "duplicate": {"value": "3"}}  # what its callbacks may do


def books():
    """A connection that closes at the end of its block; each statement commits by itself."""
    connection = sqlite3.connect(FILE, timeout=10, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return closing(connection)


@app.before_request
def who_is_it():
    """Every browser is a member of its own.  You have people who sign in."""
    found = request.cookies.get("account", "")
    g.account = found if re.fullmatch(r"guest-[0-9a-f]{16}", found) else f"guest-{secrets.token_hex(8)}"


@app.get("/")
def home():
    asked = request.args.get("lang") or request.accept_languages.best_match(["zh", "en"]) or "zh"
    lang = "en" if asked == "en" else "zh"
    page = make_response(render_template("app.html", lang=lang, sandbox=bool(SANDBOX)))
    page.set_cookie("account", g.account, max_age=86400 * 365, httponly=True, samesite="Lax")
    page.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    return page


@app.get("/api/me")
def me():
    """What this member has, by the books, and what can be done with it."""
    member = mafu.members.put(g.account)
    with books() as db:
        owned = db.execute("SELECT item FROM purchases WHERE account = ?", (g.account,)).fetchall()
    lines = islice(mafu.members.movements(g.account), 6)
    return jsonify(
        available=member.available,
        bonus=member.bonus,
        amounts=[{"amount": amount, "bonus": bonus_for(amount)} for amount in AMOUNTS],
        goods=[
            {
                "id": item,
                "zh": zh,
                "en": en,
                "price": price,
                "owned": sum(row["item"] == item for row in owned),
            }
            for item, (zh, en, price) in GOODS.items()
        ],
        lines=[
            {"kind": line.kind, "amount": line.balance + line.bonus, "at": line.created_at.isoformat()}
            for line in lines
        ],
    )


def bonus_for(amount):
    """By the rule that is in force at Mafu, which also is what decides."""
    if "tiers" not in app.config:
        rules = mafu.bonus_rules.list() or [mafu.bonus_rules.create(TIERS)]
        app.config["tiers"] = rules[0].tiers
    return max((bonus for least, bonus in app.config["tiers"] if amount >= least), default=0)


@app.post("/api/topups")
def begin():
    """Step 1.  The app chose the number: if an answer is lost, it asks for the same top-up again."""
    wish = request.get_json()
    no, amount, method = str(wish["no"]), wish["amount"], str(wish["method"])
    if amount not in AMOUNTS or not re.fullmatch(r"T[0-9A-F]{24}", no):
        abort(400)
    with books() as db:  # the order is ours before Mafu hears of it
        db.execute(
            "INSERT OR IGNORE INTO topups (no, account, amount) VALUES (?, ?, ?)", (no, g.account, amount)
        )
        if (ours := find(db, no))["amount"] != amount:
            abort(409)
        if ours["credited_at"]:
            return jsonify(status="credited")
        topup = mafu.topups.create(
            member=g.account,
            amount=amount,
            method=method,
            merchant_order_no=no,
            idempotency_key=f"{no}-{method}",
        )
        db.execute("UPDATE topups SET topup_id = ? WHERE no = ?", (topup.id, no))
    return jsonify(status="begun", params=topup.app_params, bonus=topup.bonus)


@app.get("/api/topups/<no>")
def ask(no):
    """Step 4.  What the wallet told the app proves nothing: Mafu is asked, and Mafu asks the wallet."""
    with books() as db:
        ours = find(db, no)
        # Perhaps our last answer from Mafu was lost, and the top-up is there all the same.
        topup_id = ours["topup_id"] or next((one.id for one in mafu.topups.list(merchant_order_no=no)), None)
        if topup_id is None:
            return jsonify(status="none")
        topup = mafu.topups.ask(topup_id)
        credit(db, topup.raw)
    status = "credited" if topup.status == "succeeded" else topup.status
    return jsonify(status=status, amount=topup.amount_credited or ours["amount"], bonus=topup.bonus_credited)


@app.post("/hook")
def hook():
    """Step 3.  What Mafu tells us: once or more often, in any order, or not at all."""
    try:
        event = verify(request.get_data(), request.headers, SECRET)
    except InvalidSignature:
        return {"error": "not signed by our Mafu"}, 401
    if event.type == "topup.succeeded":
        with books() as db:
            credit(db, event.object)
    return "", 204


def credit(db, topup):
    """The balance is Mafu's to keep.  Whatever else you do for a top-up goes here, and happens once."""
    facts = ("id", "merchant_order_no", "account", "amount", "status", "currency")
    moved = db.execute(
        "UPDATE topups SET credited_at = datetime('now'), topup_id = ? WHERE credited_at IS NULL"
        " AND no = ? AND account = ? AND amount = ? AND ? = 'succeeded' AND ? = 'cny'",
        tuple(topup[name] for name in facts),
    )
    if moved.rowcount == 1:
        print(f"credited {topup['merchant_order_no']}", flush=True)  # a thank-you note, a level, a gift


@app.post("/api/goods/<item>")
def buy(item):
    """Spend from the balance.  The number is the app's, so a press that is repeated buys nothing twice."""
    no = str(request.get_json()["no"])
    if item not in GOODS or not re.fullmatch(r"P[0-9A-F]{24}", no):
        abort(404)
    _, name, price = GOODS[item]
    mafu.members.debit(g.account, no, price, description=name)
    with books() as db:
        db.execute("INSERT OR IGNORE INTO purchases VALUES (?, ?, ?, datetime('now'))", (no, g.account, item))
    return jsonify(status="bought")


def find(db, no):
    """A top-up of this member, or 404."""
    row = db.execute("SELECT * FROM topups WHERE no = ? AND account = ?", (no, g.account)).fetchone()
    return row or abort(404)


@app.errorhandler(MafuError)
def sorry(error):
    """A definite no, or nothing is known: the app must tell the two apart."""
    if isinstance(error, Conflict | NotFound):
        return jsonify(error=error.code), 409
    if isinstance(error, ApiError) and not isinstance(error, ServerError):
        return jsonify(error="refused"), 402
    return jsonify(error="unknown"), 503


@app.post("/wallet/<method>")
def wallet(method):
    """Not part of your server: the sandbox plays the SDK that runs on a member's phone (step 2)."""
    wish = request.get_json()
    if not SANDBOX or method not in ("alipay", "wechatpay", "unionpay"):
        abort(404)
    if wish.get("news") in NEWS:
        opened = tell_sandbox(f"{method}/sdk_pay", {**wish["params"], "action": "cancel"})
        if method == "alipay":
            opened = json.loads(opened["result"])["alipay_trade_app_pay_response"]
        lever = {"name": wish["news"], "scope": "trade", "out_trade_no": opened["out_trade_no"]}
        tell_sandbox("levers", {**lever, **NEWS[wish["news"]]})
    return tell_sandbox(f"{method}/sdk_pay", {**wish["params"], "action": wish["action"]})


def tell_sandbox(path, body):
    address, kind = f"{SANDBOX}/control/{path}", {"Content-Type": "application/json"}
    asked = urllib.request.Request(address, json.dumps(body).encode(), kind)  # noqa: S310 - as configured
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


with books() as first:
    first.execute("PRAGMA journal_mode = WAL")
    first.executescript(TABLES)

if __name__ == "__main__":
    app.run(port=int(os.environ.get("MEMBER_APP_PORT", "3100")), threaded=True)
