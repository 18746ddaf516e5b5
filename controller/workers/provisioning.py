"""Jobs into Git, and Git's effect back into jobs.

``write_commits`` is the git writer; ``observe`` moves a job on as the cluster reports (the box: ``completion``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.clients import argocd, kubernetes
from controller.clients.argocd import Observed
from controller.clients.cells import Cells
from controller.clients.kubernetes import Cluster
from controller.core import clock, failpoints, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, Temporary, foreign
from controller.core.queue import Doorbell
from controller.domain import adoption, bells, boxes, caps, git_remote, jobs, progress
from controller.domain.boxes import Box, Place
from controller.domain.caps import CapSettings
from controller.domain.completion import finish
from controller.domain.jobs import Job, JobState, Verb
from controller.gitops import answers, children, commits, manifests
from controller.gitops.children import Round, RoundOver
from controller.gitops.commits import Intent, Outcome
from controller.gitops.repository import BranchClosed, RemoteAway, Repository
from controller.gitops.retirements import AFTER as RETIRE_AFTER
from controller.workers import retiring

log = logs.get(__name__)
T = TypeVar("T")

COMMITS = metrics.counter("git_commits", "Jobs that landed in Git, each in a commit of its own")
PUSH_SECONDS = metrics.histogram("git_push_seconds", "From the built commits to the remote's answer")
FAILURES = metrics.counter("git_failures", "Batches and jobs that did not land, by our error code", "error")
WRITER_LOCK = "git-writer"
NO_WAIT = timedelta(0)
STOPS = frozenset({Verb.SUSPEND.value, Verb.DESTROY.value})
"""Verbs after which no pod may be left."""
STARTS = frozenset({Verb.PROVISION.value, Verb.REACTIVATE.value})
"""Verbs after which there is one again, so that no earlier stop can be seen any more."""


class DiskUnusable(Temporary):
    """Raised when the writer's own disk takes no more, is read-only or is gone."""


async def write_commits(
    database: Database,
    repository: Repository,
    cells: Cells,
    limit: timedelta = children.LIMIT,
    allowed: CapSettings = caps.DEFAULTS,
    retire_after: timedelta = RETIRE_AFTER,
) -> timedelta | None:
    """Land every job that is due, batch by batch, unless another writer is at it; failures stay in the rows.

    When to call again: at once if ``limit`` left something undone, later if the remote was found to be away; None if
    nothing is left, or whoever found out was told. No git of it runs longer than ``limit``, or after a cancellation.
    """
    async with database.exclusive(WRITER_LOCK) as held:
        with children.within(limit) as current:
            wait = NO_WAIT if held else None
            while wait == NO_WAIT:
                wait = await _write_batch(database, repository, cells, current, allowed, retire_after)
                if current.late():
                    break
    return wait


async def refresh(cells: Cells, places: Iterable[Place]) -> None:
    """Ask each cell's Argo CD to read Git again for its boxes; if its cluster is away, the sweeper asks later.

    A cluster that is away is asked no further: each question takes seconds then, and Git waits for this thread. The
    others are asked meanwhile.
    """
    await asyncio.gather(*(_refresh(cells, cell, box_ids) for cell, box_ids in _by_cell(places).items()))


async def ask_again(cells: Cells, places: Iterable[Place]) -> None:
    """Make Argo CD look again at boxes that lag behind Git, and begin those syncs anew that it has given up."""
    await asyncio.gather(*(_ask_again(cells, cell, box_ids) for cell, box_ids in _by_cell(places).items()))


async def _ask_again(cells: Cells, cell: str, box_ids: set[str]) -> None:
    await _refresh(cells, cell, box_ids)
    for box_id in sorted(box_ids):
        try:
            await asyncio.to_thread(_begin_anew, cells.of(cell), box_id)
        except CloudError as error:
            log.warning("gitops.sync_not_begun", box_id=box_id, cell=cell, error=str(error))
            if isinstance(error, Temporary):
                return


async def _refresh(cells: Cells, cell: str, box_ids: set[str]) -> None:
    for name in sorted({manifests.application_set(box_id) for box_id in box_ids}):
        try:
            await asyncio.to_thread(cells.of(cell).refresh, name)
        except CloudError as error:
            log.warning("gitops.refresh_failed", application_set=name, cell=cell, error=str(error))
            if isinstance(error, Temporary):
                return


def _by_cell(places: Iterable[Place]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cell, box_id in places:
        found.setdefault(cell, set()).add(box_id)
    return found


async def observe(database: Database, cluster: Cluster, seen: Observed, bell: Doorbell | None = None) -> bool:
    """Move the box's committed jobs on as far as ``seen`` proves; whether another look at it may prove more.

    It may while a pod or namespace is still going, and while a job that the cluster runs already is not yet recorded
    as committed: the writer pushes first and writes that down second. Without a bell, what the customer has to be
    told now waits for the sweeper. What another cell than the box's shows proves nothing.
    """
    async with database.transaction() as session:
        box = await session.get(Box, seen.box_id)
        if box is None or not box.may_be_in(seen.cell):
            return False
        unseen = await jobs.open_of(session, seen.box_id, JobState.QUEUED, JobState.COMMITTED)
        await boxes.examined(session, seen.box_id, None if seen.is_well() else seen.illness())
    reached = [job for job in unseen if seen.settled(job.rev)]
    committed = [job for job in reached if job.state == JobState.COMMITTED]
    if not committed:
        return bool(reached)
    ends = _ends(committed)
    # an erasure succeeds once the deletion is accepted, long before all of it has gone
    emptied = ends is None or ends.verb != Verb.ERASE or seen.resources == 0
    gone = emptied and (ends is None or await asyncio.to_thread(_gone, cluster, ends))
    if gone:
        for notice_id in await _record_synced(database, seen.box_id, committed[-1].rev, ends):
            if bell is not None:
                await bell.ring(bells.NOTICE, notice_id)
    return not gone or len(committed) < len(reached)


def _ends(reached: list[Job]) -> Job | None:
    """The newest of the jobs that takes something away; none if a later one starts the box again.

    Also one that a later job overtook: that took nothing of its own away, and the pod may be there still.
    """
    for job in reversed(reached):
        if job.verb in STARTS:
            return None
        if job.verb in STOPS or job.verb == Verb.ERASE:
            return job
    return None


async def _record_synced(database: Database, box_id: str, rev: int, ends: Job | None) -> list[str]:
    async with database.transaction() as session:
        box = await boxes.get(session, box_id, lock=True)
        for job in await jobs.open_of(session, box.id, JobState.COMMITTED):
            if job.rev <= rev:
                jobs.synced(job)
                await progress.add(session, box.id, "synced", job=job.id, verb=job.verb, rev=job.rev)
        # a stop that a start overtook may never have stopped anything
        if ends is not None and ends.verb in STOPS:
            box.ready_at = None
        box.synced_rev = max(box.synced_rev, rev)
        return await finish(session, box)


async def _write_batch(
    database: Database,
    repository: Repository,
    cells: Cells,
    current: Round,
    allowed: CapSettings,
    retire_after: timedelta,
) -> timedelta | None:
    """Land one batch; when to go on, None if this round is over."""
    async with database.transaction() as session:
        remote = await git_remote.get(session)
        if remote.resting():
            return None
        read = await adoption.head(session)
        claimed = await caps.claim(session, allowed, mixed=remote.refuses_all())
        batch = claimed.due
        owners = {job.box_id: await boxes.get(session, job.box_id) for job in batch}
    _tell_parked(claimed.parked)
    if not batch:
        return None
    failpoints.hit("gitops.taken")
    held = await retiring.obstacles(cells, batch, owners)
    making = partial(_intent, retire_after=retire_after, read=read)
    try:
        free = [job for job in batch if job.id not in held]
        outcome = await _land(database, repository, free, owners, current, making)
    except CloudError as error:
        outcome = Outcome(trouble=error)
    outcome.refused |= held
    wait = await _record(database, batch, outcome)
    if outcome.trouble is not None:
        log.warning("gitops.batch_failed", jobs=len(batch), error=str(outcome.trouble))
    _count(outcome)
    failpoints.hit("gitops.recorded")
    landed = [owners[job.box_id] for job in batch if job.id in outcome.landed]
    await refresh(cells, {Place(box.cell, box.id) for box in landed})
    failpoints.hit("gitops.refreshed")
    await _to_its_end(repository.tidy, current)
    return wait


def _tell_parked(parked: list[Job]) -> None:
    for job in parked:
        FAILURES.labels(caps.REACHED).inc()
        log.warning("gitops.job_parked", job_id=job.id, box_id=job.box_id, verb=job.verb, error=job.error)


def _count(outcome: Outcome) -> None:
    COMMITS.inc(len(outcome.landed))
    if outcome.landed:
        PUSH_SECONDS.observe((outcome.pushed_at - outcome.built_at).total_seconds())
    for error in (*outcome.refused.values(), *filter(None, [outcome.trouble])):
        FAILURES.labels(error.code).inc()


async def _land(
    database: Database,
    repository: Repository,
    batch: list[Job],
    owners: dict[str, Box],
    current: Round,
    making: Callable[[Job, Box, str], Intent],
) -> Outcome:
    try:
        tip = await _to_its_end(repository.tip, current)
        bases = await _note_base(database, batch, tip)
        failpoints.hit("gitops.claimed")
        intents = [making(job, owners[job.box_id], bases[job.id]) for job in batch if job.id in bases]
        return await _to_its_end(partial(commits.write, repository, intents), current)
    except OSError as exc:
        raise DiskUnusable("git_disk_unusable", retry_after=timedelta(seconds=5), reason=foreign(exc)) from exc


async def _to_its_end(work: Callable[[], T], current: Round) -> T:
    """Do the work in a thread; a cancellation ends its git, and leaves only once the thread is over.

    Nobody else may touch the clone or hold the writer's lock before that.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        current.stop()
        await asyncio.wait([running])
        raise


def _intent(job: Job, box: Box, base: str, retire_after: timedelta, read: str | None) -> Intent:
    return Intent(
        job_id=job.id,
        box_id=job.box_id,
        customer_id=box.customer_id,
        cell=box.cell,
        verb=job.verb,
        rev=job.rev,
        fields=job.fields,
        actor=job.actor,
        cause=job.cause,
        base_sha=base,
        approvals=jobs.approved(job),
        retire_after=retire_after,
        read_sha=read,
    )


async def _note_base(database: Database, batch: list[Job], tip: str) -> dict[str, str]:
    """Where ``main`` stood before the first push that may carry each job; written down, so that a lost reply is found.

    A writer that lost its lock may have been overtaken: what it read at its claim is not believed, and jobs that no
    longer wait are left out. From here on a job's fields are fixed: what was changed since is taken up now.
    """
    claimed = {job.id: job for job in batch}
    async with database.transaction() as session:
        query = select(Job).where(Job.id.in_(claimed)).order_by(Job.id).with_for_update()
        waiting = [stored for stored in await session.scalars(query) if stored.state == JobState.QUEUED]
        for stored in waiting:
            stored.base_sha = stored.base_sha or tip
            claimed[stored.id].fields = stored.fields
        return {stored.id: stored.base_sha for stored in waiting if stored.base_sha is not None}


async def _record(database: Database, batch: list[Job], outcome: Outcome) -> timedelta | None:
    """Write down what became of each job and of the remote; when to go on, None for after the jobs' own waits."""
    async with database.transaction() as session:
        wait = await _judge(session, batch, outcome)
        for job in batch:
            box = await boxes.get(session, job.box_id, lock=True)
            stored = await session.get_one(Job, job.id, populate_existing=True)
            if stored.state != JobState.QUEUED:
                continue
            if job.id in outcome.landed:
                jobs.committed(stored, outcome.landed[job.id])
                box.live_profile = max(box.live_profile, stored.fields.get("profile", box.live_profile))
                times = {"built_at": outcome.built_at.isoformat(), "pushed_at": outcome.pushed_at.isoformat()}
                told = {"job": job.id, "verb": job.verb, "rev": job.rev, "sha": stored.commit_sha}
                await progress.add(session, box.id, "committed", **told, **times)
                log.info("gitops.committed", box_id=box.id, job_id=job.id, verb=job.verb, sha=stored.commit_sha)
            elif isinstance(error := outcome.refused.get(job.id) or outcome.trouble, RemoteAway | RoundOver):
                jobs.waits(stored, error)
            elif error is not None:
                jobs.failed(stored, error)
                log.warning("gitops.job_failed", job_id=job.id, error=stored.error, state=stored.state)
    return wait


async def _judge(session: AsyncSession, batch: list[Job], outcome: Outcome) -> timedelta | None:
    """Write down what the batch says of the remote; when it is asked again.

    Refusals that say the same to one box after the other are the remote's trouble: those jobs are queued again.
    """
    remote = await git_remote.locked(session)
    if outcome.landed:
        git_remote.took(remote)
    owners = {job.id: job.box_id for job in batch}
    for job_id, gist in outcome.unnamed.items():
        if git_remote.refuses_everybody(remote, gist, {job_id: owners[job_id]}):
            error = outcome.refused.pop(job_id)
            outcome.trouble = BranchClosed(git_remote.EVERYTHING_REFUSED, reason=error.facts.get("reason"))
            await jobs.unblame(session, remote.refused)
    if outcome.trouble is None or outcome.landed:
        git_remote.answered(remote)
    if not isinstance(outcome.trouble, RemoteAway):
        return NO_WAIT if outcome.trouble is None or isinstance(outcome.trouble, RoundOver) else None
    reason = str(outcome.trouble.facts.get("reason"))
    if outcome.trouble.code == git_remote.EVERYTHING_REFUSED:
        git_remote.refuses_everybody(remote, answers.gist(reason), {})
    return git_remote.lost(remote, outcome.trouble)


def _begin_anew(cluster: Cluster, box_id: str) -> None:
    application = cluster.application(box_id)
    operation = argocd.given_up(application, clock.now()) if application else None
    if application and operation:
        cluster.operate(application, operation)
        log.info("gitops.sync_begun_anew", box_id=box_id)


def _gone(cluster: Cluster, job: Job) -> bool:
    """Whether what the job takes away is really away: pods for a stop, the namespace for an erasure."""
    space = kubernetes.namespace(job.box_id)
    return not cluster.has_namespace(space) if job.verb == Verb.ERASE else cluster.pods(space) == 0
