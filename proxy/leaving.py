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
    waiter = asyncio.current_task()
    assert waiter is not None
    before, why = waiter.cancelling(), list[Exception]()

    def end(future: asyncio.Future[None]) -> None:
        """Cancel the work, which this very task does: a task of its own would cost more than all else here."""
        if not future.cancelled() and waiter.cancelling() == before:  # else it ends already, and is not to be disturbed
            future.exception()  # however it ended, nobody is there any more
            why.append(CutOff("token_revoked") if future is cut else ClientDisconnect())
            waiter.cancel()

    leaving = asyncio.create_task(_left(receive))
    signs = [leaving] if cut is None else [leaving, cut]
    for sign in signs:
        sign.add_done_callback(end)
    still_wanted = before
    try:
        try:
            return await work
        finally:
            for sign in signs:
                sign.remove_done_callback(end)
            leaving.cancel()
            if why:
                still_wanted = waiter.uncancel()
    except asyncio.CancelledError:
        if why and still_wanted <= before:  # else somebody else has cancelled as well
            raise why[0] from None
        raise


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
