"""Mail out, by SMTP. The only module that imports the library."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import utils
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TypedDict
from urllib.parse import unquote, urlsplit

import aiosmtplib
from pydantic import SecretStr

from controller.core.errors import CloudError, Permanent, Refused, Temporary, foreign
from controller.core.settings import Group, SettingsError
from controller.domain.letters import Letter

TIMEOUT_SECONDS = 20.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PATIENCE = timedelta(minutes=1)


class MailSettings(Group):
    """Our mail server."""

    smtp_url: SecretStr | None = None
    """``smtp://user:password@host:587`` (STARTTLS is required, except on this machine) or ``smtps://…:465``.

    Unset, no mail goes out and every mail is set aside with that reason.
    """

    mail_from: str = "openclaw.cloud <no-reply@openclaw.cloud>"
    """The sender; its domain also makes our Message-IDs, so changing it may repeat a mail in flight."""


class MailAway(Temporary):
    """Raised when the server is out of reach, refuses our login or asks us to come again."""


class MailboxRefused(Refused):
    """Raised when the address is malformed or its server does not take mail for it."""


class MailRefused(Permanent):
    """Raised when the server will not take this message, whoever it is for."""


@dataclass(frozen=True)
class Envelope:
    """To whom and when; ``id`` makes the Message-ID, the same each time the mail is sent."""

    id: str
    to: str
    at: datetime
    locale: str


class _Server(TypedDict):
    hostname: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool
    start_tls: bool


class Mailer:
    """One process's way to the mail server; a connection for each mail, for mails are rare."""

    def __init__(self, settings: MailSettings) -> None:
        """Raises SettingsError if the address or the sender is malformed."""
        self._server = None if settings.smtp_url is None else _server(settings.smtp_url.get_secret_value())
        name, address = utils.parseaddr(settings.mail_from)
        try:
            self._from = Address(name, addr_spec=address)
        except (ValueError, MessageError) as exc:
            raise SettingsError("setting_wrong", variable="MAIL_FROM") from exc

    async def send(self, envelope: Envelope, letter: Letter) -> None:
        """Hand the mail to the server; returns when the server has answered for it.

        Raises MailAway, MailboxRefused, MailRefused. After MailAway it may have been taken: sent again it carries the
        same Message-ID, by which mailboxes know the second copy.
        """
        if self._server is None:
            raise Permanent("mail_is_off", hint="set SMTP_URL")
        message = self.compose(envelope, letter)
        client = aiosmtplib.SMTP(**self._server, local_hostname=self._from.domain, timeout=TIMEOUT_SECONDS)
        try:
            await client.connect()
            await client.send_message(message)
            # The mail is taken; how the conversation ends does not change that.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit()
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, TimeoutError) as exc:
            raise _translated(exc, envelope.to) from None
        finally:
            client.close()

    def compose(self, envelope: Envelope, letter: Letter) -> EmailMessage:
        """The whole message, in plain text and HTML.

        Raises MailboxRefused for an address that is none.
        """
        message = EmailMessage()
        try:
            message["To"] = Address(addr_spec=envelope.to)
        except (ValueError, MessageError, IndexError) as exc:
            raise MailboxRefused("address_malformed") from exc
        message["From"] = self._from
        message["Subject"] = letter.subject
        message["Date"] = envelope.at
        message["Message-ID"] = f"<{envelope.id}@{self._from.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        message["Content-Language"] = envelope.locale  # after the bodies, which take such headers for theirs
        return message


def _server(url: str) -> _Server:
    wrong = SettingsError("setting_wrong", variable="SMTP_URL", reason="smtp://host:port or smtps://host:port")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise wrong
    secure = parts.scheme == "smtps"
    return {
        "hostname": parts.hostname,
        "port": port or (465 if secure else 587),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": secure,
        "start_tls": not secure and parts.hostname not in _LOOPBACK,
    }


def _translated(exc: Exception, to: str) -> CloudError:
    """SMTP's answer as ours: 4xx is for later; 5xx about the mailbox is final, about the message ours to look at.

    Servers like to repeat the address; the error, which is logged, does not.
    """
    if isinstance(exc, aiosmtplib.SMTPRecipientsRefused):
        exc = exc.recipients[0]
    message = exc.message if isinstance(exc, aiosmtplib.SMTPException) else str(exc)
    said = foreign(message.replace(to, "***"))
    if isinstance(exc, aiosmtplib.SMTPNotSupported):
        return MailRefused("mail_not_supported", reason=said)
    # Refused logins and senders are our own mistake: once it is corrected every mail goes out by itself.
    ours = (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPConnectResponseError)
    if not isinstance(exc, aiosmtplib.SMTPResponseException) or exc.code < 500 or isinstance(exc, ours):
        return MailAway("mail_away", retry_after=_PATIENCE, reason=said)
    if isinstance(exc, aiosmtplib.SMTPRecipientRefused):
        return MailboxRefused("mailbox_refused", status=exc.code, reason=said)
    return MailRefused("mail_refused", status=exc.code, reason=said)
