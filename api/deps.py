"""What routes are given: the process's parts, and who is asking, visible in each endpoint's signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from api.settings import ApiSettings
from controller.clients.charts import Charts
from controller.clients.stripe import Stripe
from controller.core import crypto
from controller.core.db import Database
from controller.core.errors import NotAllowed
from controller.core.queue import Doorbell
from controller.domain import tokens
from controller.domain.lifecycle import Mint


@dataclass(frozen=True)
class Parts:
    """What one API process is made of."""

    settings: ApiSettings
    database: Database
    stripe: Stripe
    bell: Doorbell
    mint: Mint
    niches: frozenset[str]
    charts: Charts


def parts(request: Request) -> Parts:
    """The parts of this process."""
    found: Parts = request.app.state.parts
    return found


Given = Annotated[Parts, Depends(parts)]


def bearer(authorization: Annotated[str | None, Header()] = None) -> str:
    """The bearer token of the request.

    Raises NotAllowed without one.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAllowed("token_missing")
    return token


Bearer = Annotated[str, Depends(bearer)]


async def agent_box(given: Given, token: Bearer) -> str:
    """The id of the box whose agent is asking.

    Raises NotAllowed for any other credential: a box is known by its token alone.
    """
    async with given.database.transaction() as session:
        return await tokens.agent_box(session, pepper=given.mint.pepper, token=token)


async def admin(given: Given, token: Bearer) -> str:
    """The admin's name for the audit.

    Raises NotAllowed for any other credential.
    """
    if not crypto.same(token, given.settings.admin_token.get_secret_value()):
        raise NotAllowed("token_refused")
    return "admin"


AgentBox = Annotated[str, Depends(agent_box)]
Admin = Annotated[str, Depends(admin)]
