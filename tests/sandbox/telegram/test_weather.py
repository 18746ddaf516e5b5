"""What can go wrong at Telegram, as a test orders it: limits, lost, repeated and late updates, people who block."""

from __future__ import annotations

import asyncio

import pytest
from aiogram.exceptions import TelegramForbiddenError, TelegramRetryAfter

from tests.sandbox.telegram.conftest import Telegram


def mischief(telegram: Telegram, made: dict[str, object], **ordered: float) -> None:
    telegram.control.put(f"bots/{made['id']}/updates", json=ordered).raise_for_status()


async def test_a_lost_update_leaves_a_gap_in_the_ids(telegram: Telegram) -> None:
    made = telegram.new_bot()
    mischief(telegram, made, drop=1)
    lost, kept = (telegram.write(made, text)["update_id"] for text in ("lost", "kept"))
    async with telegram.bot(made["token"]) as bot:
        assert [update.update_id for update in await bot.get_updates()] == [kept]
    assert kept == lost + 1


async def test_a_repeated_update_comes_once_more_after_it_was_confirmed(telegram: Telegram) -> None:
    made = telegram.new_bot()
    mischief(telegram, made, duplicate=1)
    number = telegram.write(made, "twice")["update_id"]
    async with telegram.bot(made["token"]) as bot:
        seen = [[u.update_id for u in await bot.get_updates(offset=offset)] for offset in (0, number + 1, number + 1)]
    assert seen == [[number], [number], []]


async def test_a_late_update_comes_by_itself_and_holds_up_those_behind_it(telegram: Telegram) -> None:
    made = telegram.new_bot()
    mischief(telegram, made, delay_seconds=0.4)
    first = telegram.write(made, "late")["update_id"]
    mischief(telegram, made)
    telegram.write(made, "behind")
    async with telegram.bot(made["token"]) as bot:
        assert await bot.get_updates() == []
        async with asyncio.timeout(25):
            found = await bot.get_updates(timeout=30)
    assert [update.update_id for update in found] == [first, first + 1]
    assert found[0].model_dump(exclude_none=True).keys() == {"update_id", "message"}


@pytest.mark.parametrize(
    ("limits", "chats", "taken"),
    [
        ({"per_chat_per_second": 1}, [7001, 7001], 1),
        ({"per_chat_per_second": 1}, [7001, 7002], 2),
        ({"per_bot_per_second": 2}, [7001, 7002, 7001], 2),
        ({}, [7001] * 40, 40),
    ],
)
async def test_messages_above_the_limit_name_the_seconds_to_wait(
    telegram: Telegram, limits: dict[str, int], chats: list[int], taken: int
) -> None:
    made = telegram.new_bot()
    for person in set(chats):
        telegram.write(made, "/start", user_id=person)
    telegram.control.put("limits", json=limits).raise_for_status()
    async with telegram.bot(made["token"]) as bot:
        answers = await asyncio.gather(*(bot.send_message(chat, "x") for chat in chats), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TelegramRetryAfter)]
    assert (len(answers) - len(refused), {one.retry_after for one in refused}) == (taken, {1} if refused else set())


async def test_a_person_who_never_pressed_start_cannot_be_written_to(telegram: Telegram) -> None:
    shop, other = telegram.new_bot("shop_bot"), telegram.new_bot("other_bot")
    telegram.write(shop, "/start")
    async with telegram.bot(other["token"]) as bot:
        with pytest.raises(TelegramForbiddenError, match="bot can't initiate conversation with a user"):
            await bot.send_message(7001, "Oi")
        with pytest.raises(TelegramForbiddenError, match="bots can't send messages to bots"):
            await bot.send_message(shop["id"], "Oi")


async def test_a_bot_hears_who_blocks_it_and_who_comes_back(telegram: Telegram) -> None:
    made = telegram.started_bot()
    telegram.control.put(f"bots/{made['id']}/chats/7001", json={"blocked": True}).raise_for_status()
    telegram.write(made, "I am back")
    async with telegram.bot(made["token"]) as bot:
        updates = await bot.get_updates()
        assert (await bot.send_message(7001, "Welcome")).text == "Welcome"
    states = [update.my_chat_member.new_chat_member.status for update in updates if update.my_chat_member]
    assert states == ["kicked", "member"]


async def test_a_reaction_is_told_only_to_a_bot_that_asks_for_it(telegram: Telegram) -> None:
    made = telegram.started_bot()
    async with telegram.bot(made["token"]) as bot:
        sent = await bot.send_message(7001, "Good?")
        reaction = {"user_id": 7001, "message_id": sent.message_id, "emoji": "👍"}
        assert telegram.steer(f"bots/{made['id']}/reactions", **reaction) == {"update_id": 0}
        await bot.get_updates(allowed_updates=["message_reaction"])
        telegram.steer(f"bots/{made['id']}/reactions", **reaction)
        [update] = await bot.get_updates()
    assert update.message_reaction is not None
    assert update.message_reaction.message_id == sent.message_id


async def test_ordered_refusals_can_be_taken_back(telegram: Telegram) -> None:
    made = telegram.started_bot()
    telegram.steer("faults", status=502, description="Bad Gateway", times=100)
    telegram.control.delete("faults").raise_for_status()
    async with telegram.bot(made["token"]) as bot:
        assert (await bot.get_me()).id == made["id"]
