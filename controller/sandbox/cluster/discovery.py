"""Which groups, versions and kinds this API serves."""

from __future__ import annotations

from collections.abc import Sequence

from controller.core.errors import NotFound
from controller.sandbox.cluster.resources import DEPLOYMENT, KINDS, Kind, Object

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def answer(parts: Sequence[str]) -> Object:
    """What is behind ``api``, ``api/v1``, ``apis``, ``apis/{group}`` or ``apis/{group}/{version}``.

    Raises NotFound for a group or version that is not served.
    """
    match tuple(parts):
        case ("api",):
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ("apis",):
            served = [_group(name) for name in sorted({kind.group for kind in KINDS if kind.group})]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": served}
        case ("apis", group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case (_, *version):
            return _kinds("/".join(version))
    raise NotFound("path_unknown")


def _kinds(api_version: str) -> Object:
    served = [entry for kind in KINDS if kind.api_version == api_version for entry in _entries(kind)]
    if not served:
        raise NotFound("version_unknown", api_version=api_version[:80])
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": served}


def _group(name: str) -> Object:
    versions = sorted({kind.version for kind in KINDS if kind.group == name})
    if not name or not versions:
        raise NotFound("group_unknown", group=name[:80])
    served = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def _entries(kind: Kind) -> list[Object]:
    entry = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
    subs = ("status", "scale") if kind == DEPLOYMENT else ("status",)
    inner = [{**entry, "name": f"{kind.plural}/{sub}", "verbs": ["get", "patch", "update"]} for sub in subs]
    return [{**entry, "name": kind.plural, "verbs": list(VERBS)}, *inner]
