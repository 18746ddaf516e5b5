"""What an Application says, read from any Application that may stand in the cluster."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.clients import argocd
from controller.clients.argocd import Observed

SETTLED = Observed(
    box_id="b", cell="local", rev=3, sync="Synced", health="Healthy", phase="Succeeded", operating=False,
    resources=4, message=None,
)  # fmt: skip


def application(**status: Any) -> dict[str, Any]:
    values = {"spec": {"rev": 3, "state": "active"}, "cell": {"name": "local"}}
    source = {"helm": {"valuesObject": values}}
    made = {
        "sync": {"status": "Synced", "comparedTo": {"source": source}}, "health": {"status": "Healthy"},
        "operationState": {"phase": "Succeeded", "message": "ok"}, "resources": [{}, {}, {}, {}],
    }  # fmt: skip
    return {"metadata": {"name": "b"}, "spec": {"source": source}, "status": {**made, **status}}


def with_values(values: Any) -> dict[str, Any]:
    source = {"helm": {"valuesObject": values}}
    return {
        "metadata": {"name": "b"}, "spec": {"source": source}, "status": {"sync": {"comparedTo": {"source": source}}}
    }  # fmt: skip


def test_a_settled_application_is_read_whole() -> None:
    assert argocd.read(application()) == replace(
        SETTLED, message="ok", asked_rev=3, asked_state="active", synced_once=True
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"rev": 2}, {"sync": "OutOfSync"}, {"sync": "Unknown"}, {"health": "Progressing"}, {"health": "Degraded"},
        {"health": "Missing"}, {"phase": "Running"}, {"phase": "Failed"}, {"phase": "Error"}, {"phase": ""},
        {"operating": True},
    ],
    ids=str,
)  # fmt: skip
def test_one_thing_amiss_and_it_is_not_settled(changed: dict[str, Any]) -> None:
    assert not replace(SETTLED, **changed).settled(3)


@pytest.mark.parametrize(("rev", "settled"), [(1, True), (3, True), (4, False)])
def test_a_newer_rev_proves_an_older_job(rev: int, settled: bool) -> None:
    assert SETTLED.settled(rev) is settled


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ([], None),
        (None, None),
        (["x"], None),
        ([{"kind": "PersistentVolumeClaim", "name": "data", "status": "Synced"}], None),
        ([{"kind": "VolumeSnapshot", "name": "a", "status": "OutOfSync"}], None),
        (
            [{"kind": "VolumeSnapshot", "name": name, "status": said} for name, said in (("a", "?"), ("b", "Synced"))],
            "b",
        ),
    ],
    ids=["nothing", "null", "no resources", "another kind", "one that is not there", "one that is"],
)
def test_the_snapshot_is_the_one_that_is_there_as_rendered(resources: Any, name: str | None) -> None:
    assert argocd.read(application(resources=resources)).snapshot == name


def test_health_alone_proves_nothing() -> None:
    table = itertools.product(["OutOfSync", "Synced"], ["Running", "Succeeded"], [True, False])
    settled = [row for row in table if replace(SETTLED, sync=row[0], phase=row[1], operating=row[2]).settled(3)]
    assert settled == [("Synced", "Succeeded", False)]


def test_the_rev_is_the_one_compared_and_not_the_one_wanted() -> None:
    made = application()
    made["spec"]["source"] = {"helm": {"valuesObject": {"spec": {"rev": 9}, "cell": {"name": "local"}}}}
    assert argocd.read(made).rev == 3


@pytest.mark.parametrize("status", [None, {}, {"sync": None, "health": None, "operationState": None}], ids=str)
def test_an_application_that_was_never_compared_is_at_rev_zero(status: Any) -> None:
    seen = argocd.read({"metadata": {"name": "b"}, "spec": {"source": {}}, "status": status})
    assert (seen.rev, seen.sync, seen.health, seen.phase) == (0, "Unknown", "Missing", "")
    assert not seen.settled(1)


@pytest.mark.parametrize(
    "foreign",
    [
        {"metadata": {"name": "platform"}, "spec": {"sources": [{}, {}]}},
        {"metadata": {"name": "platform"}, "spec": None},
        {"metadata": {"name": "platform"}},
        with_values({"cell": "local", "spec": "on"}),
        with_values({"spec": {"rev": "seven"}}),
        with_values({"spec": {"rev": None}}),
        with_values("text"),
        with_values(["list"]),
        {"metadata": {"name": "x"}, "spec": {"source": {"helm": None}}, "status": {"sync": {"status": None}}},
    ],
    ids=str,
)
def test_an_application_of_somebody_else_is_read_as_not_there_yet(foreign: dict[str, Any]) -> None:
    seen = argocd.read(foreign)
    assert (seen.rev, seen.settled(1)) == (0, False)


NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OPERATION = {"initiatedBy": {"automated": True}, "sync": {"prune": True, "source": application()["spec"]["source"]}}


def failed(seconds: int = 60, **changed: Any) -> dict[str, Any]:
    """An Application whose sync Argo CD gave up so long ago."""
    ended = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return application(operationState={"phase": "Failed", "finishedAt": ended, "operation": OPERATION, **changed})


@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_a_sync_that_was_given_up_is_begun_again_as_it_was(phase: str) -> None:
    assert argocd.given_up(failed(phase=phase), NOW) == OPERATION


@pytest.mark.parametrize(
    "left_alone",
    [
        failed(phase="Succeeded"), failed(phase="Running"), failed(seconds=10), failed(finishedAt=None),
        failed(finishedAt="soon"), failed(operation=None), failed(operation={"sync": {"prune": True}}),
        failed(operation={"sync": {"source": {"chart": "another"}}}), {**failed(), "operation": {}}, application(),
        {"metadata": {"name": "odd"}},
    ],
)  # fmt: skip
def test_no_other_operation_is_begun(left_alone: dict[str, Any]) -> None:
    assert argocd.given_up(left_alone, NOW) is None
