"""A job that a human stopped shall not be: the box is wanted as it was before it, unless a later job says otherwise.

What held before is what the box's earlier jobs say, those that are in Git or on their way there. Where more than that
has to change in Git (a box that gets new tokens, as its old ones were revoked), another job says so. A rev is never
taken back, for a push may have carried it: where nothing comes after it, that job has nothing but the next one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.errors import CloudError, Conflict, Invalid, NotFound
from controller.domain import boxes, connections, jobs, lifecycle, progress, subscriptions, tokens
from controller.domain.adoption import OPS
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import Mint, Why
from controller.domain.states import State

LONGEST_REASON = 200
_HELD = (JobState.NEEDS_APPROVAL, JobState.FAILED)
_GONE = (JobState.FAILED, JobState.REJECTED)
_STEPS = frozenset(
    map(str, (Verb.RESIZE, Verb.SUSPEND, Verb.REACTIVATE, Verb.DESTROY, Verb.APPROVE, Verb.ERASE,
              Verb.RESTORE, Verb.DISCARD))
)  # fmt: skip
"""The verbs that can be taken back. A box that is not there yet, or what customers connected, cannot be otherwise."""


async def reject(session: AsyncSession, mint: Mint, job_id: str, why: Why, reason: str) -> Job | None:
    """The job is over, for the reason of ``why.actor``, and the box wanted without it; the job that this took, if any.

    A rejected end brings the box back with new tokens and no connections, a rejected step of the retention begins the
    retention anew, a rejected start leaves it stopped until an admin lifts that. What Stripe says next counts again.
    Raises NotFound, Invalid; Conflict for a job that nothing holds, and for one that cannot be taken back.
    """
    jobs.check_actor(why.actor)
    if not reason.isprintable() or not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise Invalid("reason_malformed", longest=LONGEST_REASON)
    known = await session.get(Job, job_id)
    if known is None:
        raise NotFound("job_unknown")
    box = await boxes.get(session, known.box_id, lock=True)
    job = await session.get_one(Job, job_id, with_for_update=True, populate_existing=True)
    before, later = await _around(session, job)
    _check(job, before, later)
    job.error = str(CloudError("job_rejected", by=why.actor, reason=reason, held_for=job.error))
    job.state = JobState.REJECTED
    await progress.add(session, box.id, "rejected", job=job.id, verb=job.verb, rev=job.rev)
    await _put_back(session, mint, box, job, {name: before[name] for name in job.fields.keys() - later - {"rev"}})
    return await _say(session, box, job, why)


def _check(job: Job, before: dict[str, Any], later: set[str]) -> None:
    if job.state not in _HELD:
        raise Conflict("job_not_held", job=job.id, state=job.state)
    if job.verb not in _STEPS or job.actor.startswith(jobs.BY_OPS):
        # what people merged is in Git: a revert takes it back
        raise Conflict("job_not_rejectable", job=job.id, verb=job.verb, actor=job.actor)
    if unknown := job.fields.keys() - before.keys() - later - {"rev"}:
        raise Conflict("job_replaces_unknown", job=job.id, fields=sorted(unknown))


async def _around(session: AsyncSession, job: Job) -> tuple[dict[str, Any], set[str]]:
    """What the box's earlier jobs say of its spec, and the fields that later ones set."""
    query = select(Job).where(Job.box_id == job.box_id, Job.id != job.id, Job.state.not_in(_GONE)).order_by(Job.rev)
    before: dict[str, Any] = {"snapshot": None, "volumes": None}  # as long as nobody says otherwise
    later: set[str] = set()
    for other in await session.scalars(query):
        if other.rev < job.rev:
            before |= other.fields
        else:
            later |= other.fields.keys()
    return before, later


async def _put_back(session: AsyncSession, mint: Mint, box: Box, job: Job, fields: dict[str, Any]) -> None:
    """The box's row is as ``fields`` say, with all that belongs to its state."""
    if "plan" in fields:
        row = await subscriptions.of_box(session, box.id)
        # else the next look at the subscription would ask for the plan again
        box.plan, box.plan_replaced = fields["plan"], row.plan if row else None
    for name in ("volume_gib", "release", "snapshot", "volumes"):
        if name in fields:
            setattr(box, name, fields[name])
    if "deletion" in fields or (job.verb == Verb.ERASE and "state" in fields):
        box.deletion, box.condemned_at = fields.get("deletion", box.deletion), clock.now()
    if "state" in fields:
        await _return_to(session, mint, box, job, State(fields["state"]))


async def _return_to(session: AsyncSession, mint: Mint, box: Box, job: Job, state: State) -> None:
    if job.verb == Verb.SUSPEND:
        box.suspended_for = sorted(set(box.suspended_for) - {_reason(job)})
    elif state == State.SUSPENDED and not box.suspended_for:
        box.suspended_for = [lifecycle.ADMIN]
    if box.state == State.CONDEMNED:
        box.condemned_at = None
        box.secret_versions = {**box.secret_versions, **await lifecycle.issue_tokens(session, mint, box.id)}
    elif state == State.CONDEMNED and box.state != State.DESTROYED:
        box.condemned_at = clock.now()
        await tokens.revoke_all(session, box.id)
    stopped = state == State.ACTIVE and box.suspended_for
    box.state = State.SUSPENDED.value if stopped else state.value


def _reason(job: Job) -> str:
    """Why the job was to suspend its box."""
    if job.actor == "stripe":
        return lifecycle.PAYMENT
    return OPS if job.actor.startswith(jobs.BY_OPS) else lifecycle.ADMIN


async def _say(session: AsyncSession, box: Box, job: Job, why: Why) -> Job | None:
    """A job for what Git has otherwise, of the fields that the rejected job and the way back from it touched.

    Where that is nothing, a later job brings Git to the box's rev, or else this one does.
    """
    said = (await _around(session, job))[0] | await _later(session, job)
    wanted = boxes.spec(box, await connections.in_manifest(session, box.id))
    touched = (job.fields.keys() | {"secrets"}) - {"rev"}
    changed = {name: wanted[name] for name in touched if name in said and said[name] != wanted[name]}
    if not changed and box.rev > job.rev:
        return None
    box.rev += 1
    verb = Verb.ADOPT
    if changed and (box.runs() or "state" in changed):
        verb = Verb.REACTIVATE if box.runs() else Verb.SUSPEND
    fields = {"rev": box.rev, **changed}
    made = Job(box_id=box.id, verb=verb.value, rev=box.rev, fields=fields, actor=why.actor, cause=why.cause)
    session.add(made)
    await session.flush()
    return made


async def _later(session: AsyncSession, job: Job) -> dict[str, Any]:
    query = select(Job).where(Job.box_id == job.box_id, Job.rev > job.rev, Job.state.not_in(_GONE)).order_by(Job.rev)
    said: dict[str, Any] = {}
    for other in await session.scalars(query):
        said |= other.fields
    return said
