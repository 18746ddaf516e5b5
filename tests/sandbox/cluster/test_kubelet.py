"""The kubelet's parts: what a container becomes, who boots when, and what is left of an earlier life."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.core.errors import NotFound
from controller.sandbox.cluster import containers
from controller.sandbox.cluster.kubelet import Kubelet
from controller.sandbox.cluster.leftovers import Leftovers
from controller.sandbox.cluster.pods import Node
from controller.sandbox.cluster.probes import Probe
from controller.sandbox.cluster.resources import EVENT, POD, PVC, Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.processes import free_port
from tests.sandbox.cluster.running import alive
from tests.sandbox.cluster.waiting import until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
BOOT_PLACE = 2.0
CRASHING = "CrashLoopBackOff"
NEVER = {"httpGet": {"path": "/", "port": "gateway"}, "periodSeconds": 60, "failureThreshold": 5}


def pod(name: str = "agent", **container: Any) -> Object:
    made = {"name": "agent", "command": SLEEP, **container}
    meta = {"name": name, "namespace": "here"}
    spec = {"containers": [made], "terminationGracePeriodSeconds": 2}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "objects.sqlite")
    made.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "here"}, "status": {"phase": "Active"}})
    return made


@pytest.fixture
async def kubelet(tmp_path: Path, store: Store) -> AsyncIterator[Kubelet]:
    made = Kubelet(store, Node(tmp_path, tmp_path / "image", None, boot_place=timedelta(seconds=BOOT_PLACE)))
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert list((tmp_path / "pids").glob("*")) == []


def claim(**spec: Any) -> Object:
    meta = {"name": "data", "namespace": "here"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


async def test_a_pod_waits_for_a_claim_that_is_made_from_a_snapshot_until_that_has_its_data(
    store: Store, kubelet: Kubelet, tmp_path: Path
) -> None:
    store.create(claim(dataSource={"kind": "VolumeSnapshot", "name": "one"}))
    made = pod(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    made["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    store.create(made)
    await until(lambda: "volume_unbound" in str(store.list(POD)))
    assert not (tmp_path / "volumes/claims/here/data").exists()
    store.update_status(PVC, "here", "data", {"phase": "Bound"})
    await until(lambda: phases(store) == ["Running"])
    store.delete(POD, "here", "agent")
    await until(lambda: not store.list(POD))


def phases(store: Store) -> list[str]:
    return sorted(one["status"]["phase"] for one in store.list(POD))


async def test_a_third_pod_waits_until_one_of_two_has_booted(store: Store, kubelet: Kubelet) -> None:
    for name in ("a", "b", "c"):
        store.create(pod(name, startupProbe=NEVER))
    await until(lambda: phases(store) == ["Pending", "Running", "Running"])
    [waiting] = [one["metadata"]["name"] for one in store.list(POD) if one["status"]["phase"] == "Pending"]
    booting = next(name for name in "abc" if name != waiting)
    store.delete(POD, "here", booting)
    await until(lambda: (store.get(POD, "here", waiting) or {})["status"]["phase"] == "Running")


async def test_a_pod_that_waits_for_its_turn_can_be_deleted(store: Store, kubelet: Kubelet) -> None:
    for name in ("a", "b", "c"):
        store.create(pod(name, startupProbe=NEVER))
    await until(lambda: phases(store) == ["Pending", "Running", "Running"])
    [waiting] = [one["metadata"]["name"] for one in store.list(POD) if one["status"]["phase"] == "Pending"]
    store.delete(POD, "here", waiting)
    await until(lambda: store.get(POD, "here", waiting) is None)


async def test_pods_that_never_come_up_do_not_keep_others_from_booting(store: Store, kubelet: Kubelet) -> None:
    for name in ("a", "b", "c"):
        store.create(pod(name, startupProbe=NEVER))
    await until(lambda: phases(store) == ["Running", "Running", "Running"])


async def test_a_volume_that_cannot_be_made_is_the_trouble_of_its_pod_alone(
    store: Store, kubelet: Kubelet, tmp_path: Path
) -> None:
    (tmp_path / "volumes").write_text("a file where the folder should be")
    made = pod("bad", volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}])
    made["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    store.create(made)
    store.create(pod())
    await until(lambda: "Ready" in ready(store))
    (tmp_path / "volumes").unlink()
    await until(lambda: phases(store) == ["Running", "Running"])


async def test_no_process_is_started_for_a_pod_that_is_gone_already(
    store: Store, kubelet: Kubelet, tmp_path: Path
) -> None:
    store.create(pod("short"))
    store.delete(POD, "here", "short", now=True)
    store.create(pod())
    await until(lambda: "Ready" in ready(store))
    assert len(list((tmp_path / "pids").iterdir())) == 1


async def test_a_container_that_ignores_its_end_during_boot_is_killed_and_leaves_its_place(
    store: Store, kubelet: Kubelet
) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    for name in ("a", "b", "c", "d"):
        store.create(pod(name, command=[sys.executable, "-c", deaf], startupProbe=NEVER))
    await until(lambda: phases(store).count("Running") == 2)
    for one in store.list(POD):
        if one["status"]["phase"] == "Running":
            store.delete(POD, "here", one["metadata"]["name"])
    await until(lambda: phases(store) == ["Running", "Running"])


async def test_a_container_without_probes_is_ready_while_it_runs(store: Store, kubelet: Kubelet) -> None:
    store.create(pod())
    await until(lambda: ready(store) == {"PodScheduled", "Initialized", "ContainersReady", "Ready"})


def ready(store: Store) -> set[str]:
    status = (store.get(POD, "here", "agent") or {})["status"]
    return {one["type"] for one in status.get("conditions", []) if one["status"] == "True"}


async def test_a_failed_liveness_probe_restarts_the_container(store: Store, kubelet: Kubelet) -> None:
    store.create(pod(livenessProbe={**NEVER, "periodSeconds": 0.1, "failureThreshold": 2}))
    await until(lambda: status_of_container(store).get("restartCount", 0) >= 1)
    assert status_of_container(store)["lastState"]["terminated"]["exitCode"] == 128 + 15


def status_of_container(store: Store) -> Any:
    return (store.get(POD, "here", "agent") or {})["status"].get("containerStatuses", [{}])[0]


async def test_the_first_restart_comes_at_once_and_the_next_after_a_back_off(store: Store, kubelet: Kubelet) -> None:
    store.create(pod(command=["/bin/sh", "-c", "echo life; exit 3"]))
    await until(lambda: status_of_container(store).get("state", {}).get("waiting", {}).get("reason") == CRASHING)
    told = status_of_container(store)
    assert (told["restartCount"], told["state"]["waiting"]["message"]) == (2, "back-off 10s restarting agent")
    assert told["lastState"]["terminated"].items() >= {"exitCode": 3, "reason": "Error"}.items()
    assert {"startedAt", "finishedAt"} <= told["lastState"]["terminated"].keys()


async def test_the_output_of_the_life_before_is_kept(store: Store, kubelet: Kubelet, tmp_path: Path) -> None:
    store.create(pod(command=["/bin/sh", "-c", "echo $$; exit 3"]))
    await until(lambda: status_of_container(store).get("restartCount", 0) >= 2)
    lives = [(tmp_path / "logs" / "here" / name).read_text() for name in ("agent.previous.log", "agent.log")]
    assert lives[0] != lives[1]


async def test_a_pod_is_told_of_in_events(store: Store, kubelet: Kubelet) -> None:
    store.create(pod(livenessProbe={**NEVER, "periodSeconds": 0.1, "failureThreshold": 1}))
    wanted = {"Scheduled", "Started", "Unhealthy", "Killing"}
    await until(lambda: wanted <= {event["reason"] for event in store.list(EVENT)})


@pytest.mark.parametrize(("successes", "rises"), [(1, [True, True]), (2, [False, True])])
async def test_a_probe_is_up_after_its_successes_in_a_row(successes: int, rises: list[bool]) -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=answers) as http:
        probe = Probe(http, {"httpGet": {"path": "/"}, "successThreshold": successes}, 1)
        assert [await probe.rises() for _ in range(2)] == rises


@pytest.mark.parametrize(
    ("value", "becomes"),
    [("/data", "/v/d"), ("/data/x", "/v/d/x"), ("/database", "/database"), ("see /data", "see /data"),
     ("/opt/openclaw/bin/node", "/img/bin/node"), ("/data/deep/y", "/v/deep/y")],
)  # fmt: skip
def test_a_value_that_begins_with_a_mount_is_mapped(value: str, becomes: str) -> None:
    mounts = {"/data": Path("/v/d"), "/data/deep": Path("/v/deep")}
    made = containers.command(pod(), {"X": value}, mounts, Path("/img"), 1, Path("log"), None)
    assert made.env["X"] == becomes


@pytest.mark.parametrize(("port_name", "becomes"), [("gateway", "4711"), ("metrics", "18789")])
def test_only_a_port_named_gateway_is_replaced(port_name: str, becomes: str) -> None:
    one = pod(ports=[{"name": port_name, "containerPort": 18789}])
    made = containers.command(one, {containers.PORT_VARIABLE: "18789"}, {}, Path("/img"), 4711, Path("log"), None)
    assert made.env[containers.PORT_VARIABLE] == becomes


def test_a_secret_that_is_not_there_is_named_and_never_empty(store: Store) -> None:
    reference = {"name": "agent-v1", "key": "token"}
    with pytest.raises(NotFound, match="agent-v1"):
        containers.environment(store, pod(env=[{"name": "T", "valueFrom": {"secretKeyRef": reference}}]))


async def test_a_process_of_an_earlier_life_is_killed_and_forgotten(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(*SLEEP, start_new_session=True)
    Leftovers(tmp_path).remember(child.pid)
    await Leftovers(tmp_path).end()
    assert await child.wait() == -9
    assert list(tmp_path.iterdir()) == []


async def test_children_of_a_dead_process_are_killed_too(tmp_path: Path) -> None:
    told, notes = tmp_path / "told", tmp_path / "pids"
    script = f"sleep 600 & echo $! > {told}; exec sleep 600"
    child = await asyncio.create_subprocess_exec("sh", "-c", script, start_new_session=True)
    Leftovers(notes).remember(child.pid)
    await until(lambda: told.exists() and told.read_text().strip())
    child.kill()
    await child.wait()
    await Leftovers(notes).end()
    assert not alive(int(told.read_text()))


async def test_a_pid_that_belongs_to_another_now_is_let_be(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEP, start_new_session=True)
    Leftovers(tmp_path).remember(child.pid)
    (tmp_path / str(child.pid)).write_text("1")
    await Leftovers(tmp_path).end()
    assert child.poll() is None
    child.kill()
    child.wait(10)


async def test_a_probe_gives_up_at_its_threshold_only() -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        probe = Probe(http, {"httpGet": {"path": "/"}, "failureThreshold": 3}, free_port())
        assert [await probe.holds() for _ in range(4)] == [True, True, False, False]


async def test_files_of_a_config_map_can_be_written_again_by_a_restart(
    store: Store, kubelet: Kubelet, tmp_path: Path
) -> None:
    meta = {"name": "settings", "namespace": "here"}
    store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"note": "one"}})
    made = pod(command=["/bin/false"], volumeMounts=[{"name": "settings", "mountPath": "/etc/settings"}])
    made["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}]
    store.create(made)
    await until(lambda: status_of_container(store).get("restartCount", 0) >= 2)
    [file] = tmp_path.glob("volumes/pods/*/settings/note")
    assert os.stat(file).st_mode & 0o777 == 0o444
