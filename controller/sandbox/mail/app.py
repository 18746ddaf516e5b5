"""The mail sink as a web application, which listens for SMTP as long as it lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from controller.core import log as logs
from controller.core.errors import Refused
from controller.sandbox.mail import control, pages, smtp
from controller.sandbox.mail.inbox import Inbox
from controller.sandbox.mail.switches import Switches

log = logs.get(__name__)


def create_app(folder: Path, smtp_port: int) -> Starlette:
    """The sink that keeps its mails in ``folder``; ``state.smtp_port`` says where it listens (0: any port)."""
    inbox, switches = Inbox(folder), Switches()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        server = await smtp.serve(inbox, switches, smtp_port)
        app.state.smtp_port = server.sockets[0].getsockname()[1]
        log.info("mail.listening", port=app.state.smtp_port)
        try:
            yield
        finally:
            server.close()
            inbox.close()

    routes = [*pages.ROUTES, *control.ROUTES]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: control.refuse})
    app.state.inbox, app.state.switches = inbox, switches
    return app
