"""How objects go: graces, finalizers, owners and dependents, namespaces and definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.core import clock
from controller.core import log as logs
from controller.sandbox.cluster import admission, definitions, resources
from controller.sandbox.cluster.resources import CRD, NAMESPACE, POD, PVC, Kind, Object

if TYPE_CHECKING:
    from controller.sandbox.cluster.store import Store

BACKGROUND, FOREGROUND, ORPHAN = POLICIES = ("Background", "Foreground", "Orphan")
WAITS_FOR_DEPENDENTS = "foregroundDeletion"
GRACE_SECONDS = 30

log = logs.get(__name__)


def begin(store: Store, kind: Kind, obj: Object, *, now: bool, grace_seconds: int | None, propagation: str) -> None:
    """Delete ``obj``, as far as nothing holds it.

    A pod that may have a process is only marked, with ``grace_seconds`` (its own if None), until the kubelet deletes
    it ``now``; so a namespace stays Terminating, its volumes kept, while such pods are in it. What has finalizers is
    marked until they are taken away. Dependents go after their last owner, before it (Foreground), or stay (Orphan).
    Raises Interlocked for a box's namespace or volume without an approval.
    """
    meta = obj["metadata"]
    if not now:
        space = meta.get("namespace") or meta["name"]
        admission.check_deletion(kind, obj, store.get(NAMESPACE, None, space))
    if propagation == ORPHAN:
        _orphan(store, meta["uid"])
    held = list(meta.get("finalizers") or [])
    if propagation == FOREGROUND and WAITS_FOR_DEPENDENTS not in held and _dependents(store, meta["uid"]):
        held.append(WAITS_FOR_DEPENDENTS)
    lives = kind == POD and not now and obj.get("status", {}).get("phase") in {"Pending", "Running"}
    if lives or held or kind in (NAMESPACE, CRD):
        _mark(store, kind, obj, held, grace_seconds)
    if not lives:
        _proceed(store, kind, meta)


def finish(store: Store, obj: Object) -> None:
    """Go on with the deletion of ``obj`` if it was begun: a finalizer or something in it may have been the last."""
    if "deletionTimestamp" in obj["metadata"]:
        kind = resources.of(obj)
        if kind != POD or obj.get("status", {}).get("phase") not in {"Pending", "Running"}:
            _proceed(store, kind, obj["metadata"])


def _proceed(store: Store, kind: Kind, meta: Object) -> None:
    """Everything that can go now goes; the object itself if nothing holds it any more."""
    if kind == NAMESPACE and not _emptied(store, meta["name"]):
        return
    if kind == CRD:
        _end_instances(store, meta["name"])
    obj = store.get(kind, meta.get("namespace"), meta["name"])
    if obj is not None and WAITS_FOR_DEPENDENTS in (obj["metadata"].get("finalizers") or []):
        for one in _dependents(store, meta["uid"]):
            _delete(store, one, FOREGROUND)
        obj = _without_foreground(store, kind, meta)
    if obj is None or obj["metadata"].get("finalizers"):
        return
    store.drop(obj)
    _after(store, obj["metadata"])


def _after(store: Store, meta: Object) -> None:
    """What the end of an object sets free: its dependents, its owners that waited, its namespace."""
    for one in _dependents(store, meta["uid"]):
        _leave_or_follow(store, one, meta["uid"])
    owners = {owner.get("uid") for owner in meta.get("ownerReferences") or []}
    for owner in store.everything() if owners else ():
        if owner["metadata"]["uid"] in owners and "deletionTimestamp" in owner["metadata"]:
            finish(store, owner)
    space = store.get(NAMESPACE, None, meta.get("namespace") or "")
    if space is not None:
        finish(store, space)


def _leave_or_follow(store: Store, obj: Object, uid: str) -> None:
    """A dependent goes with its last owner; while it has another it only forgets this one."""
    owners = [owner for owner in obj["metadata"]["ownerReferences"] if owner.get("uid") != uid]
    known = {one["metadata"]["uid"] for one in store.everything()} if owners else set()
    if any(owner.get("uid") in known for owner in owners):
        store.mark(obj, ownerReferences=owners)
        return
    _delete(store, obj, BACKGROUND)


def _delete(store: Store, obj: Object, propagation: str) -> None:
    meta = obj["metadata"]
    if "deletionTimestamp" in meta:
        return
    try:
        store.delete(resources.of(obj), meta.get("namespace"), meta["name"], propagation=propagation)
    except admission.Interlocked as error:
        log.warning("store.collection_refused", name=meta["name"], reason=str(error))


def _without_foreground(store: Store, kind: Kind, meta: Object) -> Object | None:
    """The object without the finalizer, if nothing that blocks its end depends on it any more."""
    blocks = any(
        owner.get("blockOwnerDeletion") and owner.get("uid") == meta["uid"]
        for one in _dependents(store, meta["uid"])
        for owner in one["metadata"]["ownerReferences"]
    )
    obj = store.get(kind, meta.get("namespace"), meta["name"])
    if obj is None or blocks or WAITS_FOR_DEPENDENTS not in (obj["metadata"].get("finalizers") or []):
        return obj
    left = [name for name in obj["metadata"]["finalizers"] if name != WAITS_FOR_DEPENDENTS]
    return store.mark(obj, finalizers=left or None)


def _orphan(store: Store, uid: str) -> None:
    for one in _dependents(store, uid):
        left = [owner for owner in one["metadata"]["ownerReferences"] if owner.get("uid") != uid]
        store.mark(one, ownerReferences=left or None)


def _dependents(store: Store, uid: str) -> list[Object]:
    return [
        obj
        for obj in store.everything()
        if any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or [])
    ]


def _mark(store: Store, kind: Kind, obj: Object, held: list[str], grace_seconds: int | None) -> None:
    grace = None
    if kind == POD:
        own = obj.get("spec", {}).get("terminationGracePeriodSeconds", GRACE_SECONDS)
        grace = own if grace_seconds is None else grace_seconds
    meta = obj["metadata"]
    if "deletionTimestamp" in meta:
        shorter = grace is not None and grace < meta.get("deletionGracePeriodSeconds", grace)
        if shorter or held != (meta.get("finalizers") or []):
            store.mark(obj, finalizers=held or None, deletionGracePeriodSeconds=grace if shorter else
                       meta.get("deletionGracePeriodSeconds"))  # fmt: skip
        return
    if kind == NAMESPACE:
        obj = {**obj, "status": {"phase": "Terminating"}}
    when = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    store.mark(obj, deletionTimestamp=when, deletionGracePeriodSeconds=grace, finalizers=held or None)


def _emptied(store: Store, name: str) -> bool:
    """Whether nothing is left in a namespace that is going; claims stay until no pod uses them."""
    for inner in store.inside(name):
        if resources.of(inner) == POD:
            _delete(store, inner, BACKGROUND)
    pods = any(resources.of(inner) == POD for inner in store.inside(name))
    for inner in store.inside(name):
        kind, meta = resources.of(inner), inner["metadata"]
        if kind == POD or (kind == PVC and pods):
            continue
        if not meta.get("finalizers"):
            store.drop(inner)
        elif "deletionTimestamp" not in meta:
            _mark(store, kind, inner, list(meta["finalizers"]), None)
    return not store.inside(name)


def _end_instances(store: Store, name: str) -> None:
    obj = store.get(CRD, None, name)
    kind = definitions.kind(obj) if obj is not None else None
    for one in store.everything():
        if kind is not None and resources.of(one) == kind:
            store.drop(one)
