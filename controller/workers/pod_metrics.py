"""What the boxes of the cell use, from the cluster's metrics API into Postgres, again and again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from controller.clients.kubernetes import Cluster
from controller.core import clock, metrics, stops
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.domain import pod_metrics
from controller.domain.pod_metrics import PodMetricsSettings

log = logs.get(__name__)

ROWS = metrics.counter("pod_metrics_rows", "Measurements stored")
FAILURES = metrics.counter("pod_metrics_failures", "Looks at the metrics API that failed, by our error code", "error")
SEEN = metrics.gauge("pod_metrics_last_success_timestamp_seconds", "When the metrics API last answered")


async def run(database: Database, cluster: Cluster, settings: PodMetricsSettings, stop: asyncio.Event) -> None:
    """Look every interval until ``stop`` is set; a look that fails leaves a gap and the next one tries again."""
    interval = settings.pod_metrics_interval
    while interval > timedelta(0) and not stop.is_set():
        try:
            await look(database, cluster, settings)
        except CloudError as error:
            FAILURES.labels(error.code).inc()
            log.warning("pod_metrics.look_failed", error=str(error))
        await stops.pause(stop, interval)


async def look(database: Database, cluster: Cluster, settings: PodMetricsSettings) -> int:
    """Store what the cluster measured last and delete what is too old; how many measurements were new.

    Raises ClusterAway, Permanent (no metrics API), DatabaseAway.
    """
    measured = await asyncio.to_thread(cluster.pod_metrics)
    async with database.transaction() as session:
        new = await pod_metrics.record(session, measured)
        await pod_metrics.forget(session, settings)
    ROWS.inc(new)
    SEEN.set(clock.now().timestamp())
    log.info("pod_metrics.stored", measured=len(measured), new=new)
    return new
