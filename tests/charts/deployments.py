"""``charts/platform`` rendered by the real Helm engine: as in production, and with a developer's values over that."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import yaml

from controller.cli import app

CHART = Path(__file__).resolve().parents[2] / "charts/platform"
NOT_SERVED = {"up", "demo", "migrate", "translator"}
PROCESSES = sorted(
    str(one.callback.__name__)
    for one in app.registered_commands
    if one.callback and one.callback.__name__ not in NOT_SERVED
)
ENVIRONMENTS = ("production", "dev", "translated")
Object = dict[str, Any]
CATALOG: Object = {
    "providers": {
        "fast": {"base_url": "https://llm.example/v1"},
        "claude": {"base_url": "https://anthropic.example", "wire": "anthropic"},
    },
    "models": {
        "small": {"provider": "fast", "fallbacks": ["large"]},
        "large": {"provider": "claude", "prices": {"input": 32_000_000}, "tokenizer_margin": 1.5},
    },
}
"""Two providers, one of which is translated for."""


def values(environment: str = "production") -> Object:
    """What is laid over the chart's own values."""
    if environment == "translated":
        return {"settings": {"llm_catalog": CATALOG}}
    found: Object = {} if environment == "production" else yaml.safe_load((CHART / "values-dev.yaml").read_text())
    return found


def render(given: Object) -> list[Object]:
    """The objects that the chart makes with ``given`` over its own values."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(given, name="platform", namespace="openclaw-cloud")
    return [found for text in files.values() for found in yaml.safe_load_all(text) if found]


@functools.cache
def _rendered(environment: str) -> str:
    return json.dumps(render(values(environment)))


def rendered(environment: str = "production") -> list[Object]:
    """The objects of an environment, rendered once."""
    found: list[Object] = json.loads(_rendered(environment))
    return found


def changed(**sections: Any) -> list[Object]:
    """Production with these values changed, one level deep."""
    return render(copy.deepcopy(sections))


def of(kind: str, process: str, environment: str = "production") -> Object:
    """A process's object of that kind."""
    name = {"proxy": "token-proxy"}.get(process, process)
    found = [one for one in rendered(environment) if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} x {kind} {name}"
    return found[0]


def pod(process: str, kind: str = "Deployment", environment: str = "production") -> Object:
    """The pod that a process runs in."""
    found: Object = of(kind, process, environment)["spec"]["template"]["spec"]
    return found


def containers(process: str) -> dict[str, Object]:
    """The containers of a process's pod where the catalog asks for a translator, sidecars among them."""
    found = pod(process, environment="translated")
    return {one["name"]: one for one in [*found.get("initContainers", []), *found["containers"]]}
