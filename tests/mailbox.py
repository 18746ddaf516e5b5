"""A mail server that keeps what it gets, and refuses what a test ordered it to refuse."""

from __future__ import annotations

import email
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from controller.sandbox.processes import free_port

OK = "250 OK"


class Mailbox:
    """The mails that were taken, oldest first; ``refusals`` are answered once each, by command."""

    def __init__(self, port: int) -> None:
        self.url = f"smtp://127.0.0.1:{port}"
        self.mails: list[EmailMessage] = []
        self.readers: list[list[str]] = []
        self.refusals: dict[str, list[str]] = {"MAIL": [], "RCPT": [], "DATA": []}

    def refuse(self, command: str, *answers: str) -> None:
        """Answer the next such commands so."""
        self.refusals[command] += answers

    async def handle_MAIL(  # noqa: N802, aiosmtpd's own spelling
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refusals["MAIL"]:
            return self.refusals["MAIL"].pop(0)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return OK

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if self.refusals["RCPT"]:
            return self.refusals["RCPT"].pop(0)
        envelope.rcpt_tos.append(address)
        return OK

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refusals["DATA"]:
            return self.refusals["DATA"].pop(0)
        assert isinstance(envelope.content, bytes)
        self.readers.append(envelope.rcpt_tos)
        self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return OK


def part(mail: EmailMessage, kind: str) -> str:
    """The mail's body as ``plain`` or ``html``."""
    body: Any = mail.get_body((kind,))
    return str(body.get_content()).replace("\r\n", "\n")


@contextmanager
def opened() -> Iterator[Mailbox]:
    """A mailbox on a port of its own while the block runs."""
    port = free_port()
    made = Mailbox(port)
    controller = Controller(made, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()
