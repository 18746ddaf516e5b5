"""What our processes may ask of a cell's API server: just what their code asks for."""

from __future__ import annotations

import pytest

from tests.charts.deployments import Object, of, rendered

NEEDS = {
    "writer": {
        ("argoproj.io", "applicationsets", "patch"), ("argoproj.io", "applications", "list"),
        ("argoproj.io", "applications", "patch"),
    },
    "watcher": {
        ("argoproj.io", "applications", "list"), ("argoproj.io", "applications", "watch"), ("", "pods", "list"),
        ("", "namespaces", "list"), ("metrics.k8s.io", "pods", "list"),
    },
}  # fmt: skip
"""The writer refreshes sets and begins given-up syncs anew; the watcher also looks for what a stop must not leave."""


def rules(binding: Object) -> set[tuple[str, str, str]]:
    """What the role of a binding allows: API group, resource, verb."""
    kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
    [role] = [one for one in rendered() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("process", NEEDS)
def test_a_process_may_ask_for_just_what_it_needs(process: str) -> None:
    account = of("ServiceAccount", process)["metadata"]["name"]
    found = [
        rules(one)
        for one in rendered()
        if one["kind"].endswith("Binding") and account in {subject["name"] for subject in one["subjects"]}
    ]
    assert set().union(*found) == NEEDS[process]


def test_nobody_else_may_ask_for_anything() -> None:
    bound = {subject["name"] for one in rendered() if one["kind"].endswith("Binding") for subject in one["subjects"]}
    assert bound == NEEDS.keys()
