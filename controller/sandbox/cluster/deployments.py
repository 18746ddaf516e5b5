"""The Deployment controller for ``Recreate``: the old pod is gone before the new one starts."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from datetime import datetime

from controller.core import clock
from controller.core.errors import CloudError
from controller.sandbox.cluster.resources import DEPLOYMENT, POD, Object
from controller.sandbox.cluster.store import Store, Watcher

HASH = "pod-template-hash"
RESYNC_SECONDS = 5.0


class Deployments:
    """Turns Deployments into pods and pods into Deployment status."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since: dict[tuple[str, int], datetime] = {}

    async def run(self) -> None:
        """Reconcile whenever a Deployment or pod changes, and slowly without a reason for deadlines."""
        async with asyncio.TaskGroup() as tasks:
            changed = asyncio.Event()
            tasks.create_task(self._listen(self._store.watch(DEPLOYMENT, POD), changed))
            while True:
                changed.clear()
                for deployment in self._store.list(DEPLOYMENT):
                    self._reconcile(deployment)
                try:
                    async with asyncio.timeout(RESYNC_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    continue

    async def _listen(self, changes: Watcher, changed: asyncio.Event) -> None:
        async for _ in changes:
            changed.set()

    def _reconcile(self, deployment: Object) -> None:
        meta = deployment["metadata"]
        mine = [pod for pod in self._store.list(POD, meta["namespace"]) if _owner(pod) == meta["uid"]]
        wanted, template = deployment["spec"].get("replicas", 1), _hash(deployment)
        current = [pod for pod in mine if pod["metadata"].get("labels", {}).get(HASH) == template]
        surplus = [pod for pod in mine if pod not in current] + current[wanted:]
        for pod in surplus:
            self._store.delete(POD, meta["namespace"], pod["metadata"]["name"])
        left = [pod for pod in mine if self._store.get(POD, meta["namespace"], pod["metadata"]["name"])]
        if len(left) < wanted and left == current:
            self._create(deployment, template)
        self._report(deployment, [pod for pod in current if pod in left])

    def _create(self, deployment: Object, template: str) -> None:
        meta = deployment["metadata"]
        pod = copy.deepcopy(deployment["spec"]["template"])
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        labels = {**pod.get("metadata", {}).get("labels", {}), HASH: template}
        pod["metadata"] = {
            **pod.get("metadata", {}),
            "generateName": f"{meta['name']}-{template}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [owner],
        }
        try:
            self._store.create({"apiVersion": "v1", "kind": "Pod", **pod, "status": {"phase": "Pending"}})
        except CloudError:
            return  # the namespace is going

    def _report(self, deployment: Object, current: list[Object]) -> None:
        meta, wanted = deployment["metadata"], deployment["spec"].get("replicas", 1)
        ready = sum(_ready(pod) for pod in current)
        key = (meta["uid"], meta["generation"])
        began = self._since.setdefault(key, clock.now())
        limit = deployment["spec"].get("progressDeadlineSeconds", 600)
        late = ready < wanted and (clock.now() - began).total_seconds() > limit
        if ready >= wanted:
            self._since[key] = clock.now()
        progressing = {"type": "Progressing", "status": "False" if late else "True"}
        progressing["reason"] = "ProgressDeadlineExceeded" if late else "NewReplicaSetAvailable"
        available = {"type": "Available", "status": "True" if ready >= wanted else "False"}
        status = {
            "observedGeneration": meta["generation"],
            "replicas": len(current),
            "updatedReplicas": len(current),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [available, progressing],
        }
        self._store.update_status(DEPLOYMENT, meta["namespace"], meta["name"], status)


def _owner(pod: Object) -> str | None:
    return next((owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])), None)


def _hash(deployment: Object) -> str:
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _ready(pod: Object) -> bool:
    """Whether it serves: a pod that is ending does not, whatever its last probe said."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
