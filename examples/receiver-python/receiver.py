"""A webhook receiver: verifies with the stock library, stores each event once, answers, then works."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError

app = Flask(__name__)
webhook = Webhook(os.environ["MAFU_WEBHOOK_SECRET"])
FILE = os.environ.get("EVENTS_DB", "events.sqlite3")


def database():
    return closing(sqlite3.connect(FILE, timeout=10, isolation_level=None))


@app.post("/hook")
def hook():
    try:
        event = webhook.verify(request.get_data(), dict(request.headers))  # the bytes as they came
    except (WebhookVerificationError, ValueError):
        return {"error": "not signed by our Mafu, or too old"}, 401
    row = (event["id"], event["type"], request.get_data(as_text=True), datetime.now(UTC).isoformat())
    with database() as db:
        # The same event may come again; its id is the same, and then there is nothing left to do.
        is_new = db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", row).rowcount == 1
    if is_new:
        print(event["type"], event["data"]["object"].get("id"), flush=True)  # here your own work begins
    return "", 204


with database() as first:
    first.execute("PRAGMA journal_mode = WAL")  # many deliveries at once do not wait for each other long
    first.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, body TEXT, at TEXT)")

if __name__ == "__main__":
    app.run(port=int(os.environ.get("RECEIVER_PORT", "3001")), threaded=True)
