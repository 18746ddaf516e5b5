"""The real parts that tests share: one Postgres and two Valkeys for the whole run, a fresh database for each test."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from controller.clients.stripe import Stripe, StripeSettings
from controller.core import ids
from controller.core.db import Database
from controller.core.settings import CacheSettings, DatabaseSettings, QueueSettings
from controller.domain import migrate
from controller.domain.plans import PLANS
from controller.sandbox import accounts
from controller.sandbox.postgres import Postgres
from controller.sandbox.stripe.app import create_app
from controller.sandbox.valkey import Valkey
from tests import shares
from tests.faults import measures
from tests.proxy.waiting import until
from tests.sandbox.stripe.serving import serving

TEMPLATE = "openclaw_template"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first."""
    items.sort(key=lambda one: shares.turn(one.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> shares.Shares:
    """With ``-n``: who gets which tests."""
    return shares.Shares(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``-n``: who measured something hands it on."""
    if (handed_on := getattr(session.config, "workeroutput", None)) is not None:
        handed_on["measures"] = measures.lines()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """With ``-n``: take that in, unless it died."""
    measures.heard(getattr(node, "workeroutput", {}).get("measures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the recovery times."""
    if told := measures.lines():
        terminalreporter.section("recovery after faults")
        for line in told:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def data() -> Iterator[Path]:
    """A folder for the whole run, which every account may enter."""
    folder = Path(tempfile.mkdtemp(prefix="openclaw-test-"))
    folder.chmod(0o755)
    (folder / "logs").mkdir()
    yield folder
    accounts.remove(folder)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop that outlives single tests, for the servers."""
    with asyncio.Runner() as held:
        yield held


@pytest.fixture(scope="session")
def postgres(data: Path, runner: asyncio.Runner) -> Iterator[Postgres]:
    """A running Postgres with a migrated template database."""
    server = Postgres(data / "postgres", data / "logs", durable=False)
    runner.run(server.start())
    runner.run(_make_template(server))
    yield server
    runner.run(server.stop())


@pytest.fixture(scope="session")
def queue_server(data: Path, runner: asyncio.Runner) -> Iterator[Valkey]:
    """A running Valkey as the queue."""
    server = Valkey("queue", data / "queue", data / "logs", queue=True)
    runner.run(server.start())
    yield server
    runner.run(server.stop())


@pytest.fixture(scope="session")
def idle_dsn(postgres: Postgres, runner: asyncio.Runner) -> str:
    """A migrated database for tests after which nothing is stored: they share it."""

    async def make() -> str:
        admin = await asyncpg.connect(postgres.dsn())
        await admin.execute(f"CREATE DATABASE idle TEMPLATE {TEMPLATE}")
        await admin.close()
        return postgres.dsn("idle")

    return runner.run(make())


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    """The address of a migrated database that only this test uses."""
    name = f"test_{ids.new()}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool on that database."""
    opened = Database(DatabaseSettings(postgres_dsn=dsn))
    yield opened
    await opened.close()


@pytest.fixture
def queue_url(queue_server: Valkey) -> str:
    """The address of an emptied queue."""
    redis.Redis.from_url(queue_server.url).flushall()
    return queue_server.url


@pytest.fixture
def cache_url(queue_url: str) -> str:
    """The address of an emptied cache: another database of the same server is enough for one test."""
    return queue_url.replace("/0", "/1")


@pytest.fixture
def queue(queue_url: str) -> QueueSettings:
    """The queue's settings."""
    return QueueSettings(queue_redis_url=queue_url)


@pytest.fixture
def cache(cache_url: str) -> CacheSettings:
    """The cache's settings."""
    return CacheSettings(cache_redis_url=cache_url)


@pytest.fixture(scope="session")
def shop_url() -> Iterator[str]:
    """A Stripe stand-in with our prices, for tests that need no account of their own."""
    with tempfile.TemporaryDirectory() as folder, serving(create_app(Path(folder))) as url:
        shop = Stripe(StripeSettings(stripe_api_key="sk_test_shop", stripe_api_url=url))
        asyncio.run(shop.ensure_prices(PLANS))
        yield url


async def _make_template(server: Postgres) -> None:
    admin = await until(lambda: _admin(server))
    assert admin is not None
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await admin.close()
    database = Database(DatabaseSettings(postgres_dsn=server.dsn(TEMPLATE)))
    await migrate.upgrade(database)
    await database.close()


async def _admin(server: Postgres) -> asyncpg.Connection | None:
    try:
        return await asyncpg.connect(server.dsn())
    except asyncpg.CannotConnectNowError:  # it listens a moment before it accepts
        return None


settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
os.environ.setdefault("APP_ENV", "test")
