"""A client's patience: work for it ends when it leaves, or when it may not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from controller.core.errors import CloudError

ResultT = TypeVar("ResultT")
_LEFT = "openclaw.left"


class CutOff(CloudError):
    """Raised in a call whose token was revoked or whose box was stopped meanwhile."""

    status = 403


class Connection(HttpToolsProtocol):
    """uvicorn's, whose requests have a future that is done when the client is gone.

    ASGI tells that only to who waits for it, in a task for each request, which would cost more than the rest of this.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: somebody is there."""
        super().connection_made(cast(asyncio.Transport, transport))  # uvloop's is none by its type
        self._left: asyncio.Future[None] = self.loop.create_future()

    def on_message_begin(self) -> None:
        """httptools': a request comes."""
        super().on_message_begin()
        self.scope["extensions"] = extension(self._left)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: nobody is there any more."""
        super().connection_lost(exc)
        self._left.set_result(None)


def extension(left: asyncio.Future[None]) -> dict[str, dict[object, object]]:
    """What a request's scope has among ASGI's extensions: ``left``, done when its client is gone."""
    return {_LEFT: {"left": left}}


async def unless_left(
    scope: Scope, work: Coroutine[Any, Any, ResultT], cut: asyncio.Future[None] | None = None
) -> ResultT:
    """The result of ``work`` for the request of ``scope``, which came by a ``Connection``.

    Raises ClientDisconnect, with ``work`` cancelled and ended, when the client leaves first; CutOff when ``cut`` comes.
    """
    waiter = asyncio.current_task()
    assert waiter is not None
    before, why = waiter.cancelling(), list[Exception]()

    def end(future: asyncio.Future[None]) -> None:
        """Cancel the work, which this very task does: a task of its own would cost more than all else here."""
        if signs and waiter.cancelling() == before:  # else it has ended, or ends already, and is not to be disturbed
            why.append(CutOff("token_revoked") if future is cut else ClientDisconnect())
            waiter.cancel()

    left: asyncio.Future[None] = scope["extensions"][_LEFT]["left"]
    signs = [left] if cut is None else [left, cut]
    for sign in signs:
        sign.add_done_callback(end)
    still_wanted = before
    try:
        try:
            return await work
        finally:
            for sign in signs:
                sign.remove_done_callback(end)
            signs.clear()
            if why:
                still_wanted = waiter.uncancel()
    except asyncio.CancelledError:
        if why and still_wanted <= before:  # else somebody else has cancelled as well
            raise why[0] from None
        raise
