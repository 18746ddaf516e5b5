"""Ops' verbs for connections: what a customer's own page does, for support and for tests of the whole path."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from fastapi import APIRouter

from api.deps import Admin, Given
from controller.core import clock, ids
from controller.domain import bells, boxes, connections, lifecycle
from controller.domain.lifecycle import Why

router = APIRouter(prefix="/admin/boxes/{box_id}/connections")


class ConnectionVerb(StrEnum):
    """What can happen to a connection."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    REQUIRE_RECONNECT = "require-reconnect"


_VERBS = {
    ConnectionVerb.CONNECT: lifecycle.connect,
    ConnectionVerb.DISCONNECT: lifecycle.disconnect,
    ConnectionVerb.REQUIRE_RECONNECT: lifecycle.require_reconnect,
}


@router.get("")
async def listed(given: Given, _: Admin, box_id: str) -> list[dict[str, Any]]:
    """The box's connections with status and version; what was never connected is not listed."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id))
        return [
            {"provider": row.provider, "status": row.status, "version": row.version, "updated_at": row.updated_at}
            for row in await connections.of_box(session, box.id)
        ]


@router.post("/{provider}/{verb}", status_code=202)
async def act(given: Given, who: Admin, box_id: str, provider: str, verb: ConnectionVerb) -> dict[str, str | None]:
    """Queue the job that tells Git and the box, or add to one that waits; null when nothing changes."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        job = await _VERBS[verb](session, box, provider, Why(who, ids.new()))
    if job is not None:
        await given.bell.ring(bells.COMMITS, after=job.next_attempt_at - clock.now())
    return {"job_id": job.id if job else None, "box_id": box_id}
