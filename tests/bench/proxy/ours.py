"""Our proxy as in production: a Postgres that flushes, a queue and a cache, the meter, boxes that are paid for."""

from __future__ import annotations

import os

import asyncpg
from pydantic import SecretStr

from controller.core.db import Database
from controller.core.settings import DatabaseSettings
from controller.domain import migrate
from controller.sandbox.postgres import Postgres
from controller.sandbox.processes import Command, Process, python
from controller.sandbox.valkey import Valkey
from tests import factories
from tests.bench.proxy.targets import ROOT, Bench, Target, cpu_seconds, group
from tests.proxy.conftest import bought

UNLIMITED = "1000000"
"""Calls a second: the bucket is looked at and written with each call, and never empty."""


class Stores:
    """What our proxies share. ``tokens``: one for each of the boxes, whose calls take turns."""

    def __init__(self, bench: Bench, boxes: int) -> None:
        folder = bench.folder
        folder.chmod(0o755)  # Postgres runs as nobody where we are root
        self._logs = folder / "logs"
        self._logs.mkdir()
        self.postgres = Postgres(folder / "postgres", self._logs, durable=True)
        self.queue = Valkey("queue", folder / "queue", self._logs, queue=True)
        self.cache = Valkey("cache", folder / "cache", self._logs, queue=False)
        self.tokens: list[str] = []
        self._boxes = boxes
        self._meter: Process | None = None

    async def start(self) -> None:
        """Running, with boxes that were bought."""
        for server in (self.postgres, self.queue, self.cache):
            await server.start()
        admin = await asyncpg.connect(self.postgres.dsn())
        await admin.execute("CREATE DATABASE bench")
        await admin.close()
        database = Database(DatabaseSettings(postgres_dsn=SecretStr(self.postgres.dsn("bench"))))
        await migrate.upgrade(database)
        self.tokens = [(await bought(database))[1] for _ in range(self._boxes)]
        await database.close()
        self._meter = await Process.start(Command("meter", python("controller", "meter"), self._logs / "m", self.env))

    @property
    def env(self) -> dict[str, str]:
        """What their clients are told."""
        where = {"POSTGRES_DSN": self.postgres.dsn("bench"), "QUEUE_REDIS_URL": self.queue.url}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "APP_ENV": "test", **where}

    async def stop(self) -> None:
        """Ended."""
        if self._meter is not None:
            await self._meter.stop()
        for server in (self.queue, self.cache, self.postgres):
            await server.stop()

    def cpu_seconds(self) -> float:
        """What they have taken so far, the meter included."""
        assert self._meter is not None
        leaders = (self.postgres.pid, self.queue.pid, self.cache.pid, self._meter.child.pid)
        return sum(cpu_seconds(pid) for leader in leaders for pid in group(leader))


class Ours(Target):
    """The token proxy: tokens proven, rates and quotas counted, calls reserved, usage written down."""

    name = "ours"

    def __init__(self, bench: Bench, stores: Stores, processes: int = 1) -> None:
        super().__init__(bench, processes)
        self._stores = stores

    def command(self, port: int) -> Command:
        """The very process that a pod runs."""
        told = {
            "CACHE_REDIS_URL": self._stores.cache.url,
            "TOKEN_PEPPER": factories.PEPPER,
            "PROXY_PORT": str(port),
            "LLM_UPSTREAM_URL": self._bench.upstream,
            "LLM_UPSTREAM_KEY": "sk-mock",
            "LLM_MODELS": '{"small": "mock-small"}',  # a name that must be changed, as every provider's is
            "RATE_PER_SECOND": UNLIMITED,
            "RATE_BURST": UNLIMITED,
        }
        return self._command(python("controller", "proxy"), **(self._stores.env | told))

    def headers(self) -> list[dict[str, str]]:
        """Each box its own token."""
        return [{"authorization": f"Bearer {token}"} for token in self._stores.tokens]
