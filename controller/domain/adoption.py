"""Ops' commits taken into Postgres: how far ``main`` is read, what ops asked of a box, and what they are told of it.

The caller holds the git writer's lock, so that nobody numbers the same box twice, and has judged the change by the
file; here the box's row has the last word, for it may have moved on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.core.errors import CloudError, Conflict
from controller.domain import (
    attempts,
    boxes,
    connections,
    jobs,
    lifecycle,
    progress,
    rollouts,
    snapshots,
    states,
    stoppages,
    subscriptions,
    tokens,
    vault,
)
from controller.domain.boxes import Box
from controller.domain.customers import Customer
from controller.domain.drafts import Draft
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.lifecycle import Mint, Why
from controller.domain.states import Deletion, State
from controller.domain.subscriptions import COMPLIMENTARY, COMPLIMENTARY_PERIOD, Subscription

MAIN = "main"
OPS = "ops"
"""Why a box is suspended that ops suspended by a commit: they alone lift it."""

NOBODY = "ops@openclaw.cloud"
"""The address of a customer whom ops made by a file alone; a file holds nothing personal."""

PROFILED = frozenset({"locale", "niche", "model", "thinking"})
"""Fields that a running box hears of with its profile, which gets a new version when one of them changes."""

_PLAIN = (
    "plan", "volume_gib", "release", "snapshot", "volumes", "ring", "locale", "niche", "model", "thinking", "deletion",
)  # fmt: skip


class GitHead(Base):
    """How far a branch is read: every commit of people up to ``sha`` is adopted or put right."""

    __tablename__ = "git_heads"

    branch: Mapped[str] = mapped_column(primary_key=True)
    sha: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=clock.now)


class PutBack(Base):
    """A commit of ours that puts files right, noted before its push: nobody else's look tells it from people's."""

    __tablename__ = "put_backs"

    sha: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=clock.now)


class Outcome(StrEnum):
    """What became of a commit of people: all of it stands, parts were put back, or whole files were."""

    ADOPTED = "adopted"
    CORRECTED = "corrected"
    RESTORED = "restored"


class OpsCommit(Base):
    """One commit of people that touched boxes, and what its author is told on the forge."""

    __tablename__ = "ops_commits"
    __table_args__ = (Index("ix_ops_commits_untold", "next_attempt_at", postgresql_where="told_at IS NULL"),)

    sha: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str]
    outcome: Mapped[str]
    boxes: Mapped[list[str]]
    notes: Mapped[list[str]]
    """A sentence for each thing that does not stand, with the path and the reason."""

    adopted_at: Mapped[datetime] = mapped_column(default=clock.now)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=clock.now)
    status_at: Mapped[datetime | None]
    """When the commit status was set; the comment, if any, is another call."""

    told_at: Mapped[datetime | None]
    """When nothing more was to be told, also because it was given up: then ``error`` says why."""

    error: Mapped[str | None]


@dataclass(frozen=True)
class Wanted:
    """What a commit asks of one box, and the file as it stands at the tip: its spec, rev and all, as JSON.

    ``standby``: it was asked of a box that nobody owns. ``customer``: who owns it by the file, where Postgres has lost
    the purchase.
    """

    fields: Mapping[str, Any]
    overrides: Mapping[str, Any] | None
    spec: Mapping[str, Any]
    standby: bool = False
    customer: str | None = None


async def head(session: AsyncSession) -> str | None:
    """The commit up to which ``main`` is read; None before the first time."""
    found = await session.get(GitHead, MAIN)
    return found.sha if found else None


async def move_head(session: AsyncSession, sha: str) -> None:
    """``main`` is read up to ``sha``, and with it all that we put back."""
    await session.merge(GitHead(branch=MAIN, sha=sha, at=clock.now()))
    await session.execute(delete(PutBack))


async def put_back(session: AsyncSession, sha: str) -> None:
    """The commit is known as ours, from before its push until ``main`` is read up to it."""
    await session.merge(PutBack(sha=sha, at=clock.now()))


async def put_backs(session: AsyncSession) -> set[str]:
    """The commits of ours that put files back and may not be read yet."""
    return set(await session.scalars(select(PutBack.sha)))


async def report(
    session: AsyncSession, sha: str, actor: str, outcome: Outcome, boxes: list[str], notes: list[str]
) -> None:
    """What became of the commit is on record, to be told on the forge; a commit that is read again changes nothing."""
    if await session.get(OpsCommit, sha) is None:
        session.add(OpsCommit(sha=sha, actor=actor, outcome=outcome.value, boxes=boxes, notes=notes))


async def untold(session: AsyncSession, limit: int = 20) -> list[OpsCommit]:
    """Commits whose author is still to be told and whose time has come, oldest first, locked."""
    query = (
        select(OpsCommit)
        .where(OpsCommit.told_at.is_(None), OpsCommit.next_attempt_at <= clock.now())
        .order_by(OpsCommit.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(await session.scalars(query))


def failed(row: OpsCommit, error: CloudError) -> None:
    """Count a failed telling: the next is scheduled, or it is given up with the reason in ``error``."""
    row.attempts += 1
    row.error = str(error)
    if attempts.used_up(error, row.attempts):
        row.told_at = clock.now()
    else:
        row.next_attempt_at = clock.now() + attempts.wait(error, attempts.backoff(row.attempts))


async def adopt(session: AsyncSession, mint: Mint, box_id: str, wanted: Wanted, why: Why) -> Job:
    """The box is as ops want it, and a job confirms it in Git with the next rev, after all that were queued before.

    The job says every field in which Git would differ, so it has the last word over those. Raises Conflict if the
    box's row rules the step out, also because a purchase has claimed the box since it was judged.
    """
    box = await boxes.get(session, box_id, lock=True)
    state, deletion = State(box.state), Deletion(box.deletion)
    fields, former = dict(wanted.fields), box.release
    _check(box, wanted)
    found = await _own(session, box, wanted.customer)
    await _enter(session, mint, box, State(fields.pop("state", state)), why)
    if found:
        await _subscribe(session, box)
    if "release" in fields:
        await rollouts.overruled(session, box, fields["release"], why.actor)
    for name, value in fields.items():
        if name in _PLAIN:
            setattr(box, name, value)
    # only a replay asks for one: boxes wait for a higher number than they have seen
    box.profile = max(box.profile, fields.get("profile", 0))
    if PROFILED & fields.keys():
        box.profile += 1
    if wanted.overrides is not None:
        box.overrides = dict(wanted.overrides)
    if "plan" in fields:
        await _follow_plan(session, box)
    box.rev += await jobs.renumber(session, box.id, wanted.spec["rev"])
    box.rev = max(box.rev, wanted.spec["rev"]) + 1
    # a replay says what was taken; on a return to the kept volume, the one that was in use is the data to go back to
    if not {"snapshot", "volumes"} & fields.keys():
        box.snapshot = await snapshots.due(session, box, former, box.rev)
    if box.profile == wanted.spec["profile"]:
        box.live_profile = box.profile
    spec = boxes.spec(box, await connections.in_manifest(session, box.id))
    changed = {name: value for name, value in spec.items() if name in wanted.fields or value != wanted.spec.get(name)}
    verb = _verb(state, deletion, box, wanted.fields)
    return await _confirm(session, box, verb, {**changed, "rev": box.rev}, why)


async def adopt_new(session: AsyncSession, mint: Mint, box: Box, git: Mapping[str, Any], why: Why) -> Job:
    """A box that ops made by a file is in Postgres with tokens, on a subscription that never asks for money.

    ``box`` has what the file says, ``git`` is its spec. What the file must not say (its name, its users, an address)
    comes from the draft with the box's own id, if ``gitops new-box`` left one; a bot token was sealed under it too.
    """
    draft = await session.get(Draft, box.id)
    if box.customer_id is not None:
        await _customer(session, box.customer_id, draft.email if draft else NOBODY, box.locale)
    if draft is not None:
        box.agent_name, box.telegram_users = draft.agent_name, draft.telegram_users
        await session.delete(draft)
    box.suspended_for = [OPS] if box.state == State.SUSPENDED else []
    box.condemned_at = clock.now() if box.state == State.CONDEMNED else None
    box.rev, box.live_profile = git["rev"] + 1, box.profile
    session.add(box)
    await session.flush()
    if box.state in {State.STANDBY, State.ACTIVE, State.SUSPENDED}:
        issued = await lifecycle.issue_tokens(session, mint, box.id)
        box.secret_versions = {**box.secret_versions, **issued}
    if box.customer_id is not None:
        await _subscribe(session, box)
    await progress.add(session, box.id, "adopted", sha=why.cause)
    spec = boxes.spec(box)
    changed = {name: value for name, value in spec.items() if value != git.get(name)}
    verb = Verb.PROVISION if box.state == State.ACTIVE else Verb.ADOPT
    return await _job(session, box, verb, {**changed, "rev": box.rev}, why)


def _check(box: Box, wanted: Wanted) -> None:
    old, new = State(box.state), State(wanted.fields.get("state", box.state))
    if wanted.standby and box.customer_id is not None:
        raise Conflict("box_claimed", box=box.id)
    states.check(old, new, Deletion(box.deletion))
    if wanted.fields.get("deletion", box.deletion) != box.deletion and not states.decides(old, new):
        raise Conflict("deletion_of_a_box_that_is_not_condemned", box=box.id, state=box.state)


async def _own(session: AsyncSession, box: Box, customer_id: str | None) -> bool:
    """The box that nobody owned is the customer's that the file names; whether there was one to name."""
    if box.customer_id is not None or customer_id is None:
        return False
    await _customer(session, customer_id, NOBODY, box.locale)
    box.customer_id = customer_id
    return True


async def _customer(session: AsyncSession, customer_id: str, email: str, locale: str) -> None:
    if await session.get(Customer, customer_id) is None:
        session.add(Customer(id=customer_id, email=email, locale=locale))
        await session.flush()


async def _enter(session: AsyncSession, mint: Mint, box: Box, state: State, why: Why) -> None:
    """Give the box its new state with all that belongs to it, as the verbs of ``lifecycle`` do."""
    if state == box.state:
        return
    if state == State.CONDEMNED:
        box.condemned_at = clock.now()
        await tokens.revoke_all(session, box.id)
        if await connections.end_all(session, box.id):
            box.profile += 1
    elif state == State.DESTROYED:
        await vault.forget(session, box.id)
    elif box.state == State.CONDEMNED or stoppages.STOPPED in box.suspended_for:
        box.condemned_at = None
        await stoppages.lift(session, box.id, why.actor)
        box.secret_versions = {**box.secret_versions, **await lifecycle.issue_tokens(session, mint, box.id)}
    box.suspended_for = [OPS] if state == State.SUSPENDED else []
    box.state = state.value


async def _follow_plan(session: AsyncSession, box: Box) -> None:
    row = await subscriptions.of_box(session, box.id)
    if row is not None and row.kind == COMPLIMENTARY:
        row.plan = box.plan
    elif row is not None:
        box.plan_replaced = row.plan


async def _subscribe(session: AsyncSession, box: Box) -> None:
    start = clock.now()
    session.add(
        Subscription(
            kind=COMPLIMENTARY, customer_id=box.customer_id, box_id=box.id, plan=box.plan,
            status="canceled" if box.state in {State.CONDEMNED, State.DESTROYED} else "active",
            period_start=start, period_end=start + COMPLIMENTARY_PERIOD,
        )
    )  # fmt: skip


def _verb(state: State, deletion: Deletion, box: Box, fields: Mapping[str, Any]) -> Verb:
    """The verb whose done rule fits: for a stop no pod is left, for a start the gateway reports."""
    if state != box.state:
        return {
            State.SUSPENDED: Verb.SUSPEND,
            State.ACTIVE: Verb.REACTIVATE,
            State.CONDEMNED: Verb.DESTROY,
            State.DESTROYED: Verb.ERASE,
        }.get(State(box.state), Verb.ADOPT)
    if (deletion, box.deletion) == (Deletion.HELD, Deletion.APPROVED):
        return Verb.APPROVE
    return Verb.RESIZE if "plan" in fields else Verb.ADOPT


async def _confirm(session: AsyncSession, box: Box, verb: Verb, fields: dict[str, Any], why: Why) -> Job:
    """The confirming job; whoever asked for something else in a job that still waits can see that it was overruled."""
    waiting = await jobs.open_of(session, box.id, JobState.QUEUED)
    lost = [job.id for job in waiting if any(job.fields[name] != fields[name] for name in _shared(job, fields))]
    await progress.add(session, box.id, "adopted", sha=why.cause, overruled=lost)
    return await _job(session, box, verb, fields, why)


def _shared(job: Job, fields: Mapping[str, Any]) -> set[str]:
    return (job.fields.keys() & fields.keys()) - {"rev"}


async def _job(session: AsyncSession, box: Box, verb: Verb, fields: dict[str, Any], why: Why) -> Job:
    job = Job(box_id=box.id, verb=verb.value, rev=box.rev, fields=fields, actor=why.actor, cause=why.cause)
    session.add(job)
    await session.flush()
    return job
