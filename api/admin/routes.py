"""Ops' verbs: every one raises a job, none touches the cluster."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel
from sqlalchemy import func, select

from api.admin.stoppages import shown
from api.deps import Admin, Given
from controller.core import failpoints, ids
from controller.core import log as logs
from controller.core.errors import NotFound
from controller.domain import (
    bells,
    boxes,
    conditions,
    connections,
    git_remote,
    inbox,
    jobs,
    lifecycle,
    mint,
    rejections,
    retries,
    stoppages,
)
from controller.domain.conditions import Kind
from controller.domain.inbox import InboxEvent
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Why
from controller.domain.mint import Order
from controller.domain.plans import PlanName
from controller.domain.sightings import Sighting
from controller.domain.subscriptions import Subscription

log = logs.get(__name__)
router = APIRouter(prefix="/admin")
PAGE = 200
Word = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,255}$")]
"""A name that a vendor made, as it stands in an address."""


class BoxVerb(StrEnum):
    """What an admin can do to a box."""

    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    DESTROY = "destroy"
    RESIZE = "resize"


class Ask(BaseModel):
    """The verb's argument: ``plan`` for a resize."""

    plan: PlanName | None = None


class Rejection(BaseModel):
    """Why a job shall not be, for whoever asks later."""

    reason: str


@router.post("/boxes/{box_id}/retry", status_code=202)
async def renew(given: Given, who: Admin, box_id: str) -> dict[str, str]:
    """Raise the box's rev and change nothing, so that Argo CD begins anew; 409 while a job of the box is not in Git."""
    async with given.database.transaction() as session:
        job = await retries.renew(
            session, await boxes.get(session, ids.checked(box_id), lock=True), Why(who, ids.new())
        )
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job.id, "box_id": box_id}


@router.post("/boxes/{box_id}/{verb}", status_code=202)
async def act(given: Given, who: Admin, box_id: str, verb: BoxVerb, ask: Ask | None = None) -> dict[str, str | None]:
    """Queue the verb's job; ``job_id`` is null when the box is already as asked."""
    why = Why(who, ids.new())
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id), lock=True)
        if verb == BoxVerb.SUSPEND:
            job = await lifecycle.suspend(session, box, why)
        elif verb == BoxVerb.REACTIVATE:
            job = await lifecycle.reactivate(session, given.mint, box, why)
        elif verb == BoxVerb.DESTROY:
            job = await lifecycle.condemn(session, box, why)
        else:
            job = await lifecycle.resize(session, box, (ask and ask.plan) or "", why)
    if job is not None:
        await given.bell.ring(bells.COMMITS)
    return {"job_id": job.id if job else None, "box_id": box_id}


@router.post("/customers", status_code=201)
async def create(given: Given, who: Admin, order: Order) -> mint.Minted:
    """A customer with a complimentary subscription, a box and its tokens; the only answer that shows them."""
    async with given.database.transaction() as session:
        made = await mint.create(session, given.mint, order, Why(who, ids.new()), niches=given.niches)
    await given.bell.ring(bells.COMMITS)
    return made


@router.get("/boxes/{box_id}")
async def show(given: Given, _: Admin, box_id: str) -> dict[str, Any]:
    """A box's desired and observed state."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, ids.checked(box_id))
        connected = await connections.in_manifest(session, box.id)
        amiss = [asdict(one) for one in await conditions.of(session, box.id)]
        seen = await session.get(Sighting, box.id)
        stoppage = await stoppages.newest_of(session, box.id)
    names = ("synced_rev", "ready_at", "condemned_at", "retired_at", "suspended_for")
    observed = {name: getattr(box, name) for name in names}
    told = {"conditions": amiss, "application": _sighting(seen), "stoppage": shown(stoppage) if stoppage else None}
    return {"id": box.id, "customer_id": box.customer_id, "spec": boxes.spec(box, connected), **observed, **told}


@router.get("/conditions")
async def amiss(given: Given, _: Admin, kind: Kind | None = None) -> list[dict[str, Any]]:
    """Everything that should move and does not, of one kind if asked, oldest first, at most 200, with the reason."""
    async with given.database.transaction() as session:
        found = [asdict(one) for one in await conditions.of(session) if kind in (None, one.kind)]
    return found[:PAGE]


@router.get("/jobs")
async def listed(
    given: Given, _: Admin, box_id: str | None = None, state: JobState | None = None
) -> list[dict[str, Any]]:
    """The newest jobs, at most 200, of one box or in one state if asked."""
    query = select(Job).order_by(Job.created_at.desc()).limit(PAGE)
    if box_id is not None:
        query = query.where(Job.box_id == ids.checked(box_id))
    if state is not None:
        query = query.where(Job.state == state)
    async with given.database.transaction() as session:
        return [_job(job) for job in await session.scalars(query)]


@router.post("/jobs/{job_id}/retry", status_code=202)
async def retry(given: Given, _: Admin, job_id: str) -> dict[str, str]:
    """Queue a failed job again; 409 if it has not failed, or if later jobs have left nothing of it."""
    async with given.database.transaction() as session:
        await retries.retry(session, ids.checked(job_id))
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job_id}


@router.post("/jobs/{job_id}/approve", status_code=202)
async def approve(given: Given, who: Admin, job_id: str) -> dict[str, str]:
    """Let a job go on that a cap or guard holds, in your name; 409 if it waits for no approval."""
    async with given.database.transaction() as session:
        job = await session.get(Job, ids.checked(job_id))
        if job is None:
            raise NotFound("job_unknown")
        held_for = job.error
        await jobs.approve(session, job, who)
    log.info("admin.job_approved", job_id=job.id, box_id=job.box_id, verb=job.verb, actor=who, held_for=held_for)
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job_id}


@router.post("/jobs/{job_id}/reject", status_code=202)
async def reject(given: Given, who: Admin, job_id: str, ask: Rejection) -> dict[str, str | None]:
    """The job shall not be, and its box is wanted without it; ``followed_by`` is the job that this took, if any.

    409 if nothing holds the job, or if it cannot be taken back.
    """
    async with given.database.transaction() as session:
        why = Why(who, ids.new())
        made = await rejections.reject(session, given.mint, ids.checked(job_id), why, ask.reason)
    failpoints.hit("reject.stored")
    log.info("admin.job_rejected", job_id=job_id, actor=who, reason=ask.reason)
    await given.bell.ring(bells.COMMITS)
    return {"job_id": job_id, "followed_by": made.id if made else None}


@router.get("/inbox")
async def unhandled(given: Given, _: Admin) -> list[dict[str, Any]]:
    """Events not handled yet and those set aside, oldest first, at most 200, with their reasons."""
    query = select(InboxEvent).where(InboxEvent.done_at.is_(None)).order_by(InboxEvent.received_at).limit(PAGE)
    async with given.database.transaction() as session:
        return [
            {"source": one.source, "event_id": one.event_id, "kind": one.kind, "attempts": one.attempts,
             "error": one.error, "set_aside_at": one.set_aside_at, "received_at": one.received_at}
            for one in await session.scalars(query)
        ]  # fmt: skip


@router.post("/inbox/{source}/{event_id}/retry", status_code=202)
async def retry_event(given: Given, _: Admin, source: Word, event_id: Word) -> dict[str, str]:
    """Handle an event again that was set aside; 409 if it was not."""
    async with given.database.transaction() as session:
        await inbox.retry(session, source, event_id)
    if source == inbox.STRIPE:
        await given.bell.ring(bells.EVENT, event_id)
    return {"event_id": event_id}


@router.get("/git")
async def remote(given: Given, _: Admin) -> dict[str, Any]:
    """Whether the Git remote takes what we push: if not, since when and why, how often it was asked and when next."""
    async with given.database.transaction() as session:
        row = await git_remote.get(session)
        waiting = await session.scalar(select(func.count()).where(Job.state == JobState.QUEUED))
    told = {"away_since": row.since, "error": row.error, "reason": row.reason, "failures": row.failures}
    return {**told, "next_try_at": row.next_try_at, "jobs_waiting": waiting}


@router.get("/subscriptions")
async def unserved(given: Given, _: Admin) -> list[dict[str, Any]]:
    """Subscriptions that are paid and yet have no box, with the reason."""
    query = select(Subscription).where(Subscription.condition.is_not(None)).limit(PAGE)
    async with given.database.transaction() as session:
        found = await session.scalars(query)
        return [{"id": one.id, "stripe_id": one.stripe_id, "condition": one.condition} for one in found]


def _sighting(seen: Sighting | None) -> dict[str, Any] | None:
    """What the cluster last said; None if it has no Application or was not asked yet."""
    if seen is None:
        return None
    return {column.key: getattr(seen, column.key) for column in Sighting.__table__.columns if column.key != "box_id"}


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "box_id": job.box_id,
        "verb": job.verb,
        "rev": job.rev,
        "state": job.state,
        "actor": job.actor,
        "cause": job.cause,
        "reason": job.reason,
        "attempts": job.attempts,
        "error": job.error,
        "approvals": job.approvals,
        "stuck": jobs.is_stuck(job),
        "commit_sha": job.commit_sha,
        "created_at": job.created_at,
        "committed_at": job.committed_at,
        "synced_at": job.synced_at,
        "done_at": job.done_at,
    }
