"""Applications of boxes that their cell does not have, or has no more: left of a file that people put there.

Such a file is taken away, but that deletes no Application. ``workers/strays`` does where nothing ever lived or all is
gone; the rest is for ops to see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base
from controller.core.errors import CloudError
from controller.domain.boxes import Box, Place
from controller.domain.caps import HOUR, REACHED, CapSettings


class Stray(Base):
    """One Application that is no box's, and how far it is taken away."""

    __tablename__ = "strays"

    cell: Mapped[str] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(primary_key=True)
    """The Application's name, which people's file chose: such a box may be in another cell, retired, or nowhere."""

    seen_at: Mapped[datetime] = mapped_column(default=clock.now)
    begun_at: Mapped[datetime | None]
    """When the caps let it through."""

    asked_at: Mapped[datetime | None]
    """When its ApplicationSet was last asked to read Git, from where its file is gone."""

    deleted_at: Mapped[datetime | None]
    """When it was deleted, or found to be gone; a set that reads Git late may bring it back."""

    over_at: Mapped[datetime | None]
    """When nothing of it was left in the cluster."""

    error: Mapped[str | None]
    """What holds it up."""


async def note(session: AsyncSession, place: Place) -> None:
    """The Application that was seen there is on record, unless the cell has such a box and it is not retired.

    One whose name is no box's id may be anybody's, and is left alone.
    """
    if not re.fullmatch(ids.PATTERN, place.box_id):
        return
    box = await session.get(Box, place.box_id)
    if box is not None and box.cell == place.cell and box.retired_at is None:
        return
    row = await session.get(Stray, (place.cell, place.box_id))
    if row is None or row.over_at is not None:
        await session.merge(
            Stray(
                cell=place.cell, box_id=place.box_id, seen_at=clock.now(), begun_at=None, asked_at=None,
                deleted_at=None, over_at=None, error=None,
            )
        )  # fmt: skip


def unfinished() -> ColumnElement[bool]:
    """Of a stray: whether its cell still has no such box, and something of it may be left."""
    here = exists().where(Box.id == Stray.box_id, Box.cell == Stray.cell, Box.retired_at.is_(None))
    return and_(Stray.over_at.is_(None), ~here)


async def count(session: AsyncSession) -> int:
    """How many strays are not over."""
    return await session.scalar(select(func.count()).select_from(Stray).where(unfinished())) or 0


async def due(session: AsyncSession) -> Sequence[Stray]:
    """The strays that are not over, oldest first."""
    return (await session.scalars(select(Stray).where(unfinished()).order_by(Stray.seen_at))).all()


async def admit(session: AsyncSession, found: Sequence[Stray], caps: CapSettings) -> Sequence[Stray]:
    """Those that may be taken away now: begun before, or no more than the caps allow retirements; the others say so."""
    begun = await session.scalar(select(func.count()).where(Stray.begun_at > clock.now() - HOUR))
    fresh = [one for one in found if one.begun_at is None]
    room = _room(caps, begun or 0, len(fresh))
    for one in fresh[:room]:
        one.begun_at = (await _row(session, one)).begun_at = clock.now()
    for one in fresh[room:]:
        await hold_up(session, one, CloudError(REACHED, cap="retirements"))
    return [one for one in found if one.begun_at is not None]


def _room(caps: CapSettings, begun: int, wanted: int) -> int:
    batch = caps.cap_retirements_a_batch or wanted
    hour = max(caps.cap_retirements_an_hour - begun, 0) if caps.cap_retirements_an_hour else wanted
    return min(batch, hour, wanted)


async def asked(session: AsyncSession, stray: Stray, *, deleted: bool) -> None:
    """Its set was asked to read Git, after the Application was deleted or found to be gone if ``deleted``."""
    row = await _row(session, stray)
    row.asked_at = clock.now()
    row.deleted_at = clock.now() if deleted else None


async def over(session: AsyncSession, stray: Stray) -> None:
    """Nothing of it is left."""
    row = await _row(session, stray)
    row.over_at, row.error = clock.now(), None


async def hold_up(session: AsyncSession, stray: Stray, error: CloudError | None) -> None:
    """What holds it up is on record; None: nothing does."""
    (await _row(session, stray)).error = None if error is None else str(error)


async def _row(session: AsyncSession, stray: Stray) -> Stray:
    return await session.get_one(Stray, (stray.cell, stray.box_id))
