"""Runs a stand-in inside the test's process, on a port of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import uvicorn
from starlette.types import ASGIApp

from tests.waits import PATIENCE

ValueT = TypeVar("ValueT")


@contextmanager
def serving(app: ASGIApp, http: type[asyncio.Protocol] | str = "auto") -> Iterator[str]:
    """The base URL of ``app`` on 127.0.0.1 while the block runs; ``http`` is what uvicorn makes of a connection."""
    server = uvicorn.Server(uvicorn.Config(app, http=http, log_config=None, timeout_graceful_shutdown=0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive(), "the server did not stop within a minute"


def eventually(probe: Callable[[], ValueT], seconds: float = PATIENCE) -> ValueT:
    """The first true value of ``probe``; fails if none comes within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < deadline, f"nothing true within {seconds} s"
        threading.Event().wait(0.01)
    return value
