"""The database's migrations: before every process, once, and with nothing but the database's secret."""

from __future__ import annotations

import pytest

from tests.charts.deployments import PROCESSES, Object, of, pod, rendered

SYNC_WAVE = "argocd.argoproj.io/sync-wave"


def wave(item: Object) -> int:
    return int(item["metadata"].get("annotations", {}).get(SYNC_WAVE, "0"))


def test_migrations_run_between_what_they_need_and_every_process() -> None:
    job = wave(of("Job", "migrate"))
    assert {wave(of(kind, "migrate")) for kind in ("ServiceAccount", "NetworkPolicy")} == {-2}
    assert {wave(item) for item in rendered() if item["kind"] == "ExternalSecret"} == {-2}
    assert {wave(of("Deployment", process)) for process in PROCESSES} == {0}
    assert -2 < job < 0


def test_each_sync_runs_them_anew_and_keeps_the_last_runs_log() -> None:
    annotations = of("Job", "migrate")["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/hook"] == "Sync"
    assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"


def test_a_migration_that_cannot_work_ends() -> None:
    spec = of("Job", "migrate")["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (3, 900)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_they_run_as_an_account_of_their_own_that_knows_no_cluster() -> None:
    spec = pod("migrate", "Job")
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("migrate", False)
    assert of("ServiceAccount", "migrate")["automountServiceAccountToken"] is False


def test_they_are_told_the_databases_address_and_nothing_else() -> None:
    (container,) = pod("migrate", "Job")["containers"]
    assert [one["name"] for one in container["env"]] == ["POSTGRES_DSN"]
    assert container["args"] == ["migrate"]


def test_they_reach_names_and_the_database_and_are_called_by_nobody() -> None:
    spec = of("NetworkPolicy", "migrate")["spec"]
    assert (spec["policyTypes"], "ingress" in spec) == (["Ingress", "Egress"], False)
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 5432}


@pytest.mark.parametrize("process", PROCESSES)
def test_they_run_the_image_that_the_processes_run(process: str) -> None:
    images = {pod(process)["containers"][0]["image"], pod("migrate", "Job")["containers"][0]["image"]}
    assert len(images) == 1
