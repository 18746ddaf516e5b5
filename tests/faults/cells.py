"""A cell whose Argo CD applies at once and whose gateways boot in no time, behind the sandbox's Kubernetes API.

It reads ``main`` when an ApplicationSet is annotated, as the real one does, and does not poll in between, so that a
lost refresh shows. An Application that is held is left as it is until somebody lets it go. Every box that runs has a
pod, unless its Deployment is scaled to zero; its agent fetches its profile and reports ready with the box's own token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from controller.clients.argocd import SKIP
from controller.clients.kubernetes import ARGO_NAMESPACE, REFRESH, namespace
from controller.core.errors import CloudError
from controller.gitops import manifests
from controller.gitops.manifests import Manifest
from controller.sandbox.cluster import api
from controller.sandbox.cluster.admission import APPROVED, BOX_LABEL
from controller.sandbox.cluster.resources import APPLICATION, APPLICATION_SET, DEPLOYMENT, NAMESPACE, POD, Object
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
        self._wanted: dict[str, Manifest] = {}
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
        async for event in self._store.watch(APPLICATION_SET, APPLICATION, DEPLOYMENT):
            if event.type != "MODIFIED":
                continue
            meta = event.object["metadata"]
            if event.kind == APPLICATION_SET and REFRESH in meta.get("annotations", {}):
                await self._sync()
                self._answer(meta["name"], meta["annotations"][REFRESH])
            elif event.kind == APPLICATION:
                self._catch_up(meta["name"])
            elif event.kind == DEPLOYMENT and self._replicas(meta["namespace"]) == 0:
                self._run_pod(meta["namespace"].removeprefix("box-"), None, "")

    def _answer(self, name: str, request: str) -> None:
        """The request to read Git is consumed, unless another came meanwhile."""
        known = self._store.get(APPLICATION_SET, ARGO_NAMESPACE, name)
        if known is not None and known["metadata"].get("annotations", {}).get(REFRESH) == request:
            left = {key: value for key, value in known["metadata"]["annotations"].items() if key != REFRESH}
            self._store.update({**known, "metadata": {**known["metadata"], "annotations": left}})

    def _catch_up(self, box_id: str) -> None:
        """What Git says of a box that is held no longer is applied."""
        known, wanted = self._store.get(APPLICATION, ARGO_NAMESPACE, box_id), self._wanted.get(box_id)
        if known is not None and wanted is not None and _rev(known) < wanted.spec.rev and not _is_held(known):
            self._apply(wanted)

    def _replicas(self, space: str) -> int | None:
        known = self._store.get(DEPLOYMENT, space, "agent")
        return None if known is None else int(known["spec"]["replicas"])

    async def _sync(self) -> None:
        tip = (await self._run("rev-parse", "main")).strip()
        if tip == self._tip:
            return
        since = [self._tip] if self._tip else []
        # a file that went deletes nothing: the sets only create and update
        listing = (
            ["diff", "--name-only", "--diff-filter=d", *since, tip] if since else ["ls-tree", "-r", "--name-only", tip]
        )
        for path in (await self._run(*listing)).split():
            if path.startswith("cells/local/boxes/"):
                self._apply(manifests.read((await self._run("show", f"{tip}:{path}")).encode()))
        self._tip = tip

    async def _run(self, *arguments: str) -> str:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec("git", "-C", str(self._git), *arguments, stdout=pipe)
        out, _ = await child.communicate()
        return out.decode()

    def _apply(self, manifest: Manifest) -> None:
        box_id, spec = manifest.metadata.id, manifest.spec
        self._wanted[box_id] = manifest
        known = self._store.get(APPLICATION, ARGO_NAMESPACE, box_id)
        held = known is not None and _is_held(known)
        space = namespace(box_id)
        if spec.state == "destroyed" and not held:
            if self._store.get(NAMESPACE, None, space):
                self._store.delete(DEPLOYMENT, space, "agent", now=True)
                self._store.delete(NAMESPACE, None, space)
        elif not held:
            runs = spec.state in {"active", "standby"}
            self._ensure_space(space, approved=spec.deletion == "approved")
            self._scale(space, int(runs))
            self._run_pod(box_id, spec.secrets.agent if runs else None, spec.release)
        self._store_application(manifest, held=held)

    def _ensure_space(self, space: str, *, approved: bool) -> None:
        meta: Object = {"name": space, "labels": {BOX_LABEL: "1"}, "annotations": {APPROVED: str(approved).lower()}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        known = self._store.get(NAMESPACE, None, space)
        if known is None:
            self._store.create(body)
        else:
            self._store.update({**known, "metadata": {**known["metadata"], **meta}})

    def _scale(self, space: str, replicas: int) -> None:
        meta = {"name": "agent", "namespace": space}
        known = self._store.get(DEPLOYMENT, space, "agent")
        if known is None:
            made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas}}
            self._store.create(made)
        else:
            self._store.update({**known, "spec": {**known["spec"], "replicas": replicas}})

    def _run_pod(self, box_id: str, version: int | None, release: str) -> None:
        """A pod of ``release`` whose agent has token ``version``; none for None."""
        space, labels = namespace(box_id), {"token": str(version), "release": release}
        known = self._store.get(POD, space, "agent")
        if known is not None and known["metadata"]["labels"] != labels:
            self._agents.pop(box_id).cancel()
            self._store.delete(POD, space, "agent", now=True)
            known = None
        if known is None and version is not None:
            meta = {"name": "agent", "namespace": space, "labels": labels}
            self._store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
            self._agents[box_id] = asyncio.create_task(self._agent(box_id, version, release))

    def _store_application(self, manifest: Manifest, *, held: bool) -> None:
        box_id = manifest.metadata.id
        values = {"cell": {"name": "local"}, "spec": {"rev": manifest.spec.rev, "state": manifest.spec.state.value}}
        source = {"helm": {"valuesObject": values}}
        status = {
            "sync": {"status": "Synced", "comparedTo": {"source": source}},
            "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}, "resources": [],
        }  # fmt: skip
        if self._store.get(APPLICATION, ARGO_NAMESPACE, box_id) is None:
            meta = {"name": box_id, "namespace": ARGO_NAMESPACE}
            self._store.create({"apiVersion": _ARGO, "kind": "Application", "metadata": meta, "spec": {}})
        known = self._store.get(APPLICATION, ARGO_NAMESPACE, box_id) or {}
        self._store.update({**known, "spec": {"source": source}})
        if not held:
            self._store.update_status(APPLICATION, ARGO_NAMESPACE, box_id, status)

    async def _agent(self, box_id: str, version: int, release: str) -> None:
        """What the entrypoint does: the profile, then the report, again until each is taken."""
        pause = 0.05
        while True:
            try:
                headers = {"Authorization": f"Bearer {await self._token_of(box_id, version)}"}
                profile = await self._ask("GET", "/internal/agent/profile?wait=5", headers)
                if profile.status_code == 200:
                    body = {"profile": profile.json()["version"], "gateway": "stand-in", "release": release}
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


def _is_held(application: Object) -> bool:
    return bool(application["metadata"].get("annotations", {}).get(SKIP) == "true")


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
