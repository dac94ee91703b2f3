"""``gunicorn --worker-class gthread --workers 1 --threads 32 sandbox.wsgi:app``.

One process: levers and the notification queue are shared by a database, but one notifier is enough.
SANDBOX_DATA is a directory, SANDBOX_PUBLIC_URL how phones and servers reach it, SANDBOX_SPEED divides
the retry gaps.
"""

from __future__ import annotations

import os

from sandbox import create_sandbox

app = create_sandbox(
    os.environ.get("SANDBOX_DATA", "sandbox-data"),
    public_url=os.environ.get("SANDBOX_PUBLIC_URL", "http://127.0.0.1:9000"),
    speed=float(os.environ.get("SANDBOX_SPEED", "60")),
)
