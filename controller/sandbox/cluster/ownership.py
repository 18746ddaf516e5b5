"""Who set which field: server-side apply, and the managedFields that record it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from controller.core import clock
from controller.core.errors import Conflict
from controller.sandbox.cluster import patches, resources
from controller.sandbox.cluster.resources import Object

Path = tuple[str, ...]
_SYSTEM = frozenset(
    ("f:metadata", f"f:{name}")
    for name in ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
                 "deletionTimestamp", "deletionGracePeriodSeconds", "generateName", "selfLink")
)  # fmt: skip


class OwnedByOthers(Conflict):
    """Raised when an apply would change fields that other managers set; forced, it takes them over."""


def applied(live: Object, wanted: Object, manager: str, *, force: bool = False, sub: str | None = None) -> Object:
    """``live`` after a server-side apply of ``wanted`` by ``manager``.

    Fields that its last apply set and this one lacks go, unless another manager has them too; equal values are shared.
    Lists of items with a key are merged by it; others are replaced, unless each item already has all that is wanted.
    Raises OwnedByOthers.
    """
    custom, entries = resources.of(live).custom, _entries(live)
    mine = (manager, "Apply", sub or "")
    before, after = entries.get(mine, set()), _fields(wanted, custom, sub)
    others = {key: fields for key, fields in entries.items() if key != mine}
    disputed = {path for path in after if _differs(live, wanted, path)}
    conflicts = {key: fields & disputed for key, fields in others.items() if fields & disputed}
    if conflicts and not force:
        raise _conflict(conflicts, live["apiVersion"])
    made = _merged(live, {name: value for name, value in wanted.items() if _applies(name, sub)}, custom)
    left = {key: fields - disputed for key, fields in others.items()}
    gone = before - after - set[Path]().union(*left.values())
    for path in sorted(gone, key=len):
        # what was one field once, by an older record, and is many now has not gone
        if not any(other[: len(path)] == path for other in after):
            _remove(made, path)
    return _recorded(live, made, {**left, mine: after})


def updated(old: Object | None, new: Object, manager: str, sub: str | None = None) -> Object:
    """``new`` with the record of who set what, after ``manager`` made or changed it in any other way than by apply."""
    custom = resources.of(new).custom
    if new["metadata"].get("managedFields") == []:  # the documented way to begin a record anew
        return {**new, "metadata": {k: v for k, v in new["metadata"].items() if k != "managedFields"}}
    had = _fields(old, custom, sub) if old is not None else set()
    has = _fields(new, custom, sub)
    changed = {path for path in has if old is None or path not in had or _at(old, path) != _at(new, path)}
    removed = had - has
    mine = (manager, "Update", sub or "")
    entries = _entries(old) if old is not None else {}
    left = {key: fields - removed - (changed if key != mine else set()) for key, fields in entries.items()}
    left[mine] = left.get(mine, set()) | changed
    return _recorded(old or {"metadata": {}}, new, left)


def _fields(obj: Object, custom: bool, sub: str | None) -> set[Path]:
    top = {name: value for name, value in obj.items() if _applies(name, sub)}
    return {path for path in _leaves(top, custom) if path and path[:2] not in _SYSTEM and path != ("f:metadata",)}


def _applies(name: str, sub: str | None) -> bool:
    return name == sub if sub else name not in {"apiVersion", "kind", "status"}


def _leaves(value: Any, custom: bool, field: str = "") -> set[Path]:
    if isinstance(value, dict) and value:
        return {(f"f:{k}", *rest) for k, inner in value.items() for rest in _leaves(inner, custom, k)}
    key = None if custom or not isinstance(value, list) else patches.key_of(field, value)
    if key is None:
        return {()}
    found: set[Path] = set()
    for item in value:
        name = "k:" + json.dumps({key: item[key]}, separators=(",", ":"))
        found |= {(name,)} | {(name, *rest) for rest in _leaves(item, custom)}
    return found


def _merged(live: Any, wanted: Any, custom: bool, field: str = "") -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        made = dict(live)
        for name, value in wanted.items():
            made[name] = _merged(live.get(name), value, custom, name)
        return made
    if isinstance(wanted, list) and isinstance(live, list):
        key = None if custom else patches.key_of(field, wanted)
        if key is None:
            return live if _covers(live, wanted) else copy.deepcopy(wanted)
        items = {item.get(key): item for item in live if isinstance(item, dict)}
        for item in wanted:
            items[item[key]] = _merged(items.get(item[key]), item, custom)
        return list(items.values())
    return copy.deepcopy(wanted)


def _covers(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(wanted) == len(live) and all(map(_covers, live, wanted))
    return bool(wanted == live)


def _differs(live: Object, wanted: Object, path: Path) -> bool:
    """Whether an apply gives a field that is there another value."""
    if path[-1].startswith("k:"):
        return False
    there, asked = _at(live, path), _at(wanted, path)
    return there is not None and not _covers(there, asked)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = _into(value, part)
    return value


def _into(value: Any, part: str) -> Any:
    if part.startswith("f:"):
        return value.get(part[2:]) if isinstance(value, dict) else None
    [(key, name)] = json.loads(part[2:]).items()
    items = value if isinstance(value, list) else []
    return next((item for item in items if isinstance(item, dict) and item.get(key) == name), None)


def _remove(obj: Object, path: Path) -> None:
    """Take a field away, and what it leaves empty."""
    holders: list[Any] = [obj]
    for part in path[:-1]:
        holders.append(_into(holders[-1], part))
    for holder, part in zip(reversed(holders), reversed(path), strict=True):
        inner = _into(holder, part)
        if inner is None or (inner and part != path[-1]):
            return
        if isinstance(holder, dict):
            del holder[part[2:]]
        else:
            holder.remove(inner)


def _entries(obj: Object) -> dict[tuple[str, str, str], set[Path]]:
    return {
        (one.get("manager", ""), one.get("operation", ""), one.get("subresource", "")): set(_decoded(one["fieldsV1"]))
        for one in obj["metadata"].get("managedFields") or []
        if isinstance(one, dict) and isinstance(one.get("fieldsV1"), dict)
    }


def _recorded(old: Object, made: Object, entries: dict[tuple[str, str, str], set[Path]]) -> Object:
    """``made`` with these entries; one that has not changed keeps its time, so that nothing new changes nothing."""
    known = {
        (one.get("manager", ""), one.get("operation", ""), one.get("subresource", "")): one
        for one in old["metadata"].get("managedFields") or []
    }
    written = []
    for (manager, operation, sub), fields in entries.items():
        before, encoded = known.get((manager, operation, sub)), _encoded(fields)
        if before is not None and before.get("fieldsV1") == encoded:
            written.append(before)
        elif fields:
            one = {
                "manager": manager, "operation": operation, "apiVersion": made["apiVersion"],
                "time": clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"), "fieldsType": "FieldsV1", "fieldsV1": encoded,
            }  # fmt: skip
            written.append({**one, "subresource": sub} if sub else one)
    return {**made, "metadata": {**made["metadata"], "managedFields": written}}


def _encoded(paths: Iterable[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree


def _decoded(tree: Object) -> Iterable[Path]:
    for part, inner in tree.items():
        if part == ".":
            yield ()
        elif not inner:
            yield (part,)
        else:
            yield from ((part, *rest) for rest in _decoded(inner))


def _conflict(conflicts: dict[tuple[str, str, str], set[Path]], api_version: str) -> OwnedByOthers:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using {api_version}',
            "field": spelled(path),
        }
        for (manager, _, _), paths in conflicts.items()
        for path in sorted(paths)
    ]
    told = ", ".join(f"{one['message']}: {one['field']}" for one in causes)
    plural = "conflict" if len(causes) == 1 else "conflicts"
    return OwnedByOthers("owned_by_others", sentence=f"Apply failed with {len(causes)} {plural}: {told}", causes=causes)


def spelled(path: Path) -> str:
    """A path as Kubernetes spells it: ``.spec.containers[name="agent"].image``."""
    parts = []
    for part in path:
        if part.startswith("f:"):
            parts.append(f".{part[2:]}")
        else:
            [(key, name)] = json.loads(part[2:]).items()
            parts.append(f"[{key}={json.dumps(name)}]")
    return "".join(parts)
