"""What ops push to the file of a box that nobody owns: adopted like another's, but its owner comes by a claim alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from controller.clients.kubernetes import Cluster, ClusterSettings
from controller.core import clock, ids
from controller.core.db import Database
from controller.domain import boxes, jobs, lifecycle, subscriptions
from controller.domain.jobs import JobState
from controller.domain.lifecycle import Why
from controller.gitops import manifests
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting, replaying
from tests import factories, standbys
from tests.gitops import remotes
from tests.workers.ops import Ops
from tests.workers.test_provisioning import KUBECONFIG

CONDEMN = ('state: "standby"', 'state: "condemned"')
APPROVE = ('deletion: "held"', 'deletion: "approved"')
THINK = ('thinking: "low"', 'thinking: "high"')


@pytest.fixture
async def ops(database: Database, tmp_path: Path) -> Ops:
    """A standby at rev 1 in Git and Postgres, ready to be claimed; everything up to it is read."""
    remote, mint = remotes.create(tmp_path / "remote.git"), factories.mint()
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    repository = Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git"))
    cluster = Cluster(ClusterSettings(kubeconfig=tmp_path / "kubeconfig"))
    async with database.transaction() as session:
        box = await standbys.made(session, mint)
    made = Ops(database, remote, repository, cluster, mint, box.id)
    await made.write()
    await made.look()
    async with database.transaction() as session:
        await standbys.serve(session, await boxes.get(session, box.id))
    return made


async def claim(ops: Ops) -> None:
    async with ops.database.transaction() as session:
        draft = await factories.draft(session, ops.mint)
        job = await lifecycle.converge(session, ops.mint, factories.facts(draft.id), Why("stripe", "evt_1"))
        assert job is not None
        assert (job.verb, job.box_id) == ("claim", ops.box_id)


async def test_a_claim_is_one_commit_that_names_the_customer(ops: Ops) -> None:
    await claim(ops)
    await ops.write()
    assert ops.manifest().metadata.customer == (await ops.box()).customer_id
    assert (await ops.equal(), [job.verb for job in await ops.jobs()]) == (True, ["prepare", "claim"])
    await ops.look()
    assert len(await ops.jobs()) == 2


async def test_ops_may_end_a_standby(ops: Ops) -> None:
    sha = ops.push(CONDEMN)
    await ops.look()
    assert ((await ops.box()).state, (await ops.told(sha)).outcome) == ("condemned", "adopted")
    assert [job.verb for job in await ops.jobs()] == ["prepare", "destroy"]


@pytest.mark.parametrize(
    "edits",
    [
        [('state: "standby"', 'state: "active"')],
        [('state: "standby"', 'state: "active"'), ("metadata:\n", f'metadata:\n  customer: "{ids.new()}"\n')],
        [("metadata:\n", f'metadata:\n  customer: "{ids.new()}"\n')],
        [('state: "standby"', 'state: "suspended"')],
    ],
)
async def test_ops_cannot_give_a_standby_away_or_stop_it(ops: Ops, edits: list[tuple[str, str]]) -> None:
    before, sha = ops.content(), ops.push(*edits)
    await ops.look()
    assert (ops.content(), (await ops.told(sha)).outcome) == (before, "restored")
    assert ((await ops.box()).state, (await ops.box()).customer_id) == ("standby", None)


@pytest.mark.parametrize("edit", [CONDEMN, THINK])
async def test_what_ops_ask_of_a_standby_that_a_purchase_has_just_claimed_does_not_reach_the_customer(
    ops: Ops, edit: tuple[str, str]
) -> None:
    await claim(ops)
    sha = ops.push(edit)
    await ops.look()
    box = await ops.box()
    assert (box.state, box.thinking, ops.manifest().metadata.customer) == ("active", "low", box.customer_id)
    assert ((await ops.told(sha)).outcome, await ops.equal()) == ("corrected", True)
    assert {job.state for job in await ops.jobs()} <= {JobState.DONE, JobState.COMMITTED}


@pytest.mark.parametrize(
    "edits",
    [
        [CONDEMN], [THINK], [CONDEMN, APPROVE], [APPROVE], [('state: "standby"', 'state: "destroyed"')],
        [("rev: 1", "rev: 7")], [("metadata:", "nonsense:")],
        [("metadata:\n", f'metadata:\n  customer: "{factories.UNKNOWN_ID}"\n')],
    ],
)  # fmt: skip
async def test_a_claim_wins_over_what_ops_pushed_within_seconds_of_it(ops: Ops, edits: list[tuple[str, str]]) -> None:
    await claim(ops)
    ops.push(*edits)
    await ops.write()
    await ops.look()
    with clock.frozen(clock.now() + timedelta(minutes=1)):
        await ops.write()
    box, known = await ops.box(), ops.manifest()
    assert {job.state for job in await ops.jobs()} <= {JobState.DONE, JobState.COMMITTED}
    assert (known.spec.state, known.spec.thinking, await ops.equal()) == ("active", "low", True)
    assert known.metadata.customer == box.customer_id


async def test_ops_that_condemn_a_standby_and_approve_that_do_not_end_the_customer_who_claims_it(ops: Ops) -> None:
    await claim(ops)
    ops.push(CONDEMN)
    sha = ops.push(APPROVE)
    await ops.write()
    await ops.look()
    with clock.frozen(clock.now() + timedelta(minutes=1)):
        await ops.write()
    assert ((await ops.told(sha)).outcome, ops.manifest().spec.state, await ops.equal()) == ("restored", "active", True)


@pytest.mark.parametrize("first", ["the claim", "the look"])
async def test_a_volume_that_ops_enlarge_within_seconds_of_the_claim_stays_as_large(ops: Ops, first: str) -> None:
    await claim(ops)
    ops.push(("volume_gib: 10", "volume_gib: 40"))
    if first == "the claim":
        await ops.write()
    await ops.look()
    assert ((await ops.box()).volume_gib, ops.manifest().spec.volume_gib, await ops.equal()) == (40, 40, True)


async def test_overrides_that_would_shrink_the_volume_of_a_standby_just_claimed_are_put_back(ops: Ops) -> None:
    await claim(ops)
    sha = ops.push(("overrides: {}", "overrides:\n  volume_gib: 5"))
    await ops.look()
    told, box = await ops.told(sha), await ops.box()
    assert (told.outcome, "never shrinks" in told.notes[-1], box.overrides) == ("restored", True, {})
    assert (ops.manifest().metadata.customer, await ops.equal()) == (box.customer_id, True)


async def test_reverting_a_claim_is_refused(ops: Ops) -> None:
    before = ops.content()
    await claim(ops)
    await ops.write()
    claimed = ops.content()
    sha = remotes.commit(ops.remote, {ops.path: before}, "Revert")
    await ops.look()
    assert (ops.content(), (await ops.told(sha)).outcome) == (claimed, "restored")


async def test_a_standby_that_ops_add_is_nobodys_and_can_be_claimed(ops: Ops) -> None:
    box_id = ids.new()
    path = manifests.path("local", box_id)
    remotes.commit(ops.remote, {path: ops.content().replace(ops.box_id.encode(), box_id.encode())}, "one more")
    await ops.look()
    async with ops.database.transaction() as session:
        box = await boxes.get(session, box_id)
        assert (box.state, box.customer_id, await subscriptions.of_box(session, box_id)) == (
            "standby",
            None,
            None,
        )
        (await boxes.get(session, ops.box_id)).ready_at = None
        await standbys.serve(session, box)
        draft = await factories.draft(session, ops.mint)
        job = await lifecycle.converge(session, ops.mint, factories.facts(draft.id), Why("stripe", "evt_1"))
        assert job is not None
        assert job.box_id == box_id


async def test_a_purchase_that_a_restored_postgres_lost_is_found_again_in_git(ops: Ops) -> None:
    await claim(ops)
    await ops.write()
    customer = (await ops.box()).customer_id
    async with ops.database.transaction() as session:
        box = await boxes.get(session, ops.box_id)
        row = await subscriptions.of_box(session, box.id)
        assert row is not None
        row.box_id = None
        box.customer_id, box.state, box.rev, box.profile = None, "standby", 1, 1
        for job in await jobs.open_of(session, box.id):
            await session.delete(job)
    await replaying.adopt(ops.database, ops.repository, ops.mint)
    await adopting.adopt(ops.database, ops.repository, ops.mint)
    assert ((await ops.box()).customer_id, (await ops.box()).state) == (customer, "active")
