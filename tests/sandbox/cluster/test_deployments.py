"""The Deployment controller over a store, with the test as the kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.sandbox.cluster.deployments import Deployments
from controller.sandbox.cluster.resources import DEPLOYMENT, POD
from controller.sandbox.cluster.store import Store
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.waiting import until

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace())
    running = asyncio.create_task(Deployments(made).run())
    yield made
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    made.close()


def status(store: Store) -> Any:
    return (store.get(DEPLOYMENT, "here", "agent") or {}).get("status", {})


def template(store: Store, image: str) -> int:
    """Give the Deployment another image; its new generation."""
    found: Any = store.get(DEPLOYMENT, "here", "agent")
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return int(store.update(found)["metadata"]["generation"])


async def started(store: Store) -> str:
    """The name of the only pod, which is ready now."""
    await until(lambda: store.list(POD))
    [pod] = store.list(POD)
    store.update_status(POD, "here", pod["metadata"]["name"], READY)
    await until(lambda: status(store).get("readyReplicas") == 1)
    return str(pod["metadata"]["name"])


def images(store: Store) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in store.list(POD)]


async def test_the_next_pod_waits_until_the_last_one_is_gone(store: Store) -> None:
    store.create(objects.deployment())
    old = await started(store)
    generation = template(store, "two")
    await until(lambda: status(store).get("observedGeneration") == generation)
    assert images(store) == ["one"]
    store.delete(POD, "here", old, now=True)
    await until(lambda: images(store) == ["two"])


async def test_a_pod_that_is_ending_is_not_ready_even_if_the_template_comes_back(store: Store) -> None:
    store.create(objects.deployment())
    old = await started(store)
    template(store, "two")
    await until(lambda: "deletionTimestamp" in store.list(POD)[0]["metadata"])
    generation = template(store, "one")
    await until(lambda: status(store).get("observedGeneration") == generation)
    assert status(store)["availableReplicas"] == 0
    store.delete(POD, "here", old, now=True)
    assert await started(store) != old


async def test_a_template_that_changes_twice_during_one_end_leaves_the_last(store: Store) -> None:
    store.create(objects.deployment())
    old = await started(store)
    template(store, "two")
    await until(lambda: "deletionTimestamp" in store.list(POD)[0]["metadata"])
    template(store, "three")
    store.delete(POD, "here", old, now=True)
    await until(lambda: images(store) == ["three"])


async def test_a_deleted_pod_is_made_anew_once_it_is_gone(store: Store) -> None:
    store.create(objects.deployment())
    old = await started(store)
    store.delete(POD, "here", old)
    await until(lambda: status(store).get("readyReplicas") == 0)
    assert len(store.list(POD)) == 1
    store.delete(POD, "here", old, now=True)
    assert await started(store) != old
