"""From the cluster's metrics API, imitated at HTTP level, to rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core.db import Database
from controller.core.errors import CloudError
from controller.domain import pod_metrics as measurements
from controller.domain.pod_metrics import PodMetricsSettings
from controller.workers import pod_metrics
from tests.proxy.conftest import bought
from tests.proxy.waiting import until
from tests.sandbox.stripe.serving import serving

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
QUICK = PodMetricsSettings(pod_metrics_interval=timedelta(milliseconds=20), pod_metrics_retention=timedelta(days=9999))
KUBECONFIG = """
{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: x, user: {{}}}}],
 contexts: [{{name: x, context: {{cluster: x, user: x}}}}], clusters: [{{name: x, cluster: {{server: "{url}"}}}}]}}
"""


@dataclass
class MetricsApi:
    """What the API server answers: these pods, or this status; ``asked`` counts the calls."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0

    async def answer(self, _: Request) -> Response:
        self.asked += 1
        if self.status != 200:
            return JSONResponse({"kind": "Status", "code": self.status}, self.status)
        return JSONResponse({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": self.pods})


def pod(box_id: str, *usage: tuple[str, str], at: str = "2026-11-25T12:00:00Z", prefix: str = "box-") -> dict[str, Any]:
    containers = [
        {"name": f"c{number}", "usage": {"cpu": cpu, "memory": memory}} for number, (cpu, memory) in enumerate(usage)
    ]
    about = {"name": "agent-1", "namespace": f"{prefix}{box_id}", "creationTimestamp": at}
    return {"metadata": about, "timestamp": at, "window": "15s", "containers": containers}


@pytest.fixture
def api() -> MetricsApi:
    return MetricsApi()


@pytest.fixture
def cluster(api: MetricsApi, tmp_path: Path) -> Iterator[Cluster]:
    app = Starlette(routes=[Route("/apis/metrics.k8s.io/v1beta1/pods", api.answer)])
    with serving(app) as url:
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(url=url))
        yield Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))


@pytest.fixture
async def box_id(database: Database) -> str:
    return (await bought(database))[0]


async def rows(database: Database, box_id: str) -> list[tuple[datetime, int, int]]:
    async with database.transaction() as session:
        found = await measurements.since(session, box_id, AT - timedelta(days=1))
    return [(one.at, one.cpu_millicores, one.memory_bytes) for one in found]


@pytest.mark.parametrize(
    ("usage", "cpu", "memory"),
    [
        ([("123456789n", "900Mi")], 124, 900 * 2**20),
        ([("250m", "1Gi"), ("1", "512Ki")], 1250, 2**30 + 512 * 2**10),
        ([("0", "128974848")], 0, 128974848),
        ([("1500u", "1e3")], 2, 1000),
    ],
)
async def test_a_boxs_containers_become_one_row_in_whole_units(
    database: Database,
    cluster: Cluster,
    api: MetricsApi,
    box_id: str,
    usage: list[tuple[str, str]],
    cpu: int,
    memory: int,
) -> None:
    api.pods = [pod(box_id, *usage)]
    assert await pod_metrics.look(database, cluster, QUICK) == 1
    assert await rows(database, box_id) == [(AT, cpu, memory)]


@pytest.mark.parametrize(
    "unusable",
    [
        pod("x", at="yesterday"),
        pod("x"),
        pod("x", ("1e999", "1Mi")),
        pod("x", ("-1", "1Mi")),
        pod("kube-system", ("1", "1Mi"), prefix=""),
        {"metadata": {}},
        {"metadata": {"namespace": "box-x"}, "containers": [{"usage": {"cpu": "1"}}]},
    ],
)
async def test_what_cannot_be_read_is_a_gap_and_spoils_no_other_box(
    database: Database, cluster: Cluster, api: MetricsApi, box_id: str, unusable: dict[str, Any]
) -> None:
    api.pods = [unusable, pod(box_id, ("100m", "1Mi"))]
    assert await pod_metrics.look(database, cluster, QUICK) == 1
    assert await rows(database, box_id) == [(AT, 100, 2**20)]


async def test_a_box_without_metrics_gets_no_row(
    database: Database, cluster: Cluster, api: MetricsApi, box_id: str
) -> None:
    assert await pod_metrics.look(database, cluster, QUICK) == 0
    assert (api.asked, await rows(database, box_id)) == (1, [])


@pytest.mark.parametrize("status", [503, 429, 500, 404, 403])
async def test_a_cluster_without_an_answer_is_asked_again_at_the_next_tick(
    database: Database, cluster: Cluster, api: MetricsApi, box_id: str, status: int
) -> None:
    api.status, api.pods = status, [pod(box_id, ("100m", "1Mi"))]
    stop = asyncio.Event()
    running = asyncio.create_task(pod_metrics.run(database, cluster, QUICK, stop))
    await until(lambda: _asked(api, 2))
    api.status = 200
    await until(lambda: rows(database, box_id))
    stop.set()
    await running
    assert await rows(database, box_id) == [(AT, 100, 2**20)]


async def test_a_cluster_that_is_not_there_is_an_error_of_ours(database: Database, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(url="http://127.0.0.1:9"))
    with pytest.raises(CloudError, match="cluster_away"):
        await pod_metrics.look(database, Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig")), QUICK)


async def test_interval_0_never_looks(database: Database, cluster: Cluster, api: MetricsApi) -> None:
    await pod_metrics.run(database, cluster, PodMetricsSettings(pod_metrics_interval=timedelta(0)), asyncio.Event())
    assert api.asked == 0


async def _asked(api: MetricsApi, count: int) -> bool:
    return api.asked >= count
