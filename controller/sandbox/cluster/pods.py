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

from controller.core.errors import CloudError
from controller.sandbox.accounts import Account
from controller.sandbox.cluster import containers, podstatus
from controller.sandbox.cluster.events import Recorder
from controller.sandbox.cluster.leftovers import Leftovers
from controller.sandbox.cluster.logs import Folder
from controller.sandbox.cluster.probes import EAGER_SECONDS, Probe
from controller.sandbox.cluster.resources import POD, Object
from controller.sandbox.cluster.store import Store, now
from controller.sandbox.cluster.volumes import Volumes
from controller.sandbox.processes import Command, Process, free_port

PORT_ANNOTATION = "sandbox.openclaw.cloud/gateway-port"
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
    backoff: timedelta = timedelta(seconds=10)
    """The first pause before a restart, doubled by each until ``longest_backoff``; the first restart comes at once."""
    longest_backoff: timedelta = timedelta(minutes=5)


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
        self._logs = Folder(node.data / "logs")
        self._events = Recorder(store, "kubelet")
        self._ending = asyncio.Event()
        self._process: Process | None = None
        self._port = 0
        self._restarts = 0
        self._pause_seconds = 0.0
        self._started = ""
        self._last: Object = {}

    @property
    def pid(self) -> int | None:
        """The container's process, if it runs."""
        running = self._process is not None and self._process.child.returncode is None
        return self._process.child.pid if self._process is not None and running else None

    def ask_to_end(self, grace_seconds: int | None = None) -> None:
        """The pod was deleted: stop its process within its grace, or the given one, then remove it from the store."""
        if self._process is not None and grace_seconds is not None:
            grace = timedelta(seconds=grace_seconds)
            self._process.command = replace(self._process.command, stop_grace=grace)
        if self._process is not None and not self._ending.is_set():
            self._events.normal(self._pod, "Killing", f"Stopping container {self._container['name']}")
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
        if loop.time() - began > self._node.steady.total_seconds():
            self._pause_seconds = 0.0
        if self._pause_seconds:
            name = self._container["name"]
            self._report(waiting="CrashLoopBackOff", message=f"back-off {self._pause_seconds:g}s restarting {name}")
            self._events.warn(self._pod, "BackOff", f"Back-off restarting failed container {name}")
            await self._unless_ending(asyncio.sleep(self._pause_seconds))
        longest, first = self._node.longest_backoff.total_seconds(), self._node.backoff.total_seconds()
        self._pause_seconds = min(self._pause_seconds * 2 or first, longest)

    async def _prepared(self) -> Command | None:
        """The command, once Secrets and volumes are there; None if the pod is deleted before."""
        while not self._ending.is_set():
            try:
                return self._prepare()
            except (CloudError, ValueError, OSError) as error:
                # a full disk or a missing Secret is this pod's trouble, and may be over at the next look
                if self._report(waiting="CreateContainerConfigError", message=str(error)):
                    self._events.warn(self._pod, "Failed", f"Error: {error}")
                await self._unless_ending(asyncio.sleep(EAGER_SECONDS))
        return None

    def _prepare(self) -> Command:
        variables = containers.environment(self._store, self._pod)
        mounts = self._volumes.mount(self._pod)
        sink = self._logs.begin(self._space, self._name)
        self._port = free_port()
        self._tell_port()
        node = self._node
        return containers.command(self._pod, variables, mounts, node.image, self._port, sink, node.account)

    async def _run(self, command: Command, http: httpx.AsyncClient) -> None:
        """Start, wait until it is up while holding a place among the booting, then watch it to its end."""
        place, name = _Place(self._boots, self._node.boot_place), self._container["name"]
        try:
            self._started = now()
            try:
                self._process = await Process.start(command)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self._events.warn(self._pod, "Failed", f"Error: failed to start container {name}: {error}")
                self._last = podstatus.ended(START_FAILED, self._started, str(error))
                return
            self._leftovers.remember(self._process.child.pid)
            self._events.normal(self._pod, "Started", f"Started container {name}")
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
        self._last = podstatus.ended(process.child.returncode or 0, self._started)

    async def _booted(self, http: httpx.AsyncClient) -> bool:
        """Whether the startup probe succeeded before its patience ran out; without one, whether it runs."""
        probe = self._probe(http, "startupProbe")
        if probe is None:
            return not self._over()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + probe.patience
        await self._pause(probe.delay)
        while not self._over() and loop.time() < deadline:
            if await probe.passes():
                return True
            await self._pause(EAGER_SECONDS)
        if not self._over():
            self._unhealthy("Startup", probe, kills=True)
        return False

    async def _watch_over(self, http: httpx.AsyncClient) -> None:
        """Report readiness until the process ends, the pod is deleted or the liveness probe fails for good."""
        alive, readiness = self._probe(http, "livenessProbe"), self._probe(http, "readinessProbe")
        loop = asyncio.get_running_loop()
        began, ready = loop.time(), readiness is None
        if readiness is not None and not readiness.delay:
            ready = await readiness.rises()
        while not self._over():
            self._report(running=True, ready=ready, started=True)
            periods = [probe.period for probe in (alive, readiness) if probe is not None]
            await self._pause(min(periods, default=3600.0) if ready else EAGER_SECONDS)
            if self._over():
                return
            due = [probe for probe in (alive, readiness) if probe and loop.time() - began >= probe.delay]
            if alive in due and alive is not None and alive.due and not await alive.holds():
                self._unhealthy("Liveness", alive, kills=True)
                return
            if readiness in due and readiness is not None and (not ready or readiness.due):
                ready = await readiness.holds() if ready else await readiness.rises()
                if not ready or readiness.failing:
                    self._unhealthy("Readiness", readiness)

    def _unhealthy(self, what: str, probe: Probe, *, kills: bool = False) -> None:
        self._events.warn(self._pod, "Unhealthy", f"{what} probe failed: {probe.said}")
        if kills:
            name = self._container["name"]
            self._events.normal(
                self._pod, "Killing", f"Container {name} failed {what.lower()} probe, will be restarted"
            )

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
            told = {**pod["metadata"].get("annotations", {}), PORT_ANNOTATION: str(self._port)}
            pod["metadata"]["annotations"] = told
            self._store.update(pod)

    def _report(
        self, *, running: bool = False, ready: bool = False, started: bool = False, waiting: str = "", message: str = ""
    ) -> bool:
        """Write the pod's status; whether that was news."""
        state: Object = {"running": {"startedAt": self._started}}
        if not running:
            state = {"waiting": {"reason": waiting, **({"message": message} if message else {})}}
        container = {
            "name": self._container["name"], "image": self._container.get("image", ""), "imageID": "",
            "ready": ready, "started": started, "restartCount": self._restarts, "state": state,
            "lastState": {"terminated": self._last} if self._last else {},
        }  # fmt: skip
        phase = "Running" if running or self._restarts else "Pending"
        return podstatus.report(self._store, self._pod, container, phase=phase)


async def _exited(process: Process, within_seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            await process.child.wait()
