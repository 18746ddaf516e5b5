"""The Deployment controller for ``Recreate``: the old pod is gone before the new one starts."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import re
from datetime import datetime

from controller.core import clock
from controller.core.errors import CloudError
from controller.sandbox.cluster.events import Recorder
from controller.sandbox.cluster.resources import DEPLOYMENT, LIMIT_RANGE, POD, RESOURCE_QUOTA, Object
from controller.sandbox.cluster.store import Store, Watcher, now

HASH = "pod-template-hash"
RESYNC_SECONDS = 5.0
_NAMED = re.compile(r'^pods "[^"]*"')


class Deployments:
    """Turns Deployments into pods and pods into Deployment status."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Recorder(store, "deployment-controller")
        self._since: dict[str, tuple[int, datetime]] = {}

    async def run(self) -> None:
        """Reconcile a namespace when something in it changes, and all slowly without a reason, for deadlines.

        A pod that was refused is tried again then: at the latest when its quota changes, or after some seconds.
        """
        changed: asyncio.Queue[str | None] = asyncio.Queue()
        changed.put_nowait(None)
        async with asyncio.TaskGroup() as tasks:
            watched = self._store.watch(DEPLOYMENT, POD, RESOURCE_QUOTA, LIMIT_RANGE)
            tasks.create_task(self._listen(watched, changed))
            tasks.create_task(_tick(changed))
            while True:
                spaces = {await changed.get()}
                while not changed.empty():
                    spaces.add(changed.get_nowait())
                for space in [None] if None in spaces else sorted(filter(None, spaces)):
                    for deployment in self._store.list(DEPLOYMENT, space):
                        self._reconcile(deployment)
                await asyncio.sleep(0)

    async def _listen(self, changes: Watcher, changed: asyncio.Queue[str | None]) -> None:
        async for event in changes:
            if event.kind == DEPLOYMENT and event.type == "DELETED":
                self._since.pop(event.object["metadata"]["uid"], None)
            changed.put_nowait(event.object["metadata"]["namespace"])

    def _reconcile(self, deployment: Object) -> None:
        meta = deployment["metadata"]
        if "deletionTimestamp" in meta or deployment.get("spec", {}).get("paused"):
            return
        mine = [pod for pod in self._store.list(POD, meta["namespace"]) if _owner(pod) == meta["uid"]]
        wanted, template = _replicas(deployment), _hash(deployment)
        current = [pod for pod in mine if pod["metadata"].get("labels", {}).get(HASH) == template]
        surplus = [pod for pod in mine if pod not in current] + sorted(current, key=_ready, reverse=True)[wanted:]
        for pod in surplus:
            if "deletionTimestamp" not in pod["metadata"]:
                self._events.normal(deployment, "ScalingReplicaSet", f"Deleting pod {pod['metadata']['name']}")
            self._store.delete(POD, meta["namespace"], pod["metadata"]["name"])
        left = [pod for pod in mine if self._store.get(POD, meta["namespace"], pod["metadata"]["name"])]
        refusal = ""
        if len(left) < wanted and left == current:
            refusal = self._create(deployment, template)
        self._report(deployment, [pod for pod in current if pod in left], refusal)

    def _create(self, deployment: Object, template: str) -> str:
        """Make a pod; why it was refused, or nothing."""
        meta = deployment["metadata"]
        pod = copy.deepcopy(deployment["spec"]["template"])
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        labels = {**pod.get("metadata", {}).get("labels", {}), HASH: template}
        pod["metadata"] = {
            **pod.get("metadata", {}),
            "generateName": f"{meta['name']}-{template}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        try:
            made = self._store.create({"apiVersion": "v1", "kind": "Pod", **pod, "status": {"phase": "Pending"}})
        except CloudError as error:
            # without the name that this try made up: news at every try would be a reason to try again at once
            why = _NAMED.sub(f'pods "{pod["metadata"]["generateName"]}"', str(error.facts.get("sentence") or error))
            self._events.warn(deployment, "FailedCreate", f"Error creating: {why}")
            return why
        self._events.normal(deployment, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return ""

    def _report(self, deployment: Object, current: list[Object], refusal: str) -> None:
        meta, wanted = deployment["metadata"], _replicas(deployment)
        alive = [pod for pod in current if "deletionTimestamp" not in pod["metadata"]]
        ready = sum(map(_ready, alive))
        status = {
            "observedGeneration": meta["generation"],
            "replicas": len(alive),
            "updatedReplicas": len(alive),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
        }
        status["conditions"] = _dated(deployment, self._conditions(deployment, ready, refusal))
        self._store.update_status(DEPLOYMENT, meta["namespace"], meta["name"], status)

    def _conditions(self, deployment: Object, ready: int, refusal: str) -> list[Object]:
        wanted, late = _replicas(deployment), self._is_late(deployment, ready)
        if ready >= wanted:
            available = {"status": "True", "reason": "MinimumReplicasAvailable"}
            progressing = {"status": "True", "reason": "NewReplicaSetAvailable"}
        else:
            available = {"status": "False", "reason": "MinimumReplicasUnavailable"}
            reason = "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated"
            progressing = {"status": "False" if late else "True", "reason": reason}
        made: list[Object] = [{"type": "Available", **available}, {"type": "Progressing", **progressing}]
        if refusal:
            made.append({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal})
        return made

    def _is_late(self, deployment: Object, ready: int) -> bool:
        meta = deployment["metadata"]
        generation, began = self._since.get(meta["uid"], (0, clock.now()))
        if generation != meta["generation"] or ready >= _replicas(deployment):
            began = clock.now()
        self._since[meta["uid"]] = (meta["generation"], began)
        limit: float = deployment["spec"].get("progressDeadlineSeconds", 600)
        return (clock.now() - began).total_seconds() > limit


async def _tick(changed: asyncio.Queue[str | None]) -> None:
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        changed.put_nowait(None)


def _replicas(deployment: Object) -> int:
    given = deployment["spec"].get("replicas")
    return 1 if given is None else int(given)


def _owner(pod: Object) -> str | None:
    return next((owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])), None)


def _hash(deployment: Object) -> str:
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _ready(pod: Object) -> bool:
    """Whether it serves: a pod that is ending does not, whatever its last probe said."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions: list[Object] = pod.get("status", {}).get("conditions", [])
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def _dated(deployment: Object, conditions: list[Object]) -> list[Object]:
    """The conditions with the time of their last change, which an unchanged one keeps."""
    before = {one["type"]: one for one in deployment.get("status", {}).get("conditions", [])}
    made = []
    for one in conditions:
        old = before.get(one["type"], {})
        same = old.get("status") == one["status"]
        since = old.get("lastTransitionTime") if same else None
        updated = old.get("lastUpdateTime") if same and old.get("reason") == one["reason"] else None
        made.append({**one, "lastUpdateTime": updated or now(), "lastTransitionTime": since or now()})
    return made
