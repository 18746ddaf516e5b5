"""Our Telegram client against the stand-in: outcomes as errors of ours, and the token nowhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.clients import telegram as clients
from controller.clients.telegram import BotUser, Telegram, TelegramAway, TelegramSettings
from controller.core.errors import CloudError, OutcomeUnknown, Permanent
from tests import factories
from tests.clients.silence import hanging_up
from tests.sandbox.telegram.conftest import Telegram as StandIn
from tests.sandbox.telegram.conftest import telegram_in

STRANGER = 9999


@pytest.fixture
def town(tmp_path: Path) -> Iterator[StandIn]:
    with telegram_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def bot(town: StandIn) -> dict[str, Any]:
    """A bot to which the person 7001 has written."""
    made = town.new_bot()
    town.write(made, "/start")
    return made


@pytest.fixture
async def client(town: StandIn) -> AsyncIterator[Telegram]:
    made = Telegram(TelegramSettings(telegram_api_url=town.base))
    yield made
    await made.close()


async def test_a_message_arrives_as_it_was_written(client: Telegram, town: StandIn, bot: dict[str, Any]) -> None:
    await client.send(bot["token"], 7001, "Olá! <b>1 & 2</b> *já* {x}")
    assert [one["text"] for one in town.sent(bot)] == ["Olá! <b>1 & 2</b> *já* {x}"]


async def test_a_token_is_told_its_bot(client: Telegram, bot: dict[str, Any]) -> None:
    found = await client.me(bot["token"])
    assert found == BotUser(bot["id"], "farmacia_bot")
    assert found.url == "https://t.me/farmacia_bot"


async def test_nobody_who_never_pressed_start_is_written_to(client: Telegram, bot: dict[str, Any]) -> None:
    with pytest.raises(clients.ChatClosed):
        await client.send(bot["token"], STRANGER, "oi")


@pytest.mark.parametrize(
    ("status", "description", "error"),
    [
        (403, "Forbidden: bot can't initiate conversation with a user", clients.ChatClosed),
        (403, "Forbidden: bot was blocked by the user", clients.ChatClosed),
        (400, "Bad Request: chat not found", clients.ChatClosed),
        (401, "Unauthorized", clients.TokenRefused),
        (404, "Not Found", clients.TokenRefused),
        (429, "Too Many Requests: retry after 7", clients.TelegramAway),
        (502, "Bad Gateway", clients.TelegramAway),
        (400, "Bad Request: message text is empty", Permanent),
    ],
)
async def test_each_refusal_is_an_error_of_ours(
    client: Telegram, town: StandIn, bot: dict[str, Any], status: int, description: str, error: type[CloudError]
) -> None:
    town.steer("faults", status=status, description=description)
    with pytest.raises(error, match=description.split(":")[-1].strip()):
        await client.send(bot["token"], 7001, "oi")


async def test_telegram_says_how_long_to_wait(client: Telegram, town: StandIn, bot: dict[str, Any]) -> None:
    town.steer("faults", status=429, description="Too Many Requests: retry after 7", retry_after=7)
    with pytest.raises(TelegramAway) as caught:
        await client.send(bot["token"], 7001, "oi")
    assert caught.value.retry_after.total_seconds() == 7


async def test_a_lost_answer_is_not_a_refusal() -> None:
    async with hanging_up() as url:
        client = Telegram(TelegramSettings(telegram_api_url=url))
        with pytest.raises(OutcomeUnknown):
            await client.send(factories.BOT_TOKEN, 7001, "oi")
        await client.close()


async def test_a_server_that_is_not_there_got_nothing() -> None:
    client = Telegram(TelegramSettings(telegram_api_url="http://127.0.0.1:9"))
    with pytest.raises(TelegramAway):
        await client.send(factories.BOT_TOKEN, 7001, "oi")
    await client.close()


async def test_the_token_is_in_no_log_line_and_no_error(
    client: Telegram, town: StandIn, bot: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")  # whoever loads litellm turns it down
    await client.send(bot["token"], 7001, "oi")
    town.steer("faults", status=400, description=f"Bad Request: http://x/bot{bot['token']}/sendMessage")
    with pytest.raises(CloudError) as caught:
        await client.send(bot["token"], 7001, "oi")
    assert "/bot***/" in caplog.text
    assert bot["token"] not in caplog.text + str(caught.value) + repr(caught.value.facts)


@pytest.mark.parametrize("token", ["", "no token", "123456789:../../x", f"{factories.BOT_TOKEN}/getMe?"])
async def test_what_is_no_token_never_becomes_an_address(client: Telegram, token: str) -> None:
    with pytest.raises(CloudError, match="bot_token_malformed"):
        await client.me(token)
