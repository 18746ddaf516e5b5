"""Rendered Kubernetes objects as plain maps, and what the rules of ``policy`` need to read them without stumbling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from controller.domain.states import State

Object = dict[str, Any]


@dataclass(frozen=True)
class Box:
    """Whose objects are judged: the box's id, its state, and where the platform runs in its cell."""

    id: str
    state: State
    platform_namespace: str

    @property
    def namespace(self) -> str:
        """The only namespace that the box has."""
        return f"box-{self.id}"


Rule = Callable[[list[Object], Box], Iterator[str]]
"""A rule yields one sentence for each way in which the objects break it."""


def title(obj: Object) -> str:
    """``Kind/name``, as sentences call an object."""
    return f"{obj.get('kind')}/{mapping(obj, 'metadata').get('name')}"


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """The objects of that kind."""
    return [obj for obj in objects if obj.get("kind") == kind]


def mapping(obj: Any, *keys: str) -> dict[str, Any]:
    """The map below ``keys``; empty where there is none, or where something else stands."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj if isinstance(obj, dict) else {}


def items(obj: Any, *keys: str) -> list[Any]:
    """The list below ``keys``; empty where there is none, or where something else stands."""
    *parents, last = keys
    found = mapping(obj, *parents).get(last)
    return found if isinstance(found, list) else []


def maps(obj: Any, *keys: str) -> list[dict[str, Any]]:
    """The maps in the list below ``keys``; Kubernetes' schema refuses whatever else may stand there."""
    return [entry for entry in items(obj, *keys) if isinstance(entry, dict)]


def pods(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod specification among the objects, with the title of the object that holds it."""
    for obj in objects:
        spec = mapping(obj, "spec") if obj.get("kind") == "Pod" else mapping(obj, "spec", "template", "spec")
        if spec:
            yield title(obj), spec


def containers(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each container of each pod, of whichever sort, with a title that names both."""
    for name, spec in pods(objects):
        for sort in ("initContainers", "containers", "ephemeralContainers"):
            for entry in maps(spec, sort):
                yield f"{name} container {entry.get('name')}", entry
