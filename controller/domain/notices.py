"""Who has to be told what: a row for each notice and reader, written with the fact that it tells of, sent later.

waiting ──► claimed ──► sending ──► sent
   ▲           │           ├──────► undeliverable (the reader cannot be reached; final, the reason in ``error``)
   └───────────┴───────────┤
                           ├──────► unknown (it may have arrived and must not be repeated)
                           └──────► set_aside (one of us has to look)

A claim that outlives its lease belonged to a process that died. Claimed, nothing had gone out: it waits again. Sending,
it may have: a mail is sent again, since its Message-ID is the same and mailboxes know the second copy by it; a Telegram
message has no such key, so it is closed as unknown, and the mail says the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base
from controller.core.errors import FOREIGN_TEXT_LIMIT, CloudError, OutcomeUnknown, Permanent, Refused
from controller.domain import attempts
from controller.domain.boxes import Box
from controller.domain.letters import Channel, Kind

MAX_ATTEMPTS = 32
"""With the back-off below, about a day: mail servers that greylist or are away come back within it."""

LEASE = timedelta(minutes=5)
"""Longer than an actor may run (2 minutes), so that a claim never passes to another while its holder sends."""

REPEATABLE = frozenset({Channel.EMAIL.value})
"""Channels on which a second copy is recognised as one."""


class NoticeState(StrEnum):
    """How far a notice has come."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    UNDELIVERABLE = "undeliverable"
    UNKNOWN = "unknown"
    SET_ASIDE = "set_aside"


OPEN = (NoticeState.WAITING, NoticeState.CLAIMED, NoticeState.SENDING)


class Notice(Base):
    """One message to one reader about one occasion."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("box_id", "kind", "channel", "dedupe_key"),
        Index("ix_notices_state", "state", "next_attempt_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"))
    kind: Mapped[str]
    channel: Mapped[str]
    dedupe_key: Mapped[str]
    """The occasion (a job, an invoice's attempt, a period) and, on Telegram, the reader."""

    recipient: Mapped[str]
    """A Telegram user's id, or the customer's: their address is looked up when the mail is sent."""

    facts: Mapped[dict[str, Any]]
    """What the text needs and the box's row will not know later."""

    state: Mapped[str] = mapped_column(default=NoticeState.WAITING.value)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=clock.now)
    claimed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    closed_at: Mapped[datetime | None]


async def write(session: AsyncSession, box: Box, kind: Kind, occasion: str, **facts: Any) -> list[str]:
    """Write the kind's notices for the box's readers unless this occasion has them already; the new ones' ids.

    A box that nobody owns has no readers.
    """
    if box.customer_id is None:
        return []
    rows = [
        {"channel": channel.value, "dedupe_key": key, "recipient": recipient}
        for channel in kind.channels
        for key, recipient in _readers(box, box.customer_id, channel, occasion)
    ]
    made = {"box_id": box.id, "kind": kind.name, "facts": facts, "state": NoticeState.WAITING.value, "attempts": 0}
    times = {"next_attempt_at": clock.now(), "created_at": clock.now()}
    statement = insert(Notice).values([{"id": ids.new(), **made, **times, **row} for row in rows])
    return list(await session.scalars(statement.on_conflict_do_nothing().returning(Notice.id)))


async def due(session: AsyncSession, limit: int = 200) -> list[str]:
    """Ids of notices that wait and whose time has come, oldest first."""
    query = (
        select(Notice.id)
        .where(Notice.state == NoticeState.WAITING, Notice.next_attempt_at <= clock.now())
        .order_by(Notice.next_attempt_at)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def claim(session: AsyncSession, notice_id: str) -> Notice | None:
    """The notice, ours for the lease; None if it does not wait, is not due or is in other hands."""
    query = (
        select(Notice)
        .where(Notice.id == notice_id, Notice.state == NoticeState.WAITING, Notice.next_attempt_at <= clock.now())
        .with_for_update(skip_locked=True)
    )
    found: Notice | None = await session.scalar(query)
    if found is not None:
        found.state, found.claimed_at = NoticeState.CLAIMED.value, clock.now()
        found.attempts += 1
    return found


async def held(session: AsyncSession, claimed: Notice) -> Notice | None:
    """The row of a notice that we claimed, locked; None if the claim has passed to another meanwhile."""
    query = (
        select(Notice)
        .where(Notice.id == claimed.id, Notice.attempts == claimed.attempts)
        .where(Notice.state.in_((NoticeState.CLAIMED, NoticeState.SENDING)))
        .with_for_update()
    )
    found: Notice | None = await session.scalar(query)
    return found


def sending(notice: Notice) -> None:
    """From here on the message may arrive; the lease starts anew."""
    notice.state, notice.claimed_at = NoticeState.SENDING.value, clock.now()


def sent(notice: Notice) -> None:
    """The other side took the message."""
    _close(notice, NoticeState.SENT)
    notice.error = None


def failed(notice: Notice, error: CloudError) -> None:
    """Put the notice where the failed attempt leaves it: waiting again, or closed for the reason in ``error``."""
    notice.error = str(error)[:FOREIGN_TEXT_LIMIT]
    unsure = isinstance(error, OutcomeUnknown) and notice.state == NoticeState.SENDING
    if unsure and notice.channel not in REPEATABLE:
        _close(notice, NoticeState.UNKNOWN)
    elif isinstance(error, Refused):
        _close(notice, NoticeState.UNDELIVERABLE)
    elif isinstance(error, Permanent) or notice.attempts >= MAX_ATTEMPTS:
        _close(notice, NoticeState.SET_ASIDE)
    else:
        notice.state = NoticeState.WAITING.value
        notice.next_attempt_at = clock.now() + attempts.wait(error, backoff(notice.attempts))


async def recover(session: AsyncSession) -> None:
    """Free what dead processes held: what may be repeated waits again, the rest is closed as unknown."""
    stale = Notice.claimed_at <= clock.now() - LEASE
    held_on = select(Notice.id).where(stale, Notice.state.in_((NoticeState.CLAIMED, NoticeState.SENDING)))
    again = held_on.where(or_(Notice.state == NoticeState.CLAIMED, Notice.channel.in_(REPEATABLE)))
    died = "sender_died"
    # The last attempt counts here too, or a notice that kills its sender would do so for ever.
    for query, state in (
        (held_on.where(Notice.attempts >= MAX_ATTEMPTS), NoticeState.SET_ASIDE),
        (again, NoticeState.WAITING),
        (held_on, NoticeState.UNKNOWN),
    ):
        closed = None if state == NoticeState.WAITING else clock.now()
        changed = {"state": state.value, "error": died, "closed_at": closed}
        await session.execute(update(Notice).where(Notice.id.in_(query)).values(**changed))


def backoff(failures: int) -> timedelta:
    """The wait after that many failures: 5 s doubling, at most an hour."""
    return attempts.backoff(failures, timedelta(seconds=5), timedelta(hours=1))


def _readers(box: Box, customer_id: str, channel: Channel, occasion: str) -> list[tuple[str, str]]:
    if channel == Channel.EMAIL:
        return [(occasion, customer_id)]
    return [(f"{occasion}:{user}", str(user)) for user in box.telegram_users]


def _close(notice: Notice, state: NoticeState) -> None:
    notice.state, notice.closed_at = state.value, clock.now()
