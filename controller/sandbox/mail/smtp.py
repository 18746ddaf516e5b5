"""The SMTP side: takes every sender, recipient and login, up to a size."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from controller.core import log as logs
from controller.sandbox.mail.inbox import Inbox
from controller.sandbox.mail.switches import Switches

log = logs.get(__name__)

LARGEST_MAIL_BYTES = 10 * 1024 * 1024
"""Told to clients as SIZE; a larger mail is refused with 552. Common providers take 10 to 25 MB."""


class Taker:
    """What aiosmtpd asks at each step of a mail."""

    def __init__(self, inbox: Inbox, switches: Switches) -> None:
        self._inbox = inbox
        self._switches = switches

    async def handle_RCPT(  # noqa: N802, aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """One recipient is named."""
        if refusal := await self._switches.strike("rcpt", [address]):
            log.info("mail.recipient_refused", answer=refusal)
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802, aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """The mail is there: it is kept before the answer says so."""
        if refusal := await self._switches.strike("data", envelope.rcpt_tos):
            log.info("mail.refused", answer=refusal)
            return refusal
        content = envelope.original_content or b""
        mail = self._inbox.keep(envelope.mail_from or "", list(envelope.rcpt_tos), content)
        log.info("mail.taken", mail=mail["id"], size_bytes=mail["size_bytes"])
        return f"250 2.0.0 OK: kept as {mail['id']}"


async def serve(inbox: Inbox, switches: Switches, port: int) -> asyncio.Server:
    """The listening server on the loopback ``port``; 0 is any."""
    loop = asyncio.get_running_loop()
    taker = Taker(inbox, switches)

    def connected() -> SMTP:
        return SMTP(
            taker,
            data_size_limit=LARGEST_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname="mail.sandbox",
            ident="mail sink",
            auth_require_tls=False,
            authenticator=_admit,
            loop=loop,
        )

    return await loop.create_server(connected, "127.0.0.1", port)


def _admit(*_: Any) -> AuthResult:
    return AuthResult(success=True)
