"""The alerts as Prometheus gets them, and what each asks for, by the grammar of its own language."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import yaml
from promql_parser import MatchOp, VectorSelector

from tests.charts.deployments import CHART, Object, changed

ROWS: dict[str, dict[str, str]] = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
"""``files/alerts.yaml``."""

CASES = Path(__file__).parent / "alerts.yaml"
"""What happens, and which alerts follow, as ``promtool test rules`` reads it."""


@dataclass(frozen=True)
class Asked:
    """One metric that an expression reads, and the values of its labels that it names."""

    metric: str
    labels: dict[str, set[str]]


@functools.cache
def _spec() -> str:
    (rule,) = [one for one in changed(monitoring={}) if one["kind"] == "PrometheusRule"]
    return json.dumps(rule["spec"])


def spec() -> Object:
    """The PrometheusRule's spec, which is a file of rules for Prometheus itself."""
    found: Object = json.loads(_spec())
    return found


def rules() -> list[Object]:
    """Every alert."""
    return [rule for group in spec()["groups"] for rule in group["rules"]]


def asked(expression: str) -> list[Asked]:
    """What it reads. Raises ValueError if it is not PromQL, or joins what does not go together."""
    found: list[VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return [Asked(one.name or "", _labels(one)) for one in found]


def _labels(selector: VectorSelector) -> dict[str, set[str]]:
    positive = [one for one in selector.matchers.matchers if one.op in (MatchOp.Equal, MatchOp.Re)]
    return {one.name: set(one.value.split("|")) for one in positive}
