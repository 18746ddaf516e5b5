"""Ops roll a release of the boxes' chart out, watch it, hold it and take it back."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import Admin, Given
from controller.core import ids
from controller.core import log as logs
from controller.domain import release_format, releases, rollouts
from controller.domain.releases import Rollout
from controller.domain.rollouts import Pace

log = logs.get(__name__)
router = APIRouter(prefix="/admin/rollouts")
PAGE = 20


class RolloutVerb(StrEnum):
    """What ops can do to a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


class Order(Pace):
    """The release, and how careful to be with it; times in seconds or as ISO 8601 has them."""

    release: Annotated[str, Field(pattern=release_format.PATTERN)]


_VERBS = {
    RolloutVerb.PAUSE: rollouts.pause,
    RolloutVerb.RESUME: rollouts.resume,
    RolloutVerb.ABORT: rollouts.abort,
}


@router.post("", status_code=201)
async def start(given: Given, who: Admin, order: Order) -> dict[str, Any]:
    """Begin with a published release; 409 while another rollout is not over, 422 if there is no such release."""
    await given.charts.check(order.release)
    pace = Pace(**order.model_dump(exclude={"release"}))
    async with given.database.transaction() as session:
        made = await rollouts.start(session, order.release, pace, who)
        told = await _told(session, made)
    log.info("admin.rollout_started", rollout_id=made.id, release=made.release, actor=who)
    return told


@router.get("")
async def listed(given: Given, _: Admin) -> dict[str, Any]:
    """The newest rollouts, at most 20, and the release of the fleet: what new boxes get unless one is under way."""
    async with given.database.transaction() as session:
        found = [await _told(session, one) for one in await rollouts.newest(session, PAGE)]
        fleet = await releases.of_the_fleet(session)
    return {"fleet_release": fleet or given.mint.settings.box_release, "rollouts": found}


@router.get("/{rollout_id}")
async def show(given: Given, _: Admin, rollout_id: str) -> dict[str, Any]:
    """How far it is, ring by ring, and the boxes that failed or were left alone, at most 20, with the reasons."""
    async with given.database.transaction() as session:
        return await _told(session, await rollouts.get(session, ids.checked(rollout_id)))


@router.post("/{rollout_id}/{verb}", status_code=202)
async def act(given: Given, who: Admin, rollout_id: str, verb: RolloutVerb) -> dict[str, Any]:
    """Hold it, let it go on, or give every box that it moved its former release; 409 where its state rules that out."""
    async with given.database.transaction() as session:
        rollout = await _VERBS[verb](session, ids.checked(rollout_id))
        told = await _told(session, rollout)
    log.info("admin.rollout_changed", rollout_id=rollout.id, verb=verb, state=rollout.state, actor=who)
    return told


async def _told(session: AsyncSession, one: Rollout) -> dict[str, Any]:
    rings = await rollouts.counts(session, one)
    troubles = await rollouts.troubles(session, one)
    return {
        "id": one.id,
        "release": one.release,
        "state": one.state,
        "reason": one.reason,
        "ring": one.ring,
        "rings": [asdict(ring) for ring in rings],
        "troubles": [{"box_id": box_id, "reason": reason} for box_id, reason in troubles],
        "actor": one.actor,
        "batch": one.batch,
        "soak_seconds": one.soak.total_seconds(),
        "patience_seconds": one.patience.total_seconds(),
        "failures_percent": one.failures_percent,
        "well_since": one.whole_since,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
    }
