"""Status back from the cluster: list and watch Applications, and look again at boxes whose pods are still ending."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

from controller.clients import argocd
from controller.clients.argocd import Observed
from controller.clients.kubernetes import Cluster
from controller.core import clock, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, Permanent
from controller.core.queue import Doorbell
from controller.workers import provisioning

log = logs.get(__name__)

LAST_EVENT = metrics.gauge("watcher_last_event_timestamp_seconds", "When an Application was last seen or changed")
LAST_CONTACT = metrics.gauge("watcher_last_contact_timestamp_seconds", "When a list or watch last ended well")
FAILURES = metrics.counter("watcher_failures", "Breaks with the cluster and looks that failed", "error")
WAITING = metrics.gauge("watcher_boxes_waiting", "Boxes looked at again because a pod is still ending")

LOOK_AGAIN_SECONDS = 0.5
PAUSE_SECONDS = 1.0


class Deaf(Permanent):
    """Raised to end the process, which is then started again: nothing would ever arrive here."""


async def run(database: Database, cluster: Cluster, bell: Doorbell, stop: asyncio.Event) -> None:
    """Follow the cluster until ``stop`` is set; after any break it lists again, so nothing is missed.

    Raises Deaf when the thread that listens has died of something that is not ours.
    """
    arrivals: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    ending = threading.Event()
    follower = threading.Thread(target=_follow, args=(cluster, loop, arrivals, ending), daemon=True)
    follower.start()
    waiting: dict[str, Observed] = {}
    again_at = loop.time() + LOOK_AGAIN_SECONDS
    while not stop.is_set():
        seen = await _next(arrivals, again_at)
        if seen is None:
            again_at = loop.time() + LOOK_AGAIN_SECONDS
            if not follower.is_alive():
                raise Deaf("watcher_deaf")
        looks = [seen] if seen is not None else list(waiting.values())
        for look in looks:
            try:
                still = await provisioning.observe(database, cluster, look, bell)
            except CloudError as error:
                FAILURES.labels(error.code).inc()
                log.warning("watcher.observe_failed", box_id=look.box_id, error=str(error))
                still = True
            if still:
                waiting[look.box_id] = look
            else:
                waiting.pop(look.box_id, None)
        WAITING.set(len(waiting))
    ending.set()


async def _next(arrivals: asyncio.Queue[dict[str, Any]], until: float) -> Observed | None:
    """The next arrival; None once the loop's clock is at ``until``, also while more are there than can be handled."""
    if asyncio.get_running_loop().time() >= until:
        return None
    try:
        async with asyncio.timeout_at(until):
            return argocd.read(await arrivals.get())
    except TimeoutError:
        return None


def _follow(
    cluster: Cluster,
    loop: asyncio.AbstractEventLoop,
    arrivals: asyncio.Queue[dict[str, Any]],
    ending: threading.Event,
) -> None:
    while not ending.is_set():
        try:
            listed, version = cluster.applications()
            LAST_CONTACT.set(clock.now().timestamp())
            for application in itertools.chain(listed, cluster.changes(version)):
                LAST_EVENT.set(clock.now().timestamp())
                loop.call_soon_threadsafe(arrivals.put_nowait, application)
            LAST_CONTACT.set(clock.now().timestamp())
        except CloudError as error:
            FAILURES.labels(error.code).inc()
            log.warning("watcher.cluster_away", error=str(error))
            ending.wait(PAUSE_SECONDS)
