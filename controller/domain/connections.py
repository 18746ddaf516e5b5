"""What a customer has connected to a box: one row a provider, never a credential.

``version`` is the connection's generation: it counts up with every change, so that Git and the box see each of them.
The verbs that change a row and raise the job for it are in ``lifecycle``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.domain import providers
from controller.domain.providers import Status

_STATUSES = ", ".join(f"'{status.value}'" for status in Status)


class Connection(Base):
    """One provider's connection to one box; the row stays when it is disconnected, for its version."""

    __tablename__ = "customer_connections"
    __table_args__ = (CheckConstraint(f"status IN ({_STATUSES})", name="status"),)

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=clock.now)


async def of_box(session: AsyncSession, box_id: str) -> list[Connection]:
    """The box's rows, also the disconnected ones, in the catalog's order."""
    found = await session.scalars(select(Connection).where(Connection.box_id == box_id))
    rows = {row.provider: row for row in found}
    return [rows[key] for key in providers.PROVIDERS if key in rows]


async def move(session: AsyncSession, box_id: str, provider: str, status: Status) -> bool:
    """The provider's row says ``status``; whether that is news. The caller holds the box's row lock.

    Connecting anew is always news: the service may have given another account. Raises NotFound for a provider
    that is not in the catalog.
    """
    key = providers.get(provider).key
    row = await session.get(Connection, (box_id, key))
    was = Status(row.status) if row else Status.DISCONNECTED
    if not _is_news(was, status):
        return False
    if row is None:
        row = Connection(box_id=box_id, provider=key, version=0)
        session.add(row)
    row.status, row.version, row.updated_at = status.value, row.version + 1, clock.now()
    await session.flush()
    return True


async def end_all(session: AsyncSession, box_id: str) -> bool:
    """Nothing is connected any more; whether anything was."""
    moved = [await move(session, box_id, row.provider, Status.DISCONNECTED) for row in await of_box(session, box_id)]
    return any(moved)


async def in_manifest(session: AsyncSession, box_id: str) -> list[dict[str, Any]]:
    """The box's connections as its manifest lists them: provider and version of all that are not disconnected."""
    rows = await of_box(session, box_id)
    return [{"provider": row.provider, "version": row.version} for row in rows if row.status != Status.DISCONNECTED]


async def in_profile(session: AsyncSession, box_id: str, locale: str) -> list[dict[str, Any]]:
    """What the box's entrypoint needs of each of them: how to use it, and whether that works now."""
    made = []
    for row in await of_box(session, box_id):
        if row.status != Status.DISCONNECTED:
            told = _told(row.provider, Status(row.status), locale)
            made.append({"version": row.version, **told})
    return made


async def for_agent(session: AsyncSession, box_id: str, locale: str) -> list[dict[str, Any]]:
    """Every provider of the catalog as the box's agent is told of it, connected or not; never a secret."""
    statuses = {row.provider: Status(row.status) for row in await of_box(session, box_id)}
    return [_told(key, statuses.get(key, Status.DISCONNECTED), locale) for key in providers.PROVIDERS]


def _told(key: str, status: Status, locale: str) -> dict[str, Any]:
    provider = providers.get(key)
    return {
        "provider": key,
        "name": provider.name,
        "status": status.value,
        "use": provider.use.value,
        "how": providers.how(provider, status, locale),
    }


def _is_news(was: Status, status: Status) -> bool:
    if status == Status.NEEDS_RECONNECT:
        # A late word about a connection that was ended meanwhile.
        return was == Status.CONNECTED
    return status == Status.CONNECTED or was != Status.DISCONNECTED
