"""What asking Postgres may come to, for all of the proxy that asks it."""

from __future__ import annotations

import asyncpg

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises when Postgres cannot be asked; the last is what it makes of a server that says goodbye."""
