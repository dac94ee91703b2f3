"""What each process counts for the operator's Prometheus: requests, deliveries, the lag of callbacks.

With PROMETHEUS_MULTIPROC_DIR set (``flask serve`` sets it) all processes of a machine count into files of
that folder, and whichever of them is asked adds them up; without it a process counts for itself alone.
What the database knows is not counted here but asked when somebody looks: see ``telemetry.py``.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own name for it, read when it is imported
DELIVERED, FAILED, LOST = "delivered", "failed", "lost"  # how a try of a delivery ended

_OURS = CollectorRegistry()
_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PATIENT = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)

REQUESTS = Histogram(
    "mafu_request_seconds",
    "Time to answer a request, by the template of its route.",
    ["method", "route", "status"],
    buckets=_QUICK,
    registry=_OURS,
)
TRIES = Counter(
    "mafu_webhook_tries",
    "Tries of webhook deliveries: delivered, failed, or lost to another worker.",
    ["outcome"],
    registry=_OURS,
)
TRY_SECONDS = Histogram(
    "mafu_webhook_try_seconds", "Time on the wire of a try.", buckets=_QUICK, registry=_OURS
)
CALLBACK_LAG = Histogram(
    "mafu_callback_lag_seconds",
    "From a payment, as its provider says, until we had settled it by callback.",
    ["provider"],
    buckets=_PATIENT,
    registry=_OURS,
)


def exposition(*more: Collector) -> bytes:
    """Everything, in Prometheus' text format; ``more`` are asked now."""
    asked = CollectorRegistry()
    for collector in more:
        asked.register(collector)
    counted = _OURS
    if os.environ.get(FOLDER):
        counted = CollectorRegistry()
        MultiProcessCollector(counted)
    return generate_latest(counted) + generate_latest(asked)
