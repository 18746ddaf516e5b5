"""One pod as one local process: started, probed, restarted with a back-off, and ended."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import CloudError
from controller.sandbox.accounts import Account
from controller.sandbox.cluster import containers
from controller.sandbox.cluster.leftovers import Leftovers
from controller.sandbox.cluster.probes import EAGER_SECONDS, Probe
from controller.sandbox.cluster.resources import POD, Object
from controller.sandbox.cluster.store import Store
from controller.sandbox.cluster.volumes import Volumes
from controller.sandbox.processes import Command, Process, free_port

log = logs.get(__name__)

PORT_ANNOTATION = "sandbox.openclaw.cloud/gateway-port"
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
SHUTDOWN_GRACE = timedelta(seconds=7)
"""What a container gets when the whole cluster stops: below the ten seconds that the cluster itself is given."""
START_FAILED = 128
"""The exit code that Kubernetes reports for a container that could not be started."""


@dataclass(frozen=True)
class Node:
    """The one machine: where volumes and logs are, what the image is, as whom containers run, and its patience."""

    data: Path
    image: Path
    account: Account | None
    steady: timedelta = timedelta(seconds=60)
    """How long a container must have been up for its back-off to begin anew."""
    boot_place: timedelta = timedelta(seconds=60)
    """How long one that does not come up keeps others from booting; a boot's CPU seconds are spent by then."""


class _Place:
    """A place among the booting, already taken: given back once, by its owner or when its time is over."""

    def __init__(self, boots: asyncio.Semaphore, at_most: timedelta) -> None:
        self._boots: asyncio.Semaphore | None = boots
        self._timer = asyncio.get_running_loop().call_later(at_most.total_seconds(), self.leave)

    def leave(self) -> None:
        self._timer.cancel()
        if self._boots is not None:
            self._boots.release()
        self._boots = None


class Runner:
    """Runs the pod's container until the pod is deleted, restarting it as Kubernetes would."""

    def __init__(self, store: Store, pod: Object, node: Node, volumes: Volumes, boots: asyncio.Semaphore) -> None:
        self._store, self._pod, self._node, self._volumes, self._boots = store, pod, node, volumes, boots
        self._space, self._name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._container = pod["spec"]["containers"][0]
        self._leftovers = Leftovers(node.data / "pids")
        self._ending = asyncio.Event()
        self._process: Process | None = None
        self._port = 0
        self._restarts = 0
        self._backoff = FIRST_BACKOFF
        self._last: Object = {}

    def ask_to_end(self) -> None:
        """The pod was deleted: stop its process within its grace, then remove it from the store."""
        self._ending.set()

    async def run(self) -> None:
        """From the first start to the pod's removal; cancelled, only the process is stopped and the pod stays."""
        self._report(waiting="ContainerCreating")
        async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as http:
            try:
                while not self._ending.is_set():
                    await self._life(http)
            except asyncio.CancelledError:
                await self._stop(SHUTDOWN_GRACE)
                raise
        self._volumes.release(self._pod)
        self._store.delete(POD, self._space, self._name, now=True)

    async def _life(self, http: httpx.AsyncClient) -> None:
        """One start of the container, to its end and the pause after it."""
        command = await self._prepared()
        if command is None or not await self._unless_ending(self._boots.acquire()):
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._run(command, http)
        if self._ending.is_set():
            return
        self._restarts += 1
        self._backoff = FIRST_BACKOFF if loop.time() - began > self._node.steady.total_seconds() else self._backoff
        self._report(waiting="CrashLoopBackOff")
        await self._unless_ending(asyncio.sleep(self._backoff))
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)

    async def _prepared(self) -> Command | None:
        """The command, once Secrets and volumes are there; None if the pod is deleted before."""
        while not self._ending.is_set():
            try:
                return self._prepare()
            except (CloudError, ValueError, OSError) as error:
                # a full disk or a missing Secret is this pod's trouble, and may be over at the next look
                log.debug("kubelet.not_prepared", pod=self._name, error=str(error))
                self._report(waiting="CreateContainerConfigError")
                await self._unless_ending(asyncio.sleep(EAGER_SECONDS))
        return None

    def _prepare(self) -> Command:
        variables = containers.environment(self._store, self._pod)
        mounts = self._volumes.mount(self._pod)
        node, sink = self._node, self._node.data / "logs" / self._space / f"{self._name}.log"
        sink.parent.mkdir(parents=True, exist_ok=True)
        sink.touch(mode=0o600)
        self._port = free_port()
        self._tell_port()
        return containers.command(self._pod, variables, mounts, node.image, self._port, sink, node.account)

    async def _run(self, command: Command, http: httpx.AsyncClient) -> None:
        """Start, wait until it is up while holding a place among the booting, then watch it to its end."""
        place = _Place(self._boots, self._node.boot_place)
        try:
            try:
                self._process = await Process.start(command)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                log.warning("kubelet.start_failed", pod=self._name, error=str(error))
                self._last = {"exitCode": START_FAILED, "reason": "StartError", "message": str(error)[:256]}
                return
            self._leftovers.remember(self._process.child.pid)
            self._report(running=True)
            up = await self._booted(http)
        finally:
            place.leave()
        if up:
            await self._watch_over(http)
        await self._stop()

    async def _stop(self, at_most: timedelta | None = None) -> None:
        """End the process with its whole group, if there is one, and note how it ended."""
        process = self._process
        if process is None:
            return
        if at_most is not None:
            process.command = replace(process.command, stop_grace=min(process.command.stop_grace, at_most))
        await process.stop()
        self._process = None
        self._leftovers.forget(process.child.pid)
        code = process.child.returncode or 0
        self._last = {"exitCode": 128 - code if code < 0 else code, "reason": "Error" if code else "Completed"}

    async def _booted(self, http: httpx.AsyncClient) -> bool:
        """Whether the startup probe succeeded before its patience ran out; without one, whether it runs."""
        probe = self._probe(http, "startupProbe")
        if probe is None:
            return not self._over()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + probe.patience
        while not self._over() and loop.time() < deadline:
            if await probe.passes():
                return True
            await self._pause(EAGER_SECONDS)
        return False

    async def _watch_over(self, http: httpx.AsyncClient) -> None:
        """Report readiness until the process ends, the pod is deleted or the liveness probe fails for good."""
        alive, readiness = self._probe(http, "livenessProbe"), self._probe(http, "readinessProbe")
        ready = readiness is None or await readiness.passes()
        while not self._over():
            self._report(running=True, ready=ready)
            periods = [probe.period for probe in (alive, readiness) if probe is not None]
            await self._pause(min(periods, default=3600.0) if ready else EAGER_SECONDS)
            if self._over():
                return
            if alive is not None and alive.due and not await alive.holds():
                log.warning("kubelet.liveness_failed", pod=self._name)
                return
            if readiness is not None and (not ready or readiness.due):
                ready = await readiness.holds() if ready else await readiness.passes()

    def _probe(self, http: httpx.AsyncClient, kind: str) -> Probe | None:
        spec = self._container.get(kind)
        return Probe(http, spec, self._port) if spec else None

    def _over(self) -> bool:
        return self._ending.is_set() or self._process is None or self._process.child.returncode is not None

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than the process runs and the pod is wanted."""
        if self._process is not None:
            await self._unless_ending(_exited(self._process, seconds))

    async def _unless_ending(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether ``work`` finished before the pod's deletion was asked for."""
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            return doing.done()
        finally:
            doing.cancel()
            ending.cancel()

    def _tell_port(self) -> None:
        pod = self._store.get(POD, self._space, self._name)
        if pod is not None:
            pod["metadata"]["annotations"] = {
                **pod["metadata"].get("annotations", {}),
                PORT_ANNOTATION: str(self._port),
            }
            self._store.update(pod)

    def _report(self, *, running: bool = False, ready: bool = False, waiting: str | None = None) -> None:
        old = self._store.get(POD, self._space, self._name)
        if old is None:
            return
        state: Object = {"running": {"startedAt": _now()}} if running else {"waiting": {"reason": waiting}}
        container = {
            "name": self._container["name"], "image": self._container.get("image", ""), "imageID": "",
            "ready": ready, "restartCount": self._restarts, "state": state,
            "lastState": {"terminated": self._last} if self._last else {},
        }  # fmt: skip
        up = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        status = {
            "phase": "Running" if running or self._restarts else "Pending",
            "hostIP": "127.0.0.1",
            "podIP": "127.0.0.1",
            "conditions": [{"type": kind, "status": str(value)} for kind, value in up.items()],
            "containerStatuses": [container],
        }
        if _steady(old.get("status", {})) != _steady(status):
            self._store.update_status(POD, self._space, self._name, status)


async def _exited(process: Process, within_seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            await process.child.wait()


def _steady(status: Object) -> list[Any]:
    """A status without its times, to tell whether anything changed."""
    parts = [
        (one["ready"], one["restartCount"], sorted(one["state"]), one["state"].get("waiting"), one.get("lastState"))
        for one in status.get("containerStatuses", [])
    ]
    return [status.get("phase"), *parts]


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
