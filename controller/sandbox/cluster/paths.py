"""What a request's path means."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.errors import NotFound
from controller.sandbox.cluster import resources
from controller.sandbox.cluster.resources import DEPLOYMENT, POD, Kind


@dataclass(frozen=True)
class Target:
    """A kind, with a namespace, name and subresource (``status``, ``scale``, ``log``) where the path has them."""

    kind: Kind
    namespace: str | None
    name: str | None
    sub: str | None


def parse(path: str) -> Target:
    """The target of ``/api/v1/…`` or ``/apis/{group}/{version}/…``.

    Raises NotFound for a path, kind or subresource that is not served.
    """
    group, version, rest = _split([part for part in path.split("/") if part])
    namespace = None
    if rest[0] == "namespaces" and len(rest) >= 3 and resources.find(group, version, rest[2]) is not None:
        namespace, rest = rest[1], rest[2:]
    kind = resources.find(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.namespaced) or len(rest) > 3:
        raise NotFound("path_unknown", path=path[:80])
    name, sub = [*rest[1:], None, None][:2]
    if (name and kind.namespaced and namespace is None) or not _served(kind, sub):
        raise NotFound("path_unknown", path=path[:80])
    return Target(kind, namespace, name, sub)


def _split(parts: list[str]) -> tuple[str, str, list[str]]:
    if parts[:2] == ["api", "v1"] and len(parts) > 2:
        return "", "v1", parts[2:]
    if parts[:1] == ["apis"] and len(parts) > 3:
        return parts[1], parts[2], parts[3:]
    raise NotFound("path_unknown", path="/".join(parts)[:80])


def _served(kind: Kind, sub: str | None) -> bool:
    if sub == "status":
        return kind.has_status
    return sub is None or (sub == "scale" and kind == DEPLOYMENT) or (sub == "log" and kind == POD)
