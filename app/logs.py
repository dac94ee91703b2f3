"""Logs: facts with ids, one JSON object a line in live mode, readable in demo mode, never a secret."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

# What looks like one of our secrets, a key or a link's token is masked wherever it stands.
_SECRET = re.compile(
    r"(mafu_[sr]k_(?:test|live)_\w{4}|whsec_\w{2}|-----BEGIN [A-Z ]*PRIVATE KEY-----|/[Cc]/[0-9A-Za-z]{8})[\w+/=\n-]*"
)
_SECRET_NAMES = frozenset(
    {"secret", "token", "password", "authorization", "cookie", "body", "openid", "private_key"}
)


def configure(*, level: str, json: bool) -> None:
    """Route structlog and the standard library through one formatter to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    tail: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if json:
        tail.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[*tail, _redact_text, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:3],
            *shared[4:],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if name.lower() in _SECRET_NAMES:
            event[name] = "[redacted]"
    return event


def _redact_text(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _SECRET.sub(r"\1…", value)
    return event
