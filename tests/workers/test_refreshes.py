"""Asking Argo CD to look again never holds up the writer for long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.domain.boxes import Place
from controller.gitops import manifests
from controller.workers import provisioning
from tests.clients.test_kubernetes import ARGO, reached
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import served
from tests.sandbox.stripe.serving import serving
from tests.workers.test_pod_metrics import KUBECONFIG

BOXES = {Place("local", f"{number:026}") for number in range(20)}
SETS = {manifests.application_set(box.box_id) for box in BOXES}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def cluster(tmp_path: Path, asked: list[str], status: int) -> Iterator[Cluster]:
    """A cluster that answers every question with ``status``."""

    async def answer(request: Request) -> Response:
        asked.append(request.url.path)
        return JSONResponse({}, status)

    with serving(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "PATCH"])])) as url:
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(url=url))
        yield Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))


@pytest.mark.parametrize(("status", "times"), [(200, len(SETS)), (404, len(SETS)), (503, 1)])
async def test_a_cluster_that_is_away_is_asked_once_and_a_missing_set_hides_no_other(
    cluster: Cluster, asked: list[str], times: int
) -> None:
    await provisioning.refresh(cluster, BOXES)
    assert len(asked) == times


async def test_only_a_sync_that_was_given_up_is_begun_anew(tmp_path: Path) -> None:
    with served(tmp_path / "objects.sqlite") as server:
        server.core.create_namespace(objects.namespace("argocd"))
        for name, phase in (("fine", "Succeeded"), ("lost", "Failed")):
            made = objects.application(name, "argocd")
            operation = {"sync": {"source": made["spec"]["source"]}}
            state = {"phase": phase, "finishedAt": "2026-11-01T00:00:00Z", "operation": operation}
            server.custom.create_namespaced_custom_object(*ARGO, "applications", made)
            body = {"status": {"operationState": state}}
            server.custom.patch_namespaced_custom_object_status(*ARGO, "applications", name, body)
        cluster = reached(tmp_path, server.url)
        await provisioning.ask_again(cluster, {Place("local", name) for name in ("fine", "lost", "nowhere")})
        begun = [one["metadata"]["name"] for one in cluster.applications()[0] if "operation" in one]
    assert begun == ["lost"]


@pytest.mark.parametrize(("status", "times"), [(503, 2)])
async def test_a_cluster_that_is_away_is_not_asked_about_each_box(
    cluster: Cluster, asked: list[str], times: int
) -> None:
    await provisioning.ask_again(cluster, BOXES)
    assert len(asked) == times
