"""The git writer's other half: what people pushed is taken into Postgres, and what may not stand is put back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field
from sqlalchemy import ARRAY, String, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import failpoints, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import Conflict, Permanent
from controller.core.queue import Doorbell
from controller.core.settings import Group
from controller.domain import adoption, bells, boxes, connections, git_remote, retirements
from controller.domain.adoption import Outcome, Wanted
from controller.domain.boxes import Box, Place
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why
from controller.domain.states import Deletion, State
from controller.gitops import adopt as reading_git
from controller.gitops import children, history, manifests, verdicts
from controller.gitops.adopt import Reader, Reading, Report, Wish
from controller.gitops.history import Past
from controller.gitops.manifests import Manifest, ManifestError
from controller.gitops.repository import PushRejected, Repository
from controller.gitops.verdicts import Standing
from controller.workers.provisioning import WRITER_LOCK

log = logs.get(__name__)

TRIES = 8
PACE_SECONDS = 1.0
"""The shortest time between two looks of a process."""

COMMITS = metrics.counter("git_ops_commits", "Commits of people that touched boxes, by what became of them", "outcome")


class AdoptionSettings(Group):
    """How often people's commits are looked for."""

    adopt_interval: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """5 s: who merges a change sees it happen. A look is one fetch."""


class HistoryRewritten(Permanent):
    """Raised when ``main`` does not come after what was read of it: somebody forced a push, and a human has to look."""


async def ring(bell: Doorbell, settings: AdoptionSettings, stop: asyncio.Event) -> None:
    """Ask the writer to look, again and again until ``stop`` is set."""
    while not stop.is_set():
        await bell.ring(bells.ADOPT)
        await stops.pause(stop, settings.adopt_interval)


class Paced:
    """Looks when it is called, but for calls that a look has just answered: rings pile up while no writer runs."""

    def __init__(self, database: Database, repository: Repository, mint: Mint) -> None:
        self._parts = database, repository, mint
        self._good_until = 0.0

    async def __call__(self) -> set[Place]:
        """What ``adopt`` gives; nothing if it looked less than ``PACE_SECONDS`` ago."""
        if time.monotonic() < self._good_until:
            return set()
        touched = await adopt(*self._parts)
        self._good_until = time.monotonic() + PACE_SECONDS
        return touched


async def adopt(database: Database, repository: Repository, mint: Mint) -> set[Place]:
    """Every commit of people that ``main`` has is adopted or put right; the boxes that this touched.

    Nothing is done while another writer is at it or the remote rests. Raises RemoteAway, HistoryRewritten, and
    PushRejected or Conflict if ``main`` or the boxes move faster than this: then the next look does it.
    """
    async with database.exclusive(WRITER_LOCK) as held:
        for attempt in range(TRIES if held else 0):
            try:
                with children.within(children.LIMIT):
                    return await _adopt(database, repository, mint)
            except (PushRejected, Conflict) as error:
                log.info("gitops.adoption_overtaken", attempt=attempt + 1, error=str(error))
                if attempt + 1 == TRIES:
                    raise
    return set()


async def _adopt(database: Database, repository: Repository, mint: Mint) -> set[Place]:
    async with database.transaction() as session:
        if (await git_remote.get(session)).resting():
            return set()
    tip = await asyncio.to_thread(repository.fetch)
    past = await _unread(database, repository, tip)
    if not past:
        return set()
    async with database.transaction() as session:
        put_backs = await adoption.put_backs(session)
        own = await _own(session, past) | put_backs
    theirs = await asyncio.to_thread(reading_git.by_people, repository, past, own)
    touched = {place for files in theirs.values() for file in files if (place := reading_git.place_of(file.path))}
    reader = Reader(repository, await _standings(database, {place.box_id for place in touched}), put_backs)
    reading = await asyncio.to_thread(reader.read, tip, past, theirs)
    sha = await _put_right(database, repository, reading)
    failpoints.hit("adopt.repaired")
    async with database.transaction() as session:
        for wish in reading.wishes:
            await _take(session, mint, reading, wish)
        for report in reading.reports.values():
            await adoption.report(
                session, report.sha, report.actor, _outcome(report), boxes=report.boxes, notes=report.notes
            )
        await adoption.move_head(session, sha)
    for report in reading.reports.values():
        COMMITS.labels(_outcome(report).value).inc()
        log.info("gitops.commit_adopted", sha=report.sha, actor=report.actor, boxes=report.boxes, notes=report.notes)
    return touched


async def _put_right(database: Database, repository: Repository, reading: Reading) -> str:
    """The sha at which ``main`` is once its files are right; a commit that this takes is known as ours beforehand."""
    sha = await asyncio.to_thread(reading_git.repair, repository, reading)
    if sha != reading.tip:
        async with database.transaction() as session:
            await adoption.put_back(session, sha)
        await asyncio.to_thread(reading_git.push, repository, reading, sha)
    return sha


async def _unread(database: Database, repository: Repository, tip: str) -> list[Past]:
    """The commits since the last look; at the first look there are none, whatever history there is."""
    async with database.transaction() as session:
        base = await adoption.head(session)
        if base is None:
            await adoption.move_head(session, tip)
    if base is None or base == tip:
        return []
    if not await asyncio.to_thread(history.is_ancestor, repository, base, tip):
        raise HistoryRewritten("git_history_rewritten", read=base, main=tip)
    return await asyncio.to_thread(history.since, repository, base, tip)


async def _own(session: AsyncSession, past: Sequence[Past]) -> set[str]:
    """The commits that carry one of our jobs: recorded as its commit, or begun and not recorded yet."""
    claims = sorted({one.job_ids[0] for one in past if len(one.job_ids) == 1})
    query = select(Job.id, Job.commit_sha, Job.base_sha).where(Job.id == any_(literal(claims, ARRAY(String))))
    jobs = {job_id: (commit, base) for job_id, commit, base in await session.execute(query)}
    own: dict[str, str] = {}
    for one in past:
        commit, base = jobs.get(one.job_ids[0], (None, None)) if len(one.job_ids) == 1 else (None, None)
        if commit == one.sha or (commit is None and base is not None):
            own.setdefault(one.job_ids[0], one.sha)
    return set(own.values())


async def _standings(database: Database, box_ids: set[str]) -> dict[str, Standing]:
    async with database.transaction() as session:
        found = await session.scalars(select(Box).where(Box.id.in_(box_ids)))
        retired = await retirements.begun(session, box_ids)
        return {
            box.id: Standing(
                manifests.path(box.cell, box.id),
                box.customer_id,
                State(box.state),
                Deletion(box.deletion),
                box.id in retired,
                await _wanted(session, box),
            )
            for box in found.all()
        }


async def _wanted(session: AsyncSession, box: Box) -> Manifest | None:
    spec = boxes.spec(box, await connections.in_manifest(session, box.id))
    try:
        return manifests.of(box.id, box.customer_id, spec, box.overrides)
    except ManifestError as error:
        log.warning("gitops.box_no_manifest", box_id=box.id, error=str(error))
        return None


async def _take(session: AsyncSession, mint: Mint, reading: Reading, wish: Wish) -> None:
    after = wish.verdict.after
    if after is None:
        return
    why = Why(wish.actor, wish.sha)
    spec = reading.manifests.get(wish.path, after).spec.model_dump(mode="json")
    if wish.verdict.new:
        await adoption.adopt_new(session, mint, new_box(wish.path, after), spec, why)
    elif wish.fields or wish.verdict.notes or wish.verdict.overrides is not None:
        wanted = Wanted(wish.fields, wish.verdict.overrides, spec, standby=wish.verdict.standby)
        await adoption.adopt(session, mint, wish.box_id, wanted, why)


def new_box(path: str, manifest: Manifest) -> Box:
    """The row of a box as its file has it, without what a file must not say."""
    spec = manifest.spec.model_dump(mode="json")
    for name in ("secrets", "connections"):
        spec.pop(name)
    return Box(
        id=manifest.metadata.id,
        customer_id=manifest.metadata.customer,
        cell=path.split("/")[1],
        secret_versions=manifest.spec.secrets.model_dump(),
        overrides=verdicts.overrides(manifest),
        agent_name="Claw",
        telegram_users=[],
        **spec,
    )


def _outcome(report: Report) -> Outcome:
    if report.restored:
        return Outcome.RESTORED
    return Outcome.CORRECTED if report.notes else Outcome.ADOPTED
