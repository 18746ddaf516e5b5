"""The proxy on a port of its own, between the official client and a provider of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
import redis.asyncio as redis
from pydantic import SecretStr

from controller.core.db import Database
from controller.core.settings import DatabaseSettings, QueueSettings, TokenSettings
from controller.domain import boxes, lifecycle, vault
from controller.domain.lifecycle import Why
from controller.domain.measured import STREAM, Measured
from proxy.app import create
from proxy.leaving import Connection
from proxy.settings import LedgerSettings, ProxySettings
from tests import factories
from tests.proxy import provider as providers
from tests.proxy.provider import Provider
from tests.proxy.waiting import until
from tests.sandbox.stripe.serving import serving

WHY = Why("test", "proxy")


@dataclass
class Door:
    """The proxy, a box's token for it, and what is around it."""

    base: str
    token: str
    box_id: str
    provider: Provider
    queue_url: str
    http: httpx.AsyncClient = field(init=False)
    openai: openai.AsyncOpenAI = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {self.token}"}
        self.http = httpx.AsyncClient(base_url=self.base, headers=headers, timeout=20)
        self.openai = openai.AsyncOpenAI(api_key=self.token, base_url=f"{self.base}/v1", max_retries=0, timeout=20)

    async def ask(self, **changed: Any) -> httpx.Response:
        body = {"model": "small", "messages": [{"role": "user", "content": "oi"}], **changed}
        return await self.http.post("/v1/chat/completions", json=body)

    async def measured(self, count: int = 1) -> list[Measured]:
        """What stands in the usage stream once it has ``count`` entries."""
        async with redis.Redis.from_url(self.queue_url) as stream:

            async def enough() -> list[Any]:
                entries: list[Any] = await stream.xrange(STREAM) or []
                return entries if len(entries) >= count else []

            return [Measured.model_validate_json(fields[b"usage"]) for _, fields in await until(enough)]

    async def close(self) -> None:
        await self.http.aclose()
        await self.openai.close()


@contextmanager
def proxy(dsn: str, queue_url: str, provider_base: str, **changed: Any) -> Iterator[str]:
    """The base address of a proxy while the block runs."""
    settings = ProxySettings(llm_upstream_url=provider_base, llm_upstream_key=SecretStr(providers.KEY), **changed)
    app = create(
        settings,
        DatabaseSettings(postgres_dsn=SecretStr(dsn)),
        QueueSettings(queue_redis_url=SecretStr(queue_url)),
        TokenSettings(token_pepper=SecretStr(factories.PEPPER)),
        LedgerSettings(),
    )
    with serving(app, Connection) as base:
        yield base


async def bought(database: Database, **answers: Any) -> tuple[str, str]:
    """A paid box's id and its proxy token; ``answers`` are what its customer said when it was bought."""
    mint = factories.mint()
    async with database.transaction() as session:
        draft = await factories.draft(session, mint, **answers)
        job = await lifecycle.converge(session, mint, factories.facts(draft.id), WHY)
        assert job is not None
        box = await boxes.get(session, job.box_id)
        token = await vault.get(
            session, mint.sealer, box.id, vault.PROXY, box.secret_versions[vault.PROXY], reader="test"
        )
    return job.box_id, token


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providers.running() as made:
        yield made


@pytest.fixture
async def door(database: Database, dsn: str, queue_url: str, provider: Provider) -> AsyncIterator[Door]:
    box_id, token = await bought(database)
    with proxy(dsn, queue_url, provider.base) as base:
        opened = Door(base, token, box_id, provider, queue_url)
        yield opened
        await opened.close()
