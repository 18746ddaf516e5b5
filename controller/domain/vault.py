"""Sealed secrets: what must be read back, by owner, name and version; every read of a secret is written down."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock
from controller.core.crypto import Sealed, Sealer
from controller.core.db import Base
from controller.core.errors import NotFound

TELEGRAM = "telegram"
PROXY = "proxy"
AGENT = "agent"


class SealedSecret(Base):
    """One version of one secret of one owner (a box's or a draft's id)."""

    __tablename__ = "sealed_secrets"

    owner: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    wrapped_key: Mapped[bytes]
    ciphertext: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SecretRead(Base):
    """That a secret left the vault: which, for whom, when."""

    __tablename__ = "secret_reads"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    version: Mapped[int]
    reader: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=clock.now)


async def put(session: AsyncSession, sealer: Sealer, owner: str, name: str, plain: str) -> int:
    """Seal ``plain`` as the next version of the owner's ``name``; return that version, from 1."""
    last = await session.scalar(
        select(func.max(SealedSecret.version)).where(SealedSecret.owner == owner, SealedSecret.name == name)
    )
    version = (last or 0) + 1
    sealed = sealer.seal(plain, _context(owner, name, version))
    session.add(
        SealedSecret(
            owner=owner,
            name=name,
            version=version,
            wrapped_key=sealed.wrapped_key,
            ciphertext=sealed.ciphertext,
        )
    )
    await session.flush()
    return version


async def get(session: AsyncSession, sealer: Sealer, owner: str, name: str, version: int, *, reader: str) -> str:
    """The secret in plain, its reading written down as by ``reader``.

    Raises NotFound if there is no such version, SealError if it does not open.
    """
    row = await session.get(SealedSecret, (owner, name, version))
    if row is None:
        raise NotFound("secret_unknown", owner=owner, name=name, version=version)
    session.add(SecretRead(owner=owner, name=name, version=version, reader=reader))
    return sealer.open(Sealed(row.wrapped_key, row.ciphertext), _context(owner, name, version))


async def hand_over(session: AsyncSession, sealer: Sealer, old: str, new: str, name: str) -> int | None:
    """Seal the newest ``name`` of owner ``old`` for owner ``new`` and forget the old; its new version.

    None if ``old`` has none.
    """
    newest = await session.scalar(
        select(func.max(SealedSecret.version)).where(SealedSecret.owner == old, SealedSecret.name == name)
    )
    if newest is None:
        return None
    plain = await get(session, sealer, old, name, newest, reader=f"hand-over:{new}")
    await forget(session, old)
    return await put(session, sealer, new, name, plain)


async def forget(session: AsyncSession, owner: str) -> None:
    """Delete every secret of ``owner``: without its data key a value is gone from every backup's live copy."""
    await session.execute(delete(SealedSecret).where(SealedSecret.owner == owner))


async def forget_older(session: AsyncSession, owner: str, name: str, version: int) -> None:
    """Delete what ``owner`` had as ``name`` before ``version``."""
    older = (SealedSecret.owner == owner) & (SealedSecret.name == name) & (SealedSecret.version < version)
    await session.execute(delete(SealedSecret).where(older))


def _context(owner: str, name: str, version: int) -> str:
    return f"{owner}|{name}|{version}"
