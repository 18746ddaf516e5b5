"""Ops take a box's data back to before an upgrade, and give up the volume that this left behind."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.admin.stoppages import Order
from api.deps import Admin, Given
from controller.core import ids
from controller.core import log as logs
from controller.domain import bells, boxes, restores
from controller.domain.lifecycle import Why

log = logs.get(__name__)
router = APIRouter(prefix="/admin/boxes/{box_id}")


@router.post("/restore", status_code=202)
async def restore(given: Given, who: Admin, box_id: str, order: Order) -> dict[str, Any]:
    """Queue the box's return to its snapshot; its ``release`` then, and the ``volume`` that is in use from then on.

    404 for a box that nobody knows, 409 for one that is not active, has no snapshot in the cluster, or still keeps the
    volume of an earlier restore.
    """
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        job = await restores.restore(session, box, Why(who, ids.new()), order.reason)
    volume, release = job.fields["volumes"]["used"]["rev"], job.fields["release"]
    log.warning("admin.box_restored", box_id=box_id, job_id=job.id, actor=who, reason=job.reason, release=release)
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job.id, "box_id": box_id, "release": release, "volume": volume}


@router.post("/discard", status_code=202)
async def discard(given: Given, who: Admin, box_id: str, order: Order) -> dict[str, Any]:
    """Queue the end of the volume that a restore left; ``volume`` is its number. There is no way back.

    404 for a box that nobody knows, 409 for one that keeps none or has ended, and until the cluster runs it on the
    other.
    """
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        job = await restores.discard(session, box, Why(who, ids.new()), order.reason)
    volume = job.fields["volumes"]["given_up"]
    log.warning("admin.volume_given_up", box_id=box_id, job_id=job.id, actor=who, reason=job.reason, volume=volume)
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job.id, "box_id": box_id, "volume": volume}
