"""A client's patience: work for it ends when it leaves, or when it may not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from controller.core.errors import CloudError

ResultT = TypeVar("ResultT")


class CutOff(CloudError):
    """Raised in a call whose token was revoked or whose box was stopped meanwhile."""

    status = 403


async def unless_left(
    receive: Receive, work: Coroutine[Any, Any, ResultT], cut: asyncio.Future[None] | None = None
) -> ResultT:
    """The result of ``work``; the request's body must have been read before.

    Raises ClientDisconnect, with ``work`` cancelled and ended, when the client leaves first; CutOff when ``cut`` comes.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving} | ({cut} if cut else set()), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CutOff("token_revoked") if cut is not None and cut.done() else ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
