"""A box's values, and the chart rendered with them by the real Helm engine."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import helm_python
from ruamel.yaml import YAML

from controller.domain.plans import PlanName
from controller.domain.states import State

CHART = Path(__file__).resolve().parents[2] / "charts/box"
ID = "01kb0t7m8c9d0e1f2g3h4j5k6m"
STATES = tuple(State)
NICHES = tuple(sorted(folder.name for folder in (CHART / "files/niches").iterdir()))
LOCALES = ("en", "pt-BR")

Object = dict[str, Any]


def bootstrap_files(niche: str = "pharmacy", locale: str = "pt-BR") -> dict[str, Path]:
    """The chart's source of each bootstrap file, by the name that it has in a box."""
    texts = {file.name: file for file in (CHART / "files/niches" / niche / locale).iterdir()}
    return {**texts, "CONNECTIONS.md": CHART / "files/connections" / f"{locale}.md"}


def mounted_files() -> dict[str, Path]:
    """The source of every file that the chart's ConfigMap mounts, by its name there."""
    folder = CHART / "files/niches"
    texts = {".".join(file.relative_to(folder).parts): file for file in folder.glob("*/*/*.md")}
    return texts | {f"connections.{file.name}": file for file in (CHART / "files/connections").iterdir()}


CELL: Object = {
    "name": "eu1-a",
    "image": "registry.example/box@sha256:" + "a" * 64,
    "api_url": "http://api.platform.example:8000",
    "proxy_url": "http://proxy.platform.example:8000",
    "telegram_api_url": "https://telegram.example",
    "exec": "full",
}
SPEC: Object = {
    "rev": 7,
    "state": "active",
    "deletion": "held",
    "plan": "pro",
    "volume_gib": 10,
    "release": "2026.11.1",
    "ring": 2,
    "locale": "pt-BR",
    "niche": "pharmacy",
    "model": "default",
    "thinking": "low",
    "profile": 4,
    "secrets": {"agent": 1, "telegram": 3, "proxy": 1},
    "connections": [],
}


def values(*, cell: Object | None = None, overrides: Object | None = None, **spec: Any) -> Object:
    """The chart's values: a manifest as Git has it, and the cell, with what is given here changed."""
    return {
        "apiVersion": "openclaw.cloud/v1",
        "kind": "Box",
        "metadata": {"id": ID, "customer": "01kb0t7m8c9d0e1f2g3h4j5k6n"},
        "spec": SPEC | spec,
        "overrides": overrides or {},
        "cell": CELL | (cell or {}),
    }


def render(given: Object, chart: Path = CHART) -> list[Object]:
    """The objects that the chart makes of the values."""
    with helm_python.Chart.load(chart) as loaded:
        files = loaded.render(given, name="agent", namespace=f"box-{ID}")
    return [found for text in files.values() for found in YAML(typ="safe").load_all(text) if found]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of its kind, or the one of that name."""
    (found,) = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    return found


def pod(given: Object) -> Object:
    """The pod template."""
    template: Object = one(render(given), "Deployment")["spec"]["template"]
    return template


def container(given: Object) -> Object:
    """The agent's container."""
    (found,) = pod(given)["spec"]["containers"]
    return dict(found)


EVERY = list(itertools.product(STATES, PlanName, LOCALES, NICHES))
"""Every state, plan, locale and niche."""
