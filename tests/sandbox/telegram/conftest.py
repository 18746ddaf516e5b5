"""A fresh Telegram for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from controller.sandbox.telegram.app import create_app
from tests.sandbox.stripe.serving import serving


@dataclass
class Telegram:
    """The stand-in: its address, and the control endpoints."""

    base: str
    control: httpx.Client

    def new_bot(self, username: str = "farmacia_bot", **more: Any) -> dict[str, Any]:
        """A bot: token, id, username."""
        made: dict[str, Any] = self.steer("bots", username=username, name="Farmácia", **more)
        return made

    def started_bot(self) -> dict[str, Any]:
        """A bot to which 7001 wrote, and that heard of it."""
        made = self.new_bot()
        self.write(made, "/start")
        httpx.get(f"{self.base}/bot{made['token']}/getUpdates", params={"offset": 1_000_000_000}).raise_for_status()
        return made

    def bot(self, token: str) -> Bot:
        """The aiogram client for a token; use it as a context manager."""
        return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(self.base)))

    def steer(self, path: str, **body: Any) -> Any:
        """POST to a control endpoint; its JSON answer. Fails unless it is 200."""
        return self.control.post(path, json=body).raise_for_status().json()

    def write(self, bot: dict[str, Any], text: str, user_id: int = 7001) -> dict[str, int]:
        """A person writes to the bot: the ids of update and message."""
        ids: dict[str, int] = self.steer(f"bots/{bot['id']}/messages", user_id=user_id, text=text)
        return ids

    def sent(self, bot: dict[str, Any], after: int = 0, wait: float = 0) -> list[dict[str, Any]]:
        """What the bot sent."""
        query = {"after": after, "wait": wait}
        rows: list[dict[str, Any]] = self.control.get(f"bots/{bot['id']}/messages", params=query).json()["messages"]
        return rows

    def about(self, bot: dict[str, Any]) -> dict[str, Any]:
        """The bot's pollers and queue."""
        facts: dict[str, Any] = self.control.get(f"bots/{bot['id']}").raise_for_status().json()
        return facts


@contextmanager
def telegram_in(folder: Path) -> Iterator[Telegram]:
    """The Telegram kept in ``folder`` while the block runs."""
    with serving(create_app(folder)) as base, httpx.Client(base_url=f"{base}/_control/", timeout=15) as control:
        yield Telegram(base, control)


@pytest.fixture
def telegram(tmp_path: Path) -> Iterator[Telegram]:
    """An empty Telegram."""
    with telegram_in(tmp_path) as opened:
        yield opened
