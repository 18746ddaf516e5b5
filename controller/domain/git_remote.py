"""What the git writer knows of the remote: since when and why it is away or closed, and when it is asked again.

One row, so that every writer and whoever looks sees the same, and a restart forgets nothing. While the remote is away
jobs wait and no attempt of theirs is used up.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.core.errors import CloudError
from controller.domain import attempts

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=10)
"""10 s: a remote that is back is in use within seconds, and one that is down is not kept down by us."""

SERIES = 3
"""Jobs of that many boxes, one after the other refused in the same words and none taken: it is not about the jobs."""

EVERYTHING_REFUSED = "git_everything_refused"
"""The error of a remote that refuses every job, in words that we do not know."""

_ID = "main"


class GitRemote(Base):
    """The remote's row. ``since`` is None while it takes what we push."""

    __tablename__ = "git_remote"

    id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime | None]
    error: Mapped[str | None]
    """Our code for what is wrong."""

    reason: Mapped[str | None]
    """The remote's words."""

    failures: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    refusal: Mapped[str | None]
    """The gist of the words in which it refused last, in case it refuses everything."""

    refused: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """The jobs that it refused so since it last took anything, each with its box."""

    def resting(self) -> bool:
        """Whether it is away and not to be asked yet."""
        return self.next_try_at is not None and self.next_try_at > clock.now()

    def refuses_all(self) -> bool:
        """Whether it refused all that it was asked of late, in words that do not tell whose fault that is.

        Then the oldest jobs may just be bad ones: who asks again asks with any, for one that lands tells them apart.
        """
        return self.error == EVERYTHING_REFUSED


async def get(session: AsyncSession) -> GitRemote:
    """What is known, to be looked at."""
    return await session.get(GitRemote, _ID) or GitRemote(id=_ID, failures=0, refused={})


async def locked(session: AsyncSession) -> GitRemote:
    """What is known, to be changed in this transaction."""
    await session.execute(insert(GitRemote).values(id=_ID, failures=0, refused={}).on_conflict_do_nothing())
    return await session.get_one(GitRemote, _ID, with_for_update=True, populate_existing=True)


def lost(remote: GitRemote, error: CloudError) -> timedelta:
    """It is away or takes nothing: how long to wait before it is asked again, longer each time and never the same."""
    remote.since = remote.since or clock.now()
    remote.error, remote.reason = error.code, str(error.facts.get("reason", ""))
    remote.failures += 1
    wait = attempts.backoff(remote.failures, FIRST_WAIT, LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311, only a wait
    remote.next_try_at = clock.now() + wait
    return wait


def answered(remote: GitRemote) -> None:
    """It is there and took what was pushed, or had something to say about it."""
    remote.since = remote.error = remote.reason = remote.next_try_at = None
    remote.failures = 0


def took(remote: GitRemote) -> None:
    """It took something, so what it refused before it refused for a reason of its own."""
    remote.refusal, remote.refused = None, {}


def refuses_everybody(remote: GitRemote, gist: str, refused: dict[str, str]) -> bool:
    """Note that ``refused``, jobs with their boxes, were refused; whether it is plain by now that every job would be.

    That is so after ``SERIES`` boxes in the same words, and while the remote is away for just that reason.
    """
    if gist != remote.refusal:
        answered(remote)
        remote.refusal, remote.refused = gist, {}
    remote.refused = {**remote.refused, **refused}
    return remote.refuses_all() or len(set(remote.refused.values())) >= SERIES
