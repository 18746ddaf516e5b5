from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client, dynamic

from controller.sandbox.cluster.resources import KINDS
from tests.sandbox.cluster import objects
from tests.sandbox.cluster.serving import Served, served

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ARGO = ("argoproj.io", "v1alpha1", "here", "applications")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "objects.sqlite") as held:
        held.core.create_namespace(objects.namespace("here"))
        yield held


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> tuple[int, dict[str, Any]]:
    """HTTP code and Status of a call that must be refused."""
    with pytest.raises(client.ApiException) as caught:
        call(*given, **named)
    status = httpx.Response(200, content=caught.value.body).json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", caught.value.status)
    return caught.value.status, status


def test_the_version_and_the_groups_are_told(cluster: Served) -> None:
    assert client.VersionApi(cluster.client).get_code().git_version.startswith("v1.37")
    assert client.CoreApi(cluster.client).get_api_versions().versions == ["v1"]
    groups = {group.name for group in client.ApisApi(cluster.client).get_api_versions().groups}
    assert {"apps", "argoproj.io", "external-secrets.io", "networking.k8s.io", "metrics.k8s.io"} <= groups
    assert [served.version for served in client.AppsApi(cluster.client).get_api_group().versions] == ["v1"]


def test_the_dynamic_client_discovers_and_uses_every_kind(cluster: Served) -> None:
    found = dynamic.DynamicClient(cluster.client)
    for kind in KINDS:
        resource = found.resources.get(api_version=kind.api_version, kind=kind.kind)
        assert (resource.name, resource.namespaced) == (kind.plural, kind.namespaced)
        assert resource.get().kind == f"{kind.kind}List"


@pytest.mark.parametrize(
    "path",
    ["/", "/api/v2", "/apis/nobody.io/v1", "/apis/nobody.io", "/apis/apps/v1/pods",
     "/api/v1/namespaces/here/pods/a/exec", "/api/v1/pods/agent", "/api/v1/namespaces/here/configmaps/a/scale"],
)  # fmt: skip
def test_a_path_that_is_not_served_is_404_with_a_status(cluster: Served, path: str) -> None:
    answer = httpx.get(cluster.url + path, timeout=5)
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")


def test_an_object_is_made_read_replaced_and_deleted(cluster: Served) -> None:
    cluster.core.create_namespaced_config_map("here", objects.config())
    found = cluster.core.read_namespaced_config_map("settings", "here")
    assert found.data == {"colour": "red"}
    found.data = {"colour": "blue"}
    newer = cluster.core.replace_namespaced_config_map("settings", "here", found)
    assert int(newer.metadata.resource_version) > int(found.metadata.resource_version)
    assert cluster.core.delete_namespaced_config_map("settings", "here")["status"] == "Success"
    assert refused(cluster.core.read_namespaced_config_map, "settings", "here")[0] == 404


def test_conflicts_say_whether_the_name_or_the_version_is_at_fault(cluster: Served) -> None:
    made = cluster.core.create_namespaced_config_map("here", objects.config())
    code, status = refused(cluster.core.create_namespaced_config_map, "here", objects.config())
    assert (code, status["reason"], status["details"]["name"]) == (409, "AlreadyExists", "settings")
    made.metadata.resource_version = "1"
    code, status = refused(cluster.core.replace_namespaced_config_map, "settings", "here", made)
    assert (code, status["reason"]) == (409, "Conflict")


def test_plain_text_given_for_a_secret_is_kept_as_data(cluster: Served) -> None:
    meta = {"name": "agent-v1"}
    cluster.core.create_namespaced_secret("here", {"metadata": meta, "stringData": {"token": "é"}})
    patch = {"stringData": {"more": "x"}}
    found = cluster.core.patch_namespaced_secret("agent-v1", "here", patch, _content_type=MERGE)
    assert {key: base64.b64decode(value).decode() for key, value in found.data.items()} == {"token": "é", "more": "x"}
    assert found.string_data is None


@pytest.mark.parametrize(
    ("media", "patch"),
    [
        (MERGE, {"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 3}}),
        (STRATEGIC, {"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 3}}),
        (APPLY, {"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 3}}),
        (JSON, [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
                {"op": "replace", "path": "/spec/replicas", "value": 3}]),
    ],
)  # fmt: skip
def test_each_patch_kind_changes_what_it_names_and_no_more(cluster: Served, media: str, patch: Any) -> None:
    made = cluster.apps.create_namespaced_deployment("here", objects.deployment())
    more: dict[str, Any] = {"field_manager": "test", "force": True} if media == APPLY else {}
    found = cluster.apps.patch_namespaced_deployment("agent", "here", patch, _content_type=media, **more)
    assert (found.metadata.annotations, found.spec.replicas) == ({"a": "b"}, 3)
    assert found.metadata.generation == made.metadata.generation + 1
    assert found.spec.template == made.spec.template


def test_an_apply_patch_in_yaml_makes_what_is_not_there(cluster: Served) -> None:
    url = f"{cluster.url}/api/v1/namespaces/here/configmaps/made?fieldManager=test"
    body = "metadata:\n  annotations: {since: 2026-01-01}\ndata:\n  colour: red\n"
    answer = httpx.patch(url, content=body, headers={"content-type": APPLY}, timeout=5)
    assert answer.status_code == 201
    found = cluster.core.read_namespaced_config_map("made", "here")
    assert (found.data, found.metadata.annotations) == ({"colour": "red"}, {"since": "2026-01-01"})


def test_a_custom_resource_knows_no_strategic_merge(cluster: Served) -> None:
    cluster.custom.create_namespaced_custom_object(*ARGO, objects.application())
    url = f"{cluster.url}/apis/argoproj.io/v1alpha1/namespaces/here/applications/box1"
    answer = httpx.patch(url, json={"spec": {}}, headers={"content-type": STRATEGIC}, timeout=5)
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")


def test_the_status_is_changed_through_its_subresource_only(cluster: Served) -> None:
    cluster.custom.create_namespaced_custom_object(*ARGO, objects.application() | {"status": {"no": 1}})
    both: dict[str, Any] = {"status": {"health": {"status": "Healthy"}}, "spec": {"source": {"rev": 2}}}
    plain = cluster.custom.patch_namespaced_custom_object(*ARGO, "box1", both, _content_type=MERGE)
    assert ("status" in plain, plain["spec"]["source"]["rev"]) == (False, 2)
    both["spec"]["source"]["rev"] = 3
    status = cluster.custom.patch_namespaced_custom_object_status(*ARGO, "box1", both, _content_type=MERGE)
    assert (status["status"]["health"]["status"], status["spec"]["source"]["rev"]) == ("Healthy", 2)
    assert status["metadata"]["generation"] == plain["metadata"]["generation"]


def test_a_status_from_an_old_version_is_a_conflict(cluster: Served) -> None:
    old = cluster.core.create_namespaced_pod("here", objects.pod())
    cluster.core.patch_namespaced_pod("agent", "here", {"metadata": {"labels": {"a": "b"}}}, _content_type=MERGE)
    assert refused(cluster.core.replace_namespaced_pod_status, "agent", "here", old)[0] == 409


def test_a_deployment_is_scaled_through_its_subresource(cluster: Served) -> None:
    cluster.apps.create_namespaced_deployment("here", objects.deployment())
    scale = cluster.apps.read_namespaced_deployment_scale("agent", "here")
    assert (scale.kind, scale.spec.replicas, scale.status.selector) == ("Scale", 1, "app=agent")
    scale.spec.replicas = 0
    assert cluster.apps.replace_namespaced_deployment_scale("agent", "here", scale).spec.replicas == 0
    patch = {"spec": {"replicas": 2}}
    cluster.apps.patch_namespaced_deployment_scale("agent", "here", patch, _content_type=MERGE)
    assert cluster.apps.read_namespaced_deployment("agent", "here").spec.replicas == 2
    assert refused(cluster.apps.replace_namespaced_deployment_scale, "agent", "here", scale)[0] == 409


@pytest.mark.parametrize("replicas", [-1, "2", 1.5, True])
def test_a_number_of_replicas_that_is_none_is_refused(cluster: Served, replicas: Any) -> None:
    cluster.apps.create_namespaced_deployment("here", objects.deployment())
    patch = {"spec": {"replicas": replicas}}
    call = cluster.apps.patch_namespaced_deployment_scale
    assert refused(call, "agent", "here", patch, _content_type=MERGE)[0] == 422


def test_a_list_is_narrowed_by_labels_fields_and_namespace(cluster: Served) -> None:
    cluster.core.create_namespace(objects.namespace("there"))
    cluster.core.create_namespaced_pod("here", objects.pod("one", labels={"app": "a"}))
    cluster.core.create_namespaced_pod("here", objects.pod("two", labels={"app": "b"}))
    cluster.core.create_namespaced_pod("there", objects.pod("three", "there", labels={"app": "a"}))
    cluster.core.patch_namespaced_pod_status("one", "here", {"status": {"phase": "Running"}}, _content_type=MERGE)

    def names(listed: Any) -> list[str]:
        return [pod.metadata.name for pod in listed.items]

    assert names(cluster.core.list_namespaced_pod("here")) == ["one", "two"]
    assert names(cluster.core.list_pod_for_all_namespaces(label_selector="app in (a,c)")) == ["one", "three"]
    assert names(cluster.core.list_pod_for_all_namespaces(field_selector="status.phase=Running")) == ["one"]
    assert names(cluster.core.list_pod_for_all_namespaces(field_selector="metadata.namespace=there")) == ["three"]
    assert refused(cluster.core.list_namespaced_pod, "here", field_selector="spec.containers=a")[0] == 422


def test_a_deleted_namespace_takes_everything_in_it(cluster: Served) -> None:
    cluster.core.create_namespaced_config_map("here", objects.config())
    cluster.apps.create_namespaced_deployment("here", objects.deployment())
    cluster.core.delete_namespace("here")
    assert refused(cluster.core.read_namespace, "here")[0] == 404
    assert cluster.core.list_config_map_for_all_namespaces().items == []
    assert cluster.apps.list_deployment_for_all_namespaces().items == []


def test_a_namespace_with_a_running_pod_is_terminating_and_takes_nothing_new(cluster: Served) -> None:
    cluster.core.create_namespaced_pod("here", objects.pod())
    cluster.core.delete_namespace("here")
    assert cluster.core.read_namespace("here").status.phase == "Terminating"
    assert cluster.core.read_namespaced_pod("agent", "here").metadata.deletion_timestamp is not None
    assert refused(cluster.core.create_namespaced_config_map, "here", objects.config())[0] == 404


def test_a_pod_is_told_how_long_it_may_take_to_end(cluster: Served) -> None:
    cluster.core.create_namespaced_pod("here", objects.pod("own"))
    cluster.core.create_namespaced_pod("here", objects.pod("given"))
    assert cluster.core.delete_namespaced_pod("own", "here").metadata.deletion_grace_period_seconds == 45
    ending = cluster.core.delete_namespaced_pod("given", "here", grace_period_seconds=0)
    assert ending.metadata.deletion_grace_period_seconds == 0


def test_a_box_is_not_deleted_without_its_approval(cluster: Served) -> None:
    cluster.core.create_namespace(objects.box())
    cluster.core.create_namespaced_persistent_volume_claim("box-1", objects.volume(space="box-1"))
    for call in (
        lambda: cluster.core.delete_namespace("box-1"),
        lambda: cluster.core.delete_namespaced_persistent_volume_claim("data", "box-1"),
        lambda: cluster.core.delete_namespaced_persistent_volume_claim("data", "box-1", grace_period_seconds=0),
        lambda: cluster.core.delete_collection_namespaced_persistent_volume_claim("box-1"),
    ):
        code, status = refused(call)
        assert (code, status["reason"]) == (403, "Forbidden")
        assert "destroy-approved" in status["message"]
    approved = {"metadata": {"annotations": {"openclaw.cloud/destroy-approved": "true"}}}
    cluster.core.patch_namespace("box-1", approved, _content_type=MERGE)
    cluster.core.delete_namespace("box-1")
    assert refused(cluster.core.read_namespace, "box-1")[0] == 404


def test_a_collection_is_deleted_as_far_as_it_is_selected(cluster: Served) -> None:
    for name, colour in (("one", "red"), ("two", "blue")):
        cluster.core.create_namespaced_config_map("here", objects.config(name, labels={"colour": colour}))
    cluster.core.delete_collection_namespaced_config_map("here", label_selector="colour=red")
    assert [obj.metadata.name for obj in cluster.core.list_namespaced_config_map("here").items] == ["two"]


def test_a_deletion_meant_for_an_earlier_object_of_the_name_is_a_conflict(cluster: Served) -> None:
    old = cluster.core.create_namespaced_config_map("here", objects.config())
    cluster.core.delete_namespaced_config_map("settings", "here")
    cluster.core.create_namespaced_config_map("here", objects.config())
    meant = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=old.metadata.uid))
    assert refused(cluster.core.delete_namespaced_config_map, "settings", "here", body=meant)[0] == 409
    assert cluster.core.read_namespaced_config_map("settings", "here").data == {"colour": "red"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"metadata": {"name": "other"}}, 400),
        ({"metadata": {"namespace": "there"}}, 400),
        ({"kind": "Secret", "metadata": {}}, 400),
        ({"apiVersion": "v2", "metadata": {}}, 400),
        ({"metadata": []}, 422),
        ([], 422),
        ("text", 422),
        (None, 422),
    ],
)
def test_a_body_that_is_no_object_or_not_that_of_the_path_is_refused(cluster: Served, body: Any, code: int) -> None:
    cluster.core.create_namespaced_config_map("here", objects.config())
    answer = httpx.put(f"{cluster.url}/api/v1/namespaces/here/configmaps/settings", json=body, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (code, code)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"kind: ConfigMap"])
def test_a_body_that_is_no_json_is_a_bad_request(cluster: Served, body: bytes) -> None:
    url, media = f"{cluster.url}/api/v1/namespaces/here/configmaps", {"content-type": "application/json"}
    assert httpx.post(url, content=body, headers=media, timeout=5).status_code == 400


def test_a_dry_run_answers_as_if_it_were_done_and_stores_nothing(cluster: Served) -> None:
    core = cluster.core
    newest = core.list_namespaced_config_map("here").metadata.resource_version
    made = core.create_namespaced_config_map("here", objects.config(), dry_run="All")
    assert (made.data, bool(made.metadata.uid)) == ({"colour": "red"}, True)
    core.delete_namespace("here", body=client.V1DeleteOptions(dry_run=["All"]))
    assert core.list_namespaced_config_map("here").items == []
    assert core.read_namespace("here").status.phase == "Active"
    assert core.list_namespaced_config_map("here").metadata.resource_version == newest
    assert refused(core.create_namespaced_config_map, "here", objects.config(), dry_run="Some")[0] == 400


def test_a_dry_run_is_refused_for_what_the_real_one_would_be(cluster: Served) -> None:
    cluster.core.create_namespaced_config_map("here", objects.config())
    assert refused(cluster.core.create_namespaced_config_map, "here", objects.config(), dry_run="All")[0] == 409


def test_a_restart_keeps_objects_and_versions(tmp_path: Path) -> None:
    with served(tmp_path / "objects.sqlite") as first:
        first.core.create_namespace(objects.namespace("here"))
        made = first.core.create_namespaced_config_map("here", objects.config())
    with served(tmp_path / "objects.sqlite") as second:
        assert second.core.read_namespaced_config_map("settings", "here") == made
        newer = second.core.create_namespaced_config_map("here", objects.config("newer"))
    assert int(newer.metadata.resource_version) > int(made.metadata.resource_version)
