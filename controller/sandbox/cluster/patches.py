"""Kubernetes' patch kinds as functions from one object to another; no input is changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from controller.core.errors import Invalid, Refused

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
# these are no patches but whole intents: see ownership
APPLY = ("application/apply-patch+yaml", "application/apply-patch+json")

# The lists that Kubernetes merges item by item, and what tells their items apart; every other list is replaced.
_KEYS: dict[str, Sequence[str]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}


class UnknownPatch(Refused):
    """Raised for a media type that is no patch, or not one for this kind."""

    status = 415


def apply(kind: str, old: Any, patch: Any) -> Any:
    """``old`` after ``patch`` of the media type ``kind``.

    Raises UnknownPatch for another type, Invalid for an operation that does not fit.
    """
    if kind == JSON:
        return _operations(old, patch)
    if kind not in (MERGE, STRATEGIC):
        raise UnknownPatch("patch_type_unknown", type=kind[:80])
    if not isinstance(patch, dict):
        raise Invalid("patch_malformed")
    return _merged(old, patch, strategic=kind != MERGE)


def _merged(old: Any, patch: Any, *, strategic: bool, field: str = "") -> Any:
    if isinstance(patch, dict):
        replaces = strategic and patch.get("$patch") == "replace"
        made = dict(old) if isinstance(old, dict) and not replaces else {}
        for name, value in patch.items():
            if value is None:
                made.pop(name, None)
            elif not (strategic and name.startswith("$")):
                made[name] = _merged(made.get(name), value, strategic=strategic, field=name)
        return made
    if strategic and isinstance(patch, list) and (key := key_of(field, patch)):
        return _merged_items(old if isinstance(old, list) else [], patch, key)
    return copy.deepcopy(patch)


def key_of(field: str, patch: list[Any]) -> str | None:
    """What tells the items of this list apart; None if it is replaced as a whole."""
    for key in _KEYS.get(field, ()):
        if patch and all(isinstance(item, dict) and key in item for item in patch):
            return key
    return None


def _merged_items(old: list[Any], patch: list[Any], key: str) -> list[Any]:
    made = {item[key]: item for item in old if key in item}
    for item in patch:
        if item.get("$patch") == "delete":
            made.pop(item[key], None)
        else:
            made[item[key]] = _merged(made.get(item[key]), item, strategic=True)
    return list(made.values())


def _operations(old: Any, patch: Any) -> Any:
    made = copy.deepcopy(old)
    if not isinstance(patch, list):
        raise Invalid("patch_malformed")
    for step in patch:
        try:
            _operate(made, step)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as exc:
            raise Invalid("patch_does_not_fit", step=str(step)[:120]) from exc
    return made


def _operate(document: Any, step: Any) -> None:
    verb = step["op"]
    target, leaf = _reach(document, step["path"])
    if verb == "add":
        _add(target, leaf, copy.deepcopy(step["value"]))
    elif verb == "replace":
        target[_existing(target, leaf)] = copy.deepcopy(step["value"])
    elif verb == "remove":
        del target[_existing(target, leaf)]
    elif verb == "test":
        if target[_existing(target, leaf)] != step["value"]:
            raise ValueError(step["path"])
    elif verb in {"move", "copy"}:
        source, name = _reach(document, step["from"])
        value = copy.deepcopy(source[_existing(source, name)])
        if verb == "move":
            del source[_existing(source, name)]
        _add(*_reach(document, step["path"]), value)
    else:
        raise ValueError(verb)


def _reach(document: Any, path: str) -> tuple[Any, str]:
    """What holds the place that ``path`` (RFC 6901) names, and its name there."""
    first, *parts = path.split("/")
    if first or not parts:
        raise ValueError(path)
    *parents, leaf = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    target = document
    for part in parents:
        target = target[_existing(target, part)]
    return target, leaf


def _existing(target: Any, leaf: str) -> Any:
    """The key or index of something that is there."""
    if isinstance(target, list):
        return _index(leaf, len(target) - 1)
    if leaf not in target:
        raise KeyError(leaf)
    return leaf


def _add(target: Any, leaf: str, value: Any) -> None:
    if isinstance(target, list):
        target.insert(len(target) if leaf == "-" else _index(leaf, len(target)), value)
    else:
        target[leaf] = value


def _index(leaf: str, last: int) -> int:
    if not leaf.isdecimal() or int(leaf) > last:
        raise IndexError(leaf)
    return int(leaf)
