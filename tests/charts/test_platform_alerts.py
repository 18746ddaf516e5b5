"""What Prometheus alerts about: expressions that it can read, about our processes alone, and a way out for each."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import cast

import jsonschema
import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from api.app import create
from api.deps import Parts
from controller.cli import app
from controller.domain.conditions import Kind
from controller.domain.jobs import JobState
from controller.domain.releases import RolloutState
from tests.charts.alerts import CASES, ROWS, asked, rules, spec
from tests.charts.deployments import PROCESSES, Object, of
from tests.charts.test_platform_doors import paths

DURATION = "^[0-9]+[smhd]$"
RULES = {
    "additionalProperties": False,
    "properties": {
        "groups": {
            "items": {
                "additionalProperties": False,
                "required": ["name", "rules"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "rules": {
                        "items": {
                            "additionalProperties": False,
                            "required": ["alert", "expr", "for", "labels", "annotations"],
                            "properties": {
                                "alert": {"pattern": "^[A-Z][A-Za-z]+$"},
                                "expr": {"type": "string"},
                                "for": {"pattern": DURATION},
                                "labels": {"additionalProperties": {"type": "string"}},
                                "annotations": {"additionalProperties": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The form of a PrometheusRule's spec, as far as it is used here."""

NAMES = {of("Deployment", process)["metadata"]["name"] for process in PROCESSES}
VALUES: dict[str, set[str]] = {
    "job": NAMES,
    "kind": set(Kind),
    "namespace": {"openclaw-cloud"},
    "state": {*JobState, *RolloutState},
    "status": {"5..", "[45].."},
}
"""What a label may be asked for; a misspelt one would be an alert that never fires."""

by_alert = pytest.mark.parametrize("alert", ROWS)


def of_alert(alert: str) -> list[Object]:
    return [rule for rule in rules() if rule["alert"] == alert]


def test_the_rules_have_the_form_that_their_kind_asks_for() -> None:
    jsonschema.validate(spec(), RULES)


@by_alert
def test_an_alert_is_about_this_platform_and_labels_that_there_are(alert: str) -> None:
    found = [one for rule in of_alert(alert) for one in asked(rule["expr"])]
    assert found
    for one in found:
        assert one.labels["namespace"] == {"openclaw-cloud"}
        assert {name: one.labels[name] - VALUES[name] for name in one.labels} == {name: set() for name in one.labels}


@by_alert
def test_an_alert_says_whom_it_wakes_and_what_they_do(alert: str) -> None:
    for rule in of_alert(alert):
        told = {name: value for name, value in rule["labels"].items() if name != "process"}
        assert told == {"severity": ROWS[alert]["severity"], "namespace": "openclaw-cloud"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "runbook"}
        assert all(
            text.endswith(".") for text in (rule["annotations"]["summary"], rule["annotations"]["runbook"].strip())
        )


def test_every_process_is_missed_when_it_is_away() -> None:
    missed = [(rule["labels"]["process"], *asked(rule["expr"])) for rule in of_alert("ProcessAway")]
    assert all(one.labels["job"] == {name} for name, one in missed)
    assert sorted(name for name, _ in missed) == sorted(NAMES)


def options(words: list[str]) -> set[str]:
    """Those of the command that the words name. Raises KeyError if there is none."""
    found = typer.main.get_command(app)
    for word in words:
        assert isinstance(found, TyperGroup), word
        found = found.commands[word]
    return {option for one in found.params for option in one.opts}


@by_alert
def test_a_runbook_names_commands_that_there_are(alert: str) -> None:
    for told in re.findall(r"`openclaw-cloud ([^`]+)`", ROWS[alert]["runbook"]):
        words, *named = told.split(" --")
        assert {f"--{one.split()[0]}" for one in named} <= options(words.split())


@by_alert
def test_a_runbook_names_processes_and_routes_that_there_are(alert: str) -> None:
    told = ROWS[alert]["runbook"]
    assert set(re.findall(r"deploy/([a-z-]+)", told)) <= NAMES
    routes = {re.sub(r"\{\w+\}", "X", path) for path in paths(create(cast(Parts, None)).routes)}
    asked_for = re.findall(r"(?:GET |POST |\()(/[a-zA-Z/]+)", told)
    assert {re.sub(r"/[A-Z]+", "/X", path) for path in asked_for} <= routes


def cases() -> list[Object]:
    found: list[Object] = yaml.safe_load(CASES.read_text())["tests"]
    return found


def outcomes(*, fires: bool) -> set[str]:
    checks = [check for case in cases() for check in case["alert_rule_test"]]
    return {check["alertname"] for check in checks if bool(check["exp_alerts"]) is fires}


def test_there_is_a_case_for_every_alert_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert outcomes(fires=True) == ROWS.keys()
    assert outcomes(fires=False) == ROWS.keys()


def summarized() -> Object:
    """The rules without the runbooks, which every expected alert would have to repeat."""
    given = spec()
    for rule in [rule for group in given["groups"] for rule in group["rules"]]:
        del rule["annotations"]["runbook"]
    return given


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool on this machine")
@pytest.mark.parametrize("what", [["check", "rules", "--lint-fatal", "rules.yaml"], ["test", "rules", "cases.yaml"]])
def test_prometheus_reads_the_rules_and_fires_them_as_the_cases_say(what: list[str], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec() if what[0] == "check" else summarized()))
    told = yaml.safe_load(CASES.read_text()) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(told))
    done = subprocess.run(["promtool", *what], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
