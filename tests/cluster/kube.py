"""The cluster as somebody with every right sees it, and what such a person does to it behind the controller's back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException

Object = dict[str, Any]
ARGO = "argocd"
_VERSIONS = {
    "Application": "argoproj.io/v1alpha1",
    "ApplicationSet": "argoproj.io/v1alpha1",
    "AppProject": "argoproj.io/v1alpha1",
    "ClusterSecretStore": "external-secrets.io/v1",
    "Deployment": "apps/v1",
    "ExternalSecret": "external-secrets.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "SecretStore": "external-secrets.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
}
"""Of every kind that is not of the core group."""


class Kube:
    """One cluster, with the kubeconfig's rights."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        api = client.ApiClient(configuration)
        self._client, self._core = dynamic.DynamicClient(api), client.CoreV1Api(api)

    def find(self, kind: str, name: str, space: str | None = None) -> Object | None:
        """The object; None if there is none."""
        try:
            return _plain(self._of(kind).get(name=name, namespace=space))
        except ApiException as exc:
            if exc.status == 404:
                return None
            raise

    def get(self, kind: str, name: str, space: str | None = None) -> Object:
        """The object, which is there."""
        found = self.find(kind, name, space)
        assert found is not None, f"no {kind} {space or ''}/{name}"
        return found

    def list(self, kind: str, space: str | None = None, label: str = "") -> list[Object]:
        """Every object of the kind, in one namespace or all, with the label if one is given."""
        return list(_plain(self._of(kind).get(namespace=space, label_selector=label))["items"])

    def apply(self, *objects: Object) -> None:
        """Bring them there as they are given, whoever else set something of it."""
        for obj in objects:
            self._of(obj["kind"], obj["apiVersion"]).server_side_apply(
                body=obj, namespace=obj["metadata"].get("namespace"), field_manager="tests", force_conflicts=True
            )

    def patch(self, kind: str, name: str, body: Object, space: str | None = None) -> None:
        """Merge ``body`` into it."""
        self._of(kind).patch(body=body, name=name, namespace=space, content_type="application/merge-patch+json")

    def create(self, obj: Object, *, dry: bool = False) -> None:
        """Make it; with ``dry`` only as far as every admission rule has judged it."""
        kind = self._of(obj["kind"], obj["apiVersion"])
        kind.create(body=obj, namespace=obj["metadata"].get("namespace"), **({"dry_run": "All"} if dry else {}))

    def delete(self, kind: str, name: str, space: str | None = None) -> None:
        """Ask for its deletion; nothing if it is not there."""
        try:
            self._of(kind).delete(name=name, namespace=space)
        except ApiException as exc:
            if exc.status != 404:
                raise

    def token(self, account: str, space: str) -> str:
        """A token of a service account, good for hours."""
        body: Any = {"spec": {"expirationSeconds": 36_000}}
        answer: Any = self._core.create_namespaced_service_account_token(account, space, body)
        return str(answer.status.token)

    def _of(self, kind: str, version: str = "") -> Any:
        return self._client.resources.get(api_version=version or _VERSIONS.get(kind, "v1"), kind=kind)


def refused(act: Callable[[], object]) -> str:
    """What the API server says no to ``act`` with; empty if it lets it through."""
    try:
        act()
    except ApiException as exc:
        if exc.status in {403, 422}:
            return str(exc.body)
        raise
    return ""


def _plain(found: Any) -> Object:
    return dict(found.to_dict())
