"""Who changed a box, why, when, in which commit, and when it became live: Git's history joined with Postgres' jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import ids
from controller.domain.adoption import OpsCommit
from controller.domain.jobs import Job
from controller.gitops import adopt, commands, manifests
from controller.gitops.findings import printable

_REV = re.compile(r" at rev (\d+)$")
_CAUSES = ("Stripe-Event", "Request-Id", "Ops-Commit", "Rollout", "Restores")
_KEYS = ("Job-Id", "Action", "Actor", *_CAUSES)


@dataclass(frozen=True)
class Change:
    """One commit that touched the box's file. ``live_at``: when the cluster ran it, or what confirmed it."""

    sha: str
    at: datetime
    who: str
    what: str
    why: str
    rev: int | None = None
    job_id: str | None = None
    state: str | None = None
    live_at: datetime | None = None


def trail(folder: Path, box_id: str, revision: str = "HEAD") -> list[Change]:
    """The commits that touched the box's file in the checkout at ``folder``, newest first, as Git alone knows them.

    Raises Invalid if ``box_id`` is not an id, NoSuchThing if there is no such checkout or revision.
    """
    file = f":(glob)cells/*/boxes/{manifests.shard(ids.checked(box_id))}/{box_id}.yaml"
    trailers = "".join(f"%x1f%(trailers:key={key},valueonly,unfold,separator=%x20)" for key in _KEYS)
    form = f"--format=%H%x1f%ct%x1f%ae%x1f%s{trailers}%x1e"
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"]
    sha = commands.inspect(folder, *asked).decode().strip()
    out = commands.inspect(folder, "log", "--topo-order", form, sha, "--", file).decode(errors="replace")
    return [_change(entry.strip("\n")) for entry in out.split("\x1e") if entry.strip("\n")]


async def with_jobs(session: AsyncSession, changes: Iterable[Change]) -> list[Change]:
    """The changes with what Postgres knows of them: a commit of people is live when the job is that confirmed it."""
    known = list(changes)
    shas = [change.sha for change in known]
    found = list(await session.scalars(select(Job).where(or_(Job.commit_sha.in_(shas), Job.cause.in_(shas)))))
    own = {job.commit_sha: job for job in found}
    confirming = {job.cause: job for job in found}
    verdicts = {row.sha: row for row in await session.scalars(select(OpsCommit).where(OpsCommit.sha.in_(shas)))}
    return list(_joined(known, own, confirming, verdicts))


def _joined(
    changes: list[Change],
    own: dict[str | None, Job],
    confirming: dict[str | None, Job],
    verdicts: dict[str, OpsCommit],
) -> Iterator[Change]:
    for change in changes:
        job = own.get(change.sha) or confirming.get(change.sha)
        verdict = verdicts.get(change.sha)
        state = verdict.outcome if verdict and change.sha not in own else (job.state if job else None)
        yield replace(
            change,
            rev=change.rev or (job.rev if job else None),
            job_id=job.id if job else None,
            state=state,
            live_at=job.synced_at if job else None,
        )


def _change(entry: str) -> Change:
    sha, at, author, subject, *values = entry.split("\x1f")[: 4 + len(_KEYS)]
    trailers = {key: printable(value.strip()) for key, value in zip(_KEYS, values, strict=False) if value.strip()}
    rev = _REV.search(subject)
    causes = [f"{key} {trailers[key]}" for key in _CAUSES if key in trailers]
    return Change(
        sha=sha,
        at=datetime.fromtimestamp(int(at), UTC),
        who=trailers.get("Actor") or adopt.actor(author),
        what=trailers.get("Action") or ("put back" if "Restores" in trailers else "change by hand"),
        why=", ".join(causes) or printable(subject)[:80],
        rev=int(rev[1]) if rev and "Job-Id" in trailers else None,
        job_id=trailers.get("Job-Id"),
    )
