"""Events as Kubernetes keeps them: about one object, counted when they repeat, bounded, and gone after an hour."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from controller.core import clock
from controller.core.errors import CloudError
from controller.sandbox.cluster.resources import EVENT, Object
from controller.sandbox.cluster.store import Store, now

KEPT = timedelta(hours=1)
MOST_IN_NAMESPACE = 100
LOOK_SECONDS = 60.0


class Recorder:
    """Tells events in the name of one component."""

    def __init__(self, store: Store, component: str) -> None:
        self._store = store
        self._component = component

    def normal(self, obj: Object, reason: str, message: str) -> None:
        """Something went as it should."""
        self._tell("Normal", obj, reason, message)

    def warn(self, obj: Object, reason: str, message: str) -> None:
        """Something did not."""
        self._tell("Warning", obj, reason, message)

    def _tell(self, type_: str, obj: Object, reason: str, message: str) -> None:
        meta = obj["metadata"]
        space = meta.get("namespace") or "default"
        there = self._store.list(EVENT, space)
        said = {"type": type_, "reason": reason, "message": message[:1024], "source": {"component": self._component}}
        for event in there:
            same = all(event.get(name) == value for name, value in said.items())
            if same and event["involvedObject"].get("uid") == meta.get("uid"):
                self._store.update({**event, "count": event.get("count", 1) + 1, "lastTimestamp": now()})
                return
        involved = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "namespace": space}
        involved |= {name: meta[name] for name in ("uid", "resourceVersion") if name in meta}
        made = {
            "apiVersion": EVENT.api_version, "kind": EVENT.kind, "involvedObject": involved, **said, "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(), "reportingComponent": self._component,
            "metadata": {"generateName": f"{meta['name']}.", "namespace": space},
        }  # fmt: skip
        try:
            self._store.create(made)
        except CloudError:
            return  # its namespace is going
        for event in sorted(there, key=_last)[: max(0, len(there) + 1 - MOST_IN_NAMESPACE)]:
            _drop(self._store, event)


async def age(store: Store) -> None:
    """Remove events that were last seen an hour ago, for as long as this runs."""
    while True:
        for event in store.list(EVENT):
            if _last(event) < clock.now() - KEPT:
                _drop(store, event)
        await asyncio.sleep(LOOK_SECONDS)


def _last(event: Object) -> datetime:
    return datetime.fromisoformat(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def _drop(store: Store, event: Object) -> None:
    store.delete(EVENT, event["metadata"]["namespace"], event["metadata"]["name"], now=True)
