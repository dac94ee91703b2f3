"""Logs: facts with ids, one JSON object a line in live mode, readable in demo mode, never a secret."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

# What looks like a secret of ours or of a provider is masked wherever it stands.  The first group stays.
_SECRETS = (
    re.compile(r"(mafu_[sr]k_(?:test|live)_\w{4})\w+"),
    re.compile(r"(whs(?:ec|k)_)[\w+/=]+"),
    # A key in PEM, whether its lines end in newlines or in the two characters of a repr.
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # The same without its frame, as Alipay hands keys out; certificates begin alike and are masked, too.
    re.compile(r"(MII[A-Za-z0-9+/]{5})[A-Za-z0-9+/=]{40,}"),
    re.compile(r"(/[Cc]/[0-9A-Za-z]{8})[0-9A-Za-z]+"),  # a payment link opens its charge
    re.compile(r"(/sign-in/)[\w-]+"),
    # A payment code that a cashier scanned is money for a minute.  Two digits tell the network.
    re.compile(r"(?<!\d)(1[0-5]|2[5-9]|30|62)\d{14,22}(?!\d)"),
    re.compile(r"(mafu_session=|[Bb]earer |[Bb]asic )[\w.+/=~-]+"),
)
_SECRET_NAMES = frozenset(
    "secret token password authorization cookie set-cookie body openid private_key apiv3_key".split()
)


def configure(*, level: str, json: bool) -> None:
    """Route structlog and the standard library through one formatter to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    # A traceback becomes text before it is masked: an exception's message may quote anything.
    tail: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _mask,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*tail, renderer])
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


def mask(value: Any) -> Any:
    """The value with every secret in it masked, at any depth.  Pure.

    ``"key mafu_sk_test_0123…"`` keeps what helps to recognise it; what is named like a secret goes whole.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            str(name): "[redacted]" if str(name).lower() in _SECRET_NAMES else mask(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(inner) for inner in value]
    text = value if isinstance(value, str) else repr(value)
    for pattern in _SECRETS:
        text = pattern.sub(r"\1…", text)
    return text


def _mask(_logger: Any, _method: str, event: EventDict) -> EventDict:
    masked: EventDict = mask(event)
    return masked
