"""A worker in a process of its own, to be killed.  Its settings come from the environment."""

from __future__ import annotations

from flask import Flask

from app import db, runtime
from app.config import load_settings
from app.http import Sender
from app.webhooks.courier import Courier
from app.webhooks.endpoints import guard_of

if __name__ == "__main__":
    settings = load_settings()
    app = Flask(__name__)
    db.init_app(app, settings.sqlalchemy_url)
    runtime.init_app(app, settings)
    with app.app_context():
        courier = Courier(Sender(guard_of(settings)))
        while True:
            courier.step()
