"""Status back from the cluster: list and watch Applications, and look again at boxes whose pods are still ending."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

from controller.clients import argocd
from controller.clients.argocd import Observed
from controller.clients.kubernetes import Change, Cluster, Outdated
from controller.core import clock, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, Permanent
from controller.core.queue import Doorbell
from controller.domain import sightings, strays
from controller.domain.boxes import Place
from controller.domain.sightings import Look
from controller.workers import provisioning

log = logs.get(__name__)

LAST_EVENT = metrics.gauge("watcher_last_event_timestamp_seconds", "When an Application was last seen or changed")
LAST_CONTACT = metrics.gauge("watcher_last_contact_timestamp_seconds", "When a list or watch last ended well")
FAILURES = metrics.counter("watcher_failures", "Breaks with the cluster and looks that failed", "error")
HEALS = metrics.counter("argo_self_heals", "Boxes that Argo CD put right although nobody had committed anything")
LISTS = metrics.counter("watcher_lists", "Times that all Applications were listed: at the start and after a break")
WAITING = metrics.gauge("watcher_boxes_waiting", "Boxes looked at again because a pod is still ending")

LOOK_AGAIN_SECONDS = 0.5
LEAVE_SECONDS = 5.0
"""How long an end waits for the thread that listens. 5 s: it is cut off, unless it is just asking for a list."""

PAUSE_SECONDS = 1.0
_NEWS = frozenset({"ADDED", "MODIFIED", "DELETED"})


class Deaf(Permanent):
    """Raised to end the process, which is then started again: nothing would ever arrive here."""


async def run(database: Database, cluster: Cluster, bell: Doorbell, stop: asyncio.Event, cell: str) -> None:
    """Follow the cluster of ``cell`` until ``stop`` is set; after any break it lists again, so nothing is missed.

    What it shows counts for that cell's boxes alone, whatever its Applications say. However it ends, nothing of it
    goes on. Raises Deaf when the thread that listens has died of something that is not ours.
    """
    arrivals: asyncio.Queue[Change] = asyncio.Queue()
    ending = threading.Event()
    loop = asyncio.get_running_loop()
    follower = threading.Thread(target=_follow, args=(cluster, loop, arrivals, ending), daemon=True)
    follower.start()
    try:
        await _handle(database, cluster, bell, stop, arrivals, follower, Books(database, cell))
    finally:
        ending.set()
        await asyncio.to_thread(_leave, cluster, follower)


async def _handle(
    database: Database,
    cluster: Cluster,
    bell: Doorbell,
    stop: asyncio.Event,
    arrivals: asyncio.Queue[Change],
    follower: threading.Thread,
    books: Books,
) -> None:
    loop = asyncio.get_running_loop()
    waiting: dict[str, Observed] = {}
    again_at = loop.time() + LOOK_AGAIN_SECONDS
    while not stop.is_set():
        change = await _next(arrivals, again_at)
        if change is None:
            again_at = loop.time() + LOOK_AGAIN_SECONDS
            if not follower.is_alive():
                raise Deaf("watcher_deaf")
            looks = list(waiting.values())
        elif change.type == "DELETED":
            looks = []
            waiting.pop(await books.close(change), "")
        else:
            looks = [await books.enter(change)]
        for look in looks:
            if await _moves(database, cluster, bell, look):
                waiting[look.box_id] = look
            else:
                waiting.pop(look.box_id, None)
        WAITING.set(len(waiting))


def _leave(cluster: Cluster, follower: threading.Thread) -> None:
    """The thread that listens is over, or was left to the end of its list: it then finds that nobody needs it."""
    until = time.monotonic() + LEAVE_SECONDS
    while follower.is_alive() and time.monotonic() < until:
        cluster.hang_up()
        follower.join(0.05)


class Books:
    """What is on record of every Application; one that says nothing new costs no query."""

    def __init__(self, database: Database, cell: str) -> None:
        """``cell``: whose cluster is followed."""
        self._database = database
        self._cell = cell
        self._known: dict[str, Look] = {}

    async def enter(self, change: Change) -> Observed:
        """The look is on record, unless Postgres is away: then the next one is. What it shows."""
        seen = self._read(change)
        look = _look(seen)
        if self._known.get(seen.box_id) != look:
            try:
                async with self._database.transaction() as session:
                    healed = await sightings.record(session, look)
                    if seen.asked_state:  # as our sets have it, and no other Application
                        await strays.note(session, Place(seen.cell, seen.box_id))
            except CloudError as error:
                FAILURES.labels(error.code).inc()
                log.warning("watcher.record_failed", box_id=seen.box_id, error=str(error))
                return seen
            self._known[seen.box_id] = look
            HEALS.inc(int(healed))
            if healed:
                log.warning("watcher.drift_healed", box_id=seen.box_id, rev=seen.rev)
        return seen

    async def close(self, change: Change) -> str:
        """There is no such Application any more; its name."""
        seen = self._read(change)
        name = seen.box_id
        self._known.pop(name, None)
        try:
            async with self._database.transaction() as session:
                await sightings.forget(session, name, seen.cell)
        except CloudError as error:
            FAILURES.labels(error.code).inc()
            log.warning("watcher.record_failed", box_id=name, error=str(error))
        return name

    def _read(self, change: Change) -> Observed:
        return replace(argocd.read(change.object), cell=self._cell)


async def _moves(database: Database, cluster: Cluster, bell: Doorbell, look: Observed) -> bool:
    """Move the box's jobs on; whether another look at the same may move them further."""
    try:
        return await provisioning.observe(database, cluster, look, bell)
    except CloudError as error:
        FAILURES.labels(error.code).inc()
        log.warning("watcher.observe_failed", box_id=look.box_id, error=str(error))
        return True


def _look(seen: Observed) -> Look:
    return Look(
        seen.box_id, seen.rev, seen.sync, seen.health, seen.phase, seen.operation, seen.message, seen.resources,
        seen.held, seen.cell, seen.snapshot,
    )  # fmt: skip


async def _next(arrivals: asyncio.Queue[Change], until: float) -> Change | None:
    """The next arrival; None once the loop's clock is at ``until``, also while more are there than can be handled."""
    if asyncio.get_running_loop().time() >= until:
        return None
    try:
        async with asyncio.timeout_at(until):
            return await arrivals.get()
    except TimeoutError:
        return None


def _follow(
    cluster: Cluster, loop: asyncio.AbstractEventLoop, arrivals: asyncio.Queue[Change], ending: threading.Event
) -> None:
    """List once and watch from there, one watch after the other; list again after a break, or if told that it must."""
    version = ""

    def tell(change: Change) -> None:
        if ending.is_set():  # nobody reads it any more, and the loop may be closed
            return
        LAST_EVENT.set(clock.now().timestamp())
        loop.call_soon_threadsafe(arrivals.put_nowait, change)

    while not ending.is_set():
        try:
            if not version:
                listed, version = cluster.applications()
                LISTS.inc()
                LAST_CONTACT.set(clock.now().timestamp())
                for application in listed:
                    tell(Change("ADDED", application))
            for change in cluster.changes(version):
                version = change.version
                LAST_CONTACT.set(clock.now().timestamp())
                if change.type in _NEWS:
                    tell(change)
            LAST_CONTACT.set(clock.now().timestamp())
        except CloudError as error:
            if ending.is_set():
                return
            version = ""
            FAILURES.labels(error.code).inc()
            log.warning("watcher.list_again", error=str(error))
            if not isinstance(error, Outdated):
                ending.wait(PAUSE_SECONDS)
