"""Updates and who fetches them, through aiogram."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiogram import Dispatcher
from aiogram.exceptions import TelegramConflictError, TelegramUnauthorizedError
from aiogram.types import Message, Update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.stripe.serving import eventually, serving
from tests.sandbox.telegram.conftest import Telegram, telegram_in


async def polling(telegram: Telegram, made: dict[str, object]) -> None:
    """Return when a poller is waiting."""
    await asyncio.to_thread(eventually, lambda: telegram.about(made)["pollers_now"] == 1)


async def test_a_waiting_poll_answers_as_soon_as_somebody_writes(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(telegram, made)
        ids = telegram.write(made, "Oi!")
        async with asyncio.timeout(25):
            [update] = await waiting
    assert update.message is not None
    assert update.message.from_user is not None
    assert (update.update_id, update.message.message_id) == (ids["update_id"], ids["message_id"])
    assert (update.message.text, update.message.from_user.id, update.message.chat.type) == ("Oi!", 7001, "private")


async def test_updates_come_again_until_a_later_offset_confirms_them(telegram: Telegram) -> None:
    made = telegram.new_bot()
    first, second = (telegram.write(made, text)["update_id"] for text in ("one", "two"))
    async with telegram.bot(made["token"]) as bot:
        for _ in range(2):
            assert [u.update_id for u in await bot.get_updates(limit=1)] == [first]
        assert [u.update_id for u in await bot.get_updates(offset=second)] == [second]
        assert [u.update_id for u in await bot.get_updates()] == [second]
        assert await bot.get_updates(offset=second + 1) == []


async def test_a_negative_offset_keeps_only_the_newest(telegram: Telegram) -> None:
    made = telegram.new_bot()
    ids = [telegram.write(made, str(n))["update_id"] for n in range(3)]
    async with telegram.bot(made["token"]) as bot:
        assert [u.update_id for u in await bot.get_updates(offset=-1)] == ids[-1:]
        assert [u.update_id for u in await bot.get_updates()] == ids[-1:]


async def test_a_second_poller_ends_the_first_with_a_conflict(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot, telegram.bot(made["token"]) as other:
        first = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(telegram, made)
        assert await other.get_updates(timeout=0) == []
        with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
            async with asyncio.timeout(25):
                await first
    facts = telegram.about(made)
    assert (facts["conflicts"], facts["max_concurrent_pollers"], facts["polls"]) == (1, 2, 2)


async def test_a_poller_that_hangs_up_is_no_conflict_for_the_next(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(telegram, made)
        waiting.cancel()
    await asyncio.to_thread(eventually, lambda: telegram.about(made)["pollers_now"] == 0)
    async with telegram.bot(made["token"]) as bot:
        assert await bot.get_updates() == []
    assert (telegram.about(made)["conflicts"], telegram.about(made)["max_concurrent_pollers"]) == (0, 1)


async def test_a_revoked_token_ends_the_open_poll(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(telegram, made)
        telegram.control.delete(f"bots/{made['id']}").raise_for_status()
        with pytest.raises(TelegramUnauthorizedError):
            async with asyncio.timeout(25):
                await waiting


async def test_kinds_of_updates_that_the_bot_does_not_want_are_not_kept(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.get_updates(allowed_updates=["callback_query"])
        telegram.write(made, "nobody listens")
        assert await bot.get_updates() == []


async def test_ids_go_on_where_they_were_after_a_restart(tmp_path: Path) -> None:
    with telegram_in(tmp_path) as telegram:
        made = telegram.new_bot()
        before = telegram.write(made, "one")
        async with telegram.bot(made["token"]) as bot:
            await bot.get_updates(offset=before["update_id"] + 1)
    with telegram_in(tmp_path) as telegram:
        after = telegram.write(made, "two")
        async with telegram.bot(made["token"]) as bot:
            assert [u.update_id for u in await bot.get_updates()] == [after["update_id"]]
    assert after == {name: number + 1 for name, number in before.items()}


async def test_aiograms_own_polling_answers_a_message(telegram: Telegram) -> None:
    made = telegram.new_bot()
    dispatcher = Dispatcher()

    @dispatcher.message()
    async def echo(message: Message) -> None:
        await message.answer(f"<b>{message.text}</b>", parse_mode="HTML")

    async with telegram.bot(made["token"]) as bot:
        running = asyncio.create_task(dispatcher.start_polling(bot, handle_signals=False))
        telegram.write(made, "Oi!")
        [answer] = await asyncio.to_thread(telegram.sent, made, wait=10)
        await dispatcher.stop_polling()
        await running
    assert (answer["text"], answer["source"], answer["parse_mode"]) == ("Oi!", "<b>Oi!</b>", "HTML")


async def test_a_webhook_gets_updates_with_its_secret_and_again_after_a_refusal(telegram: Telegram) -> None:
    posts: list[tuple[str, Update]] = []

    async def hook(request: Request) -> Response:
        update = Update.model_validate_json(await request.body())
        posts.append((request.headers["x-telegram-bot-api-secret-token"], update))
        return Response(status_code=500 if len(posts) == 1 else 200)

    made = telegram.new_bot()
    with serving(Starlette(routes=[Route("/hook", hook, methods=["POST"])])) as receiver:
        async with telegram.bot(made["token"]) as bot:
            await bot.set_webhook(f"{receiver}/hook", secret_token="s3cret")
            ids = telegram.write(made, "Oi!")
            await asyncio.to_thread(eventually, lambda: telegram.about(made)["pending_updates"] == 0)
            with pytest.raises(TelegramConflictError, match="webhook is active"):
                await bot.get_updates()
            info = await bot.get_webhook_info()
            assert info.last_error_message == "Wrong response from the webhook: 500 Internal Server Error"
    assert [(secret, update.update_id) for secret, update in posts] == [("s3cret", ids["update_id"])] * 2


async def test_without_its_webhook_a_bot_polls_again(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_webhook("https://bot.example/hook")
        await bot.delete_webhook()
        assert (await bot.get_webhook_info()).url == ""
        assert await bot.get_updates() == []
