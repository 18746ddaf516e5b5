"""Ops stop one box at once, and start it again: the only verbs whose effect does not wait for Git."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import Admin, Given
from controller.core import ids
from controller.core import log as logs
from controller.domain import bells, boxes, emergencies, stoppages
from controller.domain.lifecycle import Why
from controller.domain.stoppages import Stoppage

log = logs.get(__name__)
router = APIRouter(prefix="/admin/boxes/{box_id}")


class Order(BaseModel):
    """Why an admin asks for it, for the audit; it stands in Postgres alone, never in Git."""

    reason: str


@router.post("/stop", status_code=202)
async def stop(given: Given, who: Admin, box_id: str, order: Order) -> dict[str, Any]:
    """No token of the box opens anything any more, and its pod ends within moments, Git or no Git.

    Twice is once. 404 for a box that nobody knows, 409 for one that is destroyed and for a standby, which can be ended.
    """
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        made = await emergencies.stop(session, box, Why(who, ids.new()), order.reason)
        told = shown(made)
    log.warning("admin.box_stopped", box_id=box_id, stoppage_id=made.id, actor=who)
    await given.bell.ring(bells.COMMITS)
    return told


@router.post("/start", status_code=202)
async def start(given: Given, who: Admin, box_id: str) -> dict[str, str | None]:
    """The box runs again, with new tokens, once Git says so; ``job_id`` is null if it does not."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        job = await emergencies.start(session, given.mint, box, Why(who, ids.new()))
    log.warning("admin.box_started", box_id=box_id, actor=who)
    if job is not None:
        await given.bell.ring(bells.COMMITS)
    return {"job_id": job.id if job else None, "box_id": box_id}


@router.get("/stoppage")
async def newest(given: Given, _: Admin, box_id: str) -> dict[str, Any] | None:
    """The box's last stoppage and how far it is; null if it was never stopped."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id))
        found = await stoppages.newest_of(session, box.id)
        return shown(found) if found else None


def shown(one: Stoppage) -> dict[str, Any]:
    """A stoppage as ops see it."""
    names = ("id", "box_id", "actor", "reason", "job_id", "asked_at", "halted_at", "lifted_at", "lifted_by",
             "released_at", "error")  # fmt: skip
    return {name: getattr(one, name) for name in names}
