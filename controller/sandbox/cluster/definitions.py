"""Custom resource definitions: what they bring; Argo CD's, External Secrets' and snapshots' are there at the start."""

from __future__ import annotations

import re
from typing import Any

from controller.core.errors import Invalid
from controller.sandbox.cluster.resources import (
    APP_PROJECT,
    APPLICATION,
    APPLICATION_SET,
    CRD,
    EXTERNAL_SECRET,
    SECRET_STORE,
    VOLUME_SNAPSHOT,
    Kind,
    Object,
)  # fmt: skip

_STEP = re.compile(
    r"\.(?P<key>[A-Za-z0-9_-]+)|\[(?P<at>\d+)\]"
    r"|\[\?\(@\.(?P<where>\w+)\s*==\s*[\"'](?P<value>[^\"']*)[\"']\)\]"
)
_SCOPES = {"Namespaced": True, "Cluster": False}
_READY = '.status.conditions[?(@.type=="Ready")]'
_CREATED = ".metadata.creationTimestamp"
_COLUMNS: dict[Kind, tuple[tuple[str, str, int], ...]] = {
    APPLICATION: (
        ("Sync Status", ".status.sync.status", 0),
        ("Health Status", ".status.health.status", 0),
        ("Revision", ".status.sync.revision", 10),
        ("Project", ".spec.project", 10),
    ),
    APPLICATION_SET: (),
    APP_PROJECT: (),
    EXTERNAL_SECRET: (
        ("StoreType", ".spec.secretStoreRef.kind", 0),
        ("Store", ".spec.secretStoreRef.name", 0),
        ("Refresh Interval", ".spec.refreshInterval", 0),
        ("Status", f"{_READY}.reason", 0),
        ("Ready", f"{_READY}.status", 0),
        ("AGE", _CREATED, 0),
    ),
    SECRET_STORE: (
        ("AGE", _CREATED, 0),
        ("Status", f"{_READY}.reason", 0),
        ("Capabilities", ".status.capabilities", 0),
        ("Ready", f"{_READY}.status", 0),
    ),
    VOLUME_SNAPSHOT: (
        ("ReadyToUse", ".status.readyToUse", 0),
        ("SourcePVC", ".spec.source.persistentVolumeClaimName", 0),
        ("RestoreSize", ".status.restoreSize", 0),
        ("SnapshotClass", ".spec.volumeSnapshotClassName", 0),
        ("Age", _CREATED, 0),
    ),
}


def built_in() -> list[Object]:
    """The definitions that come with the cluster."""
    return [_definition(kind) for kind in _COLUMNS]


def kind(definition: Object) -> Kind:
    """The kind that a definition brings, in its stored version.

    Raises Invalid if it lacks what the API server needs.
    """
    try:
        spec, name = definition["spec"], definition["metadata"]["name"]
        names = spec["names"]
        [stored] = [version for version in spec["versions"] if version["storage"] and version["served"]]
        made = Kind(
            spec["group"], stored["name"], names["kind"], names["plural"], _SCOPES[spec["scope"]],
            tuple(names.get("shortNames", ())), tuple(names.get("categories", ())),
            has_status="status" in stored.get("subresources", {}),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Invalid("definition_malformed", reason=f"{type(exc).__name__}: {exc}"[:80]) from exc
    if name != f"{made.plural}.{made.group}" or "." not in made.group:
        raise Invalid("definition_misnamed", name=name[:80], wanted=f"{made.plural}.{made.group}")
    return made


def established(definition: Object) -> Object:
    """A definition with the status that the API server gives it."""
    made, names = kind(definition), definition["spec"]["names"]
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "accepted"},
    ]
    accepted = {"singular": made.kind.lower(), "listKind": f"{made.kind}List", **names}
    status = {"conditions": conditions, "acceptedNames": accepted, "storedVersions": [made.version]}
    return {**definition, "status": status}


def columns(definition: Object | None) -> list[tuple[str, str, int, str]]:
    """The additional printer columns of the stored version: name, type, priority and path."""
    versions = (definition or {}).get("spec", {}).get("versions", [])
    stored: Object = next((version for version in versions if version.get("storage")), {})
    return [
        (one["name"], one.get("type", "string"), one.get("priority", 0), one["jsonPath"])
        for one in stored.get("additionalPrinterColumns", [])
    ]


def at(obj: Any, path: str) -> Any:
    """What a printer column's path finds; None for nothing, and for a path of a form that is not known here."""
    reached = 0
    for step in _STEP.finditer(path):
        if step.start() != reached:
            return None
        reached = step.end()
        obj = _into(obj, step)
    return obj if reached == len(path) else None


def _into(obj: Any, step: re.Match[str]) -> Any:
    if step["key"] is not None:
        return obj.get(step["key"]) if isinstance(obj, dict) else None
    if not isinstance(obj, list):
        return None
    if step["at"] is not None:
        return obj[int(step["at"])] if int(step["at"]) < len(obj) else None
    found = (one for one in obj if isinstance(one, dict) and str(one.get(step["where"])) == step["value"])
    return next(found, None)


def _definition(kind: Kind) -> Object:
    printed = [
        {"name": name, "type": "date" if path == _CREATED else "string", "priority": priority, "jsonPath": path}
        for name, path, priority in _COLUMNS[kind]
    ]
    version = {
        "name": kind.version, "served": True, "storage": True, "additionalPrinterColumns": printed,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }  # fmt: skip
    names = {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower(), "shortNames": list(kind.short)}
    spec = {
        "group": kind.group, "names": names, "scope": "Namespaced" if kind.namespaced else "Cluster",
        "versions": [version],
    }  # fmt: skip
    meta = {"name": f"{kind.plural}.{kind.group}"}
    return {"apiVersion": CRD.api_version, "kind": CRD.kind, "metadata": meta, "spec": spec}
