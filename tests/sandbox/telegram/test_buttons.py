"""Keyboards and what people do with them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    KeyboardButtonRequestUsers,
    ReplyKeyboardMarkup,
)

from tests.sandbox.telegram.conftest import Telegram

KEYBOARD = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Pro", callback_data="plan:pro")]])
PICKING = KeyboardButtonRequestUsers(request_id=7, max_quantity=2, request_name=True)
ASKING = ReplyKeyboardMarkup(keyboard=[[KeyboardButton(text="Who?", request_users=PICKING)]])


async def test_an_answered_press_can_be_read(telegram: Telegram) -> None:
    made = telegram.started_bot()
    async with telegram.bot(made["token"]) as bot:
        sent = await bot.send_message(7001, "Which?", reply_markup=KEYBOARD)
        press = {"user_id": 7001, "message_id": sent.message_id, "data": "plan:pro"}
        query = telegram.steer(f"bots/{made['id']}/callbacks", **press)["callback_query_id"]
        path = f"bots/{made['id']}/callbacks/{query}"
        assert telegram.control.get(path).json()["answer"] is None
        await bot.answer_callback_query(query, text="Chosen", show_alert=True)
        answer = telegram.control.get(path).json()["answer"]
    assert (answer["text"], answer["show_alert"]) == ("Chosen", True)


@pytest.mark.parametrize(
    ("user_id", "data", "why"),
    [(7001, "plan:free", "no such button"), (7002, "plan:pro", "somebody else's chat")],
)
async def test_only_a_button_of_the_own_chat_can_be_pressed(
    telegram: Telegram, user_id: int, data: str, why: str
) -> None:
    made = telegram.started_bot()
    telegram.write(made, "/start", user_id=7002)
    async with telegram.bot(made["token"]) as bot:
        sent = await bot.send_message(7001, "Which?", reply_markup=KEYBOARD)
    press = {"user_id": user_id, "message_id": sent.message_id, "data": data}
    answer = telegram.control.post(f"bots/{made['id']}/callbacks", json=press)
    assert (answer.status_code, why in answer.json()["description"]) == (400, True)


async def test_people_picked_at_a_button_are_shared(telegram: Telegram) -> None:
    made = telegram.started_bot()
    telegram.control.put("people/7002", json={"first_name": "Bia"}).raise_for_status()
    async with telegram.bot(made["token"]) as bot:
        await bot.send_message(7001, "Who may use it?", reply_markup=ASKING)
        telegram.steer(f"bots/{made['id']}/shares", user_id=7001, request_id=7, user_ids=[7002])
        [update] = await bot.get_updates()
    assert update.message is not None
    assert update.message.users_shared is not None
    assert update.message.users_shared.request_id == 7
    assert [(one.user_id, one.first_name) for one in update.message.users_shared.users] == [(7002, "Bia")]


@pytest.mark.parametrize(
    ("request_id", "user_ids", "why"),
    [(8, [7001], "no such button"), (7, [1, 2, 3], "USER_PEERS_NUM_INVALID"), (7, [404], "user not found")],
)
async def test_nobody_is_shared_unasked(telegram: Telegram, request_id: int, user_ids: list[int], why: str) -> None:
    made = telegram.started_bot()
    async with telegram.bot(made["token"]) as bot:
        await bot.send_message(7001, "Who may use it?", reply_markup=ASKING)
    share = {"user_id": 7001, "request_id": request_id, "user_ids": user_ids}
    answer = telegram.control.post(f"bots/{made['id']}/shares", json=share)
    assert (answer.status_code, answer.json()["description"]) == (400, f"Bad Request: {why}")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"inline_keyboard": [[{"text": "x"}]]}, "text buttons are unallowed in the inline keyboard"),
    ({"inline_keyboard": [[{"text": "", "url": "https://x.example"}]]}, "button text must be non-empty"),
    ({"inline_keyboard": [[{"text": "x", "url": "javascript:alert(1)"}]]}, "Wrong HTTP URL"),
    ({"inline_keyboard": [[{"text": "x", "web_app": {"url": "http://x.example"}}]]}, "Only HTTPS links"),
    ({"inline_keyboard": "x"}, "can't parse inline_keyboard"),
    ({"keyboard": [[{"text": ""}]]}, "button text must be non-empty"),
    ({"keyboard": [[{"text": "x", "request_managed_bot": {"request_id": 1}}]]}, "BOT_MANAGEMENT_DISABLED"),
    ({"something": 1}, "object expected as reply markup"),
]


@pytest.mark.parametrize(("markup", "why"), REFUSED)
def test_a_keyboard_that_telegram_refuses_is_refused(telegram: Telegram, markup: dict[str, Any], why: str) -> None:
    made = telegram.started_bot()
    body = {"chat_id": 7001, "text": "x", "reply_markup": markup}
    answer = httpx.post(f"{telegram.base}/bot{made['token']}/sendMessage", json=body)
    assert answer.status_code == 400
    assert why in answer.json()["description"]
    assert telegram.sent(made) == []


async def test_a_message_of_the_person_cannot_be_edited(telegram: Telegram) -> None:
    made = telegram.new_bot()
    theirs = telegram.write(made, "/start")["message_id"]
    async with telegram.bot(made["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match="message can't be edited"):
            await bot.edit_message_text("x", chat_id=7001, message_id=theirs)
