"""Which volumes a box has, as its manifest says it: the one in use, one that is kept beside it, one given up last.

A volume that was made from a snapshot is numbered by the rev that asked for it, the first one by 0. The one before it
is kept, whole, until it is given up by name: Argo CD deletes nothing else.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb

Volume = dict[str, Any]
"""``rev``, its number, and ``snapshot``, which all but the first are made from."""

_FIRST: Volume = {"rev": 0}
_NOT_APPLIED = (JobState.QUEUED, JobState.NEEDS_APPROVAL, JobState.COMMITTED, JobState.FAILED)


def in_use(box: Box) -> Volume:
    """The volume that the box's pod has, or is to have."""
    return dict((box.volumes or {}).get("used", _FIRST))


def kept(box: Box) -> Volume | None:
    """The volume that was in use before; None if none is kept."""
    return (box.volumes or {}).get("kept")


async def made(session: AsyncSession, box: Box) -> bool:
    """Whether the volume in use is there, with its data: the job that asked for it, if any, was seen to be applied."""
    number = Job.fields["volumes"]["used"]["rev"].as_integer()
    query = select(Job.id).where(Job.box_id == box.id, Job.verb == Verb.RESTORE, Job.state.in_(_NOT_APPLIED))
    return await session.scalar(query.where(number == in_use(box)["rev"]).limit(1)) is None


def restored(box: Box, rev: int) -> dict[str, Any]:
    """The box's volumes once ``rev`` has put it on a new one, made from its snapshot, and keeps the one before."""
    gone = {name: number for name, number in (box.volumes or {}).items() if name == "given_up"}
    return {"used": {"rev": rev, "snapshot": box.snapshot}, "kept": in_use(box), **gone}


def given_up(box: Box, former: Volume) -> dict[str, Any]:
    """The box's volumes without ``former``, the kept one, which is gone for good then."""
    return {"used": in_use(box), "given_up": former["rev"]}
