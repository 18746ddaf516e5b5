"""Postgres away, dying or busy is always the same error of ours; an advisory lock has one holder and dies with it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import db
from controller.core.db import Database, DatabaseAway
from controller.core.settings import DatabaseSettings
from controller.sandbox.postgres import Postgres
from controller.sandbox.processes import free_port
from tests.proxy.waiting import until

WAIT = timedelta(milliseconds=100)


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[Database]:
    """A second process's pool on the same database."""
    opened = Database(DatabaseSettings(postgres_dsn=SecretStr(dsn)))
    yield opened
    await opened.close()


async def backend(session: AsyncSession) -> int:
    return int((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def cut(dsn: str, pid: int) -> None:
    """End one session of Postgres, as a fail-over would."""
    admin = await asyncpg.connect(dsn)
    await admin.execute("SELECT pg_terminate_backend($1)", pid)
    await admin.close()


async def answers(database: Database) -> bool:
    try:
        async with database.transaction() as session:
            return await backend(session) > 0
    except DatabaseAway:  # it recovers from the kill
        return False


async def holders(dsn: str) -> list[int]:
    admin = await asyncpg.connect(dsn)
    rows = await admin.fetch("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    await admin.close()
    return [row["pid"] for row in rows]


async def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE kept (n int)"))
    with pytest.raises(KeyError):  # noqa: PT012, the error comes when the block ends
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO kept VALUES (1)"))
            raise KeyError("x")
    async with database.transaction() as session:
        assert (await session.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 0


async def test_no_server_is_database_away() -> None:
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(f"postgresql://a:b@127.0.0.1:{free_port()}/x")))
    with pytest.raises(DatabaseAway):
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
    with pytest.raises(DatabaseAway):
        async with database.exclusive("x"):
            pass


async def test_a_session_cut_in_the_middle_is_database_away_and_the_next_works(database: Database, dsn: str) -> None:
    with pytest.raises(DatabaseAway):  # noqa: PT012, the error comes when the block ends
        async with database.transaction() as session:
            await cut(dsn, await backend(session))
            await session.execute(text("SELECT 1"))
    async with database.transaction() as session:
        await session.execute(text("SELECT 1"))


async def test_a_session_cut_before_the_commit_is_database_away(database: Database, dsn: str) -> None:
    with pytest.raises(DatabaseAway):  # noqa: PT012, the error comes when the block ends
        async with database.transaction() as session:
            await session.execute(text("CREATE TABLE lost (n int)"))
            await cut(dsn, await backend(session))


async def test_a_killed_server_is_database_away_until_it_is_back(data: Path) -> None:
    folder = data / "killed"
    folder.mkdir()
    folder.chmod(0o755)
    server = Postgres(folder / "postgres", data / "logs", durable=False)
    await server.start()
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(server.dsn())))
    with pytest.raises(DatabaseAway):  # noqa: PT012, the error comes when the block ends
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            os.killpg(server.pid, signal.SIGKILL)
            await session.execute(text("SELECT pg_sleep(5)"))
    await server.start()
    assert await until(lambda: answers(database))
    await database.close()
    await server.stop()


async def test_a_server_without_room_for_one_more_connection_is_database_away(dsn: str) -> None:
    admin = await asyncpg.connect(dsn)
    await admin.execute("DROP ROLE IF EXISTS unit_narrow")
    await admin.execute("CREATE ROLE unit_narrow LOGIN PASSWORD 'narrow' CONNECTION LIMIT 0")
    address = "postgresql://unit_narrow:narrow@" + dsn.split("@")[1]
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(address)))
    try:
        with pytest.raises(DatabaseAway):
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
    finally:
        await admin.execute("DROP ROLE unit_narrow")
        await admin.close()


async def test_a_pool_that_stays_empty_is_database_away(dsn: str) -> None:
    settings = DatabaseSettings(postgres_dsn=SecretStr(dsn), postgres_pool=1, postgres_pool_wait=WAIT)
    database = Database(settings)
    async with database.transaction() as one, database.transaction() as two:
        await asyncio.gather(backend(one), backend(two))
        with pytest.raises(DatabaseAway):
            async with database.transaction() as third:
                await backend(third)
    await database.close()


async def test_a_wait_for_a_lock_that_is_too_long_is_database_away(database: Database, other: Database) -> None:
    async with database.transaction() as holder:
        await db.lock(holder, "subscription:1")
        with pytest.raises(DatabaseAway):
            async with other.transaction() as session:
                await db.lock(session, "subscription:1", WAIT)
        async with other.transaction() as session:
            await db.lock(session, "subscription:2", WAIT)


async def test_a_broken_rule_is_not_called_away(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO operator_jobs (id, box_id, verb, rev) VALUES ('a', 'b', 'c', 1)"))


async def test_an_exclusive_lock_has_one_holder_and_is_free_afterwards(database: Database, other: Database) -> None:
    async with database.exclusive("writer") as first, other.exclusive("writer") as second:
        assert (first, second) == (True, False)
        async with other.exclusive("sweeper") as third:
            assert third
    async with other.exclusive("writer") as again:
        assert again


async def test_an_exclusive_lock_ends_when_the_block_raises(database: Database, other: Database) -> None:
    with pytest.raises(KeyError):
        async with database.exclusive("writer"):
            raise KeyError("x")
    async with other.exclusive("writer") as held:
        assert held


async def test_a_holder_that_is_cut_off_lets_go_and_hears_of_it(database: Database, other: Database, dsn: str) -> None:
    with pytest.raises(DatabaseAway):  # noqa: PT012, the error comes when the block ends
        async with database.exclusive("writer"):
            for pid in await holders(dsn):
                await cut(dsn, pid)
            async with other.exclusive("writer") as taken:
                assert taken


@pytest.mark.parametrize("name", ["", "writer", "subscription:sub_1", "ä" * 100])
def test_a_locks_key_is_stable_and_fits_postgres(name: str) -> None:
    assert db.lock_key(name) == db.lock_key(name)
    assert -(2**63) <= db.lock_key(name) < 2**63


async def test_an_error_repeats_no_value_that_was_to_be_stored(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO customers (id, email) VALUES ('a', :email)"), {"email": "ana@x.y"})
    assert "[parameters:" not in str(caught.value)
