"""What ops do while a process dies at a named point of it: it is finished, once, and breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle

import httpx
import pytest

from controller.domain import rollouts
from controller.domain.plans import PlanName
from controller.domain.releases import RolloutState
from controller.domain.rollouts import Pace
from controller.gitops import manifests
from tests.faults import measures, shoppers
from tests.faults.loops import until
from tests.faults.stands import Stand, git
from tests.gitops import remotes

ADOPTING = ("adopt.before_push", "adopt.repaired")
STOPPING = ("stopping.held", "stopping.scaled", "stopping.let_go")
RETIRING = ("retiring.asked", "retiring.deleted")
ROLLING, TIDYING, REJECTING = "rollout.stepped", "upkeep.begun", "reject.stored"
POINTS = {
    **dict.fromkeys((*ADOPTING, *RETIRING, TIDYING), "writer"), **dict.fromkeys(STOPPING, "watcher"),
    ROLLING: "sweeper", REJECTING: "api",
}  # fmt: skip
"""The points on the ways of ops, and the process that reaches each."""

AT_ONCE = {"RETENTION": "PT0S", "RETIRE_AFTER": "PT0S"} | dict.fromkeys(
    ("CAP_ENDINGS_A_BATCH", "CAP_ENDINGS_AN_HOUR", "CAP_RETIREMENTS_A_BATCH", "CAP_RETIREMENTS_AN_HOUR"), "0"
)
PATIENCE = 240.0
NEXT = "2026.12.1"


def arm(stand: Stand, point: str) -> int:
    """The process that reaches the point dies of it once; how often it was started so far."""
    stand.arm([point])
    return stand.children[POINTS[point]].started


def died(stand: Stand, point: str, starts: int) -> None:
    """Return once the process has died there and was started again."""
    child = stand.children[POINTS[point]]
    until(lambda: stand.hits() == [point] and child.started > starts, f"{point} is hit", PATIENCE)


@pytest.mark.parametrize("point", ADOPTING)
def test_a_look_at_what_people_pushed_that_dies_there_is_taken_again(stand: Stand, point: str) -> None:
    box_id = stand.mint()
    stand.quiet()
    path, starts = manifests.path("local", box_id), arm(stand, point)
    said = git(stand, "show", f"main:{path}").replace('thinking: "low"', 'thinking: "high"')
    sha = remotes.commit(stand.git, {path: said.encode(), "cells/local/stray.yaml": b"x\n"}, "ops: change")
    died(stand, point, starts)
    until(lambda: stand.sql("SELECT 1 FROM ops_commits WHERE sha = $1", sha), "it is adopted", PATIENCE)
    measures.recovered(f"killed at {point}", stand.quiet())
    assert stand.sql("SELECT thinking FROM boxes WHERE id = $1", box_id)[0][0] == "high"
    assert len(stand.sql("SELECT 1 FROM operator_jobs WHERE cause = $1", sha)) == 1
    assert git(stand, "ls-tree", "main", "cells/local/stray.yaml") == ""


@pytest.mark.parametrize("point", STOPPING)
def test_a_stop_that_dies_there_is_finished_and_can_be_lifted(stand: Stand, point: str) -> None:
    box_id = stand.mint()
    stand.quiet()
    stand.children["writer"].stop()  # else Git may say the same before anybody has looked
    starts = arm(stand, point)
    assert stand.admin("POST", f"/boxes/{box_id}/stop", {"reason": "it mails strangers"}).status_code == 202
    until(lambda: box_id not in stand.cell.running(), "its pod is gone", PATIENCE)
    stand.children["writer"].start()
    died(stand, point, starts)
    released = "SELECT halted_at FROM stoppages WHERE box_id = $1 AND released_at IS NOT NULL"
    until(lambda: stand.sql(released, box_id), "Argo CD is let go", PATIENCE)
    measures.recovered(f"killed at {point}", stand.quiet())
    assert (box_id in stand.cell.running(), stand.sql(released, box_id)[0][0] is not None) == (False, True)
    assert stand.admin("POST", f"/boxes/{box_id}/start").status_code == 202
    stand.quiet()
    assert box_id in stand.cell.running()


@pytest.fixture
def hasty(stand: Stand) -> Iterator[Stand]:
    """The stand while nothing that ended is kept."""
    stand.restart(["sweeper", "writer"], **AT_ONCE)
    yield stand
    stand.restart(["sweeper", "writer"])


@pytest.mark.parametrize("point", RETIRING)
def test_a_retirement_that_dies_there_is_finished(hasty: Stand, point: str) -> None:
    purchase = shoppers.buy(hasty)
    shoppers.settle(hasty)
    box_id, starts = hasty.box_of(purchase.subscription), arm(hasty, point)
    shoppers.cancel(hasty, purchase)
    died(hasty, point, starts)
    gone = "SELECT 1 FROM boxes WHERE id = $1 AND retired_at IS NOT NULL"
    until(lambda: hasty.sql(gone, box_id), "the box is retired", PATIENCE)
    measures.recovered(f"killed at {point}", shoppers.settle(hasty))
    assert box_id not in hasty.cell.applied()


def test_a_rollout_that_dies_between_two_steps_goes_on_and_moves_each_box_once(stand: Stand) -> None:
    moved = [stand.mint() for _ in range(3)]
    stand.quiet()

    async def start() -> str:
        pace = Pace(batch=2, soak=timedelta(0))
        async with stand.database.transaction() as session:
            return (await rollouts.start(session, NEXT, pace, "admin")).id

    rollout, starts = stand.loop.call(start()), arm(stand, ROLLING)
    died(stand, ROLLING, starts)
    over = "SELECT 1 FROM rollouts WHERE id = $1 AND state = $2"
    until(lambda: stand.sql(over, rollout, RolloutState.COMPLETED.value), "it is over", PATIENCE)
    measures.recovered(f"killed at {ROLLING}", stand.quiet())
    upgrades = "SELECT box_id FROM operator_jobs WHERE verb = 'upgrade' AND box_id = ANY($1) ORDER BY 1"
    assert [row[0] for row in stand.sql(upgrades, moved)] == sorted(moved)


def test_a_writer_that_dies_while_its_packs_are_merged_writes_on(stand: Stand) -> None:
    box_id, plans = stand.mint(), cycle((PlanName.TEAM, PlanName.STARTER))
    stand.quiet()
    stand.restart(["writer"], GIT_MOST_PACKS="4")
    starts = arm(stand, TIDYING)

    def hit() -> bool:
        resize(stand, box_id, next(plans))
        stand.quiet()
        return stand.hits() == [TIDYING]

    until(hit, "packs are merged", 2.5 * PATIENCE)  # a few batches of it
    died(stand, TIDYING, starts)
    resize(stand, box_id, PlanName.PRO)
    measures.recovered(f"killed at {TIDYING}", stand.quiet())
    remotes.git(stand.folder / "writer" / "clone.git", "fsck", "--no-dangling")
    stand.restart(["writer"])


def test_a_rejection_whose_answer_is_lost_stands_and_the_box_goes_on(stand: Stand) -> None:
    box_id = stand.mint()
    stand.quiet()
    remotes.refuse_pushes_touching(stand.git, box_id)
    resize(stand, box_id, PlanName.TEAM)
    failed = "SELECT id FROM operator_jobs WHERE box_id = $1 AND state = 'failed'"
    job = until(lambda: stand.sql(failed, box_id), "the job is refused", PATIENCE)[0][0]
    (stand.git / "hooks" / "pre-receive").unlink()
    starts = arm(stand, REJECTING)
    with pytest.raises(httpx.HTTPError):
        stand.admin("POST", f"/jobs/{job}/reject", {"reason": "nobody wants it"})
    died(stand, REJECTING, starts)
    until(stand.answers, "the API answers")
    told = stand.sql("SELECT j.state, b.plan FROM operator_jobs j JOIN boxes b ON b.id = j.box_id WHERE j.id = $1", job)
    assert tuple(told[0]) == ("rejected", PlanName.PRO)
    resize(stand, box_id, PlanName.STARTER)
    measures.recovered(f"killed at {REJECTING}", stand.quiet())


def resize(stand: Stand, box_id: str, plan: PlanName) -> None:
    """Ops give the box another plan."""
    assert stand.admin("POST", f"/boxes/{box_id}/resize", {"plan": plan}).status_code == 202
