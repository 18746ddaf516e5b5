"""Who set which field: what an apply takes, shares, gives back and is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controller.sandbox.cluster import ownership
from controller.sandbox.cluster.ownership import OwnedByOthers
from controller.sandbox.cluster.resources import Object
from tests.sandbox.cluster import objects

EMPTY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}


def settings(**data: str) -> Object:
    return {**EMPTY, "data": data}


def managers(obj: Object) -> dict[str, Any]:
    return {one["manager"]: one["fieldsV1"] for one in obj["metadata"]["managedFields"]}


def test_a_field_that_is_applied_no_longer_goes() -> None:
    first = ownership.applied(EMPTY, settings(a="1", b="2"), "me")
    assert ownership.applied(first, settings(a="1"), "me")["data"] == {"a": "1"}


def test_a_field_that_another_applied_with_the_same_value_stays() -> None:
    first = ownership.applied(EMPTY, settings(a="1"), "me")
    shared = ownership.applied(first, settings(a="1"), "you")
    assert managers(shared) == {"me": {"f:data": {"f:a": {}}}, "you": {"f:data": {"f:a": {}}}}
    left = ownership.applied(shared, settings(b="2"), "me")
    assert left["data"] == {"a": "1", "b": "2"}


def test_another_value_of_an_owned_field_is_a_conflict_unless_it_is_forced() -> None:
    first = ownership.applied(EMPTY, settings(a="1"), "me")
    with pytest.raises(OwnedByOthers, match="owned_by_others") as refusal:
        ownership.applied(first, settings(a="2"), "you")
    assert [one["field"] for one in refusal.value.facts["causes"]] == [".data.a"]  # type: ignore[attr-defined]
    taken = ownership.applied(first, settings(a="2"), "you", force=True)
    assert (taken["data"], managers(taken)) == ({"a": "2"}, {"you": {"f:data": {"f:a": {}}}})


def test_an_update_takes_what_it_changes_and_nothing_else() -> None:
    first = ownership.applied(EMPTY, settings(a="1", b="2"), "me")
    changed = ownership.updated(first, {**first, "data": {"a": "1", "b": "3"}}, "you")
    assert managers(changed) == {"me": {"f:data": {"f:a": {}}}, "you": {"f:data": {"f:b": {}}}}


def test_items_with_a_key_are_owned_one_by_one() -> None:
    made = objects.deployment()
    live = ownership.applied({**made, "spec": {}}, made, "me")
    mine: Any = {**made, "spec": {"template": {"spec": {"containers": [{"name": "more", "image": "two"}]}}}}
    both = ownership.applied(live, mine, "you")
    assert [one["name"] for one in both["spec"]["template"]["spec"]["containers"]] == ["agent", "more"]
    again = ownership.applied(both, {**made, "spec": {"replicas": 1}}, "you")
    assert [one["name"] for one in again["spec"]["template"]["spec"]["containers"]] == ["agent"]


def test_lists_of_a_custom_kind_are_one_field() -> None:
    made = {**objects.application(), "spec": {"sources": [{"name": "a"}, {"name": "b"}]}}
    live = ownership.applied({**made, "spec": {}}, made, "me")
    assert managers(live)["me"]["f:spec"] == {"f:sources": {}}
    fewer = ownership.applied(live, {**made, "spec": {"sources": [{"name": "b"}]}}, "me")
    assert fewer["spec"]["sources"] == [{"name": "b"}]


def test_applying_the_same_again_changes_nothing_not_even_its_time() -> None:
    made = objects.deployment()
    once = ownership.applied({**made, "spec": {}}, made, "me")
    assert ownership.applied(once, made, "me") == once


def test_a_list_that_was_recorded_as_one_field_stays_when_its_items_are() -> None:
    made = objects.deployment()
    fields: Object = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}
    old = {**made, "metadata": {**made["metadata"], "managedFields": [{"manager": "me", "operation": "Apply",
                                                                      "fieldsV1": fields}]}}  # fmt: skip
    assert ownership.applied(old, made, "me")["spec"] == made["spec"]
