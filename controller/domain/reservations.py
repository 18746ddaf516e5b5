"""Calls of the models that are not usage yet: what each may cost at most, and which proxy answers for it.

The token proxy writes the rows with SQL of its own (it does not load SQLAlchemy); a row leaves when its usage is
recorded, when nothing of the answer went out, or when its proxy has died (``usage.recover``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Index, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.db import Base
from controller.domain.measured import Measured

FIRST_BEAT = timedelta(minutes=1)
"""How long a proxy may take to say that it lives after its first call."""


class Proxy(Base):
    """One running process of the token proxy; past ``expires_at`` (Postgres' clock) it is dead."""

    __tablename__ = "proxies"

    id: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


class Reservation(Base):
    """One call. No foreign keys: a whole batch of calls is committed at once, and none may spoil it for the others."""

    __tablename__ = "reservations"
    __table_args__ = (Index("ix_reservations_box_id_period_start", "box_id", "period_start"),)

    request_id: Mapped[str] = mapped_column(primary_key=True)
    proxy_id: Mapped[str] = mapped_column(index=True)
    box_id: Mapped[str]
    period_start: Mapped[datetime]
    """The billing period that pays for the call, whenever it ends."""

    model: Mapped[str]
    held_tokens: Mapped[int] = mapped_column(BigInteger)
    """The most that it can use: a bound of its input and its output cap."""

    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_microusd: Mapped[int] = mapped_column(BigInteger)
    """With the two above: what it has used so far, as far as its proxy could tell. Figures for a proxy that dies."""

    delivering: Mapped[bool]
    """Committed before the first byte goes to the client; without it none did."""

    measured: Mapped[dict[str, Any] | None]
    """The exact measurement, if it was known before the first byte."""

    at: Mapped[datetime]

    def measurement(self) -> Measured:
        """What is known of the call now that nobody will tell more."""
        if self.measured is not None:
            return Measured.model_validate(self.measured)
        return Measured(
            request_id=self.request_id, box_id=self.box_id, model=self.model, input_tokens=self.input_tokens,
            output_tokens=self.output_tokens, cost_microusd=self.cost_microusd, estimated=True, at=self.at,
            period_start=self.period_start,
        )  # fmt: skip


async def abandoned(session: AsyncSession, limit: int = 200) -> list[Reservation]:
    """Calls whose proxy has died, locked for this transaction."""
    unheard_of = Proxy.id.is_(None) & (Reservation.at < clock.now() - FIRST_BEAT)
    dead = or_(Proxy.expires_at < func.now(), unheard_of)
    query = (
        select(Reservation)
        .outerjoin(Proxy, Proxy.id == Reservation.proxy_id)
        .where(dead)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Reservation)
    )
    return list(await session.scalars(query))


async def close(session: AsyncSession, request_ids: Iterable[str]) -> None:
    """These calls are no longer open."""
    await session.execute(delete(Reservation).where(Reservation.request_id.in_(list(request_ids))))


async def forget_dead(session: AsyncSession) -> None:
    """Processes that died and left nothing open are gone from the list."""
    left = select(Reservation.request_id).where(Reservation.proxy_id == Proxy.id).exists()
    await session.execute(delete(Proxy).where(Proxy.expires_at < func.now(), ~left))
