"""What happens to a box and when: every change of desired state is made here, with its job, in one transaction.

``converge`` is the only door for money: it looks at what Stripe says now and at the box, and closes the gap. The verbs
below it are for admins and the clock. All of them raise a job only when something really changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock
from controller.core.crypto import Sealer
from controller.core.errors import Conflict
from controller.core.settings import Group
from controller.domain import (
    boxes,
    claims,
    connections,
    customers,
    jobs,
    plans,
    progress,
    releases,
    snapshots,
    states,
    stoppages,
    subscriptions,
    tokens,
    vault,
    volumes,
)
from controller.domain.boxes import Box, BoxSettings
from controller.domain.drafts import Draft
from controller.domain.jobs import Job, JobState, Verb
from controller.domain.providers import Status
from controller.domain.states import Deletion, State
from controller.domain.subscriptions import Entitlement, Facts, Subscription

PAYMENT = "payment"
ADMIN = "admin"
PAID_WITHOUT_DRAFT = "paid_without_draft"


class LifecycleSettings(Group):
    """The clock of deletion."""

    retention: timedelta = Field(default=timedelta(days=7), ge=timedelta(0))
    """How long a cancelled box's data is kept. 7 days: a card that expired on holiday. 0 deletes at once."""

    retire_after: timedelta = Field(default=timedelta(days=7), ge=timedelta(0))
    """How long a destroyed box's empty file and Application stay. 7 days: to look what happened. 0 retires at once."""


@dataclass(frozen=True)
class Mint:
    """What making a box needs beside its owner."""

    sealer: Sealer
    pepper: str
    settings: BoxSettings


@dataclass(frozen=True)
class Why:
    """Who wanted a change, and the event or request behind it; both end in the commit's trailers."""

    actor: str
    cause: str | None = None


async def converge(session: AsyncSession, mint: Mint, facts: Facts, why: Why) -> Job | None:
    """Make subscription and box agree with ``facts``; the job this took, if any.

    The caller holds the subscription's lock from before the fetch, so that no older answer comes after a newer.
    Raises Invalid for a price that is not ours.
    """
    plan = plans.of_price_key(facts.price_key)
    row = await _subscription(session, facts, plan.name.value)
    entitlement = facts.entitlement()
    if row.box_id is None:
        return await _first_box(session, mint, row, entitlement, why)
    box = await boxes.get(session, row.box_id, lock=True)
    if entitlement == Entitlement.ENDED:
        return await condemn(session, box, why)
    reasons = set(box.suspended_for) - {PAYMENT}
    if entitlement == Entitlement.SUSPENDED:
        reasons.add(PAYMENT)
    return await _apply(session, box, why, plan=_plan_for(box, plan.name.value), reasons=reasons)


async def provision(session: AsyncSession, mint: Mint, row: Subscription, draft: Draft, why: Why) -> Job:
    """The subscription has its box as the draft says, a standby or else a new one; the job to commit it."""
    claimed = await claims.take(session, mint.settings, row.plan)
    box = claimed or await boxes.blank(session, mint.settings, row.plan)
    box.customer_id, box.state = row.customer_id, State.ACTIVE.value
    box.locale, box.niche, box.agent_name = draft.locale, draft.niche, draft.agent_name
    box.ring, box.model, box.thinking = mint.settings.box_ring, "default", "low"
    box.telegram_users = draft.telegram_users[: plans.get(row.plan).telegram_users]
    if claimed is None:
        session.add(box)
        await session.flush()
        issued = await issue_tokens(session, mint, box.id)
    else:
        box.rev, box.profile = box.rev + 1, box.profile + 1
        issued = await claims.renew(session, mint.sealer, mint.pepper, box)
    telegram = await vault.hand_over(session, mint.sealer, draft.id, box.id, vault.TELEGRAM)
    box.secret_versions = {"telegram": telegram or 1, **issued}
    row.box_id, row.condition = box.id, None
    await progress.add(session, box.id, "paid")
    if claimed is None:
        return await _job(session, box, Verb.PROVISION, boxes.spec(box), why)
    written = {name: value for name, value in boxes.spec(box).items() if name in claims.FIELDS}
    return await _job(session, box, Verb.CLAIM, written, why)


async def prepare(session: AsyncSession, mint: Mint, plan: str, why: Why) -> Job:
    """One more standby box of the plan, with tokens of its own, and the job to commit it."""
    box = await boxes.blank(session, mint.settings, plan)
    session.add(box)
    await session.flush()
    box.secret_versions = {"telegram": 1, **await issue_tokens(session, mint, box.id)}
    return await _job(session, box, Verb.PREPARE, boxes.spec(box), why)


async def condemn(session: AsyncSession, box: Box, why: Why) -> Job | None:
    """Stop the box for good, keep its data for the retention; tokens and connections are dead from the commit on."""
    if box.state in {State.CONDEMNED, State.DESTROYED}:
        return None
    box.condemned_at = clock.now()
    await tokens.revoke_all(session, box.id)
    ended = await connections.end_all(session, box.id)
    fields = await _connections(session, box) if ended else {}
    return await _change(session, box, Verb.DESTROY, why, state=State.CONDEMNED.value, **fields)


async def suspend(session: AsyncSession, box: Box, why: Why, reason: str = ADMIN) -> Job | None:
    """Stop the box for ``reason``; data, tokens' names and volume stay."""
    _serving(box)
    return await _apply(session, box, why, plan=box.plan, reasons={*box.suspended_for, reason})


async def reactivate(session: AsyncSession, mint: Mint, box: Box, why: Why, reason: str = ADMIN) -> Job | None:
    """Lift ``reason``; the box runs again when no other is left.

    A condemned box comes back with new tokens and the release that is in force for its ring.
    """
    if box.state == State.CONDEMNED and box.customer_id is not None:
        return await _bring_back(session, mint, box, why)
    _serving(box)
    return await _apply(session, box, why, plan=box.plan, reasons=set(box.suspended_for) - {reason})


async def resize(session: AsyncSession, box: Box, plan: str, why: Why) -> Job | None:
    """Give the box the resources of ``plan``.

    Raises Invalid for an unknown plan.
    """
    _serving(box)
    return await _apply(session, box, why, plan=plans.get(plan).name.value, reasons=set(box.suspended_for))


async def upgrade(session: AsyncSession, box: Box, release: str, why: Why) -> Job | None:
    """Give the box, a standby too, another release of its chart, newer or older; None if it has it.

    Raises Conflict for a box that has ended.
    """
    _alive(box)
    if box.release == release:
        return None
    return await _change(session, box, Verb.UPGRADE, why, release=release)


async def restore(session: AsyncSession, box: Box, release: str, why: Why) -> Job:
    """The box has its snapshot's ``release`` again, and a volume made from it; ``restores`` says whether it may."""
    return await _change(session, box, Verb.RESTORE, why, release=release, volumes=volumes.restored(box, box.rev + 1))


async def give_up(session: AsyncSession, box: Box, former: volumes.Volume, why: Why) -> Job:
    """The box has the volume in use alone; raises Conflict for a box that has ended. ``restores`` says when it may."""
    _alive(box)
    return await _change(session, box, Verb.DISCARD, why, volumes=volumes.given_up(box, former))


async def connect(session: AsyncSession, box: Box, provider: str, why: Why) -> Job | None:
    """The provider is connected, or connected anew: the agent can use it as soon as the job is committed.

    Raises NotFound for a provider that we do not have, Conflict for a box that has ended.
    """
    return await _move_connection(session, box, provider, Status.CONNECTED, why)


async def disconnect(session: AsyncSession, box: Box, provider: str, why: Why) -> Job | None:
    """The provider is not connected any more; None if it was not. Raises as ``connect`` does."""
    return await _move_connection(session, box, provider, Status.DISCONNECTED, why)


async def require_reconnect(session: AsyncSession, box: Box, provider: str, why: Why) -> Job | None:
    """The provider refuses the credential: the agent is told; None if it is not connected. Raises as ``connect``."""
    return await _move_connection(session, box, provider, Status.NEEDS_RECONNECT, why)


async def issue_tokens(session: AsyncSession, mint: Mint, box_id: str) -> dict[str, int]:
    """Mint the box's next agent and proxy token; their versions by the names of its secrets."""
    return {
        "agent": await tokens.issue_agent(session, sealer=mint.sealer, pepper=mint.pepper, box_id=box_id),
        "proxy": await tokens.issue_proxy(session, sealer=mint.sealer, pepper=mint.pepper, box_id=box_id),
    }


async def end_retention(session: AsyncSession, settings: LifecycleSettings, limit: int = 20) -> list[Job]:
    """The next step for condemned boxes whose time is up: approve the deletion, then, once applied, erase.

    What nobody ever owned has no data to keep, so its time is up at once. A box whose newest job failed waits for a
    human: Git and the cluster do not have the step before.
    """
    failed = and_(Job.rev == Box.rev, Job.state == JobState.FAILED)
    busy = exists().where(Job.box_id == Box.id, or_(Job.state.in_(jobs.OPEN), failed))
    query = (
        select(Box)
        .where(Box.state == State.CONDEMNED, ~busy)
        .where(or_(Box.condemned_at <= clock.now() - settings.retention, Box.customer_id.is_(None)))
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    why = Why("system:retention")
    made = []
    for box in await session.scalars(query):
        if box.deletion == Deletion.HELD:
            made.append(await _change(session, box, Verb.APPROVE, why, deletion=Deletion.APPROVED.value))
        else:
            made.append(await _change(session, box, Verb.ERASE, why, state=State.DESTROYED.value))
            await vault.forget(session, box.id)
    return made


async def _subscription(session: AsyncSession, facts: Facts, plan: str) -> Subscription:
    row = await subscriptions.of_stripe(session, facts.stripe_id)
    draft = await _draft(session, facts.draft_id)
    if row is None:
        locale = draft.locale if draft else "pt-BR"
        owner = await customers.of_stripe(session, facts.stripe_customer_id, email=facts.email, locale=locale)
        row = Subscription(stripe_id=facts.stripe_id, customer_id=owner.id)
        session.add(row)
    subscriptions.store(row, facts, plan, draft_id=draft.id if draft else None)
    await session.flush()
    return row


async def _draft(session: AsyncSession, draft_id: str | None) -> Draft | None:
    if draft_id is None:
        return None
    found: Draft | None = await session.get(Draft, draft_id)
    return found


async def _first_box(
    session: AsyncSession, mint: Mint, row: Subscription, entitlement: Entitlement, why: Why
) -> Job | None:
    if entitlement != Entitlement.LIVE:
        return None
    draft = await _draft(session, row.draft_id)
    if draft is None:
        row.condition = PAID_WITHOUT_DRAFT
        return None
    return await provision(session, mint, row, draft, why)


async def _bring_back(session: AsyncSession, mint: Mint, box: Box, why: Why) -> Job:
    states.check(State(box.state), State.ACTIVE, Deletion(box.deletion))
    box.condemned_at, box.suspended_for = None, []
    await stoppages.lift(session, box.id, why.actor)
    versions = {**box.secret_versions, **await issue_tokens(session, mint, box.id)}
    box.secret_versions = versions
    changed: dict[str, Any] = {"state": State.ACTIVE.value, "secrets": versions}
    # no rollout moved it while it was condemned
    current = await releases.in_force(session, box.ring, mint.settings.box_release)
    if box.release != current:
        changed["release"] = current
    return await _change(session, box, Verb.REACTIVATE, why, **changed)


async def _apply(session: AsyncSession, box: Box, why: Why, *, plan: str, reasons: set[str]) -> Job | None:
    if box.state in {State.CONDEMNED, State.DESTROYED}:
        return None
    box.suspended_for = sorted(reasons)
    state = State.SUSPENDED if reasons else State.ACTIVE
    changed: dict[str, Any] = {"state": state.value} if box.state != state else {}
    if "state" in changed and not reasons:  # tokens may have been renewed while it was suspended
        changed["secrets"] = dict(box.secret_versions)
    changed |= _resized(box, plan)
    if not changed:
        return None
    verb = Verb.RESIZE
    if "state" in changed:
        verb = Verb.SUSPEND if reasons else Verb.REACTIVATE
    return await _change(session, box, verb, why, **changed)


def _plan_for(box: Box, paid: str) -> str:
    """The plan that the box is to have while ``paid`` is paid for: an unchanged one asks for nothing new."""
    if box.plan_replaced == paid:
        return box.plan
    box.plan_replaced = None
    return paid


def _resized(box: Box, plan: str) -> dict[str, Any]:
    """The fields that a move to ``plan`` changes; the volume never gets smaller."""
    if box.plan == plan:
        return {}
    volume = plans.get(plan).resources.volume_gib
    return {"plan": plan} | ({"volume_gib": volume} if volume > box.volume_gib else {})


async def _move_connection(session: AsyncSession, box: Box, provider: str, status: Status, why: Why) -> Job | None:
    _serving(box)
    if not await connections.move(session, box.id, provider, status):
        return None
    waiting = await jobs.untouched(session, box.id, Verb.UPDATE_CONNECTIONS)
    if waiting is not None:
        waiting.fields = {**waiting.fields, "connections": await connections.in_manifest(session, box.id)}
        return waiting
    due = await jobs.after_burst(session, box.id, Verb.UPDATE_CONNECTIONS)
    job = await _change(session, box, Verb.UPDATE_CONNECTIONS, why, **await _connections(session, box))
    job.next_attempt_at = due
    return job


async def _connections(session: AsyncSession, box: Box) -> dict[str, Any]:
    return {"profile": box.profile + 1, "connections": await connections.in_manifest(session, box.id)}


async def _change(session: AsyncSession, box: Box, verb: Verb, why: Why, **fields: Any) -> Job:
    if "state" in fields:
        states.check(State(box.state), State(fields["state"]), Deletion(box.deletion))
    former, kept = box.release, box.snapshot
    for name in ("state", "plan", "volume_gib", "deletion", "profile", "release", "volumes"):
        if name in fields:
            setattr(box, name, fields[name])
    box.rev += 1
    box.snapshot = await snapshots.due(session, box, former, box.rev)
    if box.snapshot != kept:
        fields["snapshot"] = box.snapshot
    return await _job(session, box, verb, {"rev": box.rev, **fields}, why)


async def _job(session: AsyncSession, box: Box, verb: Verb, fields: dict[str, Any], why: Why) -> Job:
    job = Job(box_id=box.id, verb=verb.value, rev=box.rev, fields=fields, actor=why.actor, cause=why.cause)
    session.add(job)
    await session.flush()
    return job


def _alive(box: Box) -> None:
    if box.state in {State.CONDEMNED, State.DESTROYED}:
        raise Conflict("box_ended", box=box.id, state=box.state)


def _serving(box: Box) -> None:
    _alive(box)
    if box.customer_id is None:
        raise Conflict("box_unowned", box=box.id, state=box.state)
