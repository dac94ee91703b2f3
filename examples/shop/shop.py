"""An online shop: makes charges over Mafu's API, and ships exactly once when they are paid."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask, abort, redirect, render_template, request, url_for
from mafu import InvalidSignature, Mafu, MafuError, verify

GOODS = {
    "latte": ("拿铁", "Latte", 1250),
    "tea": ("茉莉花茶", "Jasmine tea", 900),
    "mug": ("马克杯", "Mug", 3900),
}
TABLE = """CREATE TABLE IF NOT EXISTS orders
           (no TEXT PRIMARY KEY, item TEXT, amount INTEGER, charge_id TEXT, shipped_at TEXT)"""

app = Flask(__name__)
mafu = Mafu(os.environ["MAFU_KEY"], os.environ.get("MAFU_URL", "http://127.0.0.1:8000"))
SECRET = os.environ["MAFU_WEBHOOK_SECRET"]
FILE = Path(os.environ.get("SHOP_DB", "shop.sqlite3"))


def books():
    """A connection that closes at the end of its block; each statement commits by itself."""
    connection = sqlite3.connect(FILE, timeout=10, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return closing(connection)


@app.get("/")
def menu():
    return page("menu", goods=GOODS)


@app.post("/buy")
def buy():
    item = request.form.get("item", "")
    if item not in GOODS:
        abort(404)
    zh, en, amount = GOODS[item]
    no = f"S{secrets.token_hex(8).upper()}"
    with books() as db:  # the order is ours before Mafu hears of it
        db.execute("INSERT INTO orders (no, item, amount) VALUES (?, ?, ?)", (no, item, amount))
        charge = mafu.charges.create(
            amount=amount,
            currency="cny",
            description=zh if language() == "zh" else en,
            merchant_order_no=no,
            return_url=url_for("order", no=no, lang=language(), _external=True),
            idempotency_key=no,
        )
        db.execute("UPDATE orders SET charge_id = ? WHERE no = ?", (charge.id, no))
    return redirect(charge.url, 303)


@app.get("/orders/<no>")
def order(no):
    """Where the shopper comes back to.  That somebody opens this proves nothing: Mafu is asked."""
    with books() as db:
        found = db.execute("SELECT * FROM orders WHERE no = ?", (no,)).fetchone() or abort(404)
        status = "shipped" if found["shipped_at"] else "pending"
        if status == "pending" and found["charge_id"]:
            charge = mafu.charges.get(found["charge_id"])
            ship(db, no, charge.status, charge.amount, charge.currency)
            status = "shipped" if charge.status == "paid" else charge.status
    return page("order", order=found, status=status, goods=GOODS)


@app.post("/hook")
def hook():
    """What Mafu tells us: once or more often, in any order."""
    try:
        event = verify(request.get_data(), request.headers, SECRET)
    except InvalidSignature:
        return {"error": "not signed by our Mafu"}, 401
    if event.type == "charge.paid":
        charge = event.object
        with books() as db:
            ship(db, charge["merchant_order_no"], charge["status"], charge["amount"], charge["currency"])
    return "", 204


@app.errorhandler(MafuError)
def sorry(_error):
    return page("sorry"), 503  # the order is kept; paying is possible again once Mafu answers


def ship(db, no, status, amount, currency):
    """Goods leave here, and once: the UPDATE finds an order that is not shipped only once."""
    moved = db.execute(
        "UPDATE orders SET shipped_at = datetime('now') WHERE no = ? AND amount = ? AND shipped_at IS NULL"
        " AND ? = 'paid' AND ? = 'cny'",
        (no, amount, status, currency),
    )
    if moved.rowcount == 1:
        print(f"shipping {no}", flush=True)  # here you would tell the people who pack


def language():
    return request.values.get("lang") or request.accept_languages.best_match(["zh", "en"]) or "zh"


def page(name, **facts):
    return render_template("shop.html", name=name, lang="en" if language() == "en" else "zh", **facts)


with books() as first:
    first.execute("PRAGMA journal_mode = WAL")  # webhooks and shoppers do not wait for each other long
    first.execute(TABLE)

if __name__ == "__main__":
    app.run(port=int(os.environ.get("SHOP_PORT", "3000")), threaded=True)
