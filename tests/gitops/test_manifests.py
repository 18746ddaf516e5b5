"""The manifest: what the model says stands in the file, what people wrote stays, and nothing else gets in."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from controller.core import ids
from controller.core.errors import Invalid
from controller.gitops import manifests
from controller.gitops.manifests import ManifestError, Snapshot, Volume, Volumes
from tests.gitops.test_commits import spec

BOX, CUSTOMER = ids.new(), ids.new()
SLUGS = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
VERSIONS = st.integers(1, 1_000_000)
RELEASES = st.from_regex(r"[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,4}", fullmatch=True)
REVS = st.integers(1, 10_000_000)
SNAPSHOTS = st.fixed_dictionaries({"release": RELEASES, "rev": REVS}, optional={"volume": REVS})


@st.composite
def volumes(draw: st.DrawFn) -> dict[str, Any]:
    """The first volume or one that was made in use, another perhaps kept, a third perhaps given up."""
    numbers = draw(st.lists(st.just(0) | REVS, min_size=3, max_size=3, unique=True))
    one, other = ({"rev": rev, **({"snapshot": draw(SNAPSHOTS)} if rev else {})} for rev in numbers[:2])
    return {"used": one} | draw(
        st.fixed_dictionaries({}, optional={"kept": st.just(other), "given_up": st.just(numbers[2])})
    )


SPECS: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "rev": st.integers(1, 10_000_000),
        "state": st.sampled_from(["standby", "active", "suspended", "condemned", "destroyed"]),
        "deletion": st.sampled_from(["held", "approved"]),
        "plan": st.sampled_from(["starter", "pro", "team"]),
        "volume_gib": st.integers(1, 1_000),
        "release": RELEASES,
        "snapshot": SNAPSHOTS,
        "volumes": volumes(),
        "ring": st.integers(0, 9),
        "locale": st.sampled_from(["pt-BR", "en"]),
        "niche": SLUGS | st.sampled_from(["no", "on", "off", "yes", "y", "null", "true", "e1"]),
        "model": SLUGS,
        "thinking": st.sampled_from(["off", "low", "medium", "high"]),
        "profile": VERSIONS,
        "secrets": st.fixed_dictionaries({"agent": VERSIONS, "telegram": VERSIONS, "proxy": VERSIONS}),
        "connections": st.lists(st.fixed_dictionaries({"provider": SLUGS, "version": VERSIONS}), max_size=4),
    }
)


def made(**changed: Any) -> bytes:
    return manifests.create(BOX, CUSTOMER, spec(**changed))


def written(given_spec: dict[str, Any]) -> bytes:
    """A box of that spec, owned unless it stands by."""
    return manifests.create(BOX, None if given_spec["state"] == "standby" else CUSTOMER, given_spec)


def strings(node: Any) -> list[str]:
    """Every string value below ``node``."""
    if isinstance(node, dict):
        return [found for value in node.values() for found in strings(value)]
    if isinstance(node, list):
        return [found for value in node for found in strings(value)]
    return [node] if isinstance(node, str) else []


@given(SPECS)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back_by_us_and_by_argos_parser(given_spec: dict[str, Any]) -> None:
    content = written(given_spec)
    assert manifests.read(content).spec.model_dump(mode="json") == given_spec
    assert yaml.safe_load(content)["spec"] == given_spec


@pytest.mark.parametrize(
    ("state", "customer"),
    [("standby", CUSTOMER), ("active", None), ("suspended", None)],
    ids=["standby", "active", "suspended"],
)
def test_a_standby_belongs_to_nobody_and_what_serves_a_customer_to_one(state: str, customer: str | None) -> None:
    with pytest.raises(ManifestError, match=f"a box that is {state} belongs to"):
        manifests.create(BOX, customer, spec(state=state))


MADE = {"rev": 3, "snapshot": {"release": "2026.11.1", "rev": 2}}


@pytest.mark.parametrize(
    "volumes",
    [
        {}, {"kept": {"rev": 0}}, {"used": {"rev": 3}}, {"used": {**MADE, "rev": 0}}, {"used": MADE, "kept": MADE},
        {"used": MADE, "given_up": 3}, {"used": MADE, "kept": {"rev": 0}, "given_up": 0}, {"used": {"rev": "0"}},
    ],
    ids=[
        "none", "none in use", "one from nowhere", "a first one from a snapshot", "one twice", "what was given up",
        "what is kept and given up", "a number in quotes",
    ],
)  # fmt: skip
def test_a_box_has_each_volume_once_and_every_later_one_from_a_snapshot(volumes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="volumes"):
        made(volumes=volumes)


def test_a_file_that_says_nothing_of_volumes_has_the_first() -> None:
    manifest = manifests.read(made())
    assert (manifests.volumes(manifest), b"volumes" in made()) == (Volumes(used=Volume(rev=0)), False)


@pytest.mark.parametrize("state", ["condemned", "destroyed"])
def test_a_box_may_end_without_ever_having_had_an_owner(state: str) -> None:
    assert manifests.read(manifests.create(BOX, None, spec(state=state))).metadata.customer is None


def test_a_claim_gives_a_standby_its_customer_and_keeps_what_ops_wrote() -> None:
    content = written(spec(state="standby")).replace(b"overrides: {}", b"overrides: {}  # spare")
    claimed = manifests.change(content, {"rev": 2, "state": "active"}, customer=CUSTOMER)
    assert (manifests.read(claimed).metadata.customer, b"# spare" in claimed) == (CUSTOMER, True)


@given(SPECS)
@settings(max_examples=30, deadline=None)
def test_every_string_is_quoted(given_spec: dict[str, Any]) -> None:
    content = written(given_spec).decode()
    values = strings(yaml.safe_load(content))
    assert sum(content.count(f'"{value}"') for value in set(values)) == len(values)
    assert re.findall(r": +[A-Za-z]", content) == []


@given(SPECS, st.integers(2, 10_000_000), st.sampled_from(["active", "suspended"]), VERSIONS)
@settings(max_examples=30, deadline=None)
def test_a_change_sets_its_fields_and_no_other(before: dict[str, Any], rev: int, state: str, agent: int) -> None:
    assume(before["state"] != "standby")
    content = written(before)
    changed = manifests.change(content, {"rev": rev, "state": state, "secrets.agent": agent})
    expected = {**before, "rev": rev, "state": state, "secrets": {**before["secrets"], "agent": agent}}
    assert manifests.read(changed).spec.model_dump(mode="json") == expected


def test_comments_and_overrides_survive_a_change() -> None:
    text = made().decode().replace("overrides: {}", "# for the school year\noverrides:\n  volume_gib: 40  # ticket 7")
    text = "# by ops\n" + text.replace('plan: "pro"', 'plan: "pro"  # was team')
    changed = manifests.change(text.encode(), {"rev": 2, "state": "suspended"}).decode()
    assert [line for line in changed.splitlines() if "#" in line] == [line for line in text.splitlines() if "#" in line]
    assert manifests.read(changed.encode()).overrides.volume_gib == 40


def test_a_field_that_becomes_none_leaves_the_file() -> None:
    kept = manifests.change(made(), {"rev": 8, "snapshot": {"release": "2026.11.1", "rev": 8}})
    assert manifests.read(kept).spec.snapshot == Snapshot(release="2026.11.1", rev=8)
    assert manifests.change(kept, {"rev": 7, "snapshot": None}) == manifests.change(made(), {"rev": 7})


def test_a_change_that_changes_nothing_gives_the_same_bytes() -> None:
    content = b"# odd   spacing\n" + made()
    assert manifests.change(content, {"state": "active", "secrets.agent": 1}) is content


WRONG: dict[str, tuple[str, str]] = {
    "an unknown key in the spec": ("spec:\n", "spec:\n  image: evil\n"),
    "an unknown key at the top": ("kind:", "extra: 1\nkind:"),
    "another kind": ('"Box"', '"Pod"'),
    "a word for a number": ("rev: 1", "rev: seven"),
    "a quoted number": ("rev: 1", 'rev: "1"'),
    "a truth for a number": ("rev: 1", "rev: true"),
    "a fraction": ("rev: 1", "rev: 1.0"),
    "no number": ("rev: 1", "rev:"),
    "zero": ("rev: 1", "rev: 0"),
    "a huge number": ("rev: 1", "rev: 99999999999999999999"),
    "a number of five thousand digits": ("rev: 1", "rev: " + "9" * 5000),
    "an infinite number": ("rev: 1", "rev: .inf"),
    "a date that is none": ('"pharmacy"', "2026-13-45"),
    "a date": ('"pharmacy"', "2026-11-25"),
    "an unquoted word that Argo reads as a truth": ('"low"', "off"),
    "an unquoted no": ('"pharmacy"', "no"),
    "a list for a word": ('"pro"', '["pro"]'),
    "a map for a word": ('"pro"', "{a: 1}"),
    "a tag": ('"pro"', "!!python/object:os.system pro"),
    "a key twice": ("rev: 1", "rev: 1\n  rev: 2"),
    "a path as the niche": ('"pharmacy"', '"../x"'),
    "a template as the niche": ('"pharmacy"', '"{{x}}"'),
    "two documents": ("apiVersion", "a: 1\n---\napiVersion"),
    "memory that no node has": ("overrides: {}", "overrides: {memory_limit_mib: 9999999}"),
    "an override that is not there": ("overrides: {}", "overrides: {privileged: true}"),
    "another id's form": (BOX, BOX.upper()),
}


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_not_a_manifest_is_refused(old: str, new: str) -> None:
    text = made().decode()
    assert old in text
    with pytest.raises(ManifestError):
        manifests.read(text.replace(old, new, 1).encode())


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_manifest_or_a_manifest_error(content: bytes) -> None:
    with pytest.raises(ManifestError):
        manifests.read(content)


@pytest.mark.parametrize("content", [b"[" * 500, b"{" * 500, b"- " * 500, b"\xff", b"a: &a [*a]", b"a: *b", b"\0"])
def test_hostile_yaml_is_a_manifest_error(content: bytes) -> None:
    with pytest.raises(ManifestError):
        manifests.read(content)


@pytest.mark.parametrize(
    "fields",
    [
        {"nope": 1}, {"secrets.nope": 1}, {"nope.agent": 1}, {"rev.deep": 1}, {"secrets.agent.deep": 1}, {"": 1},
        {"plan": "golden"}, {"rev": "2"}, {"rev": -1}, {"secrets": None}, {"metadata.id": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_change_to_what_is_not_there_or_not_allowed_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        manifests.change(made(), fields)


@pytest.mark.parametrize("cell", ["", "..", "../etc", "a/b", "a\nM 100644 inline x", "Local", "a" * 32])
def test_a_cell_that_is_not_ours_never_becomes_a_path(cell: str) -> None:
    with pytest.raises(Invalid):
        manifests.path(cell, BOX)


def test_the_file_stands_in_its_shard_and_the_set_is_named_by_the_shards_first_digit() -> None:
    box_id = ids.new()
    *folders, shard, name = manifests.path("local", box_id).split("/")
    assert (folders, name) == (["cells", "local", "boxes"], f"{box_id}.yaml")
    assert re.fullmatch("[0-9a-f]{2}", shard)
    assert manifests.application_set(box_id) == f"boxes-{shard[0]}"
