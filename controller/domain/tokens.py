"""Tokens of a box: ``oc_<kind>_<box id>_<secret>``. Stored hashed, found by an HMAC, sealed for delivery.

The proxy token opens the token proxy, the agent token the platform's own API; neither opens the other's door. Only
HMAC-SHA256 under a pepper that is kept elsewhere is stored, so a dump of Postgres holds no usable token; the proxy's
carries a bcrypt hash beside it, which the proxy checks once per token and process.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import bcrypt
from sqlalchemy import ForeignKey, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from controller.core import clock, crypto, ids
from controller.core.crypto import Sealer
from controller.core.db import Base
from controller.core.errors import NotAllowed
from controller.domain import token_format, vault
from controller.domain.boxes import Box
from controller.domain.states import RUNNING
from controller.domain.token_format import Refusal

BCRYPT_ROUNDS = 10
"""63 ms a check. The secret has 256 random bits, so the cost guards nothing; bcrypt is the brief's wish."""


class _Token:
    id: Mapped[str] = mapped_column(primary_key=True, default=ids.new)
    box_id: Mapped[str] = mapped_column(ForeignKey("boxes.id"), index=True)
    version: Mapped[int]
    lookup: Mapped[str] = mapped_column(unique=True)
    """HMAC-SHA256 of the whole token under the pepper, hex."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    revoked_at: Mapped[datetime | None]


class ProxyToken(_Token, Base):
    """Opens the token proxy for one box."""

    __tablename__ = "proxy_tokens"

    hash: Mapped[str]
    """bcrypt of the secret part."""

    refusal: Mapped[str] = mapped_column(default=Refusal.MESSAGE.value, server_default=Refusal.MESSAGE.value)


class AgentToken(_Token, Base):
    """Opens ``/internal/agent`` for one box."""

    __tablename__ = "agent_tokens"


async def issue_agent(session: AsyncSession, *, sealer: Sealer, pepper: str, box_id: str) -> int:
    """Mint the box's next agent token and seal it for delivery; return its version.

    Older ones stay valid, so that a pod that still holds one can finish: revoke them when nothing needs them.
    """
    token = token_format.make(vault.AGENT, box_id, ids.secret())
    version = await vault.put(session, sealer, box_id, vault.AGENT, token)
    session.add(AgentToken(box_id=box_id, version=version, lookup=crypto.lookup(pepper, token)))
    return version


async def issue_proxy(
    session: AsyncSession, *, sealer: Sealer, pepper: str, box_id: str, refusal: Refusal = Refusal.MESSAGE
) -> int:
    """Mint the box's next proxy token and seal it for delivery; return its version."""
    secret = ids.secret()
    token = token_format.make(vault.PROXY, box_id, secret)
    version = await vault.put(session, sealer, box_id, vault.PROXY, token)
    hashed = await asyncio.to_thread(bcrypt.hashpw, secret.encode(), bcrypt.gensalt(BCRYPT_ROUNDS))
    found_by = crypto.lookup(pepper, token)
    session.add(
        ProxyToken(box_id=box_id, version=version, lookup=found_by, hash=hashed.decode(), refusal=refusal.value)
    )
    return version


async def revoke_proxy(session: AsyncSession, box_id: str) -> None:
    """From the commit on, no proxy token that the box has had opens anything."""
    standing = (ProxyToken.box_id == box_id) & ProxyToken.revoked_at.is_(None)
    await session.execute(update(ProxyToken).where(standing).values(revoked_at=clock.now()))


async def revoke_all(session: AsyncSession, box_id: str) -> None:
    """From the commit on, no token of the box opens anything."""
    for table in (ProxyToken, AgentToken):
        await session.execute(
            update(table).where(table.box_id == box_id, table.revoked_at.is_(None)).values(revoked_at=clock.now())
        )


async def agent_box(session: AsyncSession, *, pepper: str, token: str) -> str:
    """The id of the box whose agent token this is; only a box that is to run has one that opens anything.

    Raises NotAllowed for anything else, without telling which part was wrong.
    """
    box_id, _ = token_format.parse(token, vault.AGENT)
    query = (
        select(AgentToken.box_id)
        .join(Box, Box.id == AgentToken.box_id)
        .where(AgentToken.lookup == crypto.lookup(pepper, token), AgentToken.box_id == box_id)
        .where(AgentToken.revoked_at.is_(None), Box.state.in_(RUNNING))
    )
    found: str | None = await session.scalar(query)
    if found is None:
        raise NotAllowed("token_refused")
    return found
