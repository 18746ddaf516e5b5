"""What separates the rendered objects from the live ones, and server-side apply with Argo CD as the field manager."""

from __future__ import annotations

from dataclasses import dataclass

from controller.sandbox.cluster import ownership, resources
from controller.sandbox.cluster.resources import KINDS, NAMESPACE, Kind, Object
from controller.sandbox.cluster.store import Store

TRACKING = "argocd.argoproj.io/tracking-id"
WAVE = "argocd.argoproj.io/sync-wave"
OPTIONS = "argocd.argoproj.io/sync-options"
MANAGER = "argocd-controller"
_CLUSTERS_OWN = {"Pod", "ReplicaSet", "Event", "Node", "CustomResourceDefinition"}
SYNCED = tuple(kind for kind in KINDS if kind.kind not in _CLUSTERS_OWN and kind.group != "argoproj.io")
_FIRST = ("Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount")


@dataclass(frozen=True)
class Differences:
    """``changes`` are rendered objects that are not live as rendered, ``extra`` live ones no longer rendered."""

    changes: list[Object]
    extra: list[Object]

    @property
    def prunes(self) -> list[Object]:
        """What a sync deletes: not what is going already, nor what says ``Prune=false``."""
        return [obj for obj in self.extra if "deletionTimestamp" not in obj["metadata"] and _prunable(obj)]

    def __bool__(self) -> bool:
        return bool(self.changes or self.extra)


def compare(store: Store, name: str, wanted: list[Object]) -> Differences:
    """The differences of the Application ``name``."""
    changes = [obj for obj in wanted if (live := find(store, obj)) is None or applied(live, obj) != live]
    keys = {_identity(obj) for obj in wanted}
    return Differences(changes, [obj for obj in _tracked(store, name) if _identity(obj) not in keys])


def find(store: Store, obj: Object) -> Object | None:
    """The live object of the same kind and name."""
    return store.get(resources.of(obj), obj["metadata"].get("namespace"), obj["metadata"]["name"])


def applied(live: Object, wanted: Object) -> Object:
    """``live`` after Argo CD's server-side apply of ``wanted``, forced: see ``ownership.applied``."""
    return ownership.applied(live, wanted, MANAGER, force=True)


def fresh(wanted: Object) -> Object:
    """``wanted`` as its first apply creates it."""
    empty = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {}}
    return applied(empty, wanted)


def waves(objects: list[Object]) -> list[list[Object]]:
    """The objects by sync wave, lowest first; within one, what others need comes first."""
    by_wave: dict[int, list[Object]] = {}
    for obj in sorted(objects, key=_order):
        by_wave.setdefault(wave(obj), []).append(obj)
    return [by_wave[number] for number in sorted(by_wave)]


def wave(obj: Object) -> int:
    """The object's sync wave, 0 unless it says otherwise."""
    return int(obj["metadata"].get("annotations", {}).get(WAVE, "0"))


def _tracked(store: Store, name: str) -> list[Object]:
    return [
        obj
        for kind in SYNCED
        for obj in store.list(kind, f"box-{name}" if kind.namespaced else None)
        if obj["metadata"].get("annotations", {}).get(TRACKING, "").startswith(f"{name}:")
    ]


def _identity(obj: Object) -> tuple[Kind, str, str]:
    kind, meta = resources.of(obj), obj["metadata"]
    return kind, "" if kind == NAMESPACE else meta.get("namespace", ""), meta["name"]


def _prunable(obj: Object) -> bool:
    return "Prune=false" not in obj["metadata"].get("annotations", {}).get(OPTIONS, "")


def _order(obj: Object) -> tuple[int, int, str]:
    first = _FIRST.index(obj["kind"]) if obj["kind"] in _FIRST else len(_FIRST)
    return wave(obj), first, obj["metadata"]["name"]
