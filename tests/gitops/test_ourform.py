"""The quick way to read and write our own files: it gives the slow way's bytes, or it is not taken."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gitops import manifests, ourform
from tests.gitops.test_manifests import CUSTOMER, SLUGS, SPECS, VERSIONS, made, written

COMMENT = b"# by ops\n"
FIELDS = st.fixed_dictionaries(
    {"rev": st.integers(1, 10_000_000)},
    optional={
        "state": st.sampled_from(["active", "suspended"]),
        "secrets.telegram": VERSIONS,
        "connections": st.lists(st.fixed_dictionaries({"provider": SLUGS, "version": VERSIONS}), max_size=3),
        "niche": st.sampled_from(["no", "null", "e1", "pharmacy"]),
        "deletion": st.just("approved"),
    },
)


@given(SPECS, FIELDS)
@settings(max_examples=40, deadline=None)
def test_a_file_of_ours_changes_as_one_with_a_comment_does(before: dict[str, Any], fields: dict[str, Any]) -> None:
    content, owner = written(before), CUSTOMER if before["state"] == "standby" else None
    assert ourform.read(content) == yaml.safe_load(content)
    fields = {"state": "active", **fields} if owner else fields
    quick = manifests.change(content, fields, customer=owner)
    assert COMMENT + quick == manifests.change(COMMENT + content, fields, customer=owner)
    assert ourform.read(quick) == yaml.safe_load(quick)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("overrides: {}", "overrides: {}  # none"),
        ("overrides: {}", "overrides:  {}"),
        ("overrides: {}", "overrides: {volume_gib: 1}"),
        ("overrides: {}\n", "overrides: {}"),
        ("overrides: {}", "overrides: {}\r"),
        ("rev: 1", "rev: 01"),
        ("rev: 1", "rev: 1\n  rev: 2"),
        ("rev: 1", "rev:"),
        ("rev: 1", "rev: 1\n  on: 1"),
        ("rev: 1", "rev: &a 1"),
        ('"low"', "'low'"),
        ('"low"', "low"),
        ("  id", "   id"),
        ("apiVersion", "---\napiVersion"),
        ("apiVersion", "\ufeffapiVersion"),
    ],
)
def test_what_we_did_not_write_so_goes_the_slow_way(old: str, new: str) -> None:
    text = made().decode()
    assert old in text
    assert ourform.read(text.replace(old, new, 1).encode()) is None


@pytest.mark.parametrize("content", [b"", b"a:" * 9000, b"a: [[[[\n" * 999, b"a:\n" * 9, b"- a: 1\n", b"a: 1\n b: 2\n"])
def test_what_is_no_map_of_ours_is_left_to_others(content: bytes) -> None:
    assert ourform.read(content) is None


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], [[]], [{}], {1}], ids=str)
def test_a_value_without_a_place_is_not_written(value: object) -> None:
    assert ourform.write({"a": value}) is None
