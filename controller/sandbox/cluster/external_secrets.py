"""External Secrets' stand-in: fetches a secret from the real secret endpoint into a Kubernetes Secret."""

from __future__ import annotations

import asyncio
import base64

import httpx

from controller.core import log as logs
from controller.core.errors import CloudError
from controller.sandbox.cluster.resources import EXTERNAL_SECRET, SECRET, Object
from controller.sandbox.cluster.store import Store

log = logs.get(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0


class ExternalSecrets:
    """One cell's operator, with the cell's own credential for the endpoint."""

    def __init__(self, store: Store, url: str, token: str, cell: str) -> None:
        self._store = store
        self._url = f"{url}/v1/cells/{cell}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Fetch for every ExternalSecret that has no Secret yet, until the endpoint answers."""
        async with httpx.AsyncClient(headers=self._headers, timeout=5) as http, asyncio.TaskGroup() as tasks:
            for obj in self._store.list(EXTERNAL_SECRET):
                self._start(tasks, http, obj)
            async for event in self._store.watch(EXTERNAL_SECRET, SECRET):
                if event.kind == EXTERNAL_SECRET and event.type != "DELETED":
                    self._start(tasks, http, event.object)
                elif event.kind == SECRET and event.type == "DELETED":
                    for obj in self._store.list(EXTERNAL_SECRET, event.object["metadata"]["namespace"]):
                        self._start(tasks, http, obj)

    def _start(self, tasks: asyncio.TaskGroup, http: httpx.AsyncClient, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        if uid not in self._running and not self._delivered(obj):
            task = self._running[uid] = tasks.create_task(self._fetch(http, obj))
            task.add_done_callback(lambda _: self._running.pop(uid, None))

    def _delivered(self, obj: Object) -> bool:
        """Whether its Secret is there and it says so."""
        meta, told = obj["metadata"], obj.get("status", {}).get("conditions", [])
        there = self._store.get(SECRET, meta["namespace"], obj["spec"]["target"]["name"]) is not None
        return there and any(one["type"] == "Ready" and one["status"] == "True" for one in told)

    async def _fetch(self, http: httpx.AsyncClient, obj: Object) -> None:
        meta, spec = obj["metadata"], obj["spec"]
        wait = FIRST_WAIT
        while self._store.get(EXTERNAL_SECRET, meta["namespace"], meta["name"]) is not None:
            try:
                data = {one["secretKey"]: await self._read(http, one["remoteRef"]["key"]) for one in spec["data"]}
                self._store_secret(obj, data)
            except (httpx.HTTPError, CloudError, KeyError, ValueError, TypeError, AttributeError) as error:
                log.warning("external_secrets.fetch_failed", name=meta["name"], error=type(error).__name__)
                self._condition(obj, "False", "SecretSyncedError", "could not get secret data from provider")
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
                continue
            self._condition(obj, "True", "SecretSynced", "secret synced")
            return

    async def _read(self, http: httpx.AsyncClient, key: str) -> str:
        answer = await http.get(f"{self._url}/{key}")
        answer.raise_for_status()
        return base64.b64encode(answer.json()["value"].encode()).decode()

    def _store_secret(self, obj: Object, data: dict[str, str]) -> None:
        meta = obj["metadata"]
        name = obj["spec"]["target"]["name"]
        if self._store.get(SECRET, meta["namespace"], name) is None:
            owner = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"]}
            made = {"name": name, "namespace": meta["namespace"], "ownerReferences": [owner]}
            self._store.create({"apiVersion": "v1", "kind": "Secret", "metadata": made, "data": data})

    def _condition(self, obj: Object, ready: str, reason: str, message: str) -> None:
        meta = obj["metadata"]
        condition = {"type": "Ready", "status": ready, "reason": reason, "message": message}
        self._store.update_status(EXTERNAL_SECRET, meta["namespace"], meta["name"], {"conditions": [condition]})
