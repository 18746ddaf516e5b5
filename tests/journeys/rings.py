"""A small fleet under the real controller, API and charts, on Argo CD's stand-in and a node that only pretends.

Everything runs on the test's own event loop. A pod of a release in ``sick`` never gets ready; every other one is ready
once its volume has its data, writes its release there, and its agent says so to the API with the box's own token.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.errors import CloudError
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import boxes, jobs
from controller.domain.boxes import Box
from controller.gitops import manifests
from controller.gitops.manifests import Manifest
from controller.gitops.repository import GitSettings, Repository
from controller.sandbox.cluster import api, cell_chart, podstatus, volumes
from controller.sandbox.cluster.argo_sets import Sets
from controller.sandbox.cluster.argo_sync import Sync
from controller.sandbox.cluster.checkout import Checkout
from controller.sandbox.cluster.deployments import Deployments
from controller.sandbox.cluster.render import Charts
from controller.sandbox.cluster.resources import EXTERNAL_SECRET, POD, PVC, VOLUME_SNAPSHOT, Object
from controller.sandbox.cluster.snapshots import Snapshots
from controller.sandbox.cluster.store import Event, Store, now
from controller.workers import adopting, provisioning, rollouts, watcher
from tests.api.house import House, bearer
from tests.gitops import remotes
from tests.sandbox.cluster.running import CELL_VALUES

BUNDLED = Path(__file__).resolve().parents[2] / "charts/box"
CELL = {**CELL_VALUES, "name": "local", "snapshot_class": "sandbox"}
PAUSE = 0.05


class Node:
    """What stands for kubelet, gateway and External Secrets."""

    def __init__(self, store: Store, house: House, volumes: Path) -> None:
        self._store, self._house, self._volumes = store, house, volumes
        self._tokens: dict[str, str] = {}
        self._waiting: list[Object] = []
        self.sick: set[str] = set()

    def folder(self, pod: Object) -> Path:
        """What the pod has at /data."""
        return self._volumes / "claims" / str(pod["metadata"]["namespace"]) / _claim(pod)

    def knows(self, box_id: str, token: str) -> None:
        """The box's agent has that token."""
        self._tokens[box_id] = token

    async def run(self) -> None:
        """Do at once what is asked of the node."""
        async for event in self._store.watch(POD, PVC, EXTERNAL_SECRET):
            meta = event.object["metadata"]
            if event.kind == EXTERNAL_SECRET and event.type == "ADDED":
                ready = {"conditions": [{"type": "Ready", "status": "True"}]}
                self._store.update_status(EXTERNAL_SECRET, meta["namespace"], meta["name"], ready)
            elif event.kind == PVC:
                await self._bind(event)
            elif event.kind == POD and "deletionTimestamp" in meta and event.type != "DELETED":
                self._store.delete(POD, meta["namespace"], meta["name"], now=True)
            elif event.kind == POD and event.type == "ADDED":
                await self._start(event.object)

    async def _bind(self, event: Event) -> None:
        claim, meta = event.object, event.object["metadata"]
        if event.type == "DELETED":
            shutil.rmtree(self._volumes / "claims" / meta["namespace"] / meta["name"])
        elif event.type == "ADDED" and not volumes.awaits_data(claim):
            self._store.update_status(PVC, meta["namespace"], meta["name"], {"phase": "Bound"})
        waiting, self._waiting = self._waiting, []
        for pod in waiting:
            await self._start(pod)

    async def _start(self, pod: Object) -> None:
        claim = self._store.get(PVC, pod["metadata"]["namespace"], _claim(pod))
        if claim is None or volumes.awaits_data(claim):
            self._waiting.append(pod)
            return
        env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        if env["OPENCLAW_RELEASE"] in self.sick:
            return
        folder = self.folder(pod)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "release").write_text(env["OPENCLAW_RELEASE"])
        container = {"name": "agent", "ready": True, "started": True, "restartCount": 0}
        podstatus.report(self._store, pod, {**container, "state": {"running": {"startedAt": now()}}}, phase="Running")
        report = {"profile": 1, "gateway": "stand-in", "release": env["OPENCLAW_RELEASE"]}
        token = self._tokens[env["OPENCLAW_BOX_ID"]]
        answer = await self._house.http.post("/internal/agent/ready", json=report, headers=bearer(token))
        assert answer.status_code == 204


def _claim(pod: Object) -> str:
    return str(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"])


class Fleet:
    """Boxes by ring, and everything between a request of ops and a pod."""

    def __init__(self, house: House, folder: Path, queue: QueueSettings, store: Store) -> None:
        self.house, self._store, self.published = house, store, folder / "charts"
        self.remote = remotes.create(folder / "gitops.git")
        self.node = Node(store, house, folder / "volumes")
        self._snapshots = Snapshots(store, folder / "volumes")
        self.charts = Charts(BUNDLED, self.published)
        self._bell = Doorbell(queue)
        self._writer = Repository(GitSettings(git_remote=str(self.remote), git_clone_dir=folder / "writer.git"))
        made = cell_chart.objects(cell_chart.values(CELL, str(self.remote), "http://secrets.test", 300))
        sets = [one for one in made if one["kind"] == "ApplicationSet"]
        self._argo = [
            Sets(store, Checkout(str(self.remote), folder / "argo.git"), CELL, sets, poll_seconds=300).run,
            Sync(store, self.charts, first_retry_seconds=0.02).run,
            Deployments(store).run,
            self.node.run,
            self._snapshots.run,
        ]
        self._stop = asyncio.Event()

    def publish(self, release: str, *, template: str | None = None) -> None:
        """A release of the real chart is in the repository, with a template more if asked."""
        chart = self.published / release
        shutil.copytree(BUNDLED, chart)
        text = (chart / "Chart.yaml").read_text()
        (chart / "Chart.yaml").write_text(text.replace("version: 2026.11.1", f"version: {release}"))
        if template is not None:
            (chart / "templates/more.yaml").write_text(template)

    async def box(self, ring: int) -> str:
        """The id of a box that was bought and put into that ring."""
        held = await self.house.box()
        self.node.knows(held.id, held.agent)
        async with self.house.database.transaction() as session:
            (job,) = await jobs.open_of(session, held.id)
            (await boxes.get(session, held.id)).ring = ring
            job.fields = {**job.fields, "ring": ring}
        return held.id

    async def row(self, box_id: str) -> Box:
        """The box as Postgres has it."""
        async with self.house.database.transaction() as session:
            return await boxes.get(session, box_id)

    def manifest(self, box_id: str) -> Manifest:
        """The box as Git has it."""
        content = remotes.git(self.remote, "show", f"main:{manifests.path('local', box_id)}")
        return manifests.read(content.encode())

    def kept(self, box_id: str) -> dict[str, str]:
        """What the release before wrote to the box's volume, by the names of its snapshots."""
        found = self._store.list(VOLUME_SNAPSHOT, f"box-{box_id}")
        return {one["metadata"]["name"]: (self._snapshots.folder(one) / "release").read_text() for one in found}

    def volumes(self, box_id: str) -> list[str]:
        """The box's volumes in the cluster, by name."""
        return [one["metadata"]["name"] for one in self._store.list(PVC, f"box-{box_id}")]

    def memory(self, box_id: str) -> Path:
        """What the box's agent remembers, in the volume that its pod has."""
        [pod] = self._store.list(POD, f"box-{box_id}")
        return self.node.folder(pod) / "memory.md"

    def upgraded(self) -> list[str]:
        """The boxes whose release a rollout changed, in the order of its commits."""
        form = "--format=%(trailers:key=Box,valueonly,separator=%x2c)"
        return remotes.git(self.remote, "log", "--reverse", "--grep=^Action: upgrade", form, "main").split()

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """What the API answers ops."""
        answer = await self.house.admin(method, f"/admin/rollouts{path}", json=body)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def runs(self, box_id: str, release: str) -> bool:
        """Whether the cluster runs the box's newest rev and its gateway reported from that release."""
        box = await self.row(box_id)
        return (box.synced_rev, box.ready_release, box.ill_since) == (box.rev, release, None)

    @asynccontextmanager
    async def going(self, kubeconfig: Path) -> AsyncIterator[None]:
        """The whole of it at work while the block runs."""
        cluster = Cluster(ClusterSettings(kubeconfig=kubeconfig))
        watching = asyncio.create_task(watcher.run(self.house.database, cluster, self._bell, self._stop, CELL["name"]))
        tasks = [asyncio.create_task(loop()) for loop in self._argo]
        tasks.append(asyncio.create_task(self._control(cluster)))
        try:
            yield
            assert not [task for task in [watching, *tasks] if task.done()], "a loop ended on its own"
        finally:
            self._stop.set()
            for task in tasks:
                task.cancel()
            # not cancelled: its thread follows the cluster until it is told to end
            await asyncio.gather(watching, *tasks, return_exceptions=True)

    async def _control(self, cluster: Cluster) -> None:
        """What the sweeper's and the writer's processes do, over and over."""
        database = self.house.database
        while True:
            try:
                await rollouts.step(database, self._bell)
                await adopting.adopt(database, self._writer, self.house.mint)
                await provisioning.write_commits(database, self._writer, cluster)
            except CloudError:
                pass  # the next round does it
            await asyncio.sleep(PAUSE)


@asynccontextmanager
async def serving(parts: api.Parts, store: Store, listener: socket.socket) -> AsyncIterator[None]:
    """The cluster's API on the listener while the block runs."""
    server = uvicorn.Server(uvicorn.Config(api.app(store, parts), log_config=None, timeout_graceful_shutdown=0))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


def kubeconfig(file: Path, port: int) -> Path:
    """A file that leads to the API on that port."""
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            }
        )
    )  # fmt: skip
    return file
