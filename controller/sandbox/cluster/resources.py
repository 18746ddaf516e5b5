"""The kinds that this cluster knows, as Kubernetes names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from controller.core.errors import Invalid

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One resource: ``group`` is empty for the core group; kubectl knows ``short`` names and ``categories``."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = field(default=(), compare=False)
    categories: tuple[str, ...] = field(default=(), compare=False)
    has_status: bool = field(default=True, compare=False)

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a custom resource definition brings it: such kinds know no strategic merge."""
        return "." in self.group and (self.group == _SNAPSHOTS or not self.group.endswith(".k8s.io"))


_ALL = ("all",)
_SNAPSHOTS = "snapshot.storage.k8s.io"
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", False, ("ns",))
NODE = Kind("", "v1", "Node", "nodes", False, ("no",))
POD = Kind("", "v1", "Pod", "pods", True, ("po",), _ALL)
SECRET = Kind("", "v1", "Secret", "secrets", has_status=False)
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", True, ("cm",), has_status=False)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts", True, ("sa",), has_status=False)
SERVICE = Kind("", "v1", "Service", "services", True, ("svc",), _ALL)
EVENT = Kind("", "v1", "Event", "events", True, ("ev",), has_status=False)
PVC = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, ("pvc",))
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas", True, ("quota",))
LIMIT_RANGE = Kind("", "v1", "LimitRange", "limitranges", True, ("limits",), has_status=False)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", True, ("deploy",), _ALL)
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), _ALL)
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",))
CRD = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, ("crd", "crds")
)
APPLICATION = Kind("argoproj.io", "v1alpha1", "Application", "applications", True, ("app", "apps"))
APPLICATION_SET = Kind("argoproj.io", "v1alpha1", "ApplicationSet", "applicationsets", True, ("appset", "appsets"))
APP_PROJECT = Kind("argoproj.io", "v1alpha1", "AppProject", "appprojects", True, ("appproj", "appprojs"))
EXTERNAL_SECRET = Kind("external-secrets.io", "v1", "ExternalSecret", "externalsecrets", True, ("es",))
SECRET_STORE = Kind("external-secrets.io", "v1", "ClusterSecretStore", "clustersecretstores", False, ("css",))
VOLUME_SNAPSHOT = Kind(_SNAPSHOTS, "v1", "VolumeSnapshot", "volumesnapshots", True, ("vs",))

KINDS = (
    NAMESPACE, NODE, POD, SECRET, CONFIG_MAP, SERVICE_ACCOUNT, SERVICE, EVENT, PVC, RESOURCE_QUOTA, LIMIT_RANGE,
    DEPLOYMENT, REPLICA_SET, NETWORK_POLICY, CRD, APPLICATION, APPLICATION_SET, APP_PROJECT, EXTERNAL_SECRET,
    SECRET_STORE, VOLUME_SNAPSHOT,
)  # fmt: skip
# What custom resource definitions brought while this process ran: one process is one cluster.
_defined: dict[str, Kind] = {}


def kinds() -> tuple[Kind, ...]:
    """Every kind that is served now."""
    return (*KINDS, *_defined.values())


def define(name: str, kind: Kind) -> None:
    """Serve a custom kind under its definition's name, in place of what it brought before; a built-in one stays."""
    _defined.pop(name, None)
    if find(kind.group, kind.version, kind.plural) is None:
        _defined[name] = kind


def withdraw(name: str) -> None:
    """Serve no longer what this definition brought."""
    _defined.pop(name, None)


def of(obj: Object) -> Kind:
    """The kind of an object.

    Raises Invalid for one that this cluster does not know.
    """
    for kind in kinds():
        if (kind.api_version, kind.kind) == (obj.get("apiVersion"), obj.get("kind")):
            return kind
    raise Invalid("kind_unknown", api_version=obj.get("apiVersion"), kind=obj.get("kind"))


def find(group: str, version: str, plural: str) -> Kind | None:
    """The kind behind a path's parts."""
    return next((k for k in kinds() if (k.group, k.version, k.plural) == (group, version, plural)), None)
