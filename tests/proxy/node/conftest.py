"""Node's clients, our proxy and the stand-in for a model, in a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from controller.core.db import Database
from controller.domain.measured import STREAM, Measured
from controller.sandbox import images
from tests.proxy import provider as providers
from tests.proxy.conftest import bought, proxy
from tests.proxy.node import driver as drivers
from tests.proxy.node.driver import Driver, Outcome
from tests.proxy.waiting import until
from tests.sandbox.llm.serving import Model, model_in

HERE = Path(__file__).parent


@dataclass
class Row:
    """A box's token, the proxy, what is behind it and who asks it."""

    driver: Driver
    base: str
    token: str
    box_id: str
    model: Model
    queue_url: str

    def ask(self, client: str, **changed: Any) -> Outcome:
        """What comes of a call; ``token`` and ``base`` may be others."""
        given = {"base": self.base, "token": self.token, **changed}
        return self.driver.ask(client, **given)

    async def measured(self) -> Measured:
        """The only entry of the usage stream, once it is there."""
        async with redis.Redis.from_url(self.queue_url) as stream:

            async def entries() -> list[Any]:
                return await stream.xrange(STREAM) or []

            ((_, fields),) = await until(entries)
        return Measured.model_validate_json(fields[b"usage"])


@pytest.fixture(scope="package")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """One Node process for all tests of the clients: they take a second to load."""
    packages = asyncio.run(images.packages(HERE, images.default_store()))
    with drivers.running(packages, tmp_path_factory.mktemp("driver")) as running:
        yield running


@pytest.fixture(scope="package")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model that lets the proxy in."""
    with model_in(tmp_path_factory.mktemp("model")) as model:
        yield model


@pytest.fixture
def model(stand_in: Model) -> Model:
    """The same, with no script and no memory."""
    stand_in.control.post("reset").raise_for_status()
    stand_in.control.post("keys", json={"key": providers.KEY}).raise_for_status()
    return stand_in


@pytest.fixture
async def row(driver: Driver, database: Database, dsn: str, queue_url: str, model: Model) -> AsyncIterator[Row]:
    box_id, token = await bought(database)
    with proxy(dsn, queue_url, f"{model.base}/v1") as base:
        yield Row(driver, base, token, box_id, model, queue_url)
