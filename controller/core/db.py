"""Postgres: the declarative base, the engine, and the one way to open a transaction."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolEmpty
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import Temporary, foreign
from controller.core.settings import DatabaseSettings

log = logs.get(__name__)

CLOCK_SECONDS = 60.0
"""How often a process compares its clock with Postgres': one small query a minute."""

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class DatabaseAway(Temporary):
    """Raised when Postgres cannot be reached or ended the transaction for its own reasons."""


class Base(DeclarativeBase):
    """The base of every table: times are aware, JSON is ``jsonb``, constraints have fixed names."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012, SQLAlchemy reads it from the class
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: JSONB,
        list[int]: JSONB,
    }


class Database:
    """One process's pool of connections."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.engine = create_async_engine(
            async_dsn(settings.postgres_dsn.get_secret_value()),
            pool_size=settings.postgres_pool,
            max_overflow=settings.postgres_pool,
            pool_timeout=settings.postgres_pool_wait.total_seconds(),
            pool_pre_ping=True,
            hide_parameters=True,  # errors are logged, and what was to be stored may be personal
            connect_args={"timeout": 5, "command_timeout": 30},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._clock_good_until = 0.0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the block's end, rolled back when it raises.

        Raises DatabaseAway when Postgres is out of reach, dies or asks for a retry (40001, 40P01).
        """
        with translated():
            async with self._sessions.begin() as session:
                await self._follow_clock(session)
                yield session

    @asynccontextmanager
    async def exclusive(self, name: str) -> AsyncIterator[bool]:
        """Hold the advisory lock ``name`` for the block; the value says whether we got it.

        It is bound to a connection of its own, so a process that dies or is cut off lets go of it. Raises
        DatabaseAway as ``transaction`` does; after a block that lost its connection too, for it ran without the lock.
        """
        with translated():
            async with self.engine.connect() as connection:
                held = await _try_lock(connection, name)
                try:
                    yield held
                finally:
                    await _unlock(connection, name, held)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def _follow_clock(self, session: AsyncSession) -> None:
        start = time.monotonic()
        if start < self._clock_good_until:
            return
        answer = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
        if time.monotonic() - start > clock.TOLERATED.total_seconds():
            return  # too slow to tell; the next transaction asks again
        self._clock_good_until = start + CLOCK_SECONDS
        if wrong := clock.follow(answer):
            log.warning("clock.corrected", seconds=wrong.total_seconds())


@contextmanager
def translated() -> Iterator[None]:
    """Inside the block a Postgres that is out of reach, dies or asks for a retry raises DatabaseAway."""
    try:
        yield
    except (OSError, TimeoutError, PoolEmpty) as exc:
        raise DatabaseAway("database_away", reason=foreign(exc)) from exc
    except DBAPIError as exc:
        if isinstance(exc, OperationalError) or exc.connection_invalidated or _retryable(exc):
            raise DatabaseAway("database_away", reason=foreign(exc.orig)) from exc
        raise


async def lock(session: AsyncSession, name: str, wait: timedelta = timedelta(seconds=20)) -> None:
    """Hold the advisory lock ``name`` until the transaction ends; wait for it at most ``wait``.

    Raises DatabaseAway (through ``transaction``) when the wait is over.
    """
    await session.execute(text(f"SET LOCAL lock_timeout = {int(wait.total_seconds() * 1000)}"))
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(name)})


def lock_key(name: str) -> int:
    """The 64-bit key of a lock's name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def async_dsn(dsn: str) -> str:
    """A plain ``postgresql://`` address as SQLAlchemy wants it for asyncpg."""
    return dsn.replace("postgresql://", "postgresql+asyncpg://", 1)


def is_the_datas_fault(exc: DBAPIError) -> bool:
    """Whether what was to be stored can never be: a value that does not fit, or a broken constraint."""
    return _code(exc).startswith(("22", "23"))


def _retryable(exc: DBAPIError) -> bool:
    # serialization failure, deadlock, lock not available, a server that only reads since a fail-over (25006), and the
    # server's shutdowns (57P0x)
    return _code(exc) in {"40001", "40P01", "55P03", "25006"} or _code(exc).startswith(("08", "57P", "53"))


def _code(exc: DBAPIError) -> str:
    return str(getattr(exc.orig, "sqlstate", None) or getattr(exc.orig, "pgcode", ""))


async def _try_lock(connection: AsyncConnection, name: str) -> bool:
    result = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": lock_key(name)})
    await connection.commit()
    return bool(result.scalar_one())


async def _unlock(connection: AsyncConnection, name: str, held: bool) -> None:
    if held and not connection.invalidated:
        await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": lock_key(name)})
        await connection.commit()
