"""What an API server does to an object before it is stored or deleted: its defaults and our admission policy."""

from __future__ import annotations

import base64
import copy

from controller.core.errors import Invalid, NotAllowed
from controller.sandbox.cluster import definitions
from controller.sandbox.cluster.resources import CRD, NAMESPACE, POD, PVC, SECRET, VOLUME_SNAPSHOT, Kind, Object

BOX_LABEL = "openclaw.cloud/box"
APPROVED = "openclaw.cloud/destroy-approved"
SNAPSHOT_REV = "openclaw.cloud/snapshot-rev"
GIVEN_UP = "openclaw.cloud/volume-given-up"
NAME_LABEL = "kubernetes.io/metadata.name"


class Interlocked(NotAllowed):
    """Raised when an admission rule refuses to delete a box's namespace, volume or snapshot."""

    status = 403


def defaulted(kind: Kind, obj: Object) -> Object:
    """A copy of ``obj`` with what the API server fills in.

    A namespace gets its name as a label and is Active, a pod is Pending, a secret's ``stringData`` moves into ``data``.
    Metadata that is null is not there. Raises Invalid if ``stringData`` holds anything but text, or for a malformed
    definition of a custom resource.
    """
    made = copy.deepcopy(obj)
    made["metadata"] = {name: value for name, value in made["metadata"].items() if value is not None}
    if kind == NAMESPACE:
        meta = made["metadata"]
        meta["labels"] = {**(meta.get("labels") or {}), NAME_LABEL: meta["name"]}
        made.setdefault("status", {"phase": "Active"})
    elif kind == CRD:
        made = definitions.established(made)
    elif kind == POD:
        made.setdefault("status", {"phase": "Pending"})
    elif kind == SECRET and "stringData" in made:
        made["data"] = {**(made.get("data") or {}), **_encoded(made.pop("stringData"))}
    return made


def check_deletion(kind: Kind, obj: Object, namespace: Object | None) -> None:
    """Nothing, if ``obj`` may be deleted; ``namespace`` is the one that it is or lies in.

    Raises Interlocked for a box's namespace, volume or last snapshot while the namespace lacks the approval; a volume
    that was given up by name may go.
    """
    if kind not in (NAMESPACE, PVC, VOLUME_SNAPSHOT) or namespace is None:
        return
    meta = namespace["metadata"]
    if BOX_LABEL not in (meta.get("labels") or {}) or (meta.get("annotations") or {}).get(APPROVED) == "true":
        return
    if kind == VOLUME_SNAPSHOT and _rev(namespace, "annotations") > _rev(obj, "labels") > 0:
        return
    if kind == PVC and (meta.get("annotations") or {}).get(GIVEN_UP) == obj["metadata"]["name"]:
        return
    raise Interlocked("deletion_not_approved", kind=kind.kind, name=obj["metadata"]["name"], needs=APPROVED)


def _rev(obj: Object, where: str) -> int:
    """Of the snapshot that a namespace keeps, or that this one is; 0 for none."""
    given = str((obj["metadata"].get(where) or {}).get(SNAPSHOT_REV, ""))
    return int(given) if given.isascii() and given.isdigit() else 0


def _encoded(plain: object) -> dict[str, str]:
    if not isinstance(plain, dict) or not all(isinstance(value, str) for value in plain.values()):
        raise Invalid("string_data_malformed")
    return {name: base64.b64encode(value.encode()).decode() for name, value in plain.items()}
