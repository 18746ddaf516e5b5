"""Three ways to land jobs: our writer, GitPython as its tutorial has it, and GitPython's index."""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import git

from controller.core import ids
from controller.gitops import commits, manifests
from controller.gitops.commits import Intent
from controller.gitops.remotes import GitSettings
from controller.gitops.repository import Repository
from tests.bench.git.worlds import CELL, World

_STRIDE = 7919  # a prime: each box has its turn once


@dataclass(frozen=True)
class Took:
    """Milliseconds of one push: to build its commits, of that to edit the manifests, and to push."""

    commit: float
    yaml: float
    push: float
    cpu: float = 0
    """Of all processors, by us, our git and the remote's: on a busy machine the truer number."""

    @property
    def all(self) -> float:
        """From the claim to the remote's answer."""
        return self.commit + self.push


class Way(ABC):
    """Lands jobs in a world of its own; job after job the boxes take turns."""

    name: str

    def __init__(self, world: World) -> None:
        self._world = world
        self._next = 0
        self._revs: dict[str, int] = {}

    @abstractmethod
    def land(self, jobs: int) -> Took:
        """Land ``jobs`` jobs by one push."""

    def _turns(self, jobs: int) -> list[tuple[str, int]]:
        """The boxes whose turn it is, far apart from one another, each with its next rev."""
        chosen = [self._world.ids[(self._next + turn) * _STRIDE % self._world.boxes] for turn in range(jobs)]
        self._next += jobs
        for box_id in chosen:
            self._revs[box_id] = self._revs.get(box_id, 1) + 1
        return [(box_id, self._revs[box_id]) for box_id in chosen]


class Writer(Way):
    """Ours, as the worker calls it."""

    name = "writer"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        clone = world.folder / "writer-clone.git"
        self._repository = Repository(GitSettings(git_remote=str(world.remote(self.name)), git_clone_dir=clone))
        self._repository.fetch()

    def land(self, jobs: int) -> Took:
        """Land one commit a job."""
        turns, used, started = self._turns(jobs), _cpu(), time.perf_counter()
        base = self._repository.tip()
        intents = [_intent(box_id, rev, base) for box_id, rev in turns]
        outcome = commits.write(self._repository, intents)
        taken, used = time.perf_counter() - started, _cpu() - used
        assert len(outcome.landed) == jobs, outcome.refused
        push = (outcome.pushed_at - outcome.built_at).total_seconds()
        yaml = self._yaml(base, intents)
        return Took((taken - push) * 1000, yaml * 1000, push * 1000, used * 1000)

    def tidy(self) -> float:
        """The milliseconds of what the worker does when the push is done."""
        started = time.perf_counter()
        self._repository.tidy()
        return (time.perf_counter() - started) * 1000

    def _yaml(self, base: str, intents: Sequence[Intent]) -> float:
        files = self._repository.read(base, [intent.path for intent in intents])
        started = time.perf_counter()
        for intent in intents:
            files[intent.path] = commits.apply(intent, files.get(intent.path))
        return time.perf_counter() - started


class Porcelain(Way):
    """``add``, ``commit`` and ``push`` in a work tree: one commit for all jobs, and the edits are not counted."""

    name = "porcelain"
    checkout = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        at = world.folder / f"{self.name}-clone"
        options = [] if self.checkout else ["--no-checkout"]
        self._clone = git.Repo.clone_from(str(world.remote(self.name)), at, multi_options=options)
        if not self.checkout:
            self._clone.git.read_tree("HEAD")
        with self._clone.config_writer() as config:
            config.set_value("user", "name", "bench")
            config.set_value("user", "email", "bench@example.com")
            config.set_value("gc", "auto", 0)

    def land(self, jobs: int) -> Took:
        """Land one commit with all jobs."""
        paths = [self._edit(box_id, rev) for box_id, rev in self._turns(jobs)]
        started = time.perf_counter()
        self._commit(list(dict.fromkeys(paths)))
        built = time.perf_counter()
        self._clone.git.push("--quiet", "origin", "HEAD:main")
        return Took((built - started) * 1000, 0, (time.perf_counter() - built) * 1000)

    def _commit(self, paths: list[str]) -> None:
        self._clone.git.add("--", *paths)
        self._clone.git.commit("--quiet", "-m", "jobs")

    def _edit(self, box_id: str, rev: int) -> str:
        path = manifests.path(CELL, box_id)
        file = Path(self._clone.working_dir) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_text() if file.exists() else self._clone.git.show(f"HEAD:{path}") + "\n"
        file.write_text(content.replace(f"rev: {rev - 1}\n", f"rev: {rev}\n"))
        return path


class Index(Porcelain):
    """``repo.index.add`` and ``repo.index.commit``, read anew for each push."""

    name = "index"
    checkout = False

    def _commit(self, paths: list[str]) -> None:
        index = git.IndexFile(self._clone)
        index.add(paths)
        index.commit("jobs")


def _cpu() -> float:
    """The processor seconds of this process and of those that it has started and seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _intent(box_id: str, rev: int, base: str) -> Intent:
    fields = {"rev": rev, "profile": rev}
    return Intent(ids.new(), box_id, box_id, CELL, "configure", rev, fields, "customer", None, base)
