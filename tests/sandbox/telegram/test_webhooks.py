"""Webhooks: posts to an address of the bot's, with its secret, until each is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramConflictError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandbox.stripe.serving import eventually, serving
from tests.sandbox.telegram.conftest import Telegram
from tests.sandbox.telegram.test_updates import polling


@dataclass
class Receiver:
    """Somebody's webhook: what came, and what to answer."""

    url: str = ""
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    came: list[tuple[str | None, int]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        update = await request.json()
        self.came.append((request.headers.get("x-telegram-bot-api-secret-token"), update["update_id"]))
        return JSONResponse(self.body, self.status)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    with serving(Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])) as base:
        receiver.url = f"{base}/hook"
        yield receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


async def test_what_waited_is_posted_when_the_webhook_is_set(telegram: Telegram, receiver: Receiver) -> None:
    made = telegram.new_bot()
    numbers = [telegram.write(made, text)["update_id"] for text in ("one", "two")]
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook(receiver.url)
        await asyncio.to_thread(eventually, lambda: len(receiver.came) == 2)
    assert receiver.came == [(None, number) for number in numbers]


async def test_what_waited_is_dropped_on_request(telegram: Telegram, receiver: Receiver) -> None:
    made = telegram.new_bot()
    telegram.write(made, "old")
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook(receiver.url, secret_token="s", drop_pending_updates=True)
        number = telegram.write(made, "new")["update_id"]
        await asyncio.to_thread(eventually, lambda: receiver.came)
    assert receiver.came == [("s", number)]


async def test_a_new_address_gets_what_the_old_one_refused(telegram: Telegram, receiver: Receiver) -> None:
    receiver.status = 503
    made = telegram.new_bot()
    with receiving() as other:
        async with telegram.bot(made["token"]) as bot:
            await bot.set_webhook(receiver.url)
            number = telegram.write(made, "Oi")["update_id"]
            await asyncio.to_thread(eventually, lambda: receiver.came)
            await bot.set_webhook(other.url)
            await asyncio.to_thread(eventually, lambda: other.came)
    assert other.came == [(None, number)]


async def test_a_deleted_webhook_leaves_the_refused_updates_to_polling(telegram: Telegram, receiver: Receiver) -> None:
    receiver.status = 500
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook(receiver.url)
        number = telegram.write(made, "Oi")["update_id"]
        await asyncio.to_thread(eventually, lambda: receiver.came)
        await bot.delete_webhook()
        assert [update.update_id for update in await bot.get_updates()] == [number]


async def test_a_receiver_may_answer_with_a_method(telegram: Telegram, receiver: Receiver) -> None:
    receiver.body = {"method": "sendMessage", "chat_id": 7001, "text": "from the webhook"}
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook(receiver.url)
    telegram.write(made, "Oi")
    [row] = await asyncio.to_thread(telegram.sent, made, 0, 10)
    assert row["text"] == "from the webhook"


async def test_a_repeated_update_is_posted_twice(telegram: Telegram, receiver: Receiver) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook(receiver.url)
    telegram.control.put(f"bots/{made['id']}/updates", json={"duplicate": 1}).raise_for_status()
    number = telegram.write(made, "twice")["update_id"]
    await asyncio.to_thread(eventually, lambda: len(receiver.came) == 2)
    assert receiver.came == [(None, number)] * 2


async def test_a_webhook_ends_the_open_poll(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(telegram, made)
        await bot.set_webhook("https://bot.example/hook")
        with pytest.raises(TelegramConflictError, match="terminated by setWebhook request"):
            async with asyncio.timeout(25):
                await waiting


async def test_a_secret_has_only_plain_characters(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match="secret token contains unallowed characters"):
            await bot.set_webhook("https://bot.example/hook", secret_token="não")
