"""Which snapshot of a box's volume is kept: the one that was taken before the box got the release that it is on.

Only what is to be kept is decided here, with the change of the release; the chart takes it, in a cell that can, before
the new release's pod starts, and only one is kept at a time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain import volumes
from controller.domain.boxes import Box


async def due(session: AsyncSession, box: Box, former: str, rev: int) -> dict[str, Any] | None:
    """The snapshot that the box is to have once ``rev`` has put it from ``former`` on its release of now.

    A box whose gateway never reported has nothing to save, and perhaps no volume: a snapshot of a claim that is bound
    to none would never be ready, and hold the release that may mend the box. So has one that is being restored, whose
    volume is still to be made from the snapshot. One that returns to the release under which its snapshot was taken
    keeps that: it is the data to go back to.
    """
    kept, number = box.snapshot, volumes.in_use(box)["rev"]
    if former == box.release or (kept or {}).get("release") == box.release:
        return kept
    if box.ready_release is None or not await volumes.made(session, box):
        return kept
    return {"release": former, "rev": rev} | ({"volume": number} if number else {})
