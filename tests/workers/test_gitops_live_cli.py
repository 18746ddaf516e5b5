"""Ops' verbs at a desk: a new box by file, a box's history, and Postgres against Git."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.cli import app
from controller.core import clock, crypto
from controller.core.crypto import Sealer
from controller.domain import boxes, rollouts, vault
from controller.domain.rollouts import Pace
from controller.gitops import validation
from tests import factories
from tests.gitops import remotes
from tests.workers.ops import Ops


async def run(*arguments: str) -> Result:
    """The command ``gitops``, which has an event loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["gitops", *arguments]))


@pytest.fixture
def clone(ops: Ops, tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's checkout, and the environment at their desk."""
    for name, value in {"POSTGRES_DSN": dsn, "GIT_REMOTE": str(ops.remote), "SEALING_KEY": crypto.new_key()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOKEN_PEPPER", factories.PEPPER)
    remotes.git(tmp_path, "clone", "--quiet", str(ops.remote), "desk")
    return tmp_path / "desk"


async def test_a_new_boxs_file_keeps_every_rule(tmp_path: Path) -> None:
    told = await run("new-box", "--repo", str(tmp_path), "--cell", "eu1-a", "--niche", "pharmacy", "--plan", "team")
    path = told.stdout.strip()
    file, findings = validation.read(path, (tmp_path / path).read_bytes())
    assert (findings, file is not None) == ([], True)


@pytest.mark.parametrize(
    ("said", "release"),
    [([], "2026.11.1"), (["--seal"], "2026.12.1"), (["--seal", "--release", "2026.12.7"], "2026.12.7")],
    ids=str,
)
async def test_a_new_boxs_file_names_the_release_in_force(ops: Ops, clone: Path, said: list[str], release: str) -> None:
    async with ops.database.transaction() as session:
        done = await rollouts.start(session, "2026.12.1", Pace(), "admin")
        done.state, done.ended_at = "completed", clock.now()
    told = await run("new-box", "--repo", str(clone), *said)
    assert f'release: "{release}"'.encode() in (clone / told.stdout.strip()).read_bytes()


async def test_a_new_box_is_merged_with_what_its_file_must_not_say(
    ops: Ops,
    clone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOT_TOKEN", factories.BOT_TOKEN)
    told = await run("new-box", "--repo", str(clone), "--seal", "--agent-name", "Bia", "--telegram-user", "7001")
    path = told.stdout.strip()
    assert factories.BOT_TOKEN.encode() not in (clone / path).read_bytes()
    remotes.commit(ops.remote, {path: (clone / path).read_bytes()}, "ops: a new box")
    await ops.look()
    async with ops.database.transaction() as session:
        box = await boxes.get(session, Path(path).stem)
        sealed = await vault.get(session, sealer(), box.id, vault.TELEGRAM, 1, reader="test")
    assert (box.agent_name, box.telegram_users, sealed) == ("Bia", [7001], factories.BOT_TOKEN)


def sealer() -> Sealer:
    """As the person's environment has it."""
    return Sealer(os.environ["SEALING_KEY"])


@pytest.mark.parametrize(
    ("wrong", "reason"), [("--plan=golden", "plan_unknown"), ("--customer=me", "id_malformed"), ("--cell=A", "cell")]
)
async def test_a_wrong_new_box_is_refused_and_leaves_no_file(tmp_path: Path, wrong: str, reason: str) -> None:
    told = await run("new-box", "--repo", str(tmp_path), wrong)
    assert (told.exit_code, reason in told.output, list(tmp_path.iterdir())) == (2, True, [])


async def test_the_audit_says_who_why_and_in_which_commit(ops: Ops, clone: Path) -> None:
    sha = ops.push(('thinking: "low"', 'thinking: "high"'))
    await ops.look()
    remotes.git(clone, "pull", "--quiet")
    told = json.loads((await run("audit", "--box", ops.box_id, "--repo", str(clone), "--json")).stdout)
    assert [one["who"] for one in told] == ["ops:ops@example.com", "ops:ops@example.com", "test"]
    assert [one["what"] for one in told] == ["adopt", "change by hand", "provision"]
    assert told[0]["why"] == f"Ops-Commit {sha}"
    assert [one["rev"] for one in told] == [2, 2, 1]


async def test_the_audits_table_has_a_line_a_commit(ops: Ops, clone: Path) -> None:
    told = await run("audit", "--box", ops.box_id, "--repo", str(clone))
    head, line = told.stdout.splitlines()
    assert head.split() == ["when", "commit", "rev", "who", "what", "why", "state", "live"]
    assert (line.split()[3:6], line.split()[-2:]) == (["1", "test", "provision"], ["committed", "-"])


async def test_a_replay_tells_differences_and_adopts_on_request(ops: Ops, clone: Path) -> None:
    ops.push(('thinking: "low"', 'thinking: "high"'))
    told = await run("replay")
    assert (told.exit_code, "thinking: git 'high', postgres 'low' (newer: git)" in told.stdout) == (1, True)
    await run("replay", "--adopt")
    await ops.look()
    assert ((await run("replay")).exit_code, (await ops.box()).thinking) == (0, "high")
