"""Postgres' view of every box, derived again from Git and compared; what is newer in Git can be adopted.

For a Postgres that was restored behind Git: what it lost is in Git, but for secrets, which never were there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import Conflict, Temporary
from controller.domain import adoption, boxes, connections, jobs, retirements
from controller.domain.adoption import Wanted
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.domain.lifecycle import Mint, Why
from controller.domain.states import State
from controller.gitops import manifests, verdicts
from controller.gitops import retirements as retirements_in_git
from controller.gitops.history import Entry
from controller.gitops.manifests import Manifest
from controller.gitops.repository import Repository
from controller.workers import adopting
from controller.workers.provisioning import WRITER_LOCK

log = logs.get(__name__)

ACTOR = "ops:replay"
_NUMBERS = ("rev", "secrets", "connections")
"""Fields that Postgres keeps as it has them: they number rows of its own."""


class WriterBusy(Temporary):
    """Raised when a writer is at it just now, so that nothing may be adopted beside it."""


class Newer(StrEnum):
    """Who is ahead: ``git``, ``postgres`` (no job will tell Git), ``waiting`` (a job will), ``nobody`` (a bad file)."""

    GIT = "git"
    POSTGRES = "postgres"
    WAITING = "waiting"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Difference:
    """One box on which the two do not agree: each field with what Git and what Postgres says, or why there is none."""

    box_id: str
    path: str
    newer: Newer
    fields: dict[str, tuple[Any, Any]]
    reason: str = ""


@dataclass(frozen=True)
class Files:
    """Every box file at a commit; None for one that breaks a rule."""

    tip: str
    manifests: dict[str, Manifest | None]
    retired: set[str]
    """Paths that a retirement took out of Git."""


async def replay(database: Database, repository: Repository) -> list[Difference]:
    """Where Git and Postgres differ, by box, ordered by path; nothing is changed."""
    files = await asyncio.to_thread(_read, repository)
    async with database.transaction() as session:
        return [found async for found in _compare(session, files)]


async def adopt(database: Database, repository: Repository, mint: Mint) -> list[Difference]:
    """Everything that is newer in Git is adopted, each with a job that confirms it; what is left afterwards.

    ``main`` counts as read from then on, rewritten or not. Raises WriterBusy while a writer holds its lock.
    """
    async with database.exclusive(WRITER_LOCK) as held:
        if not held:
            raise WriterBusy("git_writer_busy")
        files = await asyncio.to_thread(_read, repository)
        async with database.transaction() as session:
            found = [one async for one in _compare(session, files)]
            for one in found:
                manifest = files.manifests.get(one.path)
                if one.newer == Newer.GIT and manifest is not None:
                    await _take(session, mint, one, manifest, files.tip)
                elif one.newer == Newer.GIT:
                    await retirements.over(session, one.box_id)
            await adoption.move_head(session, files.tip)
            return [one async for one in _compare(session, files)]


def _read(repository: Repository) -> Files:
    tip = repository.fetch()
    listed = repository.ask("ls-tree", "-r", "-z", "--full-tree", tip, "--", "cells/").split(b"\0")
    entries = {}
    for meta, _, name in (part.decode(errors="surrogateescape").partition("\t") for part in listed if part):
        mode, kind, blob = meta.split(" ")
        if name.endswith(".yaml") and kind == "blob":
            entries[name] = Entry(mode, blob)
    contents = repository.contents([entry.blob for entry in entries.values()])
    parsed = {path: verdicts.parse(entry, path, contents[entry.blob]) for path, entry in entries.items()}
    return Files(tip, parsed, retirements_in_git.removed(repository, tip) - parsed.keys())


async def _compare(session: AsyncSession, files: Files) -> AsyncIterator[Difference]:
    stored = {manifests.path(box.cell, box.id): box for box in await session.scalars(select(Box))}
    retired = await retirements.begun(session, [box.id for box in stored.values()])
    waiting = set(await session.scalars(select(Job.box_id).where(Job.state == jobs.JobState.QUEUED)))
    for path in sorted(files.manifests.keys() | stored.keys()):
        manifest, box = files.manifests.get(path), stored.get(path)
        if path in files.manifests and manifest is None:
            yield Difference(box.id if box else "", path, Newer.NOBODY, {}, "the file breaks a rule")
        elif manifest is not None and box is None:
            yield Difference(manifest.metadata.id, path, Newer.GIT, {}, "only in Git")
        elif box is not None and manifest is None and box.id in retired:
            pass
        elif box is not None and box.state == State.DESTROYED and path in files.retired:
            yield Difference(box.id, path, Newer.GIT, {}, "retired in Git")
        elif box is not None and manifest is not None and box.id in retired:
            yield Difference(box.id, path, Newer.POSTGRES, {}, "retired, and its file is there")
        elif box is not None and manifest is None:
            newer = Newer.WAITING if box.id in waiting else Newer.POSTGRES
            yield Difference(box.id, path, newer, {}, "only in Postgres")
        elif box is not None and manifest is not None:
            spec = boxes.spec(box, await connections.in_manifest(session, box.id))
            fields = dict(_fields(manifest, spec, box.overrides))
            if fields:
                yield Difference(box.id, path, _newer(manifest, box, waiting=box.id in waiting), fields)


def _fields(manifest: Manifest, spec: dict[str, Any], overrides: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, git in manifest.spec.model_dump(mode="json").items():
        if git != spec[name]:
            yield name, (git, spec[name])
    own = verdicts.overrides(manifest)
    if own != overrides:
        yield "overrides", (own, overrides)


def _newer(manifest: Manifest, box: Box, *, waiting: bool) -> Newer:
    if waiting:
        return Newer.WAITING
    return Newer.GIT if manifest.spec.rev >= box.rev else Newer.POSTGRES


async def _take(session: AsyncSession, mint: Mint, one: Difference, manifest: Manifest, tip: str) -> None:
    spec = manifest.spec.model_dump(mode="json")
    why = Why(ACTOR, tip)
    if await session.get(Box, manifest.metadata.id) is None:
        await adoption.adopt_new(session, mint, adopting.new_box(one.path, manifest), spec, why)
        return
    fields = {name: git for name, (git, _) in one.fields.items() if name not in {*_NUMBERS, "overrides"}}
    try:
        async with session.begin_nested():
            wanted = Wanted(fields, verdicts.overrides(manifest), spec, customer=manifest.metadata.customer)
            await adoption.adopt(session, mint, manifest.metadata.id, wanted, why)
    except Conflict as error:
        log.warning("gitops.replay_refused", box_id=one.box_id, error=str(error))
