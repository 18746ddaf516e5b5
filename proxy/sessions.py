"""How a process of ours connects to the providers."""

from __future__ import annotations

from datetime import timedelta

import aiohttp

IDLE_CONNECTION_SECONDS = 4.0
"""How long a connection is kept for the next call. 4 s: servers on uvicorn, such as vLLM's, close after 5, and a call
that is sent just then fails without an answer; a second try could be charged twice."""


def opened(longest: timedelta, silence: timedelta) -> aiohttp.ClientSession:
    """A session for responses of at most ``longest`` with no ``silence`` within them; to be closed by the caller."""
    # no limit: a stream holds its connection for minutes; no cookies: they would tie customers together
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=longest.total_seconds(), sock_connect=5, sock_read=silence.total_seconds()),
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
