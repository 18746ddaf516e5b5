"""A purchase takes a standby box that is ready, and with it nothing of the time before: words, tokens, measurements.

The agent token stays, because a new one would replace the pod that was kept warm; it never left that pod and is its
box's own, whoever owns the box.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.crypto import Sealer
from controller.domain import jobs, plans, pod_metrics, progress, releases, tokens, vault
from controller.domain.boxes import Box, BoxSettings
from controller.domain.jobs import Job
from controller.domain.states import State

FIELDS = frozenset({"rev", "state", "ring", "locale", "niche", "model", "thinking", "profile", "secrets"})
"""What a claim writes into the manifest's spec, beside the customer: all that is not the plan's or the release's."""


async def take(session: AsyncSession, settings: BoxSettings, plan: str) -> Box | None:
    """The standby that has waited longest of those that fit and are ready, locked; None if there is none to be had.

    One that another purchase is taking is passed over. It is a standby until the caller says otherwise.
    """
    release = await releases.in_force(session, settings.box_ring, settings.box_release)
    busy = exists().where(Job.box_id == Box.id, Job.state.in_(jobs.OPEN))
    query = (
        select(Box)
        .where(Box.state == State.STANDBY, Box.cell == settings.cell, Box.plan == plan)
        .where(Box.release == release, Box.overrides == {})
        .where(Box.volume_gib == plans.get(plan).resources.volume_gib)
        # What Git has, the cluster runs and the gateway reports are the same.
        .where(Box.synced_rev == Box.rev, Box.live_profile == Box.profile)
        .where(Box.ready_profile == Box.profile, Box.ready_at.is_not(None), Box.ill_since.is_(None))
        # A rollout's job is open until a gateway of the new release has reported: what is ready may be the former one.
        .where(~busy)
        .order_by(Box.created_at)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    found: Box | None = await session.scalar(query)
    return found


async def renew(session: AsyncSession, sealer: Sealer, pepper: str, box: Box) -> dict[str, int]:
    """Nothing of the standby is left that its new owner could see or that opens a door; the versions of its tokens."""
    await tokens.revoke_proxy(session, box.id)
    version = await tokens.issue_proxy(session, sealer=sealer, pepper=pepper, box_id=box.id)
    await vault.forget_older(session, box.id, vault.PROXY, version)
    await progress.restart(session, box.id)
    await pod_metrics.restart(session, box.id)
    return {vault.AGENT: box.secret_versions[vault.AGENT], vault.PROXY: version}
