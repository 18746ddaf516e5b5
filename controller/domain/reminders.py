"""What a customer has to be told about money and use: decided from what is so now, never from an event."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain import boxes, letters, notices, subscriptions
from controller.domain.boxes import Box
from controller.domain.notices import Notice
from controller.domain.plans import PLANS
from controller.domain.subscriptions import FAILURES_BEFORE_SUSPENSION, Entitlement, Facts, Subscription
from controller.domain.usage import UsageMonthly

OWING = frozenset({"past_due", "unpaid"})


async def write(session: AsyncSession, facts: Facts) -> list[str]:
    """Write the notices that these facts call for, once an attempt and invoice; the ids of the new ones.

    Someone whose first payment never succeeded has no box and is told by the checkout page alone.
    """
    row = await subscriptions.of_stripe(session, facts.stripe_id)
    if row is None or row.box_id is None:
        return []
    box = await boxes.get(session, row.box_id)
    entitlement = facts.entitlement()
    if entitlement == Entitlement.ENDED:
        return await notices.write(session, box, letters.SUBSCRIPTION_ENDED, facts.stripe_id)
    if facts.status not in OWING or facts.attempts == 0:
        return []
    # Stripe counts the attempts of an invoice; an event told twice, or late, tells the same count.
    invoice = facts.invoice_id or facts.period_start.isoformat()
    told = {"attempt": facts.attempts, "attempts": max(facts.attempts, FAILURES_BEFORE_SUSPENSION)}
    if entitlement == Entitlement.SUSPENDED:
        return await notices.write(session, box, letters.PAYMENT_SUSPENDED, invoice, **told)
    last = facts.attempts == FAILURES_BEFORE_SUSPENSION - 1
    occasion = f"{invoice}:{facts.attempts}"
    return await notices.write(session, box, letters.PAYMENT_FAILED, occasion, **told, last_warning=last)


async def write_usage(session: AsyncSession) -> list[str]:
    """Tell whoever has used nine tenths of the plan, once a period; the ids of the new notices."""
    made: list[str] = []
    for row in await session.execute(_nearly_used_up()):
        box, period_start = row[0], row[1]
        made += await notices.write(session, box, letters.USAGE_90, period_start.isoformat())
    return made


def _nearly_used_up() -> Select[Box, datetime]:
    used = UsageMonthly.input_tokens + UsageMonthly.output_tokens
    much = or_(*(and_(Box.plan == plan.name, used * 10 >= plan.tokens * 9) for plan in PLANS.values()))
    told = select(Notice.id).where(
        Notice.box_id == Box.id, Notice.kind == letters.USAGE_90.name, Notice.created_at >= Subscription.period_start
    )
    same_period = and_(
        UsageMonthly.box_id == Subscription.box_id, UsageMonthly.period_start == Subscription.period_start
    )
    query = select(Box, Subscription.period_start).join(Subscription, Subscription.box_id == Box.id)
    return query.join(UsageMonthly, same_period).where(much, ~told.exists()).limit(200)
