"""Conditions that tests wait for."""

from __future__ import annotations

from sqlalchemy import text

from controller.core.db import Database

PATIENCE = 60.0
"""For what takes a moment, on a machine that is busy otherwise: only a test that fails waits so long."""


async def blocked(database: Database) -> bool:
    """Whether somebody waits for another's lock in this database."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.transaction() as session:
        return bool(await session.scalar(waiting))
