"""A mail server on loopback: what it was given, and how it answers."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


@dataclass
class Mailbox:
    """``answers`` are given to the next messages, one each, before they are taken again."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    pause_s: float = 0.0

    async def handle_DATA(  # noqa: N802 - as the server calls it
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.pause_s:
            time.sleep(self.pause_s)
        if self.answers:
            return self.answers.pop(0)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(envelope.rcpt_tos)
        return "250 taken"


class _AnyPort(Controller):
    """Takes the port that it gets."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def open_mailbox(
    *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[Mailbox]:
    """With ``tls`` it wants STARTTLS, with ``login`` this name and password."""
    box = Mailbox()

    def knows(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        is_right = (given.login.decode(), given.password.decode()) == login
        return AuthResult(success=is_right, handled=is_right)

    more = {"authenticator": knows, "auth_required": True} if login else {}
    controller = _AnyPort(
        box,
        hostname="127.0.0.1",
        port=0,
        tls_context=tls,
        require_starttls=tls is not None,
        **more,
    )
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()
