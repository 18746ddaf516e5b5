"""How a process of ours connects to the providers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import aiohttp

IDLE_CONNECTION_SECONDS = 4.0
"""How long a connection is kept for the next call. 4 s: servers on uvicorn, such as vLLM's, close after 5, and a call
that is sent just then fails without an answer; a second try could be charged twice."""

CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Patience:
    """How long a response may take: ``longest`` from beginning to end, a stream without a ``silence`` in it."""

    longest: timedelta
    silence: timedelta

    def of(self, *, stream: bool) -> aiohttp.ClientTimeout:
        """For a stream, or for an answer in one piece, of which nothing comes before it is written."""
        longest = self.longest.total_seconds()
        quiet = self.silence.total_seconds() if stream else None
        return aiohttp.ClientTimeout(total=longest, sock_connect=CONNECT_SECONDS, sock_read=quiet)


def opened() -> aiohttp.ClientSession:
    """A session whose every call says how long it waits; to be closed by the caller."""
    # no limit: a stream holds its connection for minutes; no cookies: they would tie customers together
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
