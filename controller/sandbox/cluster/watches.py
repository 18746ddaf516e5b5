"""A watch as Kubernetes streams it: one JSON object a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from controller.sandbox.cluster import refusals
from controller.sandbox.cluster.resources import Kind, Object
from controller.sandbox.cluster.selectors import Selector
from controller.sandbox.cluster.store import Event, Gone, Store

LONGEST_SECONDS = 3600.0
BOOKMARK_SECONDS = 60.0
INITIAL_END = "k8s.io/initial-events-end"


def _itself(obj: Object) -> Object:
    return obj


@dataclass(frozen=True)
class Wanted:
    """What a watcher asks for: ``since`` is the version that it has, None to begin with what is there.

    ``initial`` asks for a bookmark that tells the end of what is there; ``show`` is the form of each object.
    """

    kind: Kind
    selector: Selector
    since: int | None
    seconds: float = LONGEST_SECONDS
    bookmarks: bool = False
    initial: bool = False
    show: Callable[[Object], Object] = _itself


async def stream(store: Store, wanted: Wanted) -> AsyncIterator[bytes]:
    """The changes as lines for ``wanted.seconds``; too old a version gives one ERROR line (410) and the end."""
    live = store.watch(wanted.kind)
    try:
        missed = _present(store, wanted) if wanted.since is None else store.since(wanted.since)
    except Gone as error:
        yield _line("ERROR", refusals.status(error))
        return
    reached = store.version
    for event in missed:
        if change := _change(event, wanted):
            yield _line(change, wanted.show(event.object))
    if wanted.initial:
        yield _line("BOOKMARK", _bookmark(wanted.kind, reached, **{INITIAL_END: "true"}))
    loop = asyncio.get_running_loop()
    end = loop.time() + wanted.seconds
    while True:
        try:
            async with asyncio.timeout_at(min(end, loop.time() + BOOKMARK_SECONDS)):
                event = await anext(live)
        except TimeoutError:
            reached = store.version if live.idle() else reached
            if wanted.bookmarks:
                yield _line("BOOKMARK", _bookmark(wanted.kind, reached))
            if loop.time() >= end:
                return
            continue
        reached = event.version
        if change := _change(event, wanted):
            yield _line(change, wanted.show(event.object))


def _present(store: Store, wanted: Wanted) -> Sequence[Event]:
    return [Event("ADDED", wanted.kind, obj, store.version) for obj in store.list(wanted.kind)]


def _change(event: Event, wanted: Wanted) -> str | None:
    """What the event is to this watcher: an object may enter or leave its selection without being made or deleted."""
    if event.kind != wanted.kind:
        return None
    was = event.before is not None and wanted.selector(event.before)
    now = event.type != "DELETED" and wanted.selector(event.object)
    return {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get((was, now))


def _bookmark(kind: Kind, version: int, **annotations: str) -> Object:
    meta: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}


def _line(change: str, obj: Object) -> bytes:
    return json.dumps({"type": change, "object": obj}).encode() + b"\n"
