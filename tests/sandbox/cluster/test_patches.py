from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.errors import Invalid
from controller.sandbox.cluster import patches
from tests.sandbox.cluster import objects

JSONS = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), JSONS, max_size=3)


# RFC 7396, appendix A, as far as both sides are objects
@pytest.mark.parametrize(
    ("old", "patch", "made"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_its_rfc(old: Any, patch: Any, made: Any) -> None:
    assert patches.apply(patches.MERGE, old, patch) == made


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ({"op": "add", "path": "/new", "value": 1}, {"a": {"x/y": 1}, "l": [1, 2], "new": 1}),
        ({"op": "add", "path": "/l/0", "value": 0}, {"a": {"x/y": 1}, "l": [0, 1, 2]}),
        ({"op": "add", "path": "/l/-", "value": 3}, {"a": {"x/y": 1}, "l": [1, 2, 3]}),
        ({"op": "replace", "path": "/a/x~1y", "value": 2}, {"a": {"x/y": 2}, "l": [1, 2]}),
        ({"op": "remove", "path": "/l/1"}, {"a": {"x/y": 1}, "l": [1]}),
        ({"op": "move", "from": "/l", "path": "/a/l"}, {"a": {"x/y": 1, "l": [1, 2]}}),
        ({"op": "copy", "from": "/l/0", "path": "/l/2"}, {"a": {"x/y": 1}, "l": [1, 2, 1]}),
        ({"op": "test", "path": "/l/0", "value": 1}, {"a": {"x/y": 1}, "l": [1, 2]}),
    ],
)
def test_each_json_patch_operation_does_what_its_rfc_says(step: Any, made: Any) -> None:
    assert patches.apply(patches.JSON, {"a": {"x/y": 1}, "l": [1, 2]}, [step]) == made


@pytest.mark.parametrize(
    "step",
    [
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "remove", "path": "/l/2"},
        {"op": "remove", "path": "/l/-1"},
        {"op": "remove", "path": "/l/-"},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/missing/inner", "value": 1},
        {"op": "add", "path": "new", "value": 1},
        {"op": "add", "path": "", "value": 1},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "add", "path": "/new"},
        {"op": "test", "path": "/a", "value": "c"},
        {"op": "move", "from": "/missing", "path": "/new"},
        {"op": "rename", "path": "/a"},
        {"path": "/a"},
        "remove",
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused_and_changes_nothing(step: Any) -> None:
    old = {"a": {"b": "text"}, "l": [1, 2]}
    with pytest.raises(Invalid, match="patch_does_not_fit"):
        patches.apply(patches.JSON, old, [{"op": "add", "path": "/a/first", "value": 3}, step])
    assert old == {"a": {"b": "text"}, "l": [1, 2]}


def _container(patch: dict[str, Any], media: str = patches.STRATEGIC) -> dict[str, Any]:
    whole = {"spec": {"template": {"spec": {"containers": [{"name": "agent", **patch}]}}}}
    made: dict[str, Any] = patches.apply(media, objects.deployment(), whole)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("media", [patches.STRATEGIC])
def test_containers_and_their_environment_merge_by_name(media: str) -> None:
    made = _container(
        {"image": "two", "env": [{"name": "SIZE", "value": "small"}, {"name": "NEW", "value": "1"}]}, media
    )
    assert made["image"] == "two"
    assert {one["name"]: one["value"] for one in made["env"]} == {"COLOUR": "red", "SIZE": "small", "NEW": "1"}


def test_a_volume_mounted_twice_stays_mounted_twice() -> None:
    made = _container({"volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]})
    assert made["volumeMounts"] == [
        {"name": "data", "mountPath": "/data", "readOnly": True},
        {"name": "data", "mountPath": "/more"},
    ]


def test_a_strategic_patch_can_delete_one_item_and_replace_a_map() -> None:
    assert [one["name"] for one in _container({"env": [{"name": "SIZE", "$patch": "delete"}]})["env"]] == ["COLOUR"]
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}
    assert patches.apply(patches.STRATEGIC, old, patch) == {"metadata": {"labels": {"c": "3"}}}


def test_a_merge_patch_replaces_every_list_and_knows_no_directives() -> None:
    assert _container({"image": "two"}, patches.MERGE) == {"name": "agent", "image": "two"}
    assert patches.apply(patches.MERGE, {}, {"$patch": "replace"}) == {"$patch": "replace"}


@pytest.mark.parametrize("media", ["application/json", "", "text/plain"])
def test_what_is_no_patch_is_an_unsupported_media_type(media: str) -> None:
    with pytest.raises(patches.UnknownPatch) as refused:
        patches.apply(media, {}, {})
    assert refused.value.status == 415


@pytest.mark.parametrize(("media", "patch"), [(patches.MERGE, [1]), (patches.STRATEGIC, None), (patches.JSON, {})])
def test_a_patch_of_the_wrong_form_is_refused(media: str, patch: Any) -> None:
    with pytest.raises(Invalid, match="patch_malformed"):
        patches.apply(media, {}, patch)


@given(DOCUMENTS, DOCUMENTS)
def test_merging_twice_is_merging_once_and_neither_side_is_changed(old: Any, patch: Any) -> None:
    kept = copy.deepcopy((old, patch))
    once = patches.apply(patches.MERGE, old, patch)
    assert patches.apply(patches.MERGE, once, patch) == once
    assert (old, patch) == kept
