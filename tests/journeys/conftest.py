"""One sandbox with the real gateway for all journeys; the purchase in it is made under fire."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core import failpoints
from controller.core.db import Database
from controller.core.settings import QueueSettings
from controller.sandbox import accounts
from controller.sandbox.cluster import api
from controller.sandbox.cluster.store import Store
from controller.sandbox.journey import Customer
from controller.sandbox.stack import Stack
from tests.api.conftest import opened
from tests.journeys import rings
from tests.journeys.rings import Fleet

POINTS = (
    "inbox.verified", "inbox.stored", "billing.taken", "billing.fetched", "billing.converged", "gitops.claimed",
    "gitops.before_push", "gitops.after_push", "gitops.recorded", "sweeper.retention_ended", "sweeper.rung",
    "meter.inserted",
)  # fmt: skip
BOOT = timedelta(seconds=300)


@dataclass(frozen=True)
class Bought:
    """A running sandbox, the customer who bought a box in it, and the file where hit failpoints are counted."""

    stack: Stack
    customer: Customer
    hits: Path
    run: asyncio.Runner
    reply: str


@pytest.fixture(scope="package")
def bought() -> Iterator[Bought]:
    """A purchase during which every named process is killed at every named point, once each."""
    folder = Path(tempfile.mkdtemp(prefix="openclaw-journey-"))
    folder.chmod(0o755)
    hits = folder / "hits"
    armed = {"APP_ENV": "test", "FAILPOINT_LOG": str(hits), "SWEEP_INTERVAL": "PT1S"}
    armed["FAILPOINTS"] = ",".join(f"{point}:kill" for point in POINTS)
    with asyncio.Runner() as run, pytest.MonkeyPatch.context() as patch:
        for name, value in armed.items():
            patch.setenv(name, value)
        stack = Stack(folder / "data")
        run.run(stack.__aenter__())
        try:
            customer = Customer(stack.addresses())
            reply = run.run(_buy(customer))
            run.run(_all_hit(hits))
            yield Bought(stack, customer, hits, run, reply)
            run.run(customer.close())
        finally:
            run.run(stack.__aexit__(None, None, None))
            accounts.remove(folder / "data")
            shutil.rmtree(folder, ignore_errors=True)
    failpoints._armed.cache_clear()  # what a test in this process hit meanwhile, it read from that environment


async def _buy(customer: Customer) -> str:
    await customer.order()
    await customer.pay()
    await customer.milestone("done", BOOT, verb="provision")
    await customer.say("Bom dia! A farmácia abre hoje?")
    return await customer.hear(BOOT)


async def _all_hit(hits: Path) -> None:
    """Return when every point was hit; the test says which were not if the time runs out."""
    for _ in range(600):
        if len(hits.read_text().split()) >= len(POINTS):
            return
        await asyncio.sleep(0.1)


@pytest.fixture
async def fleet(
    database: Database, queue: QueueSettings, shop_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fleet]:
    """Boxes in three rings, all of them well."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port, store = listener.getsockname()[1], Store(tmp_path / "objects.sqlite")
    monkeypatch.setenv("CHARTS_URL", f"http://127.0.0.1:{port}{api.CHARTS}")
    async with opened(database, queue, shop_url) as house:
        made = Fleet(house, tmp_path, queue, store)
        cluster = rings.serving(api.Parts(charts=made.charts), store, listener)
        async with cluster, made.going(rings.kubeconfig(tmp_path / "kubeconfig", port)):
            yield made
    store.close()
