"""The mail sink on ports of its own, and its control."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from controller.sandbox.mail.app import create_app
from tests.sandbox.llm.serving import TLS
from tests.sandbox.stripe.serving import serving


@dataclass(frozen=True)
class Sink:
    """The sink's SMTP port, its pages, and its control."""

    port: int
    pages: httpx.Client
    control: httpx.Client

    def connect(self) -> smtplib.SMTP:
        """A client that is connected."""
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)

    def send(self, mail: EmailMessage | bytes, to: str = "ana@example.com") -> None:
        """Send it, from the shop."""
        raw = mail if isinstance(mail, bytes) else mail.as_bytes()
        with self.connect() as client:
            client.sendmail("shop@example.com", [to], raw)

    def messages(self, **query: Any) -> list[dict[str, Any]]:
        """What it kept."""
        found: list[dict[str, Any]] = self.control.get("messages", params=query).raise_for_status().json()["messages"]
        return found

    def order(self, action: str, **more: Any) -> None:
        """The next mail will not be taken as usual."""
        self.control.post("faults", json={"action": action, **more}).raise_for_status()


@contextmanager
def sink_in(folder: Path) -> Iterator[Sink]:
    """The sink whose mails are in ``folder`` while the block runs."""
    app = create_app(folder, 0)
    with (
        serving(app) as base,
        httpx.Client(base_url=base, timeout=10, verify=TLS) as pages,
        httpx.Client(base_url=f"{base}/_control/", timeout=10, verify=TLS) as control,
    ):
        yield Sink(app.state.smtp_port, pages, control)


def mail(subject: str = "Hello", text: str = "Hi.\n", html: str | None = None) -> EmailMessage:
    """A mail from the shop to Ana."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "A loja <shop@example.com>", "Ana <ana@example.com>", subject
    made.set_content(text)
    if html is not None:
        made.add_alternative(html, subtype="html")
    return made
