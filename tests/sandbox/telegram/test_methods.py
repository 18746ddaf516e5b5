"""The Bot API's methods and refusals, through aiogram and on the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import BotCommand, InlineKeyboardButton, InlineKeyboardMarkup

from tests.sandbox.telegram.conftest import Telegram


async def test_a_bot_knows_itself(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        me = await bot.get_me()
    assert (me.id, me.is_bot, me.username, me.first_name) == (made["id"], True, "farmacia_bot", "Farmácia")


@pytest.mark.parametrize(
    ("token", "status", "description"),
    [
        ("7000000001:" + "x" * 35, 401, "Unauthorized"),
        ("not-a-token", 404, "Not Found"),
        ("12:short", 404, "Not Found"),
    ],
)
def test_a_token_that_opens_nothing_is_refused(telegram: Telegram, token: str, status: int, description: str) -> None:
    telegram.new_bot()
    answer = httpx.get(f"{telegram.base}/bot{token}/getMe")
    assert (answer.status_code, answer.json()) == (
        status,
        {"ok": False, "error_code": status, "description": description},
    )


async def test_a_revoked_token_is_unauthorized(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.control.delete(f"bots/{made['id']}").raise_for_status()
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramUnauthorizedError):
            await bot.get_me()


def test_an_unknown_method_is_not_found(telegram: Telegram) -> None:
    answer = httpx.post(f"{telegram.base}/bot{telegram.new_bot()['token']}/sendTelepathy")
    assert answer.json() == {"ok": False, "error_code": 404, "description": "Not Found: method not found"}


SENDING: list[tuple[str, dict[str, Any]]] = [
    ("GET", {"params": {"chat_id": "7001", "text": "Oi"}}),
    ("POST", {"json": {"chat_id": 7001, "text": "Oi"}}),
    ("POST", {"data": {"chat_id": "7001", "text": "Oi"}}),
    ("POST", {"files": {"chat_id": (None, "7001"), "text": (None, "Oi")}}),
]


@pytest.mark.parametrize(("verb", "how"), SENDING, ids=["query", "json", "form", "multipart"])
def test_parameters_may_come_in_every_form(telegram: Telegram, verb: str, how: dict[str, Any]) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    answer = httpx.request(verb, f"{telegram.base}/bot{made['token']}/sendMessage", **how).json()
    assert (answer["ok"], answer["result"]["text"], answer["result"]["chat"]["id"]) == (True, "Oi", 7001)


async def test_html_becomes_text_with_entities_in_utf16_units(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    async with telegram.bot(made["token"]) as bot:
        message = await bot.send_message(
            7001, ' \n🙂 <b>Olá</b> &amp; <a href="https://x.example/">aqui </a>', parse_mode="HTML"
        )
    assert message.text == "🙂 Olá & aqui"
    assert message.entities is not None
    assert [(e.type, e.extract_from(message.text)) for e in message.entities] == [
        ("bold", "Olá"),
        ("text_link", "aqui"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<b>open", "Can't find end tag"),
        ("<blink>x</blink>", "Unsupported start tag"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<b></b>", "message text is empty"),
        ("x" * 4097, "message is too long"),
    ],
)
async def test_text_that_telegram_refuses_is_refused(telegram: Telegram, text: str, reason: str) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match=reason):
            await bot.send_message(7001, text, parse_mode="HTML")
    assert telegram.sent(made) == []


async def test_a_bot_cannot_write_first_nor_to_one_who_blocked_it(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match="chat not found"):
            await bot.send_message(7001, "Oi")
        telegram.write(made, "/start")
        telegram.control.put(f"bots/{made['id']}/chats/7001", json={"blocked": True}).raise_for_status()
        with pytest.raises(TelegramForbiddenError, match="blocked by the user"):
            await bot.send_message(7001, "Oi")


async def test_an_edited_message_keeps_its_id_and_says_so(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    async with telegram.bot(made["token"]) as bot:
        message = await bot.send_message(7001, "one")
        await bot.edit_message_text("two", chat_id=7001, message_id=message.message_id)
        with pytest.raises(TelegramBadRequest, match="message is not modified"):
            await bot.edit_message_text("two", chat_id=7001, message_id=message.message_id)
    [row] = telegram.sent(made)
    assert (row["message_id"], row["chat_id"], row["text"], row["edited"]) == (message.message_id, 7001, "two", True)


async def test_a_deleted_message_is_gone_for_the_bot(telegram: Telegram) -> None:
    made = telegram.new_bot()
    incoming = telegram.write(made, "123456:secret")["message_id"]
    async with telegram.bot(made["token"]) as bot:
        assert await bot.delete_message(7001, incoming)
        with pytest.raises(TelegramBadRequest, match="message to delete not found"):
            await bot.delete_message(7001, incoming)


async def test_a_pressed_button_is_answered_once(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    keyboard = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Pro", callback_data="plan:pro")]])
    async with telegram.bot(made["token"]) as bot:
        message = await bot.send_message(7001, "Which?", reply_markup=keyboard)
        telegram.steer(f"bots/{made['id']}/callbacks", user_id=7001, message_id=message.message_id, data="plan:pro")
        query = (await bot.get_updates())[-1].callback_query
        assert query is not None
        assert (query.data, query.from_user.id) == ("plan:pro", 7001)
        assert await bot.answer_callback_query(query.id)
        with pytest.raises(TelegramBadRequest, match="query is too old"):
            await bot.answer_callback_query(query.id)


async def test_commands_and_names_are_kept_for_each_language(telegram: Telegram) -> None:
    made = telegram.new_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_my_commands([BotCommand(command="planos", description="Planos")], language_code="pt")
        assert [c.command for c in await bot.get_my_commands(language_code="pt")] == ["planos"]
        assert await bot.get_my_commands() == []
        await bot.delete_my_commands(language_code="pt")
        assert await bot.get_my_commands(language_code="pt") == []
        await bot.set_my_name("Botica")
        assert (await bot.get_my_name()).name == (await bot.get_me()).first_name == "Botica"


async def test_an_ordered_limit_names_the_seconds_to_wait_and_passes(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    telegram.steer(
        "faults", status=429, description="Too Many Requests: retry after 3", retry_after=3, method="sendMessage"
    )
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramRetryAfter) as refused:
            await bot.send_message("7001", "Oi")
        assert refused.value.retry_after == 3
        assert (await bot.send_message("7001", "Oi")).text == "Oi"


async def test_a_test_can_wait_for_what_the_bot_says_next(telegram: Telegram) -> None:
    made = telegram.new_bot()
    telegram.write(made, "/start")
    async with telegram.bot(made["token"]) as bot:
        first = await bot.send_message(7001, "one")
        waiting = asyncio.create_task(asyncio.to_thread(telegram.sent, made, first.message_id, 10))
        await bot.send_message(7001, "two")
        assert [row["text"] for row in await waiting] == ["two"]


def test_two_bots_cannot_share_a_username(telegram: Telegram) -> None:
    telegram.new_bot("one_bot")
    answer = telegram.control.post("bots", json={"username": "One_Bot", "name": "x"})
    assert (answer.status_code, answer.json()["description"]) == (400, "Bad Request: username is already taken")
