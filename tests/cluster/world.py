"""One cell on a real cluster: what ``argocd/`` has is applied, and the controller's own code drives it by commits.

Real are the writer, the adoption of people's commits, the watcher, the secret endpoint, Postgres and Git. Of the queue
only the bell is there: what a ring would bring about is called by name.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.secrets import app as secret_endpoint
from api.settings import SecretEndpointSettings
from controller.clients.kubernetes import ARGO_NAMESPACE, Cluster, ClusterSettings, namespace
from controller.core import clock, crypto
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings
from controller.domain import boxes, mint
from controller.domain.boxes import Box, BoxSettings
from controller.domain.caps import CapSettings
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import Mint, Why
from controller.domain.mint import Order
from controller.domain.plans import PlanName
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting, provisioning, watcher
from tests.argocd import cells
from tests.cluster import outside, rights
from tests.cluster.kube import ARGO, Kube, Object
from tests.cluster.trace import Stage, Trace
from tests.factories import PEPPER
from tests.faults.loops import Loop, until
from tests.gitops import remotes
from tests.gitops.hosts import HttpHost

CELL = "local"
FIRST, SECOND = "2026.11.1", "2026.11.2"
"""The releases that the chart repository has, with the same content."""
POLL_SECONDS = 3600
"""Argo CD looks by itself once an hour: what arrives earlier came by the writer's refresh."""
PATIENCE = 180.0
LAGGING = timedelta(seconds=20)
UNCAPPED = CapSettings(cap_endings_a_batch=0, cap_endings_an_hour=0, cap_dunning_an_hour=0)
Verb = Callable[[AsyncSession, Box], Awaitable[Job | None]]


class World:
    """Everything, from its making to ``close``."""

    def __init__(self, kubeconfig: Path, folder: Path, dsn: str, queue_url: str) -> None:
        self.kube = Kube(kubeconfig)
        rights.grant(self.kube)
        # the writer's half and the watcher's, each with no more than its own rights
        self.cluster, followed = (
            Cluster(ClusterSettings(kubeconfig=rights.kubeconfig(self.kube, kubeconfig, process, folder)))
            for process in ("writer", "watcher")
        )
        self.database = Database(DatabaseSettings(postgres_dsn=SecretStr(dsn)))
        self.mint = Mint(Sealer(crypto.new_key()), PEPPER, BoxSettings(cell=CELL, box_release=FIRST))
        (folder / "git").mkdir()
        self.remote = remotes.create(folder / "git/gitops.git")
        settings = GitSettings(git_remote=str(self.remote), git_clone_dir=folder / "clone.git")
        self.repository = Repository(settings)
        self.host = HttpHost(folder / "git", listen=outside.LISTEN, host=outside.HOST)
        self.trace = Trace(kubeconfig)
        self.loop, self._open = Loop(), ExitStack()
        self._open.enter_context(self.host.running())
        outside.publish(folder / "charts", FIRST, SECOND)
        charts_url = self._open.enter_context(outside.files(folder / "charts"))
        token = secrets.token_urlsafe(24)
        endpoint = SecretEndpointSettings(secrets_token=SecretStr(token), cell=CELL)
        vault = Database(DatabaseSettings(postgres_dsn=SecretStr(dsn)))
        served = secret_endpoint.create(endpoint, vault, self.mint.sealer)
        self.vault_away = threading.Event()
        """While it is set, the secret endpoint answers nothing but 503."""
        served.add_middleware(outside.Away, away=self.vault_away)
        secrets_url = self._open.enter_context(outside.app(served))
        self.objects = cells.render(_values(f"{self.host.url}/gitops.git", charts_url, secrets_url))
        self.kube.apply(*_settings(), *_credentials(self.host, token))
        self.kube.apply(*sorted(self.objects, key=lambda one: str(one["kind"]) == "ApplicationSet"))
        self._stop = asyncio.Event()
        bell = Doorbell(QueueSettings(queue_redis_url=SecretStr(queue_url)))
        self._tasks = [
            self.loop.call(_begun(watcher.run(self.database, followed, bell, self._stop, CELL))),
            self.loop.call(_begun(self._ask_again())),
        ]
        self.look()

    def close(self) -> None:
        """Stop our half; the cluster's is deleted by ``clean``."""
        self.loop.loop.call_soon_threadsafe(self._stop.set)
        self._tasks[1].cancel()
        self.loop.call(_ended(self._tasks))
        self.trace.close()
        self.loop.call(self.database.close())
        self._open.close()
        self.loop.close()

    def buy(self, count: int = 1, plan: PlanName = PlanName.STARTER) -> list[str]:
        """Boxes whose jobs wait for the writer."""

        async def make() -> list[str]:
            made = []
            for _ in range(count):
                async with self.database.transaction() as session:
                    order = Order(plan=plan)
                    minted = await mint.create(session, self.mint, order, Why("tests"), niches=frozenset({"general"}))
                    made.append(minted.box_id)
            return made

        return self.loop.call(make(), PATIENCE)

    def change(self, box_id: str, verb: Verb) -> int:
        """The rev that ``verb`` gives the box; its job waits for the writer."""

        async def act() -> int:
            async with self.database.transaction() as session:
                job = await verb(session, await boxes.get(session, box_id, lock=True))
                assert job is not None
                return job.rev

        return self.loop.call(act())

    def write(self) -> None:
        """The writer's work: every waiting job into Git, and Argo CD told."""
        written = provisioning.write_commits(self.database, self.repository, self.cluster, allowed=UNCAPPED)
        self.loop.call(written, PATIENCE)

    def look(self) -> None:
        """What people pushed is adopted or put right, and confirmed."""

        async def work() -> None:
            touched = await adopting.adopt(self.database, self.repository, self.mint)
            await provisioning.refresh(self.cluster, touched)

        self.loop.call(work(), PATIENCE)
        self.write()

    def settled(self, *box_ids: str, seconds: float = PATIENCE) -> dict[str, int]:
        """The newest rev of each of the boxes, once the watcher has recorded that the cluster runs it."""
        until(lambda: not self.behind(box_ids), "the cluster runs what Git says", seconds)
        return {box_id: self._newest(box_id).rev for box_id in box_ids}

    def behind(self, box_ids: tuple[str, ...]) -> list[tuple[str, str, int, str]]:
        """The boxes' jobs that the watcher has not recorded as synced."""

        async def read() -> list[tuple[str, str, int, str]]:
            query = select(Job).where(Job.box_id.in_(box_ids), Job.state.not_in([JobState.SYNCED, JobState.DONE]))
            async with self.database.transaction() as session:
                return [(job.box_id, job.verb, job.rev, job.state) for job in await session.scalars(query)]

        return self.loop.call(read())

    def run(self, box_id: str, verb: Verb) -> None:
        """The verb, from the job to the cluster."""
        self.change(box_id, verb)
        self.write()
        self.settled(box_id)

    def live(self, plan: PlanName = PlanName.STARTER) -> str:
        """A box that runs."""
        [box_id] = self.buy(1, plan)
        self.write()
        self.settled(box_id)
        return box_id

    def legs(self, revs: dict[str, int]) -> dict[str, list[float]]:
        """How long each leg took of these boxes' revs."""
        for box_id, rev in revs.items():
            job = self._newest(box_id)
            assert job.rev == rev
            assert job.committed_at is not None
            assert job.synced_at is not None
            self.trace.note(box_id, rev, Stage.PUSHED, job.committed_at.timestamp())
            self.trace.note(box_id, rev, Stage.RECORDED, job.synced_at.timestamp())
        return self.trace.legs(revs)

    def refreshed(self, name: str) -> Object:
        """The ApplicationSet, once Argo CD has answered a refresh that begins now."""
        self.cluster.refresh(name)
        until(lambda: self._answered(name), f"Argo CD answers the refresh of {name}", PATIENCE)
        return self.kube.get("ApplicationSet", name, ARGO)

    def compared(self, box_id: str) -> Object:
        """The box's Application, once Argo CD has compared it anew."""
        name = "argocd.argoproj.io/refresh"
        self.kube.patch("Application", box_id, {"metadata": {"annotations": {name: "normal"}}}, ARGO)
        until(lambda: name not in (self.application(box_id)["metadata"].get("annotations") or {}), "it is compared")
        return self.application(box_id)

    def application(self, box_id: str) -> Object:
        """The box's Application."""
        return self.kube.get("Application", box_id, ARGO)

    def inside(self, kind: str, box_id: str, name: str) -> Object:
        """An object in the box's namespace."""
        return self.kube.get(kind, name, namespace(box_id))

    def pods(self, box_id: str) -> int:
        """How many pods the box has."""
        return len(self.kube.list("Pod", namespace(box_id)))

    def path(self, box_id: str) -> str:
        """The box's file."""
        return manifests.path(CELL, box_id)

    def content(self, box_id: str) -> bytes:
        """The box's file at ``main``."""
        return remotes.git(self.remote, "show", f"main:{self.path(box_id)}").encode() + b"\n"

    def _answered(self, name: str) -> bool:
        annotations = self.kube.get("ApplicationSet", name, ARGO)["metadata"].get("annotations") or {}
        return "argocd.argoproj.io/application-set-refresh" not in annotations

    def _newest(self, box_id: str) -> Job:
        async def read() -> Job:
            async with self.database.transaction() as session:
                query = select(Job).where(Job.box_id == box_id).order_by(Job.rev.desc()).limit(1)
                return (await session.scalars(query)).one()

        return self.loop.call(read())

    async def _ask_again(self) -> None:
        """The sweeper's part: a commit that is not live in time is told of once more."""
        while True:
            await asyncio.sleep(LAGGING.total_seconds() / 4)
            query = select(Job.box_id).where(Job.state == JobState.COMMITTED, Job.committed_at <= clock.now() - LAGGING)
            async with self.database.transaction() as session:
                lagging = await boxes.places(session, await session.scalars(query.distinct()))
            await provisioning.ask_again(self.cluster, lagging)


def clean(kube: Kube) -> None:
    """Delete every set, Application and box of the cluster, and return when they are gone."""
    for one in kube.list("ApplicationSet", ARGO):
        kube.delete("ApplicationSet", one["metadata"]["name"], ARGO)
    until(lambda: not kube.list("ApplicationSet", ARGO), "the sets go", PATIENCE)
    for one in kube.list("Application", ARGO):
        kube.delete("Application", one["metadata"]["name"], ARGO)
    approved = {"metadata": {"annotations": {"openclaw.cloud/destroy-approved": "true"}}}
    for one in kube.list("Namespace", label="openclaw.cloud/box"):
        kube.patch("Namespace", one["metadata"]["name"], approved)
        kube.delete("Namespace", one["metadata"]["name"])
    until(lambda: not kube.list("Namespace", label="openclaw.cloud/box"), "the boxes go", 3 * PATIENCE)


def _values(git: str, charts: str, secrets_url: str) -> Object:
    changed = {"git": {"url": git}, "charts": {"url": charts}, "secrets": {"url": secrets_url}}
    return {**cells.values(CELL), **changed, "poll_seconds": POLL_SECONDS}


def _settings() -> list[Object]:
    """The maps of ``argocd/settings``: an installation has them by kustomize, and here as well by name."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((cells.ROOT / "settings").glob("argocd-*cm.yaml"))]
    for one in found:
        one["metadata"]["namespace"] = ARGO_NAMESPACE
    return found


def _credentials(host: HttpHost, token: str) -> list[Object]:
    """The repository's password for Argo CD, the cell's token for External Secrets."""
    return [
        {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "gitops-repo", "namespace": ARGO,
                         "labels": {"argocd.argoproj.io/secret-type": "repository"}},
            "stringData": {"type": "git", "url": f"{host.url}/gitops.git", "username": host.user,
                           "password": host.password},
        },
        {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "cell-reader", "namespace": "external-secrets",
                         "labels": {"external-secrets.io/type": "webhook"}},
            "stringData": {"token": token},
        },
    ]  # fmt: skip


async def _begun(work: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(work)


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
