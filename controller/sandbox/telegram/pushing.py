"""Webhooks: updates posted to the address that a bot set, in order, until each is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import foreign
from controller.sandbox.documents import Document
from controller.sandbox.telegram import params, updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault
from controller.sandbox.telegram.params import Params

log = logs.get(__name__)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
RECEIVER_TIMEOUT_SECONDS = 60
"""Telegram's own patience with a receiver."""

Call = Callable[[Document, str, Params], Any]
"""Runs a method that a receiver answered with: the bot, the method's name, its parameters."""


class Pusher:
    """One task for each bot with a webhook, so that a slow receiver holds up only its own bot."""

    def __init__(self, town: Town, call: Call) -> None:
        self._town = town
        self._call = call
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Push for ever."""
        # Receivers are on this machine or the public internet; a proxy of the environment is for neither.
        async with (
            httpx.AsyncClient(timeout=RECEIVER_TIMEOUT_SECONDS, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            with self._town.bells.listening("webhooks") as bell:
                while True:
                    bell.clear()
                    for key in self._idle():
                        self._busy.add(key)
                        group.create_task(self._drain(client, key))
                    await bell.wait()

    def _idle(self) -> list[str]:
        keys = [str(bot["id"]) for bot in self._town.bots() if bot["webhook"]["url"]]
        return [key for key in keys if key not in self._busy and self._next(key)]

    async def _drain(self, client: httpx.AsyncClient, key: str) -> None:
        pause = FIRST_RETRY_SECONDS
        with self._town.bells.listening(f"webhook:{key}") as moved:
            while update := self._next(key):
                moved.clear()
                webhook = self._town.bot(key)["webhook"]
                error = await self._post(client, self._town.bot(key), update)
                if self._town.bot(key)["webhook"].get("url") != webhook["url"]:
                    continue  # meanwhile the bot moved: what was pending is the new receiver's
                if error is None:
                    updates.confirm(self._town, self._town.bot(key), update["update_id"] + 1)
                    pause = FIRST_RETRY_SECONDS
                    continue
                self._note(key, update, error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await moved.wait()
                pause = min(pause * 2, LONGEST_RETRY_SECONDS)
        self._busy.discard(key)

    def _next(self, key: str) -> Document | None:
        bot = self._town.bot(key)
        pending = updates.pending(self._town, bot) if bot["webhook"]["url"] and not bot["revoked"] else []
        return pending[0] if pending else None

    def _note(self, key: str, update: Document, error: str) -> None:
        log.info("telegram.webhook_refused", bot=key, update_id=update["update_id"], reason=error)
        bot = self._town.bot(key)
        failure = {"last_error_date": int(clock.now().timestamp()), "last_error_message": error}
        self._town.save(bot | {"webhook": bot["webhook"] | failure})

    async def _post(self, client: httpx.AsyncClient, bot: Document, update: Document) -> str | None:
        webhook = bot["webhook"]
        secret = webhook.get("secret_token")
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
        try:
            answer = await client.post(webhook["url"], json=update, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return foreign(f"{type(exc).__name__}: {exc}")
        if not answer.is_success:
            return f"Wrong response from the webhook: {answer.status_code} {answer.reason_phrase}"
        self._obey(bot, answer)
        return None

    def _obey(self, bot: Document, answer: httpx.Response) -> None:
        """A receiver may answer with a method to call; whether that worked it never learns."""
        with suppress(Fault):
            given = params.decoded(answer.content, answer.headers.get("content-type", ""))
            if isinstance(given.get("method"), str):
                self._call(bot, given["method"], Params(given))
