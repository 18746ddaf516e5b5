"""``argocd/cell`` rendered by the real Helm engine, and its ApplicationSets' templates run over a box's file."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2] / "argocd"
CELLS = tuple(sorted(path.stem for path in (ROOT / "cells").glob("*.yaml")))
PRODUCTION = "eu1-a"

Object = dict[str, Any]


def values(cell: str = PRODUCTION) -> Object:
    """A cell's own values."""
    found: Object = yaml.safe_load((ROOT / "cells" / f"{cell}.yaml").read_text())
    return found


def render(given: Object) -> list[Object]:
    """The objects of a cell."""
    with helm_python.Chart.load(ROOT / "cell") as chart:
        files = chart.render(given, name="cell", namespace="argocd")
    return [found for text in files.values() for found in yaml.safe_load_all(text) if found]


@functools.cache
def rendered(cell: str = PRODUCTION) -> str:
    """The same as JSON, rendered once."""
    return json.dumps(render(values(cell)))


def of(kind: str, cell: str = PRODUCTION) -> list[Object]:
    """The cell's objects of one kind."""
    return [item for item in json.loads(rendered(cell)) if item["kind"] == kind]


def generate(application_set: Object, box: Object, folder: Path) -> Object:
    """The Application that a set's Go template and ``templatePatch`` make of a box's file.

    As in Argo CD each text of the template is a Go template of its own, and the patch, one template as a whole, is
    merged over the result. The engine is Go's with Sprig, but prints nothing for a missing key where Argo CD fails.
    """
    texts: list[str] = [application_set["spec"]["templatePatch"]]
    template = _replaced(application_set["spec"]["template"], lambda text: _noted(texts, text))
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: set\nversion: 1.0.0\n")
    for number, text in enumerate(texts):
        (folder / f"templates/{number}.txt").write_text("{{ with .Values }}" + text + "{{ end }}")
    with helm_python.Chart.load(folder) as chart:
        made = chart.render(box, name="agent", namespace="argocd")
    filled = _replaced(template, lambda number: made[f"set/templates/{number}.txt"])
    return merged(filled, yaml.safe_load(made["set/templates/0.txt"]))


def merged(base: Object, patch: Object) -> Object:
    """A merge of maps; the patch has no lists that the template has."""
    out = copy.deepcopy(base)
    for name, value in patch.items():
        both = isinstance(value, dict) and isinstance(out.get(name), dict)
        out[name] = merged(out[name], value) if both else value
    return out


class _Number(int):
    """Which template stands here."""


def _noted(texts: list[str], text: str) -> int:
    texts.append(text)
    return len(texts) - 1


def _replaced(node: Any, change: Any) -> Any:
    if isinstance(node, dict):
        return {name: _replaced(value, change) for name, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, change) for value in node]
    if isinstance(node, str) and "{{" in node:
        return _Number(change(node))
    return change(node) if isinstance(node, _Number) else node
