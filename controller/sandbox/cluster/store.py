"""The cluster's objects: versions, generations, watches and deletion rules; written through to SQLite."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.core import clock, ids
from controller.core import log as logs
from controller.core.errors import Conflict, Invalid, NotFound, Refused
from controller.sandbox.cluster import admission, resources
from controller.sandbox.cluster.resources import NAMESPACE, POD, PVC, Kind, Object

HISTORY = 2000
GRACE_SECONDS = 30
# What only the server sets; a client that leaves it out or changes it changes nothing.
_SERVER_SET = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deleted (only INTEGER PRIMARY KEY CHECK (only = 0), version INTEGER NOT NULL);
"""
_Key = tuple[Kind, str, str]

log = logs.get(__name__)


class Gone(Refused):
    """Raised when a watch asks for events that are no longer kept."""

    status = 410


@dataclass(frozen=True)
class Event:
    """One change: ``ADDED``, ``MODIFIED`` or ``DELETED``, with the object after it and, unless new, ``before`` it."""

    type: str
    kind: Kind
    object: Object
    version: int
    before: Object | None = None


class Watcher:
    """The changes of some kinds from its making on. Leaves the store when nobody holds it any more."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = frozenset(kinds)
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        """Queue the event if it is of a kind that is watched."""
        if event.kind in self._kinds:
            self._events.put_nowait(event)

    def idle(self) -> bool:
        """Whether everything told so far was taken."""
        return self._events.empty()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._events.get()


class Store:
    """All objects of one cluster. Synchronous: one event loop uses it. What it returns are copies."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._objects: dict[_Key, Object] = {}
        self._events: deque[Event] = deque(maxlen=HISTORY)
        self._watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self.version = 1
        self._load()

    def close(self) -> None:
        """Let go of the file; nothing may be called afterwards."""
        self._db.close()

    def create(self, obj: Object) -> Object:
        """The new object with uid, versions and time; without a name it gets ``generateName`` and a random end.

        Raises Conflict if its name is taken, NotFound if its namespace is not there or going.
        """
        obj = copy.deepcopy(obj)
        kind, meta = resources.of(obj), obj.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = _generated(meta)
        if not kind.namespaced:
            meta.pop("namespace", None)
        elif self._unusable(meta.get("namespace")):
            raise NotFound("namespace_unknown", namespace=meta.get("namespace"))
        if _key(obj) in self._objects:
            raise Conflict("exists", kind=kind.kind, name=meta["name"])
        for name in _SERVER_SET:
            meta.pop(name, None)
        meta |= {"uid": ids.new(), "creationTimestamp": _now(), "generation": 1}
        return self._put("ADDED", admission.defaulted(kind, obj))

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """The object, if it exists."""
        return copy.deepcopy(self._objects.get((kind, namespace or "", name)))

    def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """The kind's objects, of one namespace and with these labels if asked, by name."""
        found = [
            copy.deepcopy(obj)
            for (k, space, _), obj in self._objects.items()
            if k == kind and namespace in (None, "", space) and _labelled(obj, labels or {})
        ]
        return sorted(found, key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))

    def update(self, obj: Object) -> Object:
        """The object as given, its status as it was; the generation counts changes outside metadata and status.

        Raises NotFound, or Conflict if the given resourceVersion is not the newest.
        """
        old = self._known(obj)
        new = copy.deepcopy(obj)
        meta = new["metadata"]
        if meta.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise Conflict("stale", name=meta["name"])
        _keep(_SERVER_SET, old["metadata"], meta)
        _keep(("status",), old, new)
        new = admission.defaulted(resources.of(new), new)
        if new == old:
            return new
        if _substance(new) != _substance(old):
            new["metadata"]["generation"] += 1
        return self._put("MODIFIED", new)

    def update_status(self, kind: Kind, namespace: str | None, name: str, status: Object) -> Object | None:
        """The object with another status; None if it is gone."""
        old = self._objects.get((kind, namespace or "", name))
        if old is None or old.get("status") == status:
            return copy.deepcopy(old)
        return self._put("MODIFIED", {**old, "metadata": {**old["metadata"]}, "status": copy.deepcopy(status)})

    def delete(
        self, kind: Kind, namespace: str | None, name: str, *, now: bool = False, grace_seconds: int | None = None
    ) -> bool:
        """Delete the object; whether there was one.

        A pod that may have a process is only marked, with ``grace_seconds`` (its own if None), until the kubelet
        deletes it ``now``; so a namespace stays Terminating, its volumes kept, while such pods are in it.
        Raises Interlocked for a box's namespace or volume without an approval.
        """
        obj = self._objects.get((kind, namespace or "", name))
        if obj is None:
            return False
        if not now:
            admission.check_deletion(kind, obj, self._objects.get((NAMESPACE, "", namespace or name)))
        if kind == NAMESPACE:
            self._end_namespace(obj)
        elif kind == POD and not now and obj.get("status", {}).get("phase") in {"Pending", "Running"}:
            self._mark_ending(obj, grace_seconds)
        else:
            self._drop(obj)
            self._finish_namespace(namespace or "")
        return True

    def since(self, version: int) -> Sequence[Event]:
        """The events after ``version``.

        Raises Gone if some of them are no longer kept, or if this cluster was never there.
        """
        # every change takes one version and leaves one event
        if not self.version - len(self._events) <= version <= self.version:
            raise Gone("expired", version=version, newest=self.version)
        return [event for event in self._events if event.version > version]

    def watch(self, *kinds: Kind) -> Watcher:
        """Changes of these kinds from this call on, without end; nothing is lost between it and the first wait."""
        watcher = Watcher(kinds)
        self._watchers.add(watcher)
        return watcher

    def _load(self) -> None:
        """Read the file, and finish what a crash left half deleted."""
        for (version,) in self._db.execute("SELECT version FROM deleted"):
            self.version = version
        for (body,) in self._db.execute("SELECT body FROM objects"):
            obj = json.loads(body)
            self._objects[_key(obj)] = obj
            self.version = max(self.version, int(obj["metadata"]["resourceVersion"]))
        for space in self.list(NAMESPACE):
            self._finish_namespace(space["metadata"]["name"])

    def _put(self, change: str, obj: Object) -> Object:
        obj["metadata"]["resourceVersion"] = str(self.version + 1)
        before = self._objects.get(_key(obj))
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (_text(obj), json.dumps(obj)))
        self.version += 1
        self._objects[_key(obj)] = obj
        self._tell(change, obj, before)
        return copy.deepcopy(obj)

    def _drop(self, obj: Object) -> None:
        before = self._objects.get(_key(obj))
        if before is None:
            return
        # first the version: one too high harms nobody, one used twice would hide a change from a watcher
        self._db.execute("INSERT OR REPLACE INTO deleted VALUES (0, ?)", (self.version + 1,))
        self._db.execute("DELETE FROM objects WHERE key = ?", (_text(obj),))
        self.version += 1
        del self._objects[_key(obj)]
        meta = {**before["metadata"], "resourceVersion": str(self.version)}
        self._tell("DELETED", {**before, "metadata": meta}, before)
        self._collect(meta["uid"])

    def _collect(self, uid: str) -> None:
        for owned in [obj for obj in self._objects.values() if _owned_by(obj, uid)]:
            meta = owned["metadata"]
            try:
                self.delete(resources.of(owned), meta.get("namespace"), meta["name"])
            except admission.Interlocked as error:
                log.warning("store.collection_refused", name=meta["name"], reason=str(error))

    def _tell(self, change: str, obj: Object, before: Object | None) -> None:
        # stored objects are replaced, never changed, so ``before`` needs no copy
        event = Event(change, resources.of(obj), copy.deepcopy(obj), self.version, before)
        self._events.append(event)
        for watcher in tuple(self._watchers):
            watcher.tell(event)

    def _mark_ending(self, obj: Object, grace_seconds: int | None) -> None:
        if "deletionTimestamp" not in obj["metadata"]:
            own = obj.get("spec", {}).get("terminationGracePeriodSeconds", GRACE_SECONDS)
            grace = own if grace_seconds is None else grace_seconds
            meta = {**obj["metadata"], "deletionTimestamp": _now(), "deletionGracePeriodSeconds": grace}
            self._put("MODIFIED", {**obj, "metadata": meta})

    def _end_namespace(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if "deletionTimestamp" not in obj["metadata"]:
            meta = {**obj["metadata"], "deletionTimestamp": _now()}
            self._put("MODIFIED", {**obj, "metadata": meta, "status": {"phase": "Terminating"}})
        for inner in self._inside(name):
            kind = resources.of(inner)
            if kind == POD:
                self.delete(kind, name, inner["metadata"]["name"])
            elif kind != PVC:
                self._drop(inner)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        space = self._objects.get((NAMESPACE, "", name))
        if space is None or "deletionTimestamp" not in space["metadata"]:
            return
        left = self._inside(name)
        if any(resources.of(obj) == POD for obj in left):
            return
        for obj in left:
            self._drop(obj)
        self._drop(space)

    def _inside(self, namespace: str) -> Sequence[Object]:
        return [obj for (kind, space, _), obj in self._objects.items() if kind.namespaced and space == namespace]

    def _unusable(self, namespace: str | None) -> bool:
        space = self._objects.get((NAMESPACE, "", namespace or ""))
        return space is None or "deletionTimestamp" in space["metadata"]

    def _known(self, obj: Object) -> Object:
        found = self._objects.get(_key(obj))
        if found is None:
            raise NotFound("not_found", kind=obj["kind"], name=obj["metadata"]["name"])
        return found


def _generated(meta: Object) -> str:
    if not meta.get("generateName"):
        raise Invalid("name_missing")
    return str(meta["generateName"]) + ids.new()[-6:]


def _keep(names: Sequence[str], old: Object, new: Object) -> None:
    for name in names:
        new.pop(name, None)
        if name in old:
            new[name] = copy.deepcopy(old[name])


def _key(obj: Object) -> _Key:
    return resources.of(obj), obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _text(obj: Object) -> str:
    kind, namespace, name = _key(obj)
    return f"{kind.group}/{kind.plural}/{namespace}/{name}"


def _substance(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _labelled(obj: Object, labels: Mapping[str, str]) -> bool:
    mine = obj["metadata"].get("labels") or {}
    return all(mine.get(name) == value for name, value in labels.items())


def _owned_by(obj: Object, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or [])


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
