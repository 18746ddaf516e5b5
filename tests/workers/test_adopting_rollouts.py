"""What ops push while a rollout is under way: their release stands, and a revert of the rollout's commit stops it."""

from __future__ import annotations

from pathlib import Path

from controller.domain import boxes, completion, jobs, rolling, rollouts
from controller.domain.jobs import JobState
from controller.domain.releases import Rollout
from controller.gitops.manifests import Snapshot
from tests.domain.fleets import NEW, OLD, QUICK
from tests.gitops import remotes
from tests.workers.ops import Ops
from tests.workers.test_adopting import revert

THEIRS = "2026.11.7"


async def begun(ops: Ops) -> Rollout:
    async with ops.database.transaction() as session:
        return await rollouts.start(session, NEW, QUICK, "admin")


async def stepped(ops: Ops) -> None:
    """One step of the rollout, and its job in Git."""
    async with ops.database.transaction() as session:
        await rolling.step(session)
    await ops.write()


async def well(ops: Ops) -> None:
    """The cluster runs what Git says, and the gateway reports."""
    async with ops.database.transaction() as session:
        box = await boxes.get(session, ops.box_id, lock=True)
        for job in await jobs.open_of(session, box.id, JobState.COMMITTED):
            jobs.synced(job)
        box.synced_rev = box.rev
        await completion.report_ready(session, box.id, profile=1, gateway="x", release=box.release)


async def now(ops: Ops, rollout: Rollout) -> Rollout:
    async with ops.database.transaction() as session:
        return await rollouts.get(session, rollout.id)


async def test_its_commit_names_the_rollout_and_changes_the_release_alone(ops: Ops) -> None:
    rollout = await begun(ops)
    await stepped(ops)
    keys = "%(trailers:key=Action,valueonly,separator=%x2c)|%(trailers:key=Rollout,valueonly,separator=%x2c)"
    assert remotes.git(ops.remote, "log", "-1", f"--format={keys}", "main").strip() == f"upgrade|{rollout.id}"
    changed = remotes.git(ops.remote, "diff", "--unified=0", "main~1", "main").splitlines()
    assert [line for line in changed if line[:1] == "+" and line[1:2] == " "] == ["+  rev: 2", f'+  release: "{NEW}"']


async def test_a_revert_of_its_commit_is_adopted_and_stops_it(ops: Ops, tmp_path: Path) -> None:
    rollout = await begun(ops)
    await stepped(ops)
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert (ops.manifest().spec.release, ops.manifest().spec.rev, await ops.equal()) == (OLD, 3, True)
    held = await now(ops, rollout)
    assert (held.state, ops.box_id in (held.reason or "")) == ("stopped", True)


async def test_a_revert_of_its_commit_keeps_the_snapshot_that_was_taken_before_it(ops: Ops, tmp_path: Path) -> None:
    await well(ops)
    await begun(ops)
    await stepped(ops)
    kept = ops.manifest().spec.snapshot
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    assert (ops.manifest().spec.release, ops.manifest().spec.snapshot) == (OLD, Snapshot(release=OLD, rev=2))
    assert (kept, await ops.equal()) == (Snapshot(release=OLD, rev=2), True)


async def test_a_release_that_ops_write_is_confirmed_with_a_snapshot_of_the_former(ops: Ops) -> None:
    await well(ops)
    ops.push((f'release: "{OLD}"', f'release: "{THEIRS}"'))
    await ops.look()
    assert (ops.manifest().spec.snapshot, await ops.equal()) == (Snapshot(release=OLD, rev=2), True)


async def test_a_snapshot_that_ops_write_is_put_back(ops: Ops) -> None:
    ops.push(("  ring:", f'  snapshot: {{release: "{OLD}", rev: 1}}\n  ring:'))
    await ops.look()
    assert (ops.manifest().spec.snapshot, await ops.equal()) == (None, True)


async def test_after_a_revert_the_box_is_left_alone_also_when_it_is_resumed(ops: Ops, tmp_path: Path) -> None:
    rollout = await begun(ops)
    await stepped(ops)
    revert(ops, tmp_path, "HEAD")
    await ops.look()
    async with ops.database.transaction() as session:
        await rollouts.resume(session, rollout.id)
    await stepped(ops)
    assert ((await ops.box()).release, (await now(ops, rollout)).state) == (OLD, "completed")


async def test_a_box_that_ops_pinned_after_it_began_is_not_moved(ops: Ops) -> None:
    rollout = await begun(ops)
    ops.push((f'release: "{OLD}"', f'release: "{THEIRS}"'))
    await ops.look()
    await stepped(ops)
    await stepped(ops)
    assert ((await ops.box()).release, ops.manifest().spec.release) == (THEIRS, THEIRS)
    assert (await now(ops, rollout)).state == "completed"


async def test_another_release_for_a_moved_box_is_theirs_and_stops_nothing(ops: Ops) -> None:
    rollout = await begun(ops)
    await stepped(ops)
    ops.push((f'release: "{NEW}"', f'release: "{THEIRS}"'))
    await ops.look()
    await stepped(ops)
    assert ((await ops.box()).release, (await now(ops, rollout)).state) == (THEIRS, "completed")


async def test_an_abort_leaves_what_ops_chose_since(ops: Ops) -> None:
    rollout = await begun(ops)
    await stepped(ops)
    ops.push((f'release: "{NEW}"', f'release: "{THEIRS}"'))
    await ops.look()
    async with ops.database.transaction() as session:
        await rollouts.abort(session, rollout.id)
    await stepped(ops)
    assert ((await ops.box()).release, (await now(ops, rollout)).state) == (THEIRS, "aborted")


async def test_another_field_that_ops_change_meanwhile_stands_beside_the_release(ops: Ops) -> None:
    rollout = await begun(ops)
    ops.push(('thinking: "low"', 'thinking: "high"'))
    await stepped(ops)
    await ops.look()
    assert (ops.manifest().spec.release, ops.manifest().spec.thinking) == (NEW, "high")
    await well(ops)
    await stepped(ops)
    assert ((await now(ops, rollout)).state, await ops.equal()) == ("completed", True)


async def test_a_pin_from_before_it_began_is_overtaken(ops: Ops) -> None:
    ops.push((f'release: "{OLD}"', f'release: "{THEIRS}"'))
    await ops.look()
    await begun(ops)
    await stepped(ops)
    assert ops.manifest().spec.release == NEW
