"""The way out for mail: one message to one person by the operator's server, never inside a transaction."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage

from app.config import Settings
from app.db import refuse_in_transaction

STEP_S = 5.0  # of each address of the server, and of each piece of its answers
WHOLE_S = 30.0  # of it all, or it would outlast a worker's lease of a minute and be sent by two


class MailRefused(Exception):
    """A definite no for this message: it is not sent, and would not be a minute later."""


class MailDelayed(Exception):
    """It was not taken, or nobody knows: try again."""


class MailHalted(MailDelayed):
    """The server is not as the settings say: no message gets out until the operator has looked."""


def send(message: EmailMessage, to: str, settings: Settings) -> None:
    """Hand a message over.  Raises MailRefused, MailDelayed, MailHalted, NestedTransaction.

    What is raised says what the server answered in numbers: its words may repeat the message.
    """
    refuse_in_transaction()
    try:
        with _connected(settings) as server:
            _hand_over(server, message, to, settings)
    except ssl.SSLCertVerificationError:
        raise MailHalted("the server's certificate is not to be trusted") from None
    except smtplib.SMTPNotSupportedError:
        raise MailHalted("the server does not offer what MAFU_SMTP_ asks for") from None
    except smtplib.SMTPAuthenticationError:
        raise MailHalted("the server does not know MAFU_SMTP_USER with this password") from None
    except smtplib.SMTPResponseException as error:
        # Not of this message: it was greeting, going private, signing in, or naming the sender.
        kind = MailHalted if error.smtp_code >= 500 else MailDelayed
        raise kind(f"the server answered {error.smtp_code} before the message") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailDelayed(f"the server was not reached: {type(error).__name__}") from None


def _hand_over(server: smtplib.SMTP, message: EmailMessage, to: str, settings: Settings) -> None:
    try:
        server.send_message(message, settings.smtp_from, [to])
    except smtplib.SMTPNotSupportedError:
        raise MailRefused("the server cannot write to an address like this") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _outcome(max(code for code, _ in error.recipients.values())) from None
    except smtplib.SMTPDataError as error:
        raise _outcome(error.smtp_code) from None


@contextmanager
def _connected(settings: Settings) -> Iterator[smtplib.SMTP]:
    trust = ssl.create_default_context(cafile=settings.smtp_ca or None)
    server = _Conversation(settings, trust)
    # Not ``with server``, which raises for an odd answer to QUIT: what was taken would be sent again.
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=trust)
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password)
        yield server
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
    finally:
        server.close()


class _Conversation(smtplib.SMTP):
    """One that ends in time: a server that says a letter every four seconds never runs into a timeout."""

    def __init__(self, settings: Settings, trust: ssl.SSLContext) -> None:
        self._ends_at_s = time.monotonic() + WHOLE_S
        self._trust = trust if settings.smtp_security == "tls" else None
        self._end: threading.Timer | None = None
        self._line: socket.socket | None = None
        super().__init__(settings.smtp_host, settings.smtp_port, timeout=STEP_S)

    def close(self) -> None:
        """Hang up."""
        super().close()
        if self._end is not None:
            self._end.cancel()
        if self._line is not None:
            self._line.close()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # What smtplib calls to connect; its own tries every address of a name for the whole timeout.
        sock = self._reach(host, port, timeout)
        try:
            # A second handle of the same line: the first one changes hands when it goes private.
            self._line = sock.dup()
            self._end = threading.Timer(self._left_s(), _cut, [self._line])
            self._end.daemon = True
            self._end.start()
            return self._trust.wrap_socket(sock, server_hostname=host) if self._trust else sock
        except BaseException:
            sock.close()
            self.close()
            raise

    def _reach(self, host: str, port: int, timeout: float) -> socket.socket:
        trouble: OSError = TimeoutError("nobody was asked in time")
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if self._left_s() <= 0:
                break
            try:
                return socket.create_connection((str(place[0]), int(place[1])), min(timeout, self._left_s()))
            except OSError as error:
                trouble = error
        raise trouble

    def _left_s(self) -> float:
        return self._ends_at_s - time.monotonic()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):  # it is over already
        line.shutdown(socket.SHUT_RDWR)


def _outcome(code: int) -> MailRefused | MailDelayed:
    said = f"the server answered {code}"
    return MailRefused(said) if code >= 500 else MailDelayed(said)
