"""Who pays: one row a person, found by Stripe's customer id."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, ids
from controller.core.db import Base


class Customer(Base):
    """A person or company with one or more boxes."""

    __tablename__ = "customers"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    email: Mapped[str]
    locale: Mapped[str]
    stripe_customer_id: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


async def of_stripe(session: AsyncSession, stripe_id: str, *, email: str, locale: str) -> Customer:
    """The customer whom Stripe calls ``stripe_id``, made now if we do not know them yet."""
    found = await session.scalar(select(Customer).where(Customer.stripe_customer_id == stripe_id))
    if found is not None:
        return found
    customer = Customer(stripe_customer_id=stripe_id, email=email, locale=locale)
    session.add(customer)
    await session.flush()
    return customer
