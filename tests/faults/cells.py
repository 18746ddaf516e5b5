"""A cell whose Argo CD applies at once and whose gateways boot in no time, behind the sandbox's Kubernetes API.

It reads ``main`` when an ApplicationSet is annotated, as the real one does, and does not poll in between, so that a
lost refresh shows. Every box that runs has a pod; its agent fetches its profile and reports ready with the box's own
token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from controller.clients.kubernetes import ARGO_NAMESPACE, namespace
from controller.core.errors import CloudError
from controller.gitops import manifests
from controller.gitops.manifests import Manifest
from controller.sandbox.cluster import api
from controller.sandbox.cluster.admission import APPROVED, BOX_LABEL
from controller.sandbox.cluster.resources import APPLICATION, APPLICATION_SET, NAMESPACE, POD, Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.processes import free_port
from tests.faults.loops import Loop

SHARDS = "0123456789abcdef"
TokenOf = Callable[[str, int], Awaitable[str]]
_ARGO = "argoproj.io/v1alpha1"


class Cell:
    """One cell; ``kubeconfig`` reaches its API."""

    def __init__(self, loop: Loop, folder: Path, git: Path, api_url: str, token_of: TokenOf) -> None:
        """``token_of`` gives a box's agent token by box id and version, as External Secrets would."""
        self._loop, self._git, self._api_url, self._token_of = loop, git, api_url, token_of
        self._tip = ""
        self._agents: dict[str, asyncio.Task[None]] = {}
        self.kubeconfig = folder / "kubeconfig"
        self.refused: list[str] = []
        """Error bodies that agents were given."""
        self._port = free_port()
        self._tasks: list[asyncio.Task[Any]] = []
        loop.call(self._open(folder))

    def applied(self) -> dict[str, int]:
        """The rev of every box that the cluster knows."""
        listed = self._loop.call(self._list(APPLICATION))
        return {one["metadata"]["name"]: _rev(one) for one in listed}

    def running(self) -> set[str]:
        """The boxes that have a pod."""
        return {one["metadata"]["namespace"].removeprefix("box-") for one in self._loop.call(self._list(POD))}

    def spaces(self) -> set[str]:
        """The boxes that have a namespace."""
        return {one["metadata"]["name"].removeprefix("box-") for one in self._loop.call(self._list(NAMESPACE))
                if BOX_LABEL in one["metadata"].get("labels", {})}  # fmt: skip

    def close(self) -> None:
        """Stop everything."""
        self._loop.call(self._close())

    async def _list(self, kind: Any) -> list[Object]:
        return list(self._store.list(kind))

    async def _open(self, folder: Path) -> None:
        self._store = Store(folder / "objects.sqlite")
        self._store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ARGO_NAMESPACE}})
        for shard in SHARDS:
            meta = {"name": f"boxes-{shard}", "namespace": ARGO_NAMESPACE}
            self._store.create({"apiVersion": _ARGO, "kind": "ApplicationSet", "metadata": meta})
        server = uvicorn.Server(
            uvicorn.Config(api.app(self._store), port=self._port, log_config=None, timeout_graceful_shutdown=0)
        )
        self._server = server
        self._http = httpx.AsyncClient(base_url=self._api_url, timeout=20)
        self._tasks = [asyncio.create_task(server._serve()), asyncio.create_task(self._follow())]
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self._port)))
        while not server.started:
            await asyncio.sleep(0.01)

    async def _close(self) -> None:
        self._server.should_exit = True
        for task in [*self._agents.values(), self._tasks[1]]:
            task.cancel()
        await asyncio.gather(*self._agents.values(), *self._tasks, return_exceptions=True)
        await self._http.aclose()
        self._store.close()

    async def _follow(self) -> None:
        async for event in self._store.watch(APPLICATION_SET):
            if event.type == "MODIFIED":
                await self._sync()

    async def _sync(self) -> None:
        tip = (await self._run("rev-parse", "main")).strip()
        if tip == self._tip:
            return
        since = [self._tip] if self._tip else []
        listing = ["diff", "--name-only", *since, tip] if since else ["ls-tree", "-r", "--name-only", tip]
        for path in (await self._run(*listing)).split():
            if path.startswith("cells/"):
                self._apply(manifests.read((await self._run("show", f"{tip}:{path}")).encode()))
        self._tip = tip

    async def _run(self, *arguments: str) -> str:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec("git", "-C", str(self._git), *arguments, stdout=pipe)
        out, _ = await child.communicate()
        return out.decode()

    def _apply(self, manifest: Manifest) -> None:
        box_id, spec = manifest.metadata.id, manifest.spec
        space = namespace(box_id)
        if spec.state == "destroyed":
            if self._store.get(NAMESPACE, None, space):
                self._store.delete(NAMESPACE, None, space)
        else:
            self._ensure_space(space, approved=spec.deletion == "approved")
            self._run_pod(box_id, spec.secrets.agent if spec.state in {"active", "standby"} else None)
        self._store_application(manifest)

    def _ensure_space(self, space: str, *, approved: bool) -> None:
        meta: Object = {"name": space, "labels": {BOX_LABEL: "1"}, "annotations": {APPROVED: str(approved).lower()}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        known = self._store.get(NAMESPACE, None, space)
        if known is None:
            self._store.create(body)
        else:
            self._store.update({**known, "metadata": {**known["metadata"], **meta}})

    def _run_pod(self, box_id: str, version: int | None) -> None:
        """A pod whose agent has token ``version``; none for None."""
        space = namespace(box_id)
        known = self._store.get(POD, space, "agent")
        if known is not None and known["metadata"]["labels"]["token"] != str(version):
            self._agents.pop(box_id).cancel()
            self._store.delete(POD, space, "agent", now=True)
            known = None
        if known is None and version is not None:
            meta = {"name": "agent", "namespace": space, "labels": {"token": str(version)}}
            self._store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
            self._agents[box_id] = asyncio.create_task(self._agent(box_id, version))

    def _store_application(self, manifest: Manifest) -> None:
        box_id = manifest.metadata.id
        values = {"cell": {"name": "local"}, "spec": {"rev": manifest.spec.rev}}
        source = {"helm": {"valuesObject": values}}
        status = {
            "sync": {"status": "Synced", "comparedTo": {"source": source}},
            "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}, "resources": [],
        }  # fmt: skip
        if self._store.get(APPLICATION, ARGO_NAMESPACE, box_id) is None:
            meta = {"name": box_id, "namespace": ARGO_NAMESPACE}
            self._store.create({"apiVersion": _ARGO, "kind": "Application", "metadata": meta, "spec": {}})
        self._store.update_status(APPLICATION, ARGO_NAMESPACE, box_id, status)

    async def _agent(self, box_id: str, version: int) -> None:
        """What the entrypoint does: the profile, then the report, again until each is taken."""
        pause = 0.05
        while True:
            try:
                headers = {"Authorization": f"Bearer {await self._token_of(box_id, version)}"}
                profile = await self._ask("GET", "/internal/agent/profile?wait=5", headers)
                if profile.status_code == 200:
                    body = {"profile": profile.json()["version"], "gateway": "stand-in"}
                    if (await self._ask("POST", "/internal/agent/ready", headers, json=body)).status_code == 204:
                        return
            except (httpx.HTTPError, CloudError, OSError):
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _ask(self, method: str, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
        answer = await self._http.request(method, path, headers=headers, **body)
        if answer.status_code >= 400:
            self.refused.append(answer.text)
        return answer


def _rev(application: Object) -> int:
    compared = application.get("status", {}).get("sync", {}).get("comparedTo", {})
    return int(compared.get("source", {}).get("helm", {}).get("valuesObject", {}).get("spec", {}).get("rev", 0))


def _kubeconfig(port: int) -> Object:
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
    }  # fmt: skip
