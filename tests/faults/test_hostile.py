"""Hostile texts from strangers, as a hook's refusal or as an answer before the payment: nothing of theirs acts.

The smoke takes every sixteenth of them, a full run all.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from sqlalchemy import select

from controller.clients.kubernetes import Cluster
from controller.core.db import Database
from controller.core.errors import Refused
from controller.domain import boxes, drafts, lifecycle
from controller.domain.boxes import Box
from controller.domain.caps import CapSettings
from controller.domain.drafts import Answers
from controller.domain.jobs import Job
from controller.domain.lifecycle import Why
from controller.gitops import answers, commits, manifests
from controller.gitops.repository import GitSettings, PushRefused, Repository
from controller.workers import provisioning
from tests import factories
from tests.gitops import remotes
from tests.gitops.hostile import STRINGS
from tests.gitops.test_commits import job_ids, provision
from tests.workers.test_provisioning_commits import cluster, remote

__all__ = ["cluster", "remote"]

FREE = CapSettings(cap_endings_a_batch=0, cap_endings_an_hour=0, cap_dunning_an_hour=0)
LONGEST = 256
TRAILERS = {"Job-Id", "Box", "Customer", "Action", "Actor", "Stripe-Event"}


@pytest.fixture
def strings(size: Callable[[int, int], int]) -> list[str]:
    """What this run takes of them."""
    return STRINGS[:: len(STRINGS) // size(len(STRINGS), 40)]


def recite(remote: Path, strings: list[str]) -> None:
    """Install a hook that refuses each push in the next text's words."""
    words = remote / "hooks" / "words"
    words.mkdir()
    for number, text in enumerate(strings, 1):
        (words / str(number)).write_bytes(text.encode(errors="surrogatepass"))
    hook = remote / "hooks" / "pre-receive"
    hook.write_text(
        '#!/bin/sh\necho >> hooks/pushes\ncat "hooks/words/$(wc -l < hooks/pushes | tr -d " ")" >&2\nexit 1\n'
    )
    hook.chmod(0o755)


@pytest.mark.smoke
def test_a_hooks_words_are_one_clean_line_and_never_an_order(remote: Path, strings: list[str]) -> None:
    repository = Repository(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / "clone.git"))
    recite(remote, strings)
    for text in strings:
        intent = provision(repository.tip())
        error = commits.write(repository, [intent]).refused[intent.job_id]
        assert (type(error), str(error).isprintable()) == (PushRefused, True), repr(text)
        assert len(str(error.facts["reason"])) <= LONGEST
    assert (remotes.pushes(remote), job_ids(remote)) == (len(strings), [])
    assert remotes.git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


@pytest.mark.smoke
def test_words_of_any_kind_are_read_as_one_clean_line() -> None:
    for text in STRINGS:
        told = "".join(f"remote: {line}\n" for line in text.split("\n"))
        read = answers.words(f"\n  stdout: '!\tabc:refs/heads/main\t[remote rejected] (x)'\n\n  stderr: '{told}'")
        assert (read == "" or read.isprintable(), len(read) <= LONGEST) == (True, True), repr(text)


async def buy(database: Database, field: str, texts: list[str]) -> int:
    """Buy a box with each of the texts as that answer; how many were refused before anything was stored."""
    mint, refused = factories.mint(), 0
    for number, text in enumerate(texts):
        try:
            given = Answers.model_validate({**factories.answers().model_dump(mode="json"), field: text})
            async with database.transaction() as session:
                draft = await drafts.create(session, mint.sealer, given, niches=factories.NICHES)
                facts = factories.facts(draft.id, email=given.email)
                assert await lifecycle.converge(session, mint, facts, Why("stripe", f"evt_{number}")) is not None
        except (ValidationError, Refused):
            refused += 1
    return refused


async def wanted(database: Database) -> dict[str, dict[str, Any]]:
    """What each box's file should say, by its path; a field without a value is left out of it."""
    async with database.transaction() as session:
        specs = {manifests.path(box.cell, box.id): boxes.spec(box) for box in await session.scalars(select(Box))}
    return {path: {name: said for name, said in spec.items() if said is not None} for path, spec in specs.items()}


@pytest.mark.smoke
@pytest.mark.parametrize("field", ["agent_name", "email", "niche", "locale", "bot_token", "plan", "currency"])
async def test_an_answer_reaches_git_as_its_boxs_file_alone_or_is_refused(
    database: Database, cluster: Cluster, remote: Path, strings: list[str], field: str
) -> None:
    before = remotes.git(remote, "rev-parse", "main")
    refused = await buy(database, field, strings)
    writer = Repository(GitSettings(git_remote=str(remote), git_clone_dir=remote.parent / "clone.git"))
    await provisioning.write_commits(database, writer, cluster, allowed=FREE)
    specs = await wanted(database)
    assert len(specs) + refused == len(strings)
    changed = remotes.git(remote, "diff", "--name-only", "-z", before, "main").split("\0")
    assert set(filter(None, changed)) == set(specs)
    for path, spec in specs.items():
        assert yaml.safe_load(remotes.git(remote, "show", f"main:{path}"))["spec"] == spec
    async with database.transaction() as session:
        assert sorted(job_ids(remote)) == sorted(await session.scalars(select(Job.id)))
    assert_nobody_speaks(remote, before, strings if field in {"agent_name", "email"} else [])


def assert_nobody_speaks(remote: Path, before: str, texts: list[str]) -> None:
    """No ref and no trailer but ours, and none of the texts, which are personal, in any object."""
    assert remotes.git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert set(remotes.git(remote, "log", "--format=%(trailers:keyonly)", f"{before}..main").split()) <= TRAILERS
    printed = subprocess.run(
        ["git", "log", "-p", "--format=raw", f"{before}..main"], cwd=remote, capture_output=True, check=True
    )
    said = printed.stdout.decode(errors="replace")
    assert [text for text in texts if len(text.strip()) > 8 and text.strip() in said] == []
