"""What a pod's container wrote: kept in a file of its own, read whole, from its end, or as it grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from controller.core.errors import Refused
from controller.sandbox.cluster.calls import Call
from controller.sandbox.cluster.resources import POD, Object
from controller.sandbox.cluster.store import Store

LOOK_SECONDS = 0.2
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Folder:
    """Where the containers' output is on this machine; ``None`` if no kubelet runs here."""

    root: Path | None

    def file(self, namespace: str, pod: str, *, previous: bool = False) -> Path | None:
        """The file of the pod's container, or of the life before its last restart."""
        return self.root and self.root / namespace / f"{pod}{'.previous' if previous else ''}.log"

    def begin(self, namespace: str, pod: str) -> Path:
        """An empty file for a new life, readable by its owner only; the last one's becomes the previous one."""
        file, old = self.file(namespace, pod), self.file(namespace, pod, previous=True)
        assert file is not None
        assert old is not None
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            os.replace(file, old)
        file.touch(mode=0o600)
        return file


class LogAway(Refused):
    """Raised when the container has written nothing that could be read."""


def answer(call: Call, folder: Folder) -> Response:
    """The pod's output, as the query asks: ``tailLines``, ``limitBytes``, ``previous``, ``follow``.

    Raises LogAway before its container was ever started, Refused for an unknown container or parameter.
    """
    pod = call.found()
    meta, container = pod["metadata"], call.query("container")
    if container and container not in {one["name"] for one in pod["spec"].get("containers", [])}:
        raise LogAway("container_unknown", sentence=f"container {container} is not valid for pod {meta['name']}")
    file = folder.file(meta["namespace"], meta["name"], previous=call.flag("previous"))
    if file is None or not file.exists():
        raise LogAway("log_missing", sentence=_why(pod, previous=call.flag("previous")))
    tail, most = call.number("tailLines"), call.number("limitBytes")
    start = _start_of_tail(file, tail) if tail is not None else 0
    if call.flag("follow") and not call.flag("previous"):
        return StreamingResponse(_followed(call.store, pod, file, start), media_type="text/plain")
    with file.open("rb") as source:
        source.seek(start)
        return PlainTextResponse(source.read() if most is None else source.read(most))


def _why(pod: Object, *, previous: bool) -> str:
    name = pod["metadata"]["name"]
    if previous:
        return f'previous terminated container in pod "{name}" not found'
    states = [one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses", [])]
    reason = next((state["waiting"]["reason"] for state in states if "waiting" in state), "ContainerCreating")
    return f'container in pod "{name}" is waiting to start: {reason}'


def _start_of_tail(file: Path, lines: int) -> int:
    """Where the last ``lines`` lines begin."""
    if lines == 0:
        return file.stat().st_size
    with file.open("rb") as source:
        at = size = source.seek(0, os.SEEK_END)
        found = b""
        while at > 0 and found.count(b"\n") <= lines:
            at = max(0, at - BLOCK)
            source.seek(at)
            found = source.read(size - at)
    parts = found.splitlines(keepends=True)
    return size - sum(map(len, parts[-lines:]))


async def _followed(store: Store, pod: Object, file: Path, start: int) -> AsyncIterator[bytes]:
    """The output from ``start`` as it is written, until this life of the container is over and all of it told."""
    with file.open("rb") as source:
        source.seek(start)
        while True:
            over = _over(store, pod, source.fileno(), file)
            while block := source.read(BLOCK):
                yield block
            if over:
                return
            await asyncio.sleep(LOOK_SECONDS)


def _over(store: Store, pod: Object, descriptor: int, file: Path) -> bool:
    meta = pod["metadata"]
    now = store.get(POD, meta["namespace"], meta["name"])
    gone = now is None or now["metadata"]["uid"] != meta["uid"]
    return gone or not file.exists() or os.fstat(descriptor).st_ino != file.stat().st_ino
