"""Argo CD's settings: they patch an installation by kustomize, and each has its reason beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.argocd.cells import ROOT, Object

SETTINGS = ROOT / "settings"
FILES = sorted(path for path in SETTINGS.glob("*.yaml") if path.stem != "kustomization")


def load(path: Path) -> Object:
    found: Object = yaml.safe_load(path.read_text())
    return found


def installation() -> list[Object]:
    """The names that the settings patch, as an installation has them."""
    return [
        {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "metadata": {"name": one["metadata"]["name"]},
            **({"spec": deployment(one["metadata"]["name"])} if one["kind"] == "Deployment" else {}),
        }
        for one in map(load, FILES)
    ]


def deployment(name: str) -> Object:
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": name,
        "image": "argocd",
        "args": ["/usr/local/bin/" + name],
        "env": [{"name": "A", "value": "1"}],
    }
    spec = {"containers": [container]}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    folder = tmp_path_factory.mktemp("cell")
    shutil.copytree(SETTINGS, folder / "settings")
    (folder / "install.yaml").write_text(yaml.safe_dump_all(installation()))
    (folder / "kustomization.yaml").write_text("resources: [install.yaml]\ncomponents: [settings]\nnamespace: argocd\n")
    kubectl = Path(sys.executable).parent / "kubectl"
    out = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=True).stdout
    return {one["metadata"]["name"]: one for one in yaml.safe_load_all(out)}


def test_every_settings_file_is_applied_over_the_installation(patched: dict[str, Object]) -> None:
    for path in FILES:
        wanted = load(path)
        found = patched[wanted["metadata"]["name"]]
        kubernetes_validate.validate(found, "1.37", strict=True)
        assert found["metadata"]["namespace"] == "argocd"
        assert wanted.get("data") == found.get("data")


def test_applications_of_a_set_are_written_twenty_at_a_time(patched: dict[str, Object]) -> None:
    [container] = patched["argocd-applicationset-controller"]["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["ARGOCD_APPLICATIONSET_CONTROLLER_CONCURRENT_APPLICATION_UPDATES"] == "20"
    assert (told["A"], container["args"]) == ("1", ["/usr/local/bin/argocd-applicationset-controller"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_value_is_text_as_a_config_map_needs_it(path: Path) -> None:
    assert all(isinstance(value, str) for value in load(path).get("data", {}).values())


def test_nothing_is_deleted_because_it_is_absent() -> None:
    params = load(SETTINGS / "argocd-cmd-params-cm.yaml")["data"]
    assert params["applicationsetcontroller.policy"] == "create-update"
    assert params["applicationsetcontroller.enable.policy.override"] == "false"


def test_nobody_but_break_glass_may_delete_or_change_an_application() -> None:
    lines = load(SETTINGS / "argocd-rbac-cm.yaml")["data"]["policy.csv"].splitlines()
    rules = [[part.strip() for part in line.split(",")] for line in lines if line.startswith("p,")]
    strong = {rule[1] for rule in rules if rule[3] in {"*", "create", "update", "delete", "override"}}
    assert strong == {"role:break-glass"}
    assert load(SETTINGS / "argocd-rbac-cm.yaml")["data"]["policy.default"] == ""


def test_no_health_check_calls_a_library_that_argo_cd_does_not_open_for_it() -> None:
    """Only Lua's base, table and a little of os are there; a check that calls another stops every sync of its kind."""
    settings = load(SETTINGS / "argocd-cm.yaml")["data"]
    checks = {name: text for name, text in settings.items() if ".customizations.health." in name}
    assert checks
    for text in checks.values():
        assert not re.search(r"\b(string|math|io|coroutine|debug)\.|:(match|find|gsub|sub|format|len)\(", text)
