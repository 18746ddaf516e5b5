"""A real gateway between people on Telegram and models behind our proxy; only the platform's API is a plain one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from controller.core.db import Database
from controller.sandbox import images
from tests.charts import platform as platforms
from tests.charts.boxes import CHART
from tests.charts.platform import Platform
from tests.charts.world import Gateway
from tests.proxy.wires import TOKEN
from tests.sandbox.llm.serving import KEY, Model
from tests.sandbox.telegram.conftest import Telegram

TURN_SECONDS = 300.0
"""For the slowest turn: the gateway repeats a failed request for more than a minute before it says so."""

PEOPLE = range(7001, 7041)
IDLE = timedelta(seconds=4)
"""How long the proxy lets a provider be silent."""

WIRES = {"openai": "chat", "anthropic": "messages", "gemini": "gemini"}
"""Model → the API of the stand-in behind it."""


def catalog(base: str) -> str:
    """The stand-in at ``base`` behind three wires; ``gone`` is a provider that is not there, ``spared`` has another."""
    return f"""
providers:
  openai: {{base_url: '{base}/v1'}}
  anthropic: {{base_url: '{base}', wire: anthropic}}
  gemini: {{base_url: '{base}/v1beta', wire: gemini}}
  gone: {{base_url: 'http://127.0.0.1:9/v1', key: openai}}
models:
  openai: {{provider: openai, plans: [pro]}}
  anthropic: {{provider: anthropic, model: claude-test-1, plans: [pro]}}
  gemini: {{provider: gemini, model: gemini-3-test, plans: [pro]}}
  gone: {{provider: gone, plans: [pro]}}
  spared: {{provider: gone, fallbacks: [openai], plans: [pro]}}
"""


def settings(base: str, translator: str) -> dict[str, Any]:
    """The proxy's, for that catalog."""
    return {
        "llm_catalog": catalog(base), "llm_keys": {"openai": SecretStr(KEY)}, "translator_url": f"{translator}/v1",
        "translator_token": SecretStr(TOKEN), "upstream_idle": IDLE,
    }  # fmt: skip


@dataclass
class Scene:
    """What a test talks to. Each conversation is with a person of its own, so that none remembers another."""

    telegram: Telegram
    model: Model
    proxy: str
    database: Database
    redis_url: str
    platform: Platform
    gateway: Gateway
    bot: dict[str, Any]
    run: asyncio.Runner
    _strangers: itertools.count[int] = field(default_factory=lambda: itertools.count(PEOPLE.start))

    def person(self) -> int:
        """Somebody who has not written yet."""
        return next(self._strangers)

    def use(self, **changed: Any) -> None:
        """The box has another profile, and its gateway has taken that up."""
        if all(self.platform.profile[name] == value for name, value in changed.items()):
            return
        before = self.gateway.reloads()
        self.platform.change(**changed)
        self.run.run(self.gateway.reloaded(before))

    def write(self, person: int, text: str) -> None:
        """``person`` writes to the bot."""
        self.telegram.write(self.bot, text, person)

    def hear(self, person: int, part: str) -> str:
        """The bot's message to ``person`` that has ``part`` in it, once there is one: before, it may show progress."""
        return self.run.run(self._hear(person, part))

    def answered(self, status: int) -> int:
        """How many calls the proxy has answered so."""
        text = httpx.get(f"{self.proxy}/metrics").raise_for_status().text
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        wanted = ("proxy_requests_total", {"status": str(status)})
        return int(sum(one.value for one in samples if (one.name, one.labels) == wanted))

    async def _hear(self, person: int, part: str) -> str:
        address = f"{self.telegram.base}/_control/bots/{self.bot['id']}/chats/{person}"
        texts: list[str] = []
        try:
            async with asyncio.timeout(TURN_SECONDS), httpx.AsyncClient() as http:
                while not (found := [text for text in texts if part in text]):
                    await asyncio.sleep(0.1)
                    chat = (await http.get(address)).raise_for_status().json()
                    texts = [one.get("text", "") for one in chat["messages"] if one["from"]["id"] == self.bot["id"]]
                return found[-1]
        except TimeoutError:
            raise AssertionError(f"{part!r} was not heard: {texts}\n{self.gateway.log()}") from None


@asynccontextmanager
async def box(folder: Path, proxy: str, bot_api: str, **profile: Any) -> AsyncIterator[tuple[Platform, Gateway]]:
    """A box with the gateway of the image, booted with ``profile``, and the platform that it asks for it."""
    image = await images.build(CHART, images.default_store())
    platform = Platform()
    platform.profile |= profile
    async with platforms.serving(platform):
        told = {"OPENCLAW_PROXY_URL": proxy, "OPENCLAW_TELEGRAM_API_URL": bot_api}
        gateway = Gateway(image, folder, platform, **told)
        try:
            await gateway.boot()
            yield platform, gateway
        finally:
            await gateway.stop()
