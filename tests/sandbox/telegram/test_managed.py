"""Bots that people make for a manager bot."""

from __future__ import annotations

from typing import Any

import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest, TelegramUnauthorizedError
from aiogram.types import KeyboardButton, KeyboardButtonRequestManagedBot, ReplyKeyboardMarkup, Update

from tests.sandbox.telegram.conftest import Telegram

SUGGESTED = KeyboardButtonRequestManagedBot(request_id=3, suggested_username="shop_bot")
ASKING = ReplyKeyboardMarkup(keyboard=[[KeyboardButton(text="Make it", request_managed_bot=SUGGESTED)]])


def new_manager(telegram: Telegram) -> dict[str, Any]:
    made = telegram.new_bot("manager_bot", can_manage_bots=True)
    telegram.write(made, "/start")
    return made


def confirm(telegram: Telegram, **more: Any) -> dict[str, Any]:
    """7001 confirms the suggestion: the new bot's id and username."""
    asked = {"manager": "manager_bot", "user_id": 7001, "username": "shop_bot", "name": "Shop"} | more
    made: dict[str, Any] = telegram.steer("managed-bots", **asked)
    return made


async def news(bot: Bot) -> list[Update]:
    """The updates but for the /start."""
    return [update for update in await bot.get_updates() if not (update.message and update.message.text)]


async def test_the_manager_hears_of_the_bot_and_fetches_its_token(telegram: Telegram) -> None:
    manager = new_manager(telegram)
    async with telegram.bot(manager["token"]) as bot:
        assert (await bot.get_me()).can_manage_bots is True
        made = confirm(telegram)
        [update] = await news(bot)
        assert update.managed_bot is not None
        assert (update.managed_bot.user.id, update.managed_bot.bot_user.id) == (7001, made["id"])
        token = await bot.get_managed_bot_token(made["id"])
    async with telegram.bot(token) as shop:
        assert (await shop.get_me()).username == "shop_bot"


async def test_a_replaced_token_works_no_more_and_the_manager_hears_of_it(telegram: Telegram) -> None:
    manager = new_manager(telegram)
    made = confirm(telegram)
    async with telegram.bot(manager["token"]) as bot:
        old = await bot.get_managed_bot_token(made["id"])
        new = await bot.replace_managed_bot_token(made["id"])
        assert new == await bot.get_managed_bot_token(made["id"])
        assert len(await news(bot)) == 2
    async with telegram.bot(old) as shop:
        with pytest.raises(TelegramUnauthorizedError):
            await shop.get_me()


async def test_a_bot_made_at_the_managers_button_shows_in_its_chat(telegram: Telegram) -> None:
    manager = new_manager(telegram)
    async with telegram.bot(manager["token"]) as bot:
        await bot.send_message(7001, "Make one", reply_markup=ASKING)
        made = confirm(telegram, request_id=3)
        first, second = await news(bot)
    assert first.managed_bot is not None
    assert second.message is not None
    assert second.message.managed_bot_created is not None
    assert second.message.managed_bot_created.bot_user.id == made["id"]


async def test_the_manager_hears_of_a_new_owner(telegram: Telegram) -> None:
    manager = new_manager(telegram)
    made = confirm(telegram)
    telegram.control.patch(f"bots/{made['id']}", json={"owner_id": 7009}).raise_for_status()
    async with telegram.bot(manager["token"]) as bot:
        assert [update.managed_bot.user.id for update in await news(bot) if update.managed_bot] == [7001, 7009]


async def test_only_its_manager_gets_a_bots_token(telegram: Telegram) -> None:
    new_manager(telegram)
    made = confirm(telegram)
    other = telegram.new_bot("other_bot", can_manage_bots=True)
    async with telegram.bot(other["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match="BOT_INVALID"):
            await bot.get_managed_bot_token(made["id"])


async def test_a_restricted_bot_hears_only_its_owner_and_the_added(telegram: Telegram) -> None:
    manager = new_manager(telegram)
    made = confirm(telegram)
    telegram.control.put("people/7002", json={"first_name": "Bia"}).raise_for_status()
    async with telegram.bot(manager["token"]) as bot:
        await bot.set_managed_bot_access_settings(made["id"], True, added_user_ids=[7002])
        access = await bot.get_managed_bot_access_settings(made["id"])
    assert [one.id for one in access.added_users or []] == [7002]
    written = {user: telegram.control.post(f"bots/{made['id']}/messages", json={"user_id": user, "text": "x"})
               for user in (7001, 7002, 7003)}  # fmt: skip
    assert {user: answer.status_code for user, answer in written.items()} == {7001: 200, 7002: 200, 7003: 403}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"username": "manager_bot"}, "username is already taken"),
        ({"username": "shop"}, "username must be"),
        ({"manager": "nobody_bot"}, "MANAGER_INVALID"),
        ({"manager": "plain_bot"}, "MANAGER_PERMISSION_MISSING"),
        ({"request_id": 99}, "no such button"),
    ],
)
def test_a_bot_that_cannot_be_made_is_refused(telegram: Telegram, more: dict[str, Any], why: str) -> None:
    new_manager(telegram)
    telegram.new_bot("plain_bot")
    asked = {"manager": "manager_bot", "user_id": 7001, "username": "shop_bot", "name": "Shop"} | more
    answer = telegram.control.post("managed-bots", json=asked)
    assert answer.status_code == 400
    assert why in answer.json()["description"]
    assert [bot["username"] for bot in telegram.control.get("bots").json()["bots"]] == ["manager_bot", "plain_bot"]
