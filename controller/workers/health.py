"""What waits and what is stuck, read from Postgres for ops: the sweeper shows it, so that it is shown once.

Gauges that cannot be read are not shown at all: an old value would look like a quiet system.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, metrics
from controller.domain import conditions, git_remote, jobs, notices
from controller.domain.conditions import Kind
from controller.domain.inbox import InboxEvent
from controller.domain.jobs import Job, JobState
from controller.domain.letters import Channel
from controller.domain.notices import Notice, NoticeState
from controller.domain.plans import PlanName
from controller.domain.subscriptions import Subscription

SOURCES = ("stripe", "telegram", "nango")

INBOX_WAITING = metrics.gauge("inbox_waiting", "Outside events not handled yet", "source")
INBOX_OLDEST = metrics.gauge("inbox_oldest_waiting_seconds", "Age of the oldest event not handled yet", "source")
INBOX_ASIDE = metrics.gauge("inbox_set_aside", "Outside events that a human has to look at", "source")
JOBS = metrics.gauge("jobs", "Operator jobs that are not done, by state", "state")
JOBS_OLDEST = metrics.gauge("jobs_oldest_open_seconds", "Age of the oldest open job by state", "state")
NOTICES = metrics.gauge("notices", "Notices that were not sent, by channel and state", "channel", "state")
NOTICES_OLDEST = metrics.gauge("notices_oldest_open_seconds", "Age of the oldest open notice", "channel")
CONDITIONS = metrics.gauge("conditions", "What does not move although it should, by kind", "kind")
UNSERVED = metrics.gauge("subscriptions_unserved", "Subscriptions that are paid and have no box")
GIT_AWAY = metrics.gauge("git_remote_away_seconds", "Since when the Git remote is away or closed; 0 while it is not")
STANDBYS_WANTED = metrics.gauge("standbys_wanted", "Boxes that are to stand by, by plan", "plan")
STANDBYS_READY = metrics.gauge("standbys_ready", "Boxes that a purchase could claim now, by plan", "plan")
STANDBYS_TOO_SLOW = metrics.counter("standbys_too_slow", "Standbys ended that were not ready in time, by plan", "plan")
OBSERVED = metrics.gauge("health_observed_timestamp_seconds", "When these figures were last read from Postgres")

_GAUGES = (INBOX_WAITING, INBOX_OLDEST, INBOX_ASIDE, JOBS, JOBS_OLDEST, NOTICES, NOTICES_OLDEST, CONDITIONS)
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Standbys:
    """How the pool is doing: what is wanted and what is ready, and what one look has ended for being too slow."""

    wanted: Mapping[PlanName, int]
    ready: Mapping[PlanName, int]
    too_slow: Mapping[PlanName, int]


async def observe(session: AsyncSession) -> None:
    """Show what stands in the tables now."""
    events = await _rows(session, _inbox())
    open_jobs = await _rows(session, _jobs())
    told = await _rows(session, _notices())
    remote = await git_remote.get(session)
    amiss = Counter(one.kind for one in await conditions.of(session))
    unserved = await session.scalar(select(func.count()).where(Subscription.condition.is_not(None)))
    for one in _GAUGES:
        one.clear()
    _show_inbox(events)
    _show_jobs(open_jobs)
    _show_notices(told)
    for kind in Kind:
        CONDITIONS.labels(kind).set(amiss[kind])
    UNSERVED.set(unserved or 0)
    GIT_AWAY.set(_age(remote.since))
    OBSERVED.set(clock.now().timestamp())


def show_standbys(found: Standbys) -> None:
    """Show the pool of standby boxes."""
    for plan in PlanName:
        STANDBYS_WANTED.labels(plan).set(found.wanted[plan])
        STANDBYS_READY.labels(plan).set(found.ready[plan])
        STANDBYS_TOO_SLOW.labels(plan).inc(found.too_slow[plan])


def blind() -> None:
    """Postgres could not be read: show nothing rather than what was."""
    for one in (*_GAUGES, STANDBYS_WANTED, STANDBYS_READY):
        one.clear()
    UNSERVED.set(math.nan)
    GIT_AWAY.set(math.nan)


def _inbox() -> Select[*tuple[Any, ...]]:
    waiting = and_(InboxEvent.done_at.is_(None), InboxEvent.set_aside_at.is_(None))
    aside = and_(InboxEvent.done_at.is_(None), InboxEvent.set_aside_at.is_not(None))
    oldest = func.min(InboxEvent.received_at).filter(waiting)
    counted = func.count().filter(waiting), oldest, func.count().filter(aside)
    return select(InboxEvent.source, *counted).where(InboxEvent.done_at.is_(None)).group_by(InboxEvent.source)


def _jobs() -> Select[*tuple[Any, ...]]:
    shown = (*jobs.OPEN, JobState.FAILED)
    query = select(Job.state, func.count(), func.min(Job.created_at))
    return query.where(Job.state.in_(shown)).group_by(Job.state)


def _notices() -> Select[*tuple[Any, ...]]:
    unsent = [state for state in NoticeState if state != NoticeState.SENT]
    query = select(Notice.channel, Notice.state, func.count(), func.min(Notice.created_at))
    return query.where(Notice.state.in_(unsent)).group_by(Notice.channel, Notice.state)


async def _rows(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> list[Row]:
    return [tuple(row) for row in await session.execute(query)]


def _show_inbox(rows: Iterable[Row]) -> None:
    found = {source: (waiting, oldest, aside) for source, waiting, oldest, aside in rows}
    for source in SOURCES:
        waiting, oldest, aside = found.get(source, (0, None, 0))
        INBOX_WAITING.labels(source).set(waiting)
        INBOX_OLDEST.labels(source).set(_age(oldest))
        INBOX_ASIDE.labels(source).set(aside)


def _show_jobs(rows: Iterable[Row]) -> None:
    found = {state: (count, oldest) for state, count, oldest in rows}
    for state in (*jobs.OPEN, JobState.FAILED):
        count, oldest = found.get(state, (0, None))
        JOBS.labels(state).set(count)
        if state in jobs.OPEN:
            JOBS_OLDEST.labels(state).set(_age(oldest))


def _show_notices(rows: Iterable[Row]) -> None:
    found = {(channel, state): (count, oldest) for channel, state, count, oldest in rows}
    for channel in Channel:
        for state in set(NoticeState) - {NoticeState.SENT}:
            NOTICES.labels(channel, state).set(found.get((channel, state), (0, None))[0])
        ages = [_age(found[channel, state][1]) for state in notices.OPEN if (channel, state) in found]
        NOTICES_OLDEST.labels(channel).set(max(ages, default=0))


def _age(since: datetime | None) -> float:
    return 0 if since is None else max(0.0, (clock.now() - since).total_seconds())
