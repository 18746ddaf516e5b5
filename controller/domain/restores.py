"""An admin takes a box's data back to before its release changed, and gives up for good what that left behind.

A restore makes a new volume from the snapshot, and the one in use until then is kept: no step loses both. What the
cluster has is believed where that decides, since a cell may take no snapshots and a driver may fail.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Conflict
from controller.domain import lifecycle, rollouts, stoppages, volumes
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Why
from controller.domain.sightings import Sighting
from controller.domain.states import State

_NONE_KEPT = "no upgrade of this box has kept a snapshot yet"
_NONE_TAKEN = "the cluster has no such snapshot: its cell has no snapshot_class, or it could not be taken"
_ACTIVE = "only an active box is restored: without a pod no volume is made"
_UNDER_WAY = "the cluster does not run the box on its new volume yet: see the box's jobs"
_NOTHING_LEFT = "no volume is left of a restore"
_NOT_APPLIED = "the cluster has not applied all that is wanted of the box: try again in a moment"
_STILL_KEPT = "a volume is kept from an earlier restore: give it up first, with --discard"


async def restore(session: AsyncSession, box: Box, why: Why, reason: str) -> Job:
    """The box goes back to its snapshot's release, on a volume made from the snapshot; the job that says so.

    A rollout under way leaves it there. The caller holds the box's lock. Raises Conflict for a box that is not active,
    has no snapshot in the cluster, or still keeps the volume of an earlier restore; Invalid for a reason that cannot be
    kept.
    """
    told = stoppages.checked_reason(reason)
    if box.state != State.ACTIVE:
        raise Conflict("box_not_active", box=box.id, state=box.state, hint=_ACTIVE)
    if box.snapshot is None:
        raise Conflict("snapshot_missing", box=box.id, hint=_NONE_KEPT)
    if volumes.kept(box) is not None:
        if not await volumes.made(session, box):
            raise Conflict("restore_under_way", box=box.id, rev=volumes.in_use(box)["rev"], hint=_UNDER_WAY)
        raise Conflict("volume_kept", box=box.id, hint=_STILL_KEPT)
    seen = await session.get(Sighting, box.id, populate_existing=True)
    if seen is None or seen.snapshot != name(box.snapshot["release"], box.snapshot["rev"]):
        raise Conflict("snapshot_not_taken", box=box.id, release=box.snapshot["release"], hint=_NONE_TAKEN)
    if box.release != box.snapshot["release"]:
        await rollouts.overruled(session, box, box.snapshot["release"], why.actor)
    job = await lifecycle.restore(session, box, box.snapshot["release"], why)
    job.reason = told
    return job


async def discard(session: AsyncSession, box: Box, why: Why, reason: str) -> Job:
    """The volume that a restore left behind is given up and will be deleted; the job that says so.

    The caller holds the box's lock. Raises Conflict for a box that keeps none or has ended, and until the cluster runs
    it on the other; Invalid for a reason that cannot be kept.
    """
    told = stoppages.checked_reason(reason)
    former = volumes.kept(box)
    if former is None:
        raise Conflict("no_volume_kept", box=box.id, hint=_NOTHING_LEFT)
    if not await volumes.made(session, box):
        raise Conflict("restore_under_way", box=box.id, rev=volumes.in_use(box)["rev"], hint=_UNDER_WAY)
    seen = await session.get(Sighting, box.id, populate_existing=True)
    # Argo CD deletes a volume only once it has applied that it is kept and no more
    if seen is None or seen.sync != "Synced" or seen.rev < box.rev:
        raise Conflict("box_not_synced", box=box.id, rev=box.rev, seen=seen.rev if seen else 0, hint=_NOT_APPLIED)
    job = await lifecycle.give_up(session, box, former, why)
    job.reason = told
    return job


def name(release: str, rev: int) -> str:
    """The name that charts/box gives the snapshot of what ``release`` left, taken at ``rev``."""
    return f"data-{release}-{rev}"
