"""What the cluster last said of each box's Application: kept so that ops can ask why something does not move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ForeignKey, Index, delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.core.errors import foreign
from controller.domain import jobs
from controller.domain.boxes import Box
from controller.domain.jobs import JobState

GAVE_UP = frozenset({"Failed", "Error"})
"""Phases of an operation that nobody goes on with: Argo CD tries again with the next rev."""

_MOVING = (JobState.QUEUED, JobState.COMMITTED)


@dataclass(frozen=True)
class Look:
    """One look at an Application, in Argo CD's words; ``operation`` names its last sync by when that began."""

    box_id: str
    rev: int
    sync: str
    health: str
    phase: str
    operation: str
    message: str | None
    resources: int
    held: bool
    cell: str = ""
    """The cell that its values name; empty where they name none yet."""

    snapshot: str | None = None
    """The name of the volume's snapshot that is there as Git has it."""


class Sighting(Base):
    """The newest look at a box's Application, and what drifted from Git by itself."""

    __tablename__ = "sightings"
    __table_args__ = (
        Index(
            "ix_sightings_amiss",
            "box_id",
            postgresql_where="drifted_since IS NOT NULL OR phase IN ('Failed', 'Error') OR health = 'Degraded'",
        ),
    )

    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), primary_key=True)
    rev: Mapped[int]
    """The rev of the values that Argo CD last compared with what is live."""

    sync: Mapped[str]
    health: Mapped[str]
    phase: Mapped[str]
    operation: Mapped[str]
    message: Mapped[str | None]
    resources: Mapped[int]
    held: Mapped[bool]
    """Whether Argo CD is told to leave it alone: then all else here is as of before."""

    snapshot: Mapped[str | None]
    """The snapshot of its volume that the cluster has, by name; None: it has none, or not the one that Git says."""

    drifted_since: Mapped[datetime | None]
    """Since when it is not as Git has it, although no job of ours is on its way."""

    last_drift_at: Mapped[datetime | None]
    self_heals: Mapped[int] = mapped_column(default=0)
    """How often Argo CD put it right without a commit."""

    seen_at: Mapped[datetime] = mapped_column(default=clock.now)


async def record(session: AsyncSession, look: Look) -> bool:
    """The look is on record, if it is one at a box of ours where that is; whether Argo CD has just begun to heal it."""
    box = await session.get(Box, look.box_id, with_for_update={"key_share": True, "read": True})
    if box is None or not box.may_be_in(look.cell):
        return False
    row = await session.get(Sighting, look.box_id)
    quiet = not await jobs.open_of(session, look.box_id, *_MOVING)
    heals = (
        quiet and row is not None and row.rev == look.rev and row.operation != look.operation and row.operation != ""
    )
    if row is None:
        row = Sighting(box_id=look.box_id, self_heals=0)
        session.add(row)
    for name in ("rev", "sync", "health", "phase", "operation", "resources", "held", "snapshot"):
        setattr(row, name, getattr(look, name))
    row.message = None if look.message is None else foreign(look.message)
    row.seen_at = clock.now()
    drifts = quiet and look.sync == "OutOfSync" and not look.held
    row.drifted_since = (row.drifted_since or clock.now()) if drifts else None
    if drifts or heals:
        row.last_drift_at = clock.now()
    row.self_heals += int(heals)
    return heals


async def forget(session: AsyncSession, box_id: str, cell: str = "") -> None:
    """The box has no Application any more; nothing changes if the one that went was in another cell than the box."""
    box = await session.get(Box, box_id)
    if box is not None and box.may_be_in(cell):
        await session.execute(delete(Sighting).where(Sighting.box_id == box_id))
