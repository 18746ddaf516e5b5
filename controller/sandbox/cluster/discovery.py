"""Which groups, versions and kinds this API serves."""

from __future__ import annotations

from collections.abc import Sequence

from controller.core.errors import NotFound
from controller.sandbox.cluster import resources
from controller.sandbox.cluster.resources import DEPLOYMENT, POD, Kind, Object

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
# What is answered without being stored: kind, resource, whether in a namespace, and what may be done.
_COMPUTED: dict[str, tuple[tuple[str, str, bool, tuple[str, ...]], ...]] = {
    "metrics.k8s.io/v1beta1": (
        ("NodeMetrics", "nodes", False, ("get", "list")),
        ("PodMetrics", "pods", True, ("get", "list")),
    ),
    "authorization.k8s.io/v1": (
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", False, ("create",)),
        ("SelfSubjectRulesReview", "selfsubjectrulesreviews", False, ("create",)),
    ),
    "authentication.k8s.io/v1": (("SelfSubjectReview", "selfsubjectreviews", False, ("create",)),),
}


def answer(parts: Sequence[str]) -> Object:
    """What is behind ``api``, ``api/v1``, ``apis``, ``apis/{group}`` or ``apis/{group}/{version}``.

    Raises NotFound for a group or version that is not served.
    """
    match tuple(parts):
        case ("api",):
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ("apis",):
            names = {version.partition("/")[0] for version in versions() if "/" in version}
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in sorted(names)]}
        case ("apis", group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case (_, *version):
            return _kinds("/".join(version))
    raise NotFound("path_unknown")


def versions() -> list[str]:
    """Every ``v1`` or ``group/version`` that is served."""
    return sorted({kind.api_version for kind in resources.kinds()} | _COMPUTED.keys())


def _kinds(api_version: str) -> Object:
    served = [entry for kind in resources.kinds() if kind.api_version == api_version for entry in _entries(kind)]
    served += [_computed(*one) for one in _COMPUTED.get(api_version, ())]
    if not served:
        raise NotFound("version_unknown", api_version=api_version[:80])
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": served}


def _group(name: str) -> Object:
    served = [
        {"groupVersion": version, "version": version.partition("/")[2]}
        for version in versions()
        if name and version.startswith(f"{name}/")
    ]
    if not served:
        raise NotFound("group_unknown", group=name[:80])
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def _entries(kind: Kind) -> list[Object]:
    entry: Object = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
    subs = [("status", ["get", "patch", "update"])] if kind.has_status else []
    if kind == DEPLOYMENT:
        subs.append(("scale", ["get", "patch", "update"]))
    if kind == POD:
        subs.append(("log", ["get"]))
    inner = [{**entry, "singularName": "", "name": f"{kind.plural}/{sub}", "verbs": verbs} for sub, verbs in subs]
    names = {"shortNames": list(kind.short)} if kind.short else {}
    groups = {"categories": list(kind.categories)} if kind.categories else {}
    return [{**entry, **names, **groups, "name": kind.plural, "verbs": list(VERBS)}, *inner]


def _computed(kind: str, plural: str, namespaced: bool, verbs: Sequence[str]) -> Object:
    return {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": list(verbs)}
