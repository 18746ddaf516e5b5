"""When the cluster reached each step, as seen from outside through its API."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from controller.clients import argocd
from controller.core import clock

POLL_SECONDS = 0.05
Seen = Callable[[str, datetime], None]


@contextlib.asynccontextmanager
async def watching(kubeconfig: Path, box: Callable[[], str], seen: Seen) -> AsyncIterator[None]:
    """Inside the block ``seen`` is told once of ``synced`` and ``pod started`` of the box that ``box`` names."""
    looking = asyncio.create_task(_look(kubeconfig, box, seen))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(kubeconfig: Path, box: Callable[[], str], seen: Seen) -> None:
    config = await asyncio.to_thread(kubeconfig.read_text)
    server = json.loads(config)["clusters"][0]["cluster"]["server"]
    left = {"synced": _synced, "pod started": _started}
    async with httpx.AsyncClient(base_url=server, timeout=5) as http:
        while left:
            await asyncio.sleep(POLL_SECONDS)
            if not box():
                continue
            for name, reached in list(left.items()):
                if await reached(http, box()):
                    seen(name, clock.now())
                    del left[name]


async def _synced(http: httpx.AsyncClient, box_id: str) -> bool:
    answer = await http.get(f"/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{box_id}")
    if answer.status_code != httpx.codes.OK:
        return False
    observed = argocd.read(answer.json())
    return observed.sync == "Synced" and observed.phase == "Succeeded"


async def _started(http: httpx.AsyncClient, box_id: str) -> bool:
    answer = await http.get(f"/api/v1/namespaces/box-{box_id}/pods")
    pods: list[dict[str, Any]] = answer.json().get("items", []) if answer.status_code == httpx.codes.OK else []
    states = [one["state"] for pod in pods for one in pod.get("status", {}).get("containerStatuses", [])]
    return any("running" in state for state in states)
