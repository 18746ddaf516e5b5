"""A call that is over leaves no open row behind, however its end meets a commit that is under way."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from controller.core.db import Database
from proxy.journal import Journal, Reservation
from tests.proxy.conftest import bought
from tests.proxy.reserved import reservation
from tests.proxy.waiting import until

LEASE = timedelta(seconds=30)
Rows = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def rows(dsn: str) -> AsyncIterator[Rows]:
    """Asks for the open calls' ids."""
    connection = await asyncpg.connect(dsn)

    async def ask() -> list[str]:
        return [row[0] for row in await connection.fetch("SELECT request_id FROM reservations")]

    yield ask
    await connection.close()


@pytest.fixture
async def call(database: Database) -> Reservation:
    box_id, _ = await bought(database)
    return reservation(box_id)


@asynccontextmanager
async def working(journal: Journal) -> AsyncIterator[None]:
    task = asyncio.create_task(journal.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def commit_another(journal: Journal, call: Reservation, rows: Rows) -> None:
    """Return once everything that the journal was told before is committed."""
    other = reservation(call.box_id)
    await journal.delivering(other)
    assert other.request_id in await rows()


async def test_what_is_said_of_a_call_after_its_end_does_not_bring_it_back(
    dsn: str, call: Reservation, rows: Rows
) -> None:
    journal = Journal(dsn, "proxy", LEASE)
    async with working(journal):
        await journal.delivering(call)
        journal.settled(call)
        connection = await asyncpg.connect(dsn)
        await connection.execute("DELETE FROM reservations")  # as the meter does with the row of its usage
        await connection.close()
        journal.progress(call)
        await commit_another(journal, call, rows)
        assert call.request_id not in await rows()


async def test_a_call_that_ends_while_its_commit_waits_for_a_connection_leaves_no_row(
    dsn: str, call: Reservation, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, asked, may = asyncpg.connect, asyncio.Event(), asyncio.Event()

    async def late(*args: object, **options: object) -> object:
        asked.set()
        await may.wait()
        return await connect(*args, **options)

    monkeypatch.setattr(asyncpg, "connect", late)
    journal = Journal(dsn, "proxy", LEASE)
    journal.open(call)
    async with working(journal):
        await asked.wait()
        journal.remove(call)
        may.set()
        await commit_another(journal, call, rows)

        async def gone() -> bool:
            return call.request_id not in await rows()

        assert await until(gone)


GOODBYE = b"SFATAL\0C57P01\0Mterminating connection\0\0"


@asynccontextmanager
async def through_a_relay(dsn: str) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """The same Postgres at another port, and what writes to each of its clients."""
    clients: list[asyncio.StreamWriter] = []
    to = urlsplit(dsn)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(to.hostname, to.port)
        clients.append(writer)
        await asyncio.gather(pipe(reader, ours), pipe(theirs, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield urlunsplit(to._replace(netloc=f"{to.username}:{to.password}@127.0.0.1:{port}")), clients
    server.close()


async def test_a_connection_that_postgres_said_goodbye_on_is_given_up(dsn: str, call: Reservation, rows: Rows) -> None:
    async with through_a_relay(dsn) as (at, clients):
        journal = Journal(at, "proxy", LEASE)
        async with working(journal):
            await commit_another(journal, call, rows)
            # Postgres says so when it is killed, and is not always quick to close; the driver is confused until then
            clients[-1].write(b"E" + struct.pack(">I", len(GOODBYE) + 4) + GOODBYE)
            await clients[-1].drain()
            await asyncio.sleep(0.1)
            await journal.delivering(call)
            assert call.request_id in await rows()
