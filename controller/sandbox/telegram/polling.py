"""``getUpdates``: one poller a bot; a newer one ends the older with 409."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from controller.core import clock
from controller.sandbox.documents import Document
from controller.sandbox.telegram import faults, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.params import Params

LONGEST_POLL_SECONDS = 50


class Pollers:
    """Who polls which bot now, and what was counted since the bot was made."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._polling: dict[int, list[asyncio.Event]] = {}

    async def poll(self, bot: Document, params: Params, request: Request) -> list[Document]:
        """The updates from ``offset`` on, as soon as there is one or when ``timeout`` seconds are over.

        Raises Fault (409) if a webhook is set or as soon as another poller comes.
        """
        if bot["webhook"]["url"]:
            raise Fault(409, faults.WEBHOOK_ACTIVE)
        self._begin(bot, params)
        replaced = asyncio.Event()
        others = self._polling.setdefault(bot["id"], [])
        self._count(bot, conflict=bool(others), pollers=len(others) + 1)
        for other in others:
            other.set()
        others.append(replaced)
        try:
            return await self._wait(bot, params, request, replaced)
        finally:
            others.remove(replaced)

    def standing(self, bot: Document) -> Document:
        """``{pollers_now, max_concurrent_pollers, polls, last_poll_at, conflicts}``; the time in Unix seconds."""
        return {"pollers_now": len(self._polling.get(bot["id"], ())), **self._counts(bot)}

    def _begin(self, bot: Document, params: Params) -> None:
        offset, allowed = params.number("offset", 0), params.json("allowed_updates")
        with self._town.documents.transaction():
            if isinstance(allowed, list):
                bot["allowed_updates"] = allowed
                self._town.save(bot)
            if offset:
                updates.confirm(self._town, bot, offset)

    async def _wait(self, bot: Document, params: Params, request: Request, replaced: asyncio.Event) -> list[Document]:
        limit = min(max(params.number("limit", 100), 1), 100)
        deadline = asyncio.get_running_loop().time() + min(params.number("timeout", 0), LONGEST_POLL_SECONDS)
        with self._town.bells.listening(f"updates:{bot['id']}") as bell:
            while not (found := updates.pending(self._town, bot)[:limit]):
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or not await first_of(request, left, bell, replaced):
                    return []
                if replaced.is_set():
                    raise Fault(409, faults.POLLED_ELSEWHERE)
                # A token that was revoked meanwhile polls no more, nor does a bot with a webhook.
                if self._town.by_token(bot["token"])["webhook"]["url"]:
                    raise Fault(409, faults.WEBHOOK_SET)
                bell.clear()
        return found

    def _count(self, bot: Document, *, conflict: bool, pollers: int) -> None:
        counts = self._counts(bot)
        changed = {
            "max_concurrent_pollers": max(counts["max_concurrent_pollers"], pollers),
            "polls": counts["polls"] + 1,
            "last_poll_at": clock.now().timestamp(),
            "conflicts": counts["conflicts"] + int(conflict),
        }
        self._town.documents.put("polling", str(bot["id"]), changed)

    def _counts(self, bot: Document) -> Document:
        nothing = {"max_concurrent_pollers": 0, "polls": 0, "last_poll_at": None, "conflicts": 0}
        return self._town.documents.get("polling", str(bot["id"])) or nothing


async def first_of(request: Request, seconds: float, *events: asyncio.Event) -> bool:
    """Wait for one of the events; False if the time is over or the caller hung up before."""
    gone = asyncio.create_task(_hung_up(request))
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait([gone, *waits], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, *waits):
            task.cancel()
    return any(task in done for task in waits)


async def _hung_up(request: Request) -> None:
    # What comes before is the request's own body, empty for a GET.
    while (await request.receive())["type"] != "http.disconnect":
        pass
