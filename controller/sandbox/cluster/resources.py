"""The kinds that this cluster knows, as Kubernetes names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.core.errors import Invalid

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One resource: ``group`` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a custom resource definition brings it: such kinds know no strategic merge."""
        return "." in self.group and not self.group.endswith(".k8s.io")


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
POD = Kind("", "v1", "Pod", "pods")
SECRET = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
SERVICE = Kind("", "v1", "Service", "services")
EVENT = Kind("", "v1", "Event", "events")
PVC = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("", "v1", "LimitRange", "limitranges")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
APPLICATION = Kind("argoproj.io", "v1alpha1", "Application", "applications")
APPLICATION_SET = Kind("argoproj.io", "v1alpha1", "ApplicationSet", "applicationsets")
EXTERNAL_SECRET = Kind("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")

KINDS = (
    NAMESPACE, POD, SECRET, CONFIG_MAP, SERVICE_ACCOUNT, SERVICE, EVENT, PVC, RESOURCE_QUOTA, LIMIT_RANGE,
    DEPLOYMENT, NETWORK_POLICY, APPLICATION, APPLICATION_SET, EXTERNAL_SECRET,
)  # fmt: skip


def of(obj: Object) -> Kind:
    """The kind of an object.

    Raises Invalid for one that this cluster does not know.
    """
    for kind in KINDS:
        if (kind.api_version, kind.kind) == (obj.get("apiVersion"), obj.get("kind")):
            return kind
    raise Invalid("kind_unknown", api_version=obj.get("apiVersion"), kind=obj.get("kind"))


def find(group: str, version: str, plural: str) -> Kind | None:
    """The kind behind a path's parts."""
    return next((k for k in KINDS if (k.group, k.version, k.plural) == (group, version, plural)), None)
