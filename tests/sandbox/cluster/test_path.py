"""From a commit to a process and back, through the official client only."""

from __future__ import annotations

import os
import stat
import subprocess
from functools import partial

import pytest
from kubernetes import client, watch

from controller.core import ids
from controller.gitops import manifests
from controller.sandbox.cluster.admission import APPROVED
from tests.sandbox.cluster.running import ARGO, CELL, REFRESH, Cluster, alive, box, until


def gone(cluster: Cluster, box_id: str) -> bool:
    listed = cluster.core.list_namespace(field_selector=f"metadata.name=box-{box_id}").items
    return not listed


def test_a_committed_box_becomes_a_listening_process_of_another_account(cluster: Cluster) -> None:
    box_id = cluster.running(note="hello")
    told = cluster.about(box_id)
    assert told["uid"] == (10001 if os.geteuid() == 0 else os.geteuid())
    assert os.geteuid() != 0 or told["groups"] == []
    assert told["env"]["DATA"] == str(cluster.volume(box_id))
    with open(told["env"]["SETTINGS"]) as file:
        assert file.read() == "hello"


def test_a_container_gets_its_secret_and_nothing_of_our_environment(cluster: Cluster) -> None:
    box_id = cluster.running()
    env = cluster.about(box_id)["env"]
    assert env["TOKEN"] == "oc_agent_secret"
    assert "OUR_OWN" not in env
    assert (f"/v1/cells/{CELL}/boxes/{box_id}/agent/1", "Bearer cell-secret") in cluster.secrets.asked


def test_a_containers_output_is_readable_by_its_owner_only(cluster: Cluster) -> None:
    box_id = cluster.running()
    [log] = (cluster.data / "logs" / f"box-{box_id}").glob("*.log")
    assert log.read_text() == "agent says hello\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_watcher_sees_the_steps_of_a_sync_in_order(cluster: Cluster) -> None:
    box_id, seen = ids.new(), list[str]()
    newest = cluster.argo("applications")["metadata"]["resourceVersion"]
    cluster.commit(box_id)
    stream = watch.Watch()
    for event in stream.stream(
        cluster.custom.list_namespaced_custom_object, *ARGO, "applications",
        resource_version=newest, timeout_seconds=30, field_selector=f"metadata.name={box_id}",
    ):  # fmt: skip
        seen.append(step(event["object"]))
        if seen[-1] == "Synced/Healthy Succeeded":
            stream.stop()
    first_times = list(dict.fromkeys(seen))
    assert first_times[:4] == [
        "/ ",
        "OutOfSync/Missing ",
        "OutOfSync/Missing operation ",
        "OutOfSync/Missing operation Running",
    ]
    assert first_times[-1] == "Synced/Healthy Succeeded"
    assert "Synced/Progressing Succeeded" in first_times


def step(application: dict[str, object]) -> str:
    status = application.get("status") or {}
    assert isinstance(status, dict)
    states = f"{status.get('sync', {}).get('status', '')}/{status.get('health', {}).get('status', '')}"
    operation = "operation " if "operation" in application else ""
    return f"{states} {operation}{status.get('operationState', {}).get('phase', '')}"


def test_the_refresh_annotation_is_consumed(cluster: Cluster) -> None:
    box_id = cluster.running()
    name = manifests.application_set(box_id)
    until(lambda: REFRESH not in cluster.application_set(name)["metadata"].get("annotations", {}))


def test_suspending_ends_the_process_and_keeps_the_volume(cluster: Cluster) -> None:
    box_id = cluster.running()
    pid = cluster.about(box_id)["pid"]
    cluster.commit(box_id, state="suspended", rev=2)
    until(lambda: cluster.settled(box_id, 2) and not cluster.pods(box_id))
    assert not alive(pid)
    assert (cluster.volume(box_id) / "journal").read_text() == f"start {pid}\nend {pid}\n"


def test_destroying_without_approval_is_refused_and_says_so(cluster: Cluster) -> None:
    box_id = cluster.running(state="condemned")
    cluster.commit(box_id, state="destroyed", rev=2)
    until(lambda: cluster.application(box_id)["status"].get("operationState", {}).get("retryCount"))
    until(lambda: cluster.application(box_id)["status"]["conditions"])  # the next look at it says so
    status = cluster.application(box_id)["status"]
    failed = [one for one in status["operationState"]["syncResult"]["resources"] if one["status"] == "SyncFailed"]
    assert [one["kind"] for one in failed] == ["Namespace"]
    assert "SyncError" in [one["type"] for one in status["conditions"]]
    assert not gone(cluster, box_id)
    with pytest.raises(client.ApiException) as refusal:
        cluster.core.delete_namespace(f"box-{box_id}")
    assert refusal.value.status == 403


def test_destroying_with_approval_removes_namespace_process_and_data(cluster: Cluster) -> None:
    box_id = cluster.running()
    pid = cluster.about(box_id)["pid"]
    cluster.commit(box_id, rev=2, approved=True)
    until(lambda: cluster.settled(box_id, 2))
    assert cluster.annotations(box_id)[APPROVED] == "true"
    cluster.commit(box_id, state="destroyed", rev=3)
    until(lambda: cluster.settled(box_id, 3) and gone(cluster, box_id))
    assert not alive(pid)
    until(lambda: not cluster.volume(box_id).exists())
    assert cluster.application(box_id)["status"]["resources"] == []


def test_an_approval_that_is_taken_back_goes_from_the_namespace(cluster: Cluster) -> None:
    box_id = cluster.running(state="condemned", approved=True)
    cluster.commit(box_id, state="condemned", rev=2)
    until(lambda: cluster.settled(box_id, 2))
    assert APPROVED not in cluster.annotations(box_id)


def test_a_removed_file_deletes_nothing(cluster: Cluster) -> None:
    box_id = cluster.running(state="suspended")
    path, tip = manifests.path(CELL, box_id), b"commit refs/heads/main\n"
    tip += b"committer ops <ops@example.com> 1790000000 +0000\ndata 6\nremove\nfrom refs/heads/main^0\n"
    subprocess.run(
        ["git", "fast-import", "--quiet"],
        cwd=cluster.remote,
        input=tip + f"D {path}\n".encode(),
        check=True,
        timeout=30,
    )
    cluster.refresh(manifests.application_set(box_id))
    name = manifests.application_set(box_id)
    until(lambda: not cluster.application_set(name)["metadata"].get("annotations"))
    assert cluster.settled(box_id)
    assert not gone(cluster, box_id)


def test_drift_is_put_back(cluster: Cluster) -> None:
    box_id = cluster.running(state="suspended", note="true")
    space = f"box-{box_id}"
    cluster.core.patch_namespaced_config_map("settings", space, {"data": {"note": "false", "more": "kept"}})
    until(lambda: cluster.core.read_namespaced_config_map("settings", space).data == {"note": "true", "more": "kept"})
    cluster.core.delete_namespaced_config_map("settings", space)
    until(lambda: [m for m in cluster.core.list_namespaced_config_map(space).items if m.data == {"note": "true"}])


def test_an_unknown_release_is_a_comparison_error(cluster: Cluster) -> None:
    box_id = ids.new()
    cluster.commit(box_id, release="2030.1.1")
    until(lambda: "conditions" in cluster.application(box_id).get("status", {}))
    status = cluster.application(box_id)["status"]
    assert (status["sync"]["status"], status["conditions"][0]["type"]) == ("Unknown", "ComparisonError")


@pytest.mark.parametrize("broken", [{"mode": "crash"}, {"command": "/opt/openclaw/bin/missing"}])
def test_a_bad_container_backs_off_and_degrades_its_box(cluster: Cluster, broken: dict[str, str]) -> None:
    box_id = ids.new()
    cluster.commit(box_id, **broken)
    health = until(lambda: cluster.application(box_id).get("status", {}).get("health", {}).get("status") == "Degraded")
    assert health
    until(lambda: cluster.waiting(box_id) == "CrashLoopBackOff")
    [container] = cluster.pods(box_id)[0].status.container_statuses
    assert container.restart_count >= 1
    assert container.last_state.terminated.exit_code == (3 if "mode" in broken else 128)


def runs(cluster: Cluster, box_id: str, rev: int) -> bool:
    return cluster.settled(box_id, rev) and bool(cluster.about(box_id)["env"]["NOTE"] == f"template-{rev}")


def test_two_pods_of_one_box_never_overlap(cluster: Cluster) -> None:
    box_id = cluster.running()
    for rev in range(2, 5):
        cluster.commit(box_id, rev=rev, note=f"template-{rev}")
        until(partial(runs, cluster, box_id, rev))
    lines = [line.split() for line in (cluster.volume(box_id) / "journal").read_text().splitlines()]
    assert [word for word, _ in lines] == ["start", "end"] * 3 + ["start"]
    assert all(lines[at][1] == lines[at + 1][1] for at in range(0, 6, 2))


def test_a_pod_waits_for_its_secret_and_starts_once_the_endpoint_is_back(own_cluster: Cluster) -> None:
    own_cluster.secrets.open = False
    box_id = ids.new()
    own_cluster.commit(box_id)
    until(lambda: own_cluster.application(box_id))
    until(lambda: own_cluster.waiting(box_id) == "CreateContainerConfigError")
    own_cluster.secrets.open = True
    until(lambda: own_cluster.settled(box_id))


def test_one_bad_file_stops_its_set_until_it_is_gone(own_cluster: Cluster) -> None:
    box_id = ids.new()
    name, folder = manifests.application_set(box_id), manifests.path(CELL, box_id).rpartition("/")[0]
    own_cluster.commit_file(f"{folder}/bad.yaml", b"spec: [")
    own_cluster.commit(box_id)

    def error() -> dict[str, str]:
        conditions: list[dict[str, str]] = own_cluster.application_set(name).get("status", {}).get("conditions", [{}])
        return conditions[0]

    until(lambda: error().get("status") == "True" and "bad.yaml" in error()["message"])
    assert own_cluster.application(box_id) == {}
    own_cluster.commit_file(f"{folder}/bad.yaml", box("other", state="suspended"))
    own_cluster.refresh(name)
    until(lambda: own_cluster.settled(box_id))


def test_a_stop_ends_every_process_and_prints_nothing(own_cluster: Cluster) -> None:
    pid = own_cluster.about(own_cluster.running())["pid"]
    assert own_cluster.stop() == b""
    assert own_cluster.process.returncode == 0
    assert not alive(pid)


def test_a_restarted_cluster_runs_each_box_once_on_its_old_volume(own_cluster: Cluster) -> None:
    box_id = own_cluster.running()
    first = own_cluster.about(box_id)["pid"]
    own_cluster.stop()
    own_cluster.start()
    until(lambda: own_cluster.pods(box_id) and own_cluster.pods(box_id)[0].status.phase == "Running")
    until(lambda: (own_cluster.volume(box_id) / "journal").read_text().count("start") == 2)
    until(lambda: own_cluster.settled(box_id))
    assert own_cluster.about(box_id)["pid"] != first


def test_a_process_that_survived_a_killed_cluster_is_ended_before_its_box_starts_again(own_cluster: Cluster) -> None:
    box_id = own_cluster.running(mode="stubborn")
    first = own_cluster.about(box_id)["pid"]
    own_cluster.kill()
    assert alive(first)
    own_cluster.start()
    assert not alive(first)
    until(lambda: (own_cluster.volume(box_id) / "journal").read_text().count("start") == 2)


def test_a_killed_cluster_leaves_no_orphan(own_cluster: Cluster) -> None:
    pid = own_cluster.about(own_cluster.running())["pid"]
    own_cluster.kill()
    until(lambda: not alive(pid))
