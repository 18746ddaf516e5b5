"""An Application that a misplaced file left in a cell goes once the file is out of Git, and nothing that lives does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.clients import kubernetes
from controller.clients.cells import Clusters
from controller.clients.kubernetes import Change
from controller.core import clock, ids
from controller.domain import boxes, conditions, strays
from controller.domain.boxes import Place
from controller.domain.caps import CapSettings
from controller.domain.conditions import Kind
from controller.domain.strays import Stray
from controller.gitops import manifests
from controller.workers import adopting, watcher
from controller.workers import strays as taking
from tests import factories
from tests.clients.test_kubernetes import ARGO
from tests.gitops import remotes
from tests.sandbox.cluster import objects
from tests.workers.armed import raising
from tests.workers.test_cells import NAMES, Fleet, fleet

__all__ = ["fleet"]

HERE, THERE = NAMES
WAITS: dict[str, Any] = {"sync": {"status": "OutOfSync"}, "operationState": {"phase": "Running"}}
"""What Argo CD says of a box whose secret it does not get."""


@dataclass
class Astray:
    """The first cell's box, of which there is an Application in the second."""

    fleet: Fleet
    box_id: str

    def put(self, state: str = "active", *, status: dict[str, Any] | None = None, **meta: Any) -> None:
        made = objects.application(self.box_id, "argocd")
        made["metadata"] |= meta
        made["spec"] = {"source": {"helm": {"valuesObject": {"spec": {"rev": 1, "state": state}}}}}
        custom = self.fleet.there.server.custom
        custom.create_namespaced_custom_object(*ARGO, "applications", made)
        body = {"status": WAITS if status is None else status}
        custom.patch_namespaced_custom_object_status(*ARGO, "applications", self.box_id, body)

    async def see(self) -> None:
        """What the second cell's watcher does with all that is there."""
        for one in self.fleet.there.cluster.applications()[0]:
            await watcher.Books(self.fleet.database, THERE).enter(Change("ADDED", one))

    async def finish(self, rounds: int = 1, cells: Clusters | None = None, an_hour: int = 100) -> None:
        for _ in range(rounds):
            allowed = CapSettings(cap_retirements_an_hour=an_hour)
            await taking.finish(self.fleet.database, self.fleet.repository, cells or self.fleet.clusters, allowed)
            self.fleet.there.read_git()

    async def told(self) -> list[str]:
        """Why something of a stray is still there, as ops see it."""
        async with self.fleet.database.transaction() as session:
            return [one.reason for one in await conditions.of(session) if one.kind == Kind.STRAY]

    @property
    def space(self) -> dict[str, Any]:
        return objects.namespace(kubernetes.namespace(self.box_id))

    @property
    def there(self) -> bool:
        return self.box_id in self.fleet.there.applications()


@pytest.fixture
async def astray(fleet: Fleet) -> Astray:
    await adopting.adopt(fleet.database, fleet.repository, factories.mint())
    await fleet.write(fleet.clusters)
    fleet.there.read_git()
    return Astray(fleet, fleet.here.box_id)


async def test_it_goes_once_its_file_is_out_of_git_and_argo_cd_has_read_that(astray: Astray) -> None:
    path, mine = manifests.path(THERE, astray.box_id), manifests.path(HERE, astray.box_id)
    content = remotes.git(astray.fleet.remote, "show", f"main:{mine}").encode() + b"\n"
    remotes.commit(astray.fleet.remote, {path: content}, "ops: oh no")
    astray.put()
    await astray.see()
    await astray.finish(3)
    assert astray.there
    await adopting.adopt(astray.fleet.database, astray.fleet.repository, factories.mint())
    await astray.finish()
    assert astray.there
    await astray.finish()
    assert not astray.there
    await astray.finish()
    async with astray.fleet.database.transaction() as session:
        assert await strays.count(session) == 0
    files = remotes.git(astray.fleet.remote, "ls-tree", "-r", "--name-only", "main")
    assert (path in files, mine in files, await astray.told()) == (False, True, [])


LIVES: dict[str, dict[str, Any]] = {
    "a sync that succeeded": {"status": {"operationState": {"phase": "Succeeded"}}},
    "one that did once": {"status": {**WAITS, "history": [{"id": 0}]}},
    "a cascade": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]},
}


@pytest.mark.parametrize("lives", LIVES)
async def test_where_something_lived_it_stays_and_ops_are_told(astray: Astray, lives: str) -> None:
    astray.put(**LIVES[lives])
    await astray.see()
    await astray.finish(4)
    assert (astray.there, THERE in (await astray.told())[0]) == (True, True)


async def test_a_pod_keeps_it(astray: Astray) -> None:
    core = astray.fleet.there.server.core
    core.create_namespace(astray.space)
    space = astray.space["metadata"]["name"]
    core.create_namespaced_pod(space, objects.pod(space=space))
    astray.put()
    await astray.see()
    await astray.finish(4)
    assert (astray.there, "stray_lives" in (await astray.told())[0]) == (True, True)


async def test_an_empty_namespace_that_is_left_is_told_until_somebody_deletes_it(astray: Astray) -> None:
    core = astray.fleet.there.server.core
    core.create_namespace(astray.space)
    astray.put()
    await astray.see()
    await astray.finish(4)
    assert (astray.there, "stray_namespace_there" in (await astray.told())[0]) == (False, True)
    core.delete_namespace(astray.space["metadata"]["name"])
    await astray.finish()
    assert await astray.told() == []


async def test_no_more_go_than_the_caps_allow_and_the_others_an_hour_later(astray: Astray) -> None:
    astray.put()
    other = Astray(astray.fleet, ids.new())
    other.put()
    await astray.see()
    await astray.finish(4, an_hour=1)
    [told] = await astray.told()
    assert (sorted([astray.there, other.there]), "cap_reached" in told) == ([False, True], True)
    with clock.frozen(clock.now() + timedelta(minutes=61)):
        await astray.finish(4, an_hour=1)
    assert (astray.there, other.there, await astray.told()) == (False, False, [])


async def test_those_whose_file_is_in_git_take_no_place_under_the_caps(astray: Astray) -> None:
    path = manifests.path(THERE, astray.box_id)
    remotes.commit(astray.fleet.remote, {path: b"nonsense"}, "ops: oh no")
    astray.put()
    other = Astray(astray.fleet, ids.new())
    await astray.see()
    await astray.finish(an_hour=1)
    other.put()
    await astray.see()
    await astray.finish(4, an_hour=1)
    assert (astray.there, other.there) == (True, False)


async def test_a_box_of_the_cell_and_what_is_no_box_are_none(astray: Astray) -> None:
    Astray(astray.fleet, astray.fleet.there.box_id).put()
    Astray(astray.fleet, "somebodys").put()
    made = objects.application("platform", "argocd")
    astray.fleet.there.server.custom.create_namespaced_custom_object(*ARGO, "applications", made)
    await astray.see()
    await astray.finish(4)
    assert astray.fleet.there.applications() == {"platform", "somebodys", astray.fleet.there.box_id}
    async with astray.fleet.database.transaction() as session:
        assert await strays.count(session) == 0


async def test_one_that_is_adopted_after_it_was_seen_is_none_any_more(astray: Astray) -> None:
    box_id = astray.fleet.there.box_id
    async with astray.fleet.database.transaction() as session:
        session.add(Stray(cell=THERE, box_id=box_id))
    Astray(astray.fleet, box_id).put()
    await astray.finish(4)
    assert box_id in astray.fleet.there.applications()


async def test_one_that_a_late_set_makes_again_goes_again(astray: Astray) -> None:
    for _ in range(2):
        astray.put()
        await astray.see()
        await astray.finish(4)
        assert (astray.there, await astray.told()) == (False, [])


async def test_one_that_people_brought_back_of_a_retired_box_goes_too(astray: Astray) -> None:
    retired = Astray(astray.fleet, astray.fleet.there.box_id)
    remotes.commit(astray.fleet.remote, {manifests.path(THERE, retired.box_id): None}, "retired")
    async with astray.fleet.database.transaction() as session:
        (await boxes.get(session, retired.box_id)).retired_at = clock.now()
    emptied = {"sync": {"status": "Synced"}, "resources": [], "operationState": {"phase": "Succeeded"}}
    retired.put("destroyed", status=emptied)
    await retired.see()
    await retired.finish(4)
    assert (retired.there, await retired.told()) == (False, [])


@pytest.mark.parametrize("point", ["retiring.asked", "retiring.deleted"])
async def test_a_step_that_was_cut_off_is_taken_again(astray: Astray, tmp_path: Path, point: str) -> None:
    astray.put()
    await astray.see()
    with raising(tmp_path, point):
        await astray.finish(3)
        assert (tmp_path / "hits").read_text().split() == [point]
    await astray.finish(3)
    assert (astray.there, await astray.told()) == (False, [])


async def test_a_cell_that_is_away_holds_up_its_own_alone(astray: Astray) -> None:
    astray.put()
    await astray.see()
    async with astray.fleet.database.transaction() as session:
        await strays.note(session, Place(HERE, astray.fleet.there.box_id))
    await astray.finish(4, cells=astray.fleet.half)
    assert (astray.there, [HERE in told for told in await astray.told()]) == (False, [True])
