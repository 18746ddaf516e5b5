"""Bring a database to a revision of the schema, from code: the same for ``migrate``, the sandbox and tests."""

from __future__ import annotations

from pathlib import Path

from alembic import command, util
from alembic.config import Config
from sqlalchemy import Connection

from controller.core.db import Database, lock_key, translated
from controller.core.errors import Permanent, foreign


class RevisionUnknown(Permanent):
    """Raised when there is no way from the database's revision to the one asked for."""


def config(connection: Connection) -> Config:
    """Alembic's configuration on an open connection."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


async def upgrade(database: Database, revision: str = "head") -> None:
    """Upgrade to ``revision``; processes that start at once wait for one another.

    Raises DatabaseAway, or RevisionUnknown with nothing changed.
    """
    with translated():
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock_key('migrate')})")
            try:
                await connection.run_sync(lambda sync: command.upgrade(config(sync), revision))
            except util.CommandError as exc:
                raise RevisionUnknown("revision_unknown", reason=foreign(exc)) from exc


async def downgrade(database: Database, revision: str = "base") -> None:
    """Go back to ``revision``; with ``base`` nothing of ours is left."""
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(config(sync), revision))


async def check(database: Database) -> None:
    """Return if the models and the migrated schema agree; Alembic's CommandError tells the difference."""
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.check(config(sync)))
