"""The schema goes up and down, and the models agree with it."""

from __future__ import annotations

from sqlalchemy import text

from controller.core.db import Database
from controller.domain import migrate


async def test_models_and_migrations_agree(database: Database) -> None:
    await migrate.check(database)


async def test_down_and_up_again_leaves_the_same_schema(database: Database) -> None:
    await migrate.downgrade(database)
    async with database.transaction() as session:
        left = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        assert list(left) == ["alembic_version"]
    await migrate.upgrade(database)
    await migrate.check(database)
