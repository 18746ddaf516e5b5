"""What a customer has to be told about money: decided from what Stripe says now, like everything about money."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain import boxes, letters, notices, subscriptions
from controller.domain.subscriptions import FAILURES_BEFORE_SUSPENSION, Entitlement, Facts

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
