"""How a stand-in is served: on loopback in the sandbox, and under a name of its own on a developer's cluster."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from controller.core import log as logs


class Published:
    """An app that takes every request as one to its public address, and so gives that out in its links."""

    def __init__(self, app: ASGIApp, url: str) -> None:
        at = urlsplit(url)
        self._app, self._scheme, self._host = app, at.scheme, at.netloc.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "scheme": self._scheme, "headers": [(b"host", self._host), *others]}
        await self._app(scope, receive, send)


def options(name: str, *required: str) -> argparse.Namespace:
    """What the stand-in ``name`` was told, ``required`` beside the options of every stand-in; its log is set up."""
    parser = argparse.ArgumentParser(prog=f"controller.sandbox.{name}")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="Whom to listen to; 0.0.0.0 is everybody.")
    parser.add_argument("--public-url", help="The address in its links, where that is not the one it is called by.")
    for option in required:
        parser.add_argument(f"--{option}", required=True)
    given = parser.parse_args()
    logs.configure(name)
    return given


def serve(app: ASGIApp, given: argparse.Namespace) -> None:
    """Serve ``app`` as the options say until SIGTERM."""
    if given.public_url:
        app = Published(app, given.public_url)
    # 0: requests still open when the stop comes are cut, so that it takes no second.
    uvicorn.run(app, host=given.host, port=given.port, log_config=None, timeout_graceful_shutdown=0)
