"""The cluster's objects: versions, generations and watches; written through to SQLite. What goes: ``deletion``."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.core import clock, ids
from controller.core import log as logs
from controller.core.errors import Conflict, Invalid, NotFound, Refused
from controller.sandbox.cluster import admission, definitions, deletion, quotas, resources
from controller.sandbox.cluster.deletion import BACKGROUND
from controller.sandbox.cluster.resources import CRD, NAMESPACE, Kind, Object

HISTORY = 5000
# What only the server sets; a client that leaves it out or changes it changes nothing.
_SERVER_SET = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deleted (only INTEGER PRIMARY KEY CHECK (only = 0), version INTEGER NOT NULL);
"""
Key = tuple[Kind, str, str]

log = logs.get(__name__)


class Gone(Refused):
    """Raised when a version is asked for whose events are no longer kept."""

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
        self._objects: dict[Key, Object] = {}
        self._events: deque[Event] = deque(maxlen=HISTORY)
        self._watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self._rehearsing = False
        self.version = 1
        self._load()

    def close(self) -> None:
        """Let go of the file; nothing may be called afterwards."""
        self._db.close()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Inside the block everything happens as ever; after it nothing has, and nobody was told."""
        objects, events, version = dict(self._objects), self._events, self.version
        self._rehearsing, self._events = True, deque(maxlen=HISTORY)
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")
            self._objects, self._events, self.version, self._rehearsing = objects, events, version, False

    def create(self, obj: Object) -> Object:
        """The new object with uid, versions and time; without a name it gets ``generateName`` and a random end.

        Raises Conflict if its name is taken, NotFound if its namespace is not there or going, QuotaExceeded if the
        namespace's quotas or limits have no room for it.
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
        meta |= {"uid": ids.new(), "creationTimestamp": now(), "generation": 1}
        made = quotas.admitted(kind, admission.defaulted(kind, obj), self.inside(meta.get("namespace", "")))
        return self._put("ADDED", made)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """The object, if it exists."""
        return copy.deepcopy(self._objects.get((kind, namespace or "", name)))

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        at: int | None = None,
    ) -> list[Object]:
        """The kind's objects by namespace and name: of one namespace, with these labels, as of a version, if asked.

        Raises Gone if the version is too old to be told, or not there yet.
        """
        found = [
            copy.deepcopy(obj)
            for (k, space, _), obj in self._as_of(at).items()
            if k == kind and namespace in (None, "", space) and _labelled(obj, labels or {})
        ]
        return sorted(found, key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))

    def update(self, obj: Object) -> Object:
        """The object as given, its status as it was; the generation counts changes outside metadata and status.

        One that is being deleted goes with its last finalizer. Raises NotFound, Conflict if the given resourceVersion
        is not the newest, QuotaExceeded if it grew past its namespace's quotas.
        """
        old = self._known(obj)
        new = copy.deepcopy(obj)
        meta, kind = new["metadata"], resources.of(new)
        if meta.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise Conflict("stale", name=meta["name"])
        _keep(_SERVER_SET, old["metadata"], meta)
        if kind.has_status:
            _keep(("status",), old, new)
        new = admission.defaulted(kind, new)
        if new == old:
            return new
        if _substance(new) != _substance(old):
            new["metadata"]["generation"] += 1
            new = quotas.admitted(kind, new, self.inside(meta.get("namespace", "")), old)
        made = self._put("MODIFIED", new)
        deletion.finish(self, made)
        return made

    def update_status(self, kind: Kind, namespace: str | None, name: str, status: Object) -> Object | None:
        """The object with another status; None if it is gone."""
        old = self._objects.get((kind, namespace or "", name))
        if old is None or old.get("status") == status:
            return copy.deepcopy(old)
        return self._put("MODIFIED", {**old, "metadata": {**old["metadata"]}, "status": copy.deepcopy(status)})

    def delete(
        self, kind: Kind, namespace: str | None, name: str, *,
        now: bool = False, grace_seconds: int | None = None, propagation: str = BACKGROUND,
    ) -> bool:  # fmt: skip
        """Delete the object as ``deletion.begin`` says; whether there was one."""
        obj = self._objects.get((kind, namespace or "", name))
        if obj is None:
            return False
        deletion.begin(self, kind, obj, now=now, grace_seconds=grace_seconds, propagation=propagation)
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

    def inside(self, namespace: str) -> Sequence[Object]:
        """The objects in a namespace themselves: not to be changed."""
        return [obj for (kind, space, _), obj in self._objects.items() if kind.namespaced and space == namespace]

    def everything(self) -> Sequence[Object]:
        """All objects themselves: not to be changed."""
        return list(self._objects.values())

    def mark(self, obj: Object, **meta: object) -> Object:
        """The object with other metadata, as only the server may set it; None takes a field away."""
        made = {name: value for name, value in {**obj["metadata"], **meta}.items() if value is not None}
        return self._put("MODIFIED", {**obj, "metadata": made})

    def drop(self, obj: Object) -> None:
        """Remove the object itself, whatever depends on it."""
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

    def _load(self) -> None:
        """Read the file, and finish what a crash left half deleted."""
        for (version,) in self._db.execute("SELECT version FROM deleted"):
            self.version = version
        bodies = [json.loads(body) for (body,) in self._db.execute("SELECT body FROM objects")]
        for obj in bodies:  # before what they define
            if obj["kind"] == CRD.kind:
                resources.define(obj["metadata"]["name"], definitions.kind(obj))
        for obj in bodies:
            self._objects[_key(obj)] = obj
            self.version = max(self.version, int(obj["metadata"]["resourceVersion"]))
        for space in self.list(NAMESPACE):
            deletion.finish(self, space)

    def _put(self, change: str, obj: Object) -> Object:
        obj["metadata"]["resourceVersion"] = str(self.version + 1)
        before = self._objects.get(_key(obj))
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (_text(obj), json.dumps(obj)))
        self.version += 1
        self._objects[_key(obj)] = obj
        self._tell(change, obj, before)
        return copy.deepcopy(obj)

    def _tell(self, change: str, obj: Object, before: Object | None) -> None:
        # stored objects are replaced, never changed, so ``before`` needs no copy
        event = Event(change, resources.of(obj), copy.deepcopy(obj), self.version, before)
        if self._rehearsing:
            return
        self._events.append(event)
        if event.kind == CRD and change == "DELETED":
            resources.withdraw(obj["metadata"]["name"])
        elif event.kind == CRD:
            resources.define(obj["metadata"]["name"], definitions.kind(obj))
        for watcher in tuple(self._watchers):
            watcher.tell(event)

    def _as_of(self, version: int | None) -> Mapping[Key, Object]:
        if version is None or version == self.version:
            return self._objects
        objects = dict(self._objects)
        for event in reversed(self.since(version)):
            objects.pop(_key(event.object), None)
            if event.before is not None:
                objects[_key(event.object)] = event.before
        return objects

    def _unusable(self, namespace: str | None) -> bool:
        space = self._objects.get((NAMESPACE, "", namespace or ""))
        return space is None or "deletionTimestamp" in space["metadata"]

    def _known(self, obj: Object) -> Object:
        found = self._objects.get(_key(obj))
        if found is None:
            raise NotFound("not_found", kind=obj["kind"], name=obj["metadata"]["name"])
        return found


def now() -> str:
    """The time as objects have it."""
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _generated(meta: Object) -> str:
    if not meta.get("generateName"):
        raise Invalid("name_missing")
    return str(meta["generateName"]) + ids.new()[-6:]


def _keep(names: Sequence[str], old: Object, new: Object) -> None:
    for name in names:
        new.pop(name, None)
        if name in old:
            new[name] = copy.deepcopy(old[name])


def _key(obj: Object) -> Key:
    return resources.of(obj), obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _text(obj: Object) -> str:
    kind, namespace, name = _key(obj)
    return f"{kind.group}/{kind.plural}/{namespace}/{name}"


def _substance(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _labelled(obj: Object, labels: Mapping[str, str]) -> bool:
    mine = obj["metadata"].get("labels") or {}
    return all(mine.get(name) == value for name, value in labels.items())
