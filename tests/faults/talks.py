"""Calls of a model through the token proxy, with what the customer's side saw of each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.loops import Loop, until


@dataclass
class Talk:
    """One call. Its answer counts once a byte of it arrived."""

    box_id: str
    request_id: str = ""
    answered: bool = False
    usage: tuple[int, int] | None = None
    """The provider's figures, input and output, if they arrived."""
    over: bool = False
    broke: bool = False
    """The connection ended before anything arrived, so that nobody can tell what became of it."""


class Talks:
    """Every call that was ever made."""

    def __init__(self, loop: Loop, url: str, token_of: Callable[[str], str]) -> None:
        self._loop, self._token_of = loop, token_of
        self._http = httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_keepalive_connections=0))
        self._all: list[Talk] = []
        self._running: set[asyncio.Future[Any]] = set()

    def begin(self, box_id: str, text: str = "oi", *, stream: bool = True, leave: bool = False) -> Talk:
        """A call on its way; who leaves goes with the first byte."""
        talk = Talk(box_id)
        self._all.append(talk)
        headers = {"Authorization": f"Bearer {self._token_of(box_id)}"}
        body: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": text}], "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        work = self._ask(talk, headers, body, leave)
        self._loop.loop.call_soon_threadsafe(lambda: self._keep(asyncio.ensure_future(work)))
        return talk

    def ask(self, box_id: str, count: int = 1) -> list[Talk]:
        """So many answers, half of them streams, one in four left at its first byte; refusals are asked again."""
        found: list[Talk] = []
        while len(found) < count:
            number = len(found)
            talk = self.begin(box_id, stream=number % 2 == 0, leave=number % 4 == 2)
            until(lambda talk=talk: talk.over, "an answer ends")  # type: ignore[misc]
            found += [talk] if talk.answered else []
        return found

    def answered(self) -> dict[str, Talk]:
        """By request id the calls of whose answer a byte arrived."""
        return {talk.request_id: talk for talk in self._all if talk.answered}

    def under_way(self) -> dict[str, Talk]:
        """Those of them that are not over."""
        return {key: talk for key, talk in self.answered().items() if not talk.over}

    def busy(self) -> bool:
        """Whether a call is not over."""
        return not all(talk.over for talk in self._all)

    def broken(self) -> Counter[str]:
        """By box, the calls of which nothing arrived when their connection broke."""
        return Counter(talk.box_id for talk in self._all if talk.broke)

    def under_way_count(self) -> int:
        """How many calls are not over."""
        return sum(not talk.over for talk in self._all)

    def known(self) -> set[str]:
        """Every request id that a customer was told."""
        return {talk.request_id for talk in self._all}

    def close(self) -> None:
        """End what is under way."""
        self._loop.call(self._close())

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()

    async def _ask(self, talk: Talk, headers: dict[str, str], body: dict[str, Any], leave: bool) -> None:
        try:
            async with self._http.stream("POST", "/v1/chat/completions", headers=headers, json=body) as answer:
                if answer.is_success:
                    talk.request_id = answer.headers["x-request-id"]
                    await _read(talk, answer, leave)
        except httpx.HTTPError:
            talk.broke = not talk.request_id
        finally:
            talk.over = True


async def _read(talk: Talk, answer: httpx.Response, leave: bool) -> None:
    content = b""
    async for chunk in answer.aiter_bytes():
        content += chunk
        talk.answered = True
        if leave:
            return
    for line in content.splitlines():
        data = line.removeprefix(b"data:").strip()
        if data.startswith(b"{") and (usage := json.loads(data).get("usage")):
            talk.usage = usage["prompt_tokens"], usage["completion_tokens"]
