"""What pods use, measured on real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from controller.core.errors import NotFound
from controller.sandbox.cluster.resources import Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.cluster.usage import Usage
from tests.sandbox.cluster import objects

BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace())
    return made


async def test_a_pods_use_is_that_of_its_whole_tree_over_the_time_between_two_looks(store: Store) -> None:
    made = store.create(objects.pod())
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY, start_new_session=True)
    usage = Usage(lambda: {made["metadata"]["uid"]: child.pid})
    try:
        async with asyncio.timeout(60):
            while not cores(usage, store):
                usage.sample()
                await asyncio.sleep(0.1)
    finally:
        usage.sample()
        os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
    [found] = usage.answer(store, "namespaces/here/pods", {})["items"]
    assert int(found["containers"][0]["usage"]["memory"].removesuffix("Ki")) > 1000


def cores(usage: Usage, store: Store) -> int:
    items = usage.answer(store, "pods", {})["items"]
    return sum(int(one["containers"][0]["usage"]["cpu"].removesuffix("n")) for one in items)


async def test_a_pod_without_a_process_has_no_metrics(store: Store) -> None:
    made: Object = store.create(objects.pod())
    usage = Usage(lambda: {made["metadata"]["uid"]: 2**22 + 1})
    usage.sample()
    usage.sample()
    assert usage.answer(store, "pods", {})["items"] == []
    with pytest.raises(NotFound):
        usage.answer(store, "namespaces/here/pods/agent", {})
