"""Webhooks: updates posted to the address that a bot set, in order, until each is taken."""

from __future__ import annotations

import asyncio

import httpx

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import foreign
from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town

log = logs.get(__name__)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
RECEIVER_TIMEOUT_SECONDS = 10


class Pusher:
    """One task for each bot with a webhook, so that a slow receiver holds up only its own bot."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Push for ever."""
        async with httpx.AsyncClient(timeout=RECEIVER_TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as group:
            with self._town.bells.listening("webhooks") as bell:
                while True:
                    bell.clear()
                    for key in self._idle():
                        self._busy.add(key)
                        group.create_task(self._drain(client, key))
                    await bell.wait()

    def _idle(self) -> list[str]:
        keys = [str(bot["id"]) for bot in self._town.documents.find("bot", {"revoked": 0})]
        return [key for key in keys if key not in self._busy and self._next(key)]

    async def _drain(self, client: httpx.AsyncClient, key: str) -> None:
        pause = FIRST_RETRY_SECONDS
        while update := self._next(key):
            error = await _post(client, self._town.bot(key)["webhook"], update)
            bot = self._town.bot(key)
            if error is None:
                self._town.confirm(bot, update["update_id"] + 1)
                pause = FIRST_RETRY_SECONDS
                continue
            log.info("telegram.webhook_refused", bot=key, update_id=update["update_id"], reason=error)
            failure = {"last_error_date": int(clock.now().timestamp()), "last_error_message": error}
            self._town.save(bot | {"webhook": bot["webhook"] | failure})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)
        self._busy.discard(key)

    def _next(self, key: str) -> Document | None:
        bot = self._town.bot(key)
        pending = self._town.pending(bot) if bot["webhook"]["url"] and not bot["revoked"] else []
        return pending[0] if pending else None


async def _post(client: httpx.AsyncClient, webhook: Document, update: Document) -> str | None:
    secret = webhook.get("secret_token")
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
    try:
        answer = await client.post(webhook["url"], json=update, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        return foreign(f"{type(exc).__name__}: {exc}")
    return None if answer.is_success else f"Wrong response from the webhook: {answer.status_code}"
