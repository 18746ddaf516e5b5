"""A box's manifest through the real Helm engine, as Argo CD renders it, and a judgement of what comes out.

The engine and Kubernetes' schemas come with the extra ``gitops``; a process that only writes to Git needs neither.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from controller.core.errors import CloudError, Permanent, foreign
from controller.domain.states import State
from controller.gitops import policy
from controller.gitops.chart import CHART_DIR, CellValues
from controller.gitops.objects import Box, Object, title
from controller.gitops.policy import Breach

KUBERNETES = "1.37"
"""The version whose schemas every object has to fit, strictly."""

PLACEHOLDERS: dict[str, Any] = {
    "image": "registry.invalid/box@sha256:" + "0" * 64,
    "api_url": "http://api.invalid",
    "proxy_url": "http://token-proxy.invalid",
    "telegram_api_url": "https://api.telegram.org",
    "exec": "full",
}
"""What stands for a cell whose values are not given: good enough to judge a box, and seen as such in a diff."""


class EngineMissing(Permanent):
    """Raised when the extra ``gitops`` is not installed."""


class RenderError(Permanent):
    """Raised when a chart cannot be loaded, or does not render with a box's values."""


class Chart:
    """One release of one chart, loaded once."""

    def __init__(self, folder: Path = CHART_DIR) -> None:
        engine = _engine()
        try:
            self._chart = engine.Chart.load(folder)
            self.version = str(self._chart.version)
        except engine.HelmError as exc:
            raise RenderError("chart_does_not_load", chart=str(folder), reason=_line(exc)) from exc

    def render(self, manifest: Mapping[str, Any], cell: CellValues) -> list[Object]:
        """The objects of the box, ordered by kind and name.

        Raises RenderError with the engine's own words.
        """
        import yaml

        engine = _engine()
        values = {**manifest, "cell": cell.model_dump(mode="json", exclude_none=True)}
        space = f"box-{manifest['metadata']['id']}"
        try:
            files = self._chart.render(values, name="agent", namespace=space)
            found = [obj for text in files.values() for obj in yaml.safe_load_all(text) if obj]
        except (engine.HelmError, yaml.YAMLError) as exc:
            raise RenderError("chart_does_not_render", reason=_line(exc)) from exc
        if not all(isinstance(obj, dict) for obj in found):
            raise RenderError("chart_renders_no_objects")
        return sorted(found, key=title)


class Charts:
    """The releases at hand, by version."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._charts = {chart.version: chart for chart in map(Chart, folders)}

    def of(self, release: str) -> Chart:
        """The chart of ``release``.

        Raises RenderError if it is not at hand.
        """
        try:
            return self._charts[release]
        except KeyError as exc:
            raise RenderError("release_not_at_hand", release=release, have=" ".join(sorted(self._charts))) from exc


class Cells:
    """The values of the cells whose files are given; placeholders for every other cell."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._known = {values.name: values for values in map(_cell, files)}

    def of(self, name: str) -> CellValues:
        """The values of the cell called ``name``."""
        return self._known.get(name) or CellValues.model_validate({"name": name, **PLACEHOLDERS})


def judge(objects: list[Object], manifest: Mapping[str, Any], cell: CellValues) -> list[Breach]:
    """How the objects break Kubernetes' schemas; if they do not, how they break the policy's rules."""
    broken = [Breach("kubernetes-schema", reason) for obj in objects if (reason := _misfit(obj))]
    if broken:
        return broken
    box = Box(manifest["metadata"]["id"], State(manifest["spec"]["state"]), cell.platform_namespace)
    return policy.check(objects, box)


def dump(obj: Object) -> str:
    """The object as YAML: the same text for the same object, and texts of many lines as lines that a diff can show."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(obj, Dumper=Dumper, sort_keys=True, width=120, allow_unicode=True)


def _misfit(obj: Object) -> str | None:
    if (obj.get("apiVersion"), obj.get("kind")) not in policy.KINDS:
        return f"{title(obj)} is of a kind that no box has: {obj.get('apiVersion')} {obj.get('kind')}"
    reason = _reason(json.dumps(obj, sort_keys=True, default=str))
    return f"{title(obj)} {reason}" if reason else None


@functools.lru_cache(maxsize=4096)
def _reason(text: str) -> str | None:
    try:
        import kubernetes_validate
    except ModuleNotFoundError as exc:
        raise EngineMissing("gitops_extra_missing", module=exc.name) from exc
    obj = json.loads(text)
    try:
        if (own := _TYPES.get(obj["kind"])) is not None:
            own.model_validate(obj)
        else:
            kubernetes_validate.validate(obj, KUBERNETES, strict=True)
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        return f"at {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except kubernetes_validate.ValidationError as exc:
        return f"at {'.'.join(map(str, exc.path)) or 'the top'}: {_line(exc.message)}"
    return None


def _engine() -> Any:
    try:
        import helm_python
    except ModuleNotFoundError as exc:
        raise EngineMissing("gitops_extra_missing", module=exc.name) from exc
    return helm_python


def _cell(file: Path) -> CellValues:
    import yaml

    try:
        return CellValues.model_validate(yaml.safe_load(file.read_bytes()))
    except (OSError, yaml.YAMLError, ValidationError) as exc:
        raise CellError("cell_values_wrong", file=str(file), reason=_line(exc)) from exc


class CellError(CloudError):
    """Raised when a file does not hold the values of a cell."""


def _line(text: object) -> str:
    return foreign(" ".join(str(text).split()))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Meta(_Part):
    name: str
    namespace: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Store(_Part):
    kind: str
    name: str


class _Target(_Part):
    name: str
    creationPolicy: Literal["Owner", "Orphan", "Merge", "None"]  # noqa: N815, Kubernetes' spelling
    deletionPolicy: Literal["Delete", "Merge", "Retain"]  # noqa: N815
    immutable: bool


class _Remote(_Part):
    key: str
    conversionStrategy: Literal["Default", "Unicode"] = "Default"  # noqa: N815
    decodingStrategy: Literal["Auto", "Base64", "Base64URL", "None"] = "None"  # noqa: N815
    metadataPolicy: Literal["None", "Fetch"] = "None"  # noqa: N815


class _Entry(_Part):
    secretKey: str  # noqa: N815
    remoteRef: _Remote  # noqa: N815


class _ExternalSecretSpec(_Part):
    refreshPolicy: Literal["CreatedOnce", "Periodic", "OnChange"]  # noqa: N815
    secretStoreRef: _Store  # noqa: N815
    target: _Target
    data: list[_Entry]


class _ExternalSecret(_Part):
    """As much of External Secrets' type as a box uses; its schema is not among Kubernetes' own."""

    apiVersion: Literal["external-secrets.io/v1"]  # noqa: N815
    kind: Literal["ExternalSecret"]
    metadata: _Meta
    spec: _ExternalSecretSpec


class _Source(_Part):
    persistentVolumeClaimName: str  # noqa: N815, Kubernetes' spelling


class _VolumeSnapshotSpec(_Part):
    volumeSnapshotClassName: str  # noqa: N815
    source: _Source


class _VolumeSnapshot(_Part):
    """As much of the snapshot controller's type as a box uses."""

    apiVersion: Literal["snapshot.storage.k8s.io/v1"]  # noqa: N815
    kind: Literal["VolumeSnapshot"]
    metadata: _Meta
    spec: _VolumeSnapshotSpec


_TYPES: dict[str, type[_Part]] = {"ExternalSecret": _ExternalSecret, "VolumeSnapshot": _VolumeSnapshot}
"""Kinds that custom resource definitions bring."""
