"""The platform chart's schema: made from our types, and refusing what they refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from pydantic import ValidationError

from controller.gitops import platform_chart
from controller.gitops.platform_chart import PlatformValues
from tests.charts.deployments import CHART, ENVIRONMENTS, Object, render, values


def given(environment: str = "production", **sections: Any) -> Object:
    """All values, as Helm lays one map over another: null takes a key away."""
    base = yaml.safe_load((CHART / "values.yaml").read_text())
    return laid(laid(base, values(environment)), sections)


def laid(under: Object, over: Object) -> Object:
    made = copy.deepcopy(under)
    for name, value in over.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = (
                laid(made[name], value) if isinstance(value, dict) and isinstance(made.get(name), dict) else value
            )
    return made


def test_the_committed_schema_is_what_our_types_say() -> None:
    path = CHART / "values.schema.json"
    assert path.read_bytes() == platform_chart.schema_file(), "stale: run make generate"


def test_writing_makes_the_file_that_is_committed(tmp_path: Path) -> None:
    platform_chart.write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["values.schema.json"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_types_accept_the_values_of_each_environment(environment: str) -> None:
    PlatformValues.model_validate(given(environment))


WRONG: dict[str, Object] = {
    "an unknown key": {"colour": "red"},
    "an unknown setting": {"settings": {"debug": "1"}},
    "a process that may run once only": {"replicas": {"writer": 2}},
    "no replica": {"replicas": {"api": 0}},
    "a port of a node that there is not": {"node_ports": {"api": 80}},
    "a door to a process without one": {"node_ports": {"secrets": 30090}},
    "an image by tag": {"image": "registry.example/platform:latest"},
    "a remote with a user and no ssh": {"settings": {"git_remote": "https://user@git.example/x.git"}},
    "a remote with a password": {"settings": {"git_remote": "https://user:password@git.example/x.git"}},
    "a database anywhere": {"destinations": {"postgres": {"cidrs": []}}},
    "a range that is none": {"destinations": {"web": {"cidrs": ["everywhere"]}}},
    "a kind of traffic that there is not": {"destinations": {"torrents": {"cidrs": [], "ports": [6881]}}},
    "no version of the secrets": {"secrets": {"version": 0}},
    "a secret's value": {"secrets": {"SEALING_KEY": "x"}},
    "a store of another kind": {"secrets": {"store": {"kind": "Secret"}}},
    "a number as text": {"replicas": {"api": "2"}},
}


@pytest.mark.parametrize("fault", WRONG)
def test_helm_and_the_types_refuse(fault: str) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        render(WRONG[fault])
    with pytest.raises(ValidationError):
        PlatformValues.model_validate(given(**WRONG[fault]))


@pytest.mark.parametrize(
    "remote", ["https://git.example/a/b.git", "ssh://git@git.example:2222/a.git", "git@git.example:a/b.git"]
)
def test_a_remote_is_taken_in_each_form_that_git_knows(remote: str) -> None:
    assert PlatformValues.model_validate(given(settings={"git_remote": remote})).settings.git_remote == remote
