"""What separates the rendered objects from the live ones, and server-side apply with Argo CD as the field manager."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from controller.sandbox.cluster import resources
from controller.sandbox.cluster.resources import KINDS, NAMESPACE, Kind, Object
from controller.sandbox.cluster.store import Store

TRACKING = "argocd.argoproj.io/tracking-id"
WAVE = "argocd.argoproj.io/sync-wave"
OPTIONS = "argocd.argoproj.io/sync-options"
MANAGER = "argocd-controller"
SYNCED = tuple(kind for kind in KINDS if kind.kind not in {"Application", "ApplicationSet", "Pod", "Event"})
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
    """``live`` after a server-side apply of ``wanted``: fields that the last apply set and this one lacks go.

    Fields of others stay. Lists are replaced whole unless each item already has all that is wanted.
    """
    made, fields = copy.deepcopy(live), _fields(wanted)
    _drop(made, _owned(live), fields)
    _set(made, wanted)
    made["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]
    return made


def fresh(wanted: Object) -> Object:
    """``wanted`` as its first apply creates it."""
    return applied({"metadata": {}}, wanted)


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


def _owned(live: Object) -> Object:
    entries = live["metadata"].get("managedFields", [])
    return next((entry["fieldsV1"] for entry in entries if entry.get("manager") == MANAGER), {})


def _fields(value: Object) -> Object:
    return {f"f:{key}": _fields(inner) if isinstance(inner, dict) else {} for key, inner in value.items()}


def _drop(target: Any, before: Object, after: Object) -> None:
    for field, inner in before.items():
        name = field.removeprefix("f:")
        if not isinstance(target, dict) or name not in target:
            continue
        if inner:
            _drop(target[name], inner, after.get(field, {}))
        if field not in after and (not inner or not target[name]):
            del target[name]


def _set(target: Object, wanted: Object) -> None:
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _set(target[name], value)
        elif not _covers(target.get(name), value):
            target[name] = copy.deepcopy(value)


def _covers(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(wanted) == len(live) and all(map(_covers, live, wanted))
    return bool(wanted == live)


def _identity(obj: Object) -> tuple[Kind, str, str]:
    kind, meta = resources.of(obj), obj["metadata"]
    return kind, "" if kind == NAMESPACE else meta.get("namespace", ""), meta["name"]


def _prunable(obj: Object) -> bool:
    return "Prune=false" not in obj["metadata"].get("annotations", {}).get(OPTIONS, "")


def _order(obj: Object) -> tuple[int, int, str]:
    first = _FIRST.index(obj["kind"]) if obj["kind"] in _FIRST else len(_FIRST)
    return wave(obj), first, obj["metadata"]["name"]
