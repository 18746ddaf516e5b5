"""The kubelet: watches pods and gives each a runner; at most two boot at a time."""

from __future__ import annotations

import asyncio

from controller.sandbox.cluster import volumes
from controller.sandbox.cluster.events import Recorder
from controller.sandbox.cluster.furniture import NODE_NAME
from controller.sandbox.cluster.leftovers import Leftovers
from controller.sandbox.cluster.pods import Node, Runner
from controller.sandbox.cluster.resources import POD, PVC, Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.cluster.volumes import Volumes

BOOTS_AT_ONCE = 2
"""A gateway's boot costs 10-14 CPU seconds."""


class Kubelet:
    """Runs the pods of one node as local processes."""

    def __init__(self, store: Store, node: Node) -> None:
        self._store = store
        self._node = node
        self._volumes = Volumes(store, node.data / "volumes", node.account)
        self._boots = asyncio.Semaphore(BOOTS_AT_ONCE)
        self._runners: dict[str, Runner] = {}
        self._scheduler = Recorder(store, "default-scheduler")

    async def sweep(self) -> None:
        """End what an earlier life left running and remove its pods; before anybody can make new ones."""
        await Leftovers(self._node.data / "pids").end()
        for pod in self._store.list(POD):
            self._store.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"], now=True)

    async def run(self) -> None:
        """Follow pods and claims; cancelled, every process is stopped within the shutdown's grace."""
        for claim in self._store.list(PVC):
            self._bind(claim)
        async with asyncio.TaskGroup() as tasks:
            async for event in self._store.watch(POD, PVC):
                if event.kind == POD:
                    self._see(tasks, event.object, deleted=event.type == "DELETED")
                elif event.type == "DELETED":
                    self._volumes.forget(event.object)
                else:
                    self._bind(event.object)

    def _see(self, tasks: asyncio.TaskGroup, pod: Object, *, deleted: bool) -> None:
        meta = pod["metadata"]
        uid, now = meta["uid"], self._store.get(POD, meta["namespace"], meta["name"])
        # the event may be older than the pod's end: a runner made for it then would never be asked to end
        deleted = deleted or now is None or now["metadata"]["uid"] != uid
        if uid not in self._runners and not deleted:
            runner = self._runners[uid] = Runner(self._store, pod, self._node, self._volumes, self._boots)
            tasks.create_task(runner.run()).add_done_callback(lambda _: self._runners.pop(uid, None))
            self._bound(pod)
        if uid in self._runners and (deleted or "deletionTimestamp" in meta):
            self._runners[uid].ask_to_end(meta.get("deletionGracePeriodSeconds"))

    def _bound(self, pod: Object) -> None:
        """The pod is on this node; there is no other one to choose."""
        meta = pod["metadata"]
        found = self._store.get(POD, meta["namespace"], meta["name"])
        if found is not None and "nodeName" not in found["spec"]:
            self._store.update({**found, "spec": {**found["spec"], "nodeName": NODE_NAME}})
            told = f"Successfully assigned {meta['namespace']}/{meta['name']} to {NODE_NAME}"
            self._scheduler.normal(found, "Scheduled", told)

    def processes(self) -> dict[str, int]:
        """The pids of the containers that run, by their pods' uids."""
        return {uid: runner.pid for uid, runner in self._runners.items() if runner.pid is not None}

    def _bind(self, claim: Object) -> None:
        meta = claim["metadata"]
        if not volumes.awaits_data(claim):
            self._store.update_status(PVC, meta["namespace"], meta["name"], volumes.bound(claim))
