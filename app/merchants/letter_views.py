"""What letters say, in the shop's language: plain text, no picture, nothing that is loaded from anywhere."""

from __future__ import annotations

from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from flask_babel import force_locale, gettext

from app import clock
from app.clock import BEIJING
from app.merchants.letters import Letter, Topic
from app.runtime import settings


def message_of(letter: Letter, letter_id: str) -> EmailMessage:
    """The mail itself; sent twice it is the same message.  Raises ValueError for an address that is none."""
    here = settings()
    message = EmailMessage()
    with force_locale(letter.language):
        subject, body = _words(letter)
    message["Subject"] = subject
    message["From"] = Address("Mafu 码付", addr_spec=here.smtp_from)
    message["To"] = _address(letter.to)
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{letter_id}@{here.smtp_from.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message


def _address(text: str) -> Address:
    try:
        return Address(addr_spec=text)
    except (HeaderParseError, IndexError):
        raise ValueError("mail cannot be addressed so") from None


def _words(letter: Letter) -> tuple[str, str]:
    facts = letter.facts
    match letter.topic:
        case Topic.INVITATION:
            subject = gettext("Join %(shop)s", shop=facts["shop"])
            parts = [
                gettext("%(who)s invites you to %(shop)s.", who=facts["who"], shop=facts["shop"]),
                gettext("Choose a password here. The link works once, within a week:"),
                facts["link"],
            ]
        case Topic.RESET:
            subject = gettext("Choose a new password")
            parts = [
                gettext("Choose a new password here. The link works once, within a day:"),
                facts["link"],
                gettext("If you have a second factor, you are asked for it afterwards."),
                gettext("You did not ask for this? Then do nothing: your password stays as it is."),
            ]
        case _:
            subject = _deed(letter)
            parts = [subject, _where(facts), _advice()]
    return subject, "\n\n".join([*parts, f"Mafu 码付 · {settings().origin}"]) + "\n"


def _deed(letter: Letter) -> str:
    match letter.topic:
        case Topic.NEW_DEVICE:
            return gettext("New sign-in: %(device)s", device=letter.facts["device"])
        case Topic.PASSWORD_CHANGED:
            return gettext("Your password was changed")
        case Topic.FACTOR_ADDED:
            return gettext("A second factor was added")
        case Topic.FACTOR_REMOVED:
            return gettext("A second factor was removed")
        case Topic.CODES_RENEWED:
            return gettext("Your recovery codes were renewed")
        case _:
            raise ValueError(f"{letter.topic} is no news of an account")


def _where(facts: dict[str, str]) -> str:
    at = datetime.fromisoformat(facts["at"]).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")
    return gettext(
        "%(shop)s · %(at)s (Beijing) · by %(who)s · from %(address)s",
        shop=facts["shop"],
        at=at,
        who=facts["who"],
        address=facts["address"] or "–",
    )


def _advice() -> str:
    return gettext(
        "If this was not you: change your password, end all other sessions, and tell an owner of the shop."
    )
