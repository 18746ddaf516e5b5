"""How objects go: finalizers, owners and dependents, definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.core.errors import Invalid
from controller.sandbox.cluster import definitions, resources
from controller.sandbox.cluster.deletion import FOREGROUND, ORPHAN
from controller.sandbox.cluster.resources import CONFIG_MAP, CRD, NAMESPACE, POD, Kind, Object
from controller.sandbox.cluster.store import Store
from tests.sandbox.cluster import objects

WIDGET = Kind("example.com", "v1", "Widget", "widgets")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "objects.sqlite")
    made.create(objects.namespace())
    return made


def owned(owner: Object, name: str = "child", *, blocks: bool = True, **meta: Any) -> Object:
    reference = {"apiVersion": "v1", "kind": owner["kind"], "name": owner["metadata"]["name"]}
    reference |= {"uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks}
    return objects.config(name, ownerReferences=[reference], **meta)


def names(store: Store) -> list[str]:
    return [obj["metadata"]["name"] for obj in store.list(CONFIG_MAP)]


def test_what_has_a_finalizer_waits_until_it_is_taken_away(store: Store) -> None:
    store.create(objects.config(finalizers=["example.com/mine"]))
    store.delete(CONFIG_MAP, "here", "settings")
    [waiting] = store.list(CONFIG_MAP)
    assert "deletionTimestamp" in waiting["metadata"]
    del waiting["metadata"]["finalizers"]
    store.update(waiting)
    assert names(store) == []


def test_a_namespace_waits_for_the_finalizers_in_it(store: Store) -> None:
    store.create(objects.config(finalizers=["example.com/mine"]))
    store.create(objects.config("plain"))
    store.delete(NAMESPACE, None, "here")
    [waiting] = store.list(CONFIG_MAP)
    assert (store.get(NAMESPACE, None, "here") or {})["status"]["phase"] == "Terminating"
    del waiting["metadata"]["finalizers"]
    store.update(waiting)
    assert store.get(NAMESPACE, None, "here") is None


def test_dependents_follow_their_owner_in_the_background(store: Store) -> None:
    owner = store.create(objects.config("owner"))
    store.create(owned(owner))
    store.delete(CONFIG_MAP, "here", "owner")
    assert names(store) == []


def test_an_owner_waits_for_its_dependents_in_the_foreground(store: Store) -> None:
    owner = store.create(objects.config("owner"))
    store.create(owned(owner, finalizers=["example.com/mine"]))
    store.delete(CONFIG_MAP, "here", "owner", propagation=FOREGROUND)
    child, waiting = store.list(CONFIG_MAP)
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    del child["metadata"]["finalizers"]
    store.update(child)
    assert names(store) == []


def test_orphans_stay_and_forget_their_owner(store: Store) -> None:
    owner = store.create(objects.config("owner"))
    store.create(owned(owner))
    store.delete(CONFIG_MAP, "here", "owner", propagation=ORPHAN)
    [orphan] = store.list(CONFIG_MAP)
    assert "ownerReferences" not in orphan["metadata"]


def test_a_dependent_with_another_owner_stays_until_that_one_goes(store: Store) -> None:
    first, second = (store.create(objects.config(name)) for name in ("first", "second"))
    child = owned(first)
    child["metadata"]["ownerReferences"] += owned(second)["metadata"]["ownerReferences"]
    store.create(child)
    store.delete(CONFIG_MAP, "here", "first")
    assert names(store) == ["child", "second"]
    store.delete(CONFIG_MAP, "here", "second")
    assert names(store) == []


def test_a_running_pod_of_a_deleted_owner_is_asked_to_end(store: Store) -> None:
    owner = store.create(objects.config("owner"))
    store.create({**objects.pod(), "metadata": owned(owner, "agent")["metadata"]})
    store.delete(CONFIG_MAP, "here", "owner")
    assert "deletionTimestamp" in store.list(POD)[0]["metadata"]


def definition(**changes: Any) -> Object:
    version = {"name": "v1", "served": True, "storage": True, "schema": {}}
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [version], **changes,
    }  # fmt: skip
    return {"apiVersion": CRD.api_version, "kind": CRD.kind, "metadata": {"name": "widgets.example.com"}, "spec": spec}


def widget() -> Object:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "here"}}


def test_a_definition_makes_its_kind_usable_until_it_goes(store: Store, tmp_path: Path) -> None:
    made = store.create(definition())
    assert {one["type"] for one in made["status"]["conditions"]} == {"NamesAccepted", "Established"}
    store.create(widget())
    resources.withdraw("widgets.example.com")  # as in another process
    again = Store(tmp_path / "objects.sqlite")
    assert [one["metadata"]["name"] for one in again.list(WIDGET)] == ["one"]
    again.delete(CRD, None, "widgets.example.com")
    assert again.list(WIDGET) == []
    assert resources.find("example.com", "v1", "widgets") is None


@pytest.mark.parametrize("changes", [{"group": "other.com"}, {"scope": "Nowhere"}, {"versions": []}, {"names": None}])
def test_a_malformed_definition_is_refused(store: Store, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        store.create(definition(**changes))
    assert store.list(CRD) == []


def test_a_printer_column_finds_what_its_path_says() -> None:
    obj = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "list": ["a", "b"]}
    assert definitions.at(obj, '.status.conditions[?(@.type=="Ready")].status') == "True"
    assert definitions.at(obj, ".list[1]") == "b"
    assert definitions.at(obj, ".nothing.here") is None
    assert definitions.at(obj, ".list[*].x") is None
