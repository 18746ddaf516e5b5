"""The part of OpenAPI v3 that kubectl looks at: which kinds there are, and that the server validates fields itself."""

from __future__ import annotations

from controller.core.errors import NotFound
from controller.sandbox.cluster import discovery, resources
from controller.sandbox.cluster.resources import Kind, Object

_PATCH = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")


def answer(path: str) -> Object:
    """The document behind ``openapi/{path}``.

    Raises NotFound for a version that is not served; OpenAPI v2 is not either.
    """
    if path == "v3":
        return {
            "paths": {_path(version): {"serverRelativeURL": f"/openapi/v3/{_path(version)}"} for version in _versions()}
        }
    for version in _versions():
        if path == f"v3/{_path(version)}":
            return _document([kind for kind in resources.kinds() if kind.api_version == version])
    raise NotFound("openapi_unknown", path=path[:80])


def _versions() -> list[str]:
    return [version for version in discovery.versions() if any(k.api_version == version for k in resources.kinds())]


def _path(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _document(kinds: list[Kind]) -> Object:
    info = {"title": "Kubernetes", "version": "v1.37.0-sandbox"}
    return {"openapi": "3.0.0", "info": info, "paths": dict(map(_operations, kinds)), "components": {"schemas": {}}}


def _operations(kind: Kind) -> tuple[str, Object]:
    space = "/namespaces/{namespace}" if kind.namespaced else ""
    path = f"/{_path(kind.api_version)}{space}/{kind.plural}/{{name}}"
    called = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    asked = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation", "force")
    ]
    body = {"content": {media: {"schema": {"type": "object"}} for media in _PATCH}}
    patch = {
        "operationId": f"patch{kind.kind}", "parameters": asked, "requestBody": body, "responses": {},
        "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": called,
    }  # fmt: skip
    return path, {"patch": patch}
