"""The real application over its real parts, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from api import app
from api.deps import Parts
from api.settings import ApiSettings
from controller.clients.charts import Charts, ChartSettings
from controller.clients.stripe import Stripe, StripeSettings
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain.lifecycle import Mint
from controller.sandbox.processes import free_port
from tests import factories
from tests.api.house import ADMIN_TOKEN, WEBHOOK_SECRET, House

ROOT = Path(__file__).parents[2]


def application(database: Database, queue: QueueSettings, stripe_url: str, mint: Mint) -> FastAPI:
    """The API on these parts."""
    settings = ApiSettings(
        web_url="http://localhost:9",
        admin_token=SecretStr(ADMIN_TOKEN),
        stripe_webhook_secret=SecretStr(WEBHOOK_SECRET),
        niches_dir=ROOT / "charts/box/files/niches",
    )
    shop = StripeSettings(stripe_api_key=SecretStr("sk_test_shop"), stripe_api_url=stripe_url)
    charts = Charts(ChartSettings())
    return app.create(Parts(settings, database, Stripe(shop), Doorbell(queue), mint, factories.NICHES, charts))


@asynccontextmanager
async def opened(database: Database, queue: QueueSettings, stripe_url: str) -> AsyncIterator[House]:
    """A house on these parts while the block runs."""
    mint = factories.mint()
    made = application(database, queue, stripe_url, mint)
    transport = httpx.ASGITransport(made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield House(made, http, database, mint, stripe_url)


@pytest.fixture
async def house(database: Database, queue: QueueSettings, shop_url: str) -> AsyncIterator[House]:
    """The API with everything there."""
    async with opened(database, queue, shop_url) as made:
        yield made


@pytest.fixture
async def idle(idle_dsn: str, queue: QueueSettings, shop_url: str) -> AsyncIterator[House]:
    """The API for requests that must leave nothing behind."""
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(idle_dsn)))
    async with opened(database, queue, shop_url) as made:
        yield made
    await database.close()


@pytest.fixture
async def house_without_stripe(database: Database, queue: QueueSettings) -> AsyncIterator[House]:
    """The API while Stripe does not answer."""
    async with opened(database, queue, f"http://127.0.0.1:{free_port()}") as made:
        yield made


@pytest.fixture
async def house_without_postgres(queue: QueueSettings, shop_url: str) -> AsyncIterator[House]:
    """The API while Postgres does not answer."""
    away = DatabaseSettings(postgres_dsn=SecretStr(f"postgresql://a:b@127.0.0.1:{free_port()}/x"))
    async with opened(Database(away), queue, shop_url) as made:
        yield made
