"""An admin stops a box while Git is away: it is gone within moments, and stays gone when Git is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from controller.cli import app
from controller.clients.argocd import SKIP
from controller.core.db import Database
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.gitops import manifests
from tests import factories
from tests.api.conftest import application
from tests.api.house import ADMIN_TOKEN
from tests.gitops import remotes
from tests.proxy.conftest import proxy
from tests.proxy.provider import Provider, running
from tests.sandbox.cluster.conftest import own_cluster
from tests.sandbox.cluster.running import CELL, Cluster
from tests.sandbox.stripe.serving import serving
from tests.workers.towns import Town, town

__all__ = ["own_cluster"]


@pytest.fixture
async def lived(database: Database, own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database, own_cluster, tmp_path) as made:
        yield made


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as made:
        yield made


@pytest.fixture
async def api(dsn: str, queue: QueueSettings, shop_url: str) -> AsyncIterator[str]:
    served = Database(DatabaseSettings(postgres_dsn=dsn))
    with serving(application(served, queue, shop_url, factories.mint())) as url:
        yield url


@pytest.fixture
def door(dsn: str, queue_url: str, provider: Provider) -> Iterator[str]:
    with proxy(dsn, queue_url, provider.base) as base:
        yield base


async def admin(url: str, *said: str) -> str:
    env = {"API_URL": url, "ADMIN_TOKEN": ADMIN_TOKEN}
    result = await asyncio.to_thread(CliRunner().invoke, app, ["admin", *said], env=env)
    assert result.exit_code == 0, result.output
    return result.output


async def answers(door: str, lived: Town, wanted: int) -> bool:
    body = {"model": "small", "messages": [{"role": "user", "content": "oi"}]}
    headers = {"authorization": f"Bearer {lived.token}"}
    async with httpx.AsyncClient(base_url=door, headers=headers, timeout=20) as http:
        return (await http.post("/v1/chat/completions", json=body)).status_code == wanted


async def settled(lived: Town, rev: int) -> bool:
    return await asyncio.to_thread(lived.live.settled, lived.box_id, rev)


async def gone(lived: Town) -> bool:
    return await lived.pods() == 0


async def test_a_box_is_stopped_while_git_is_away_and_stays_so_when_it_is_back(
    lived: Town, api: str, door: str
) -> None:
    remote = lived.live.remote
    assert await answers(door, lived, 200)
    remote.rename(remote.with_name("away"))
    assert f"stopped: {lived.box_id}" in await admin(api, "stop", lived.box_id, "--reason", "it mails strangers")
    await lived.until(lambda: answers(door, lived, 403))
    await lived.until(lambda: gone(lived))
    assert (await lived.job("suspend")).state == "queued"
    remote.with_name("away").rename(remote)
    await lived.until(lambda: lived.reached("suspend", "done"))
    await lived.until(lambda: settled(lived, 2))
    assert lived.actions() == ["provision", "suspend"]
    spec = manifests.read(remotes.git(remote, "show", f"main:{manifests.path(CELL, lived.box_id)}").encode()).spec
    found = lived.live.application(lived.box_id)
    assert (spec.state, SKIP in found["metadata"]["annotations"], await lived.pods()) == ("suspended", False, 0)
    await admin(api, "start", lived.box_id)
    await lived.until(lambda: lived.reached("reactivate", "synced", "done"))
    assert await lived.pods() == 1
