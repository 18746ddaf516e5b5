"""Subscriptions as Stripe last told us, and what they entitle to.

Nothing here applies an event: an event says "look again", and what was fetched is stored whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base

COMPLIMENTARY = "complimentary"
COMPLIMENTARY_PERIOD = timedelta(days=30)

FAILURES_BEFORE_SUSPENSION = 3
"""Failed attempts on one invoice before a box is paused; Stripe's retry settings must allow as many."""


class Entitlement(StrEnum):
    """What a subscription gives right now."""

    NOT_YET = "not_yet"
    LIVE = "live"
    SUSPENDED = "suspended"
    ENDED = "ended"


@dataclass(frozen=True)
class Facts:
    """A subscription as fetched from Stripe. ``attempts`` counts the failed tries on its newest invoice, if open."""

    stripe_id: str
    stripe_customer_id: str
    email: str
    status: str
    price_key: str
    paid: bool
    attempts: int
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    draft_id: str | None
    invoice_id: str | None = None

    def entitlement(self) -> Entitlement:
        """What these facts give, for a subscription that may be new (``paid`` gates the first period)."""
        if self.status in {"canceled", "incomplete_expired"}:
            return Entitlement.ENDED
        if self.status in {"unpaid", "paused"}:
            return Entitlement.SUSPENDED
        if self.status == "past_due":
            overdue = self.attempts >= FAILURES_BEFORE_SUSPENSION
            return Entitlement.SUSPENDED if overdue else Entitlement.LIVE
        if self.status == "trialing" or (self.status == "active" and self.paid):
            return Entitlement.LIVE
        return Entitlement.NOT_YET


class Subscription(Base):
    """One subscription; ``kind`` is ``stripe`` or ``complimentary`` (made by ops, entitled for ever)."""

    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    kind: Mapped[str] = mapped_column(default="stripe")
    stripe_id: Mapped[str | None] = mapped_column(unique=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"), index=True)
    box_id: Mapped[str | None] = mapped_column(ForeignKey("boxes.id"), unique=True)
    draft_id: Mapped[str | None] = mapped_column(ForeignKey("drafts.id"), index=True)
    status: Mapped[str]
    plan: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    condition: Mapped[str | None]
    """What keeps a paid subscription from having a box, for people to see: ``paid_without_draft``."""

    fetched_at: Mapped[datetime] = mapped_column(default=clock.now)


async def of_stripe(session: AsyncSession, stripe_id: str) -> Subscription | None:
    """Our row of a Stripe subscription, if we have one."""
    found: Subscription | None = await session.scalar(select(Subscription).where(Subscription.stripe_id == stripe_id))
    return found


async def of_box(session: AsyncSession, box_id: str) -> Subscription | None:
    """The subscription that the box lives on."""
    found: Subscription | None = await session.scalar(select(Subscription).where(Subscription.box_id == box_id))
    return found


async def renew_complimentary(session: AsyncSession) -> None:
    """Every complimentary subscription is in the period that holds now: nobody else renews what nobody pays."""
    over = (Subscription.kind == COMPLIMENTARY) & (Subscription.period_end <= clock.now())
    for row in await session.scalars(select(Subscription).where(over).with_for_update(skip_locked=True)):
        periods = (clock.now() - row.period_end) // COMPLIMENTARY_PERIOD + 1
        row.period_start = row.period_end + (periods - 1) * COMPLIMENTARY_PERIOD
        row.period_end = row.period_start + COMPLIMENTARY_PERIOD


def store(row: Subscription, facts: Facts, plan: str, *, draft_id: str | None) -> None:
    """Make the row say what Stripe said just now; a draft once known stays known."""
    row.status = facts.status
    row.plan = plan
    row.attempts = facts.attempts
    row.period_start = facts.period_start
    row.period_end = facts.period_end
    row.cancel_at_period_end = facts.cancel_at_period_end
    row.draft_id = row.draft_id or draft_id
    row.fetched_at = clock.now()
