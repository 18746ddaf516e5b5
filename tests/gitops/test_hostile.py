"""Hostile texts in each field that reaches the writer are refused, or stand where they belong and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.core.errors import CloudError, Invalid
from controller.gitops import commits, manifests
from controller.gitops.commits import Intent
from controller.gitops.repository import Repository
from tests.gitops import remotes
from tests.gitops.hostile import STRINGS
from tests.gitops.test_commits import follow, job_ids, provision, spec

TRAILERS = {"Job-Id", "Box", "Customer", "Action", "Actor", "Request-Id"}
WORDS = ["state", "deletion", "plan", "release", "locale", "niche", "model", "thinking"]


def put(field: str, text: str) -> dict[str, Any]:
    """A spec that has ``text`` as ``field``."""
    if field == "provider":
        return spec(connections=[{"provider": text, "version": 1}])
    return spec(**{field: text})


def land(repository: Repository, remote: Path, intents: list[Intent]) -> dict[str, CloudError]:
    """Write the intents and see that nothing else happened; those that were refused, with the reason."""
    base = repository.fetch()
    outcome = commits.write(repository, intents)
    landed = [intent for intent in intents if intent.job_id in outcome.landed]
    assert job_ids(remote) == [intent.job_id for intent in landed]
    changed = remotes.git(remote, "diff", "--name-only", "-z", base, "main").split("\0")
    assert set(filter(None, changed)) == {intent.path for intent in landed}
    assert remotes.git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert len(landed) + len(outcome.refused) == len(intents)
    return outcome.refused


def test_there_are_as_many_as_there_should_be() -> None:
    assert len(STRINGS) >= 635


@pytest.mark.parametrize("field", ["actor", "cause", "customer_id", "verb"])
def test_no_text_about_a_job_becomes_a_line_of_its_own(repository: Repository, remote: Path, field: str) -> None:
    first = provision(repository.fetch(), actor="admin")
    commits.write(repository, [first])
    base = repository.fetch()
    told = [{"actor": "admin", field: text} for text in STRINGS]
    batch = [replace(follow(first, "configure", rev, base), **told[rev - 2]) for rev in range(2, len(told) + 2)]
    outcome = commits.write(repository, batch)
    assert (len(outcome.landed), outcome.refused) == (len(batch), {})
    assert job_ids(remote) == [intent.job_id for intent in (first, *batch)]
    keys = remotes.git(remote, "log", "--format=%(trailers:keyonly)", f"{base}..main").split()
    assert set(keys) <= TRAILERS
    said = remotes.git(remote, "log", "--format=%B", f"{base}..main")
    assert all(line.isascii() and line.isprintable() for line in said.split("\n"))


@pytest.mark.parametrize("field", [*WORDS, "provider"])
def test_a_text_in_the_manifest_is_refused_or_read_back_as_it_is(
    repository: Repository, remote: Path, field: str
) -> None:
    given = {intent.job_id: (intent, text) for text in STRINGS for intent in [provision("", fields=put(field, text))]}
    refused = land(repository, remote, [intent for intent, _ in given.values()])
    files = repository.read(repository.fetch(), [intent.path for intent, _ in given.values()])
    for job_id, (intent, text) in given.items():
        if job_id not in refused:
            assert yaml.safe_load(files[intent.path])["spec"] == {**put(field, text), "deletion": "held"} | (
                {"deletion": text} if field == "deletion" else {}
            )


def test_a_text_as_a_fields_name_is_refused() -> None:
    content = manifests.create(provision("").box_id, provision("").box_id, spec())
    for text in STRINGS:
        with pytest.raises(manifests.ManifestError):
            manifests.change(content, {text: 1})


def test_no_text_but_an_id_becomes_a_path() -> None:
    for text in STRINGS:
        with pytest.raises(Invalid):
            manifests.path("local", text)
