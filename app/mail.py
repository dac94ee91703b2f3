"""The way out for mail: one message to one person by the operator's server, never inside a transaction."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage

from app.config import Settings
from app.db import refuse_in_transaction

STEP_S = 5.0  # of each answer of the server; ten of them, and a worker's lease of a minute still holds


class MailRefused(Exception):
    """A definite no for this message: it is not sent, and would not be a minute later."""


class MailDelayed(Exception):
    """It was not taken, or nobody knows: try again."""


def send(message: EmailMessage, to: str, settings: Settings) -> None:
    """Hand a message over.  Raises MailRefused, MailDelayed, NestedTransaction.

    What is raised says what the server answered in numbers: its words may repeat the message.
    """
    refuse_in_transaction()
    try:
        with _connected(settings) as server:
            server.send_message(message, settings.smtp_from, [to])
    except smtplib.SMTPRecipientsRefused as error:
        code = max(code for code, _ in error.recipients.values())
        raise _outcome(code) from None
    except smtplib.SMTPAuthenticationError:
        # The operator can mend that, and then it goes out.
        raise MailDelayed("the server does not know MAFU_SMTP_USER with this password") from None
    except smtplib.SMTPResponseException as error:
        raise _outcome(error.smtp_code) from None
    except smtplib.SMTPNotSupportedError:
        raise MailRefused("the server cannot do what MAFU_SMTP_ or the address asks for") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailDelayed(f"the server was not reached: {type(error).__name__}") from None


@contextmanager
def _connected(settings: Settings) -> Iterator[smtplib.SMTP]:
    place = (settings.smtp_host, settings.smtp_port)
    trust = ssl.create_default_context(cafile=settings.smtp_ca or None)
    is_tls = settings.smtp_security == "tls"
    server = (
        smtplib.SMTP_SSL(*place, timeout=STEP_S, context=trust)
        if is_tls
        else smtplib.SMTP(*place, timeout=STEP_S)
    )
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


def _outcome(code: int) -> MailRefused | MailDelayed:
    said = f"the server answered {code}"
    return MailRefused(said) if code >= 500 else MailDelayed(said)
