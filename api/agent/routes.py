"""What a running box asks of the platform, with its own agent token and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import AgentBox, Bearer, Given, Parts
from controller.core.errors import NotFound
from controller.domain import bells, boxes, completion, connections, release_format, tokens, vault
from controller.domain.boxes import Box

POLL_SECONDS = 0.5
"""How often a long poll looks again. A look is one indexed read."""

router = APIRouter(prefix="/internal/agent")


class Ready(BaseModel):
    """The gateway's report."""

    profile: int = Field(ge=1)
    gateway: str = Field(max_length=40, pattern=r"^[\x20-\x7e]*$")
    release: str | None = Field(default=None, pattern=release_format.PATTERN)
    """Of the chart, whose pod this is."""


@router.get("/profile")
async def profile(
    given: Given,
    box_id: AgentBox,
    token: Bearer,
    after: Annotated[int, Query(ge=0)] = 0,
    wait: Annotated[float, Query(ge=0, le=30)] = 0,
) -> Response:
    """The box's profile once its version is above ``after``; 204 if none came within ``wait`` seconds.

    A version is released only when the commit that carries it is pushed, and a change on its way there holds back
    what it replaces: the rows have it already, and it would go out under the number of the version before. A box that
    starts meanwhile has that version on its volume.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        async with given.database.transaction() as session:
            box = await boxes.get(session, box_id)
        if box.live_profile > after and _is_pushed(box):
            told = await _profile(given, token)
            if told is not None:
                return JSONResponse(told)
        if loop.time() >= deadline:
            return Response(status_code=204)
        await asyncio.sleep(POLL_SECONDS)


@router.post("/ready", status_code=204)
async def ready(given: Given, box_id: AgentBox, report: Ready) -> Response:
    """The gateway runs: jobs that waited for it are done, and the customer is told."""
    async with given.database.transaction() as session:
        written = await completion.report_ready(
            session, box_id, profile=report.profile, gateway=report.gateway, release=report.release
        )
    for notice_id in written:
        await given.bell.ring(bells.NOTICE, notice_id)
    return Response(status_code=204)


@router.get("/connections")
async def connected(given: Given, box_id: AgentBox) -> dict[str, Any]:
    """What the asking box is connected to, what it could be, and how to use each; never a secret."""
    async with given.database.transaction() as session:
        box = await boxes.get(session, box_id)
        return {"connections": await connections.for_agent(session, box.id, box.locale)}


def _is_pushed(box: Box) -> bool:
    return box.live_profile >= box.profile


async def _profile(given: Parts, token: str) -> dict[str, Any] | None:
    """The profile with its secrets, for a token that opens the door still: a poll may have waited for long.

    None if a change came first. The box is locked, for its parts are rows of their own.
    """
    async with given.database.transaction() as session:
        box_id = await tokens.agent_box(session, pepper=given.mint.pepper, token=token)
        box = await boxes.get(session, box_id, lock=True)
        if not _is_pushed(box):
            return None
        proxy = await vault.get(
            session, given.mint.sealer, box.id, vault.PROXY, box.secret_versions["proxy"], reader=f"box:{box.id}"
        )
        return {
            "version": box.live_profile,
            "agent_name": box.agent_name,
            "locale": box.locale,
            "niche": box.niche,
            "telegram": await _telegram(session, given, box),
            "proxy_token": proxy,
            "model": box.model,
            "thinking": box.thinking,
            "connections": await connections.in_profile(session, box.id, box.locale),
        }


async def _telegram(session: AsyncSession, given: Parts, box: Box) -> dict[str, Any] | None:
    version = box.secret_versions["telegram"]
    try:
        token = await vault.get(
            session, given.mint.sealer, box.id, vault.TELEGRAM, version, reader=f"box:{box.id}"
        )  # fmt: skip
    except NotFound:
        return None
    return {"bot_token": token, "users": box.telegram_users}
