"""The charts' releases of this tree as an HTTP Helm repository, and charts rendered."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from controller.devcluster.tools import Tools

RELEASED = ("charts/box", "charts/platform", "argocd/cell")
URL = "http://charts.openclaw-cloud:8000"
_SOURCE = "openclaw.cloud/source"


@dataclass(frozen=True)
class Release:
    """The hash of what the published charts were made of, and whether they were published just now."""

    source: str
    is_new: bool


def publish(tools: Tools, root: Path, namespace: str) -> Release:
    """The ConfigMap ``charts`` holds the packaged charts and their index.

    Packages bear the time at which they were made, so they are made anew only when their sources have changed.
    """
    source = _hash(root)
    path = "jsonpath={.metadata.annotations." + _SOURCE.replace(".", "\\.") + "}"
    where = ("--namespace", namespace, "--ignore-not-found")
    is_new = tools.ask("kubectl", "get", "configmap", "charts", *where, "--output", path) != source
    if is_new:
        with TemporaryDirectory() as folder:
            for chart in RELEASED:
                tools.run("helm", "package", str(root / chart), "--destination", folder)
            tools.run("helm", "repo", "index", folder, "--url", URL)
            files = {file.name: base64.b64encode(file.read_bytes()).decode() for file in sorted(Path(folder).iterdir())}
        about = {"name": "charts", "namespace": namespace, "annotations": {_SOURCE: source}}
        tools.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "binaryData": files}])
    return Release(source, is_new)


def render(tools: Tools, name: str, chart: Path, namespace: str, values: Mapping[str, Any]) -> str:
    """The chart's objects as YAML."""
    told = ("--namespace", namespace, "--values", "-")
    # JSON is YAML
    return tools.ask("helm", "template", name, str(chart), *told, said=json.dumps(values))


def _hash(root: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(root):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for chart in RELEASED:
        yield from sorted(file for file in (root / chart).rglob("*") if file.is_file())
