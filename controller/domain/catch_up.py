"""How far an outside system's own list of events has been read, for what it never managed to deliver.

One row a source. It moves in the transaction that stores what was listed, so nothing between two readings is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base

LISTED_FOR = timedelta(days=30)
"""How long Stripe lists an event: how far the first reading, or one after a long outage, goes back."""

SETTLED = timedelta(minutes=1)
"""How old an event has to be before it is read: until then its delivery is under way."""

OVERLAP = timedelta(minutes=10)
"""How much is read twice: a list may show an event later than its time says."""

WINDOW = timedelta(days=1)
"""The most that is read in one transaction."""


class CatchUp(Base):
    """Everything up to ``reached`` is in the inbox."""

    __tablename__ = "catch_ups"

    source: Mapped[str] = mapped_column(primary_key=True)
    reached: Mapped[datetime]


@dataclass(frozen=True)
class Window:
    """Events made from ``start`` until ``end``; ``last``: then all there is has been read."""

    start: datetime
    end: datetime
    last: bool


async def is_due(session: AsyncSession, source: str, interval: timedelta) -> bool:
    """Whether what was not read yet is older than ``interval``."""
    row = await session.get(CatchUp, source)
    return row is None or row.reached + SETTLED + interval <= clock.now()


async def window(session: AsyncSession, source: str) -> Window:
    """What to read now."""
    now = clock.now()
    row = await session.get(CatchUp, source)
    reached = max(now - LISTED_FOR, row.reached if row else now - LISTED_FOR)
    end = min(reached + WINDOW, now - SETTLED)
    return Window(reached - OVERLAP, end, last=end == now - SETTLED)


async def reach(session: AsyncSession, source: str, until: datetime) -> None:
    """Everything up to ``until`` is in the inbox with this transaction; a slower reader takes nothing back."""
    statement = insert(CatchUp).values(source=source, reached=until)
    furthest = func.greatest(CatchUp.reached, statement.excluded.reached)
    await session.execute(statement.on_conflict_do_update(index_elements=["source"], set_={"reached": furthest}))
