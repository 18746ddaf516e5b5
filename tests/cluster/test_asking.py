"""No cluster is touched by accident."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster import asking
from tests.cluster.asking import NotForTests


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "make test-cluster"),
        ({"KUBECONFIG": "/somebody's"}, "make test-cluster"),
        ({"CLUSTER_TESTS": "1"}, "names no cluster"),
        ({"CLUSTER_TESTS": "1", "KUBECONFIG": ""}, "names no cluster"),
    ],
)
def test_a_run_that_nobody_asked_for_says_how_to_ask(environment: dict[str, str], says: str) -> None:
    assert says in asking.refusal(environment)


def test_both_variables_ask_for_it() -> None:
    assert asking.refusal({"CLUSTER_TESTS": "1", "KUBECONFIG": "/mine"}) == ""


@pytest.mark.parametrize("labels", [None, {}, {asking.MARK: "no"}])
def test_a_cluster_without_the_mark_is_left_alone(labels: dict[str, str] | None) -> None:
    namespace: dict[str, Any] = {"metadata": {"labels": labels}}
    with pytest.raises(NotForTests, match="kubectl label namespace argocd"):
        asking.check_marked(namespace)


def test_a_cluster_without_argo_cd_is_left_alone() -> None:
    with pytest.raises(NotForTests):
        asking.check_marked(None)


def test_a_marked_cluster_is_for_tests() -> None:
    asking.check_marked({"metadata": {"labels": {asking.MARK: asking.MARKED}}})
