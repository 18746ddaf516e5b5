"""The chart through the real Helm engine, as Argo CD's repo-server would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import helm_python
import yaml

from controller.core import log as logs
from controller.core.errors import Invalid, Permanent, foreign
from controller.sandbox.cluster import resources
from controller.sandbox.cluster.differences import TRACKING, WAVE
from controller.sandbox.cluster.resources import Object

log = logs.get(__name__)

_VERSION = re.compile(r"^version:\s*[\"']?([^\"'\s]+)", re.MULTILINE)


class RenderError(Permanent):
    """Raised when the chart is not the release that is asked for, or does not render with these values."""


class Chart:
    """One version of one chart, loaded once."""

    def __init__(self, folder: Path) -> None:
        self.version = _version(folder)
        self._chart = helm_python.Chart.load(str(folder))

    def render(self, name: str, source: object) -> list[Object]:
        """The objects of the Application ``name``, each with Argo's tracking annotation.

        Raises RenderError.
        """
        try:
            version, helm = source["targetRevision"], source["helm"]  # type: ignore[index]
            values, release = dict(helm["valuesObject"]), str(helm["releaseName"])
        except (KeyError, TypeError, ValueError) as exc:
            raise RenderError("source_malformed", reason=foreign(exc)) from exc
        if version != self.version:
            raise RenderError("chart_version_unknown", asked=version, have=self.version)
        space = f"box-{name}"
        try:
            files = self._chart.render(values, name=release, namespace=space)
        except helm_python.HelmError as exc:
            raise RenderError("chart_does_not_render", reason=foreign(exc)) from exc
        try:
            objects = [obj for text in files.values() for obj in yaml.safe_load_all(text) if obj]
            return [_tracked(name, space, obj) for obj in objects]
        except (yaml.YAMLError, Invalid, KeyError, TypeError, AttributeError, ValueError) as exc:
            raise RenderError("chart_renders_no_objects", reason=foreign(exc)) from exc


class Charts:
    """What stands for the Helm repository: the chart that comes with us, and each one in a folder beside it.

    A release is published by putting its chart there. It is loaded once: what is published does not change.
    """

    def __init__(self, bundled: Path, published: Path | None = None) -> None:
        first = Chart(bundled)
        self._published = published
        self._loaded = {first.version: first}

    def render(self, name: str, source: object) -> list[Object]:
        """As ``Chart.render`` does, of the release that the source names."""
        asked = str(source.get("targetRevision")) if isinstance(source, dict) else ""
        if asked not in self._loaded:
            self._look()
        # any other says that it is not the one that is asked for
        return self._loaded.get(asked, next(iter(self._loaded.values()))).render(name, source)

    def releases(self) -> list[str]:
        """The versions that are there now."""
        self._look()
        return sorted(self._loaded)

    def _look(self) -> None:
        """Load what was published since; what cannot be loaded (yet) is not there."""
        for file in sorted(self._published.glob("*/Chart.yaml")) if self._published is not None else ():
            if _version(file.parent) in self._loaded:
                continue
            try:
                chart = Chart(file.parent)
            except (helm_python.HelmError, OSError) as error:
                log.warning("charts.not_loaded", folder=file.parent.name, error=foreign(error))
                continue
            self._loaded[chart.version] = chart


def index(releases: Sequence[str]) -> Object:
    """Helm's ``index.yaml`` of a repository with these releases of the boxes' chart."""
    entries = [{"apiVersion": "v2", "name": "box", "version": one, "urls": [f"box-{one}.tgz"]} for one in releases]
    return {"apiVersion": "v1", "entries": {"box": entries}}


def once(folder: Path, values: Object, *, name: str, namespace: str) -> list[Object]:
    """The objects of the chart in ``folder`` with these values.

    Raises RenderError.
    """
    try:
        with helm_python.Chart.load(str(folder)) as chart:
            files = chart.render(values, name=name, namespace=namespace)
    except helm_python.HelmError as exc:
        raise RenderError("chart_does_not_render", reason=foreign(exc)) from exc
    return [obj for text in files.values() for obj in yaml.safe_load_all(text) if obj]


def _version(folder: Path) -> str:
    found = _VERSION.search((folder / "Chart.yaml").read_text())
    return found[1] if found else ""


def _tracked(name: str, space: str, obj: Object) -> Object:
    kind, meta = resources.of(obj), obj["metadata"]
    if kind.namespaced:
        meta.setdefault("namespace", space)
    group = f"{kind.group}/{kind.kind}" if kind.group else f"/{kind.kind}"
    mark = f"{name}:{group}:{meta.get('namespace', '')}/{meta['name']}"
    meta["annotations"] = {**(meta.get("annotations") or {}), TRACKING: mark}
    int(meta["annotations"].get(WAVE, "0"))  # a wave that is no number is the chart's fault, and said so here
    return obj
