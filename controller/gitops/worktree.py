"""A checkout of the GitOps repository as a person or a pipeline has it, and what changed in it since a revision."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller.core.errors import Permanent
from controller.gitops import commands, retirements
from controller.gitops.commands import NoSuchThing
from controller.gitops.repository import NotAPlainFile

_ACTION = "%(trailers:key=Action,valueonly,separator=%x20)"
LOOK_BACK = 50
"""How many versions of a file are looked at for one that a change goes back to."""


class NoSuchFile(Permanent):
    """Raised when a path that is asked for is not in the checkout."""


@dataclass(frozen=True)
class PlatformCommit:
    """A commit that carries a Job-Id."""

    sha: str
    parent: str
    verb: str = ""
    actor: str = ""


class Worktree:
    """One checkout; reads its files as they stand on the disk, committed or not."""

    def __init__(self, folder: Path) -> None:
        """Raises NoSuchThing if ``folder`` is in no repository with a work tree."""
        if not folder.is_dir():
            raise NoSuchThing("git_knows_no_such_thing", reason=f"{folder} is no folder")
        self.root = Path(commands.inspect(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n"))

    def base(self, revision: str) -> str:
        """The newest commit that the checkout shares with ``revision``: what a pull request is compared with.

        Raises NoSuchThing if there is no such revision or no such commit.
        """
        asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"]
        try:
            sha = self._git(*asked).decode().strip()
        except NoSuchThing as exc:
            raise NoSuchThing("git_knows_no_such_thing", reason=f"no revision {revision[:100]} here") from exc
        try:
            return self._git("merge-base", sha, "HEAD").decode().strip()
        except NoSuchThing as exc:
            raise NoSuchThing("git_knows_no_such_thing", reason="no commit in common: is the clone shallow?") from exc

    def changed(self, base: str) -> list[str]:
        """The paths that differ between ``base`` and the disk, removed and not yet added ones among them."""
        # Without rename detection: a box whose file moves is one file removed and one added.
        known = self._git("diff", "--no-ext-diff", "--no-renames", "--name-only", "-z", base, "--")
        fresh = self._git("ls-files", "--others", "--exclude-standard", "-z")
        return sorted({name.decode(errors="surrogateescape") for name in (known + fresh).split(b"\0") if name})

    def boxes(self) -> list[str]:
        """The paths of everything under ``cells/``."""
        found = (self.root / "cells").rglob("*")
        return sorted(file.relative_to(self.root).as_posix() for file in found if file.is_symlink() or file.is_file())

    def relative(self, path: Path) -> list[str]:
        """The files at or below ``path``, as the repository names them.

        Raises NoSuchFile if there are none or it is outside of the checkout.
        """
        here = path.absolute()
        if here.is_relative_to(self.root) or (here := path.resolve()).is_relative_to(self.root.resolve()):
            root = self.root if here.is_relative_to(self.root) else self.root.resolve()
            files = sorted(file for file in here.rglob("*") if file.is_file()) if here.is_dir() else [here]
            if files and all(file.is_file() for file in files):
                return [file.relative_to(root).as_posix() for file in files if ".git" not in file.parts]
        raise NoSuchFile("no_such_file", path=str(path))

    def on_disk(self, path: str) -> bytes | None:
        """The content on the disk; None if the file is not there.

        Raises NotAPlainFile for a link or a program: the git writer reads neither.
        """
        file = self.root / path
        try:
            mode = file.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(mode) or mode & stat.S_IXUSR or any(up.is_symlink() for up in self._above(file)):
            raise NotAPlainFile("git_not_a_plain_file", path=path)
        return file.read_bytes()

    def at(self, sha: str, path: str) -> bytes | None:
        """The content of the file in that commit; None if it was not there."""
        listed = self._git("ls-tree", "-z", sha, "--", f":(literal){path}")
        return self._blobs([listed.split()[2].decode()])[0] if listed else None

    def stood_before(self, base: str, path: str, content: bytes) -> bool:
        """Whether one of the file's last versions before ``base`` was just this, as after ``git revert``."""
        form = ("-z", "--raw", "--no-abbrev", "--no-renames", "--format=")
        out = self._git("log", f"-{LOOK_BACK}", *form, base, "--", f":(literal){path}")
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return blob.encode() in out

    def platform_commits(self, base: str, path: str) -> list[PlatformCommit]:
        """The commits with a Job-Id after ``base`` that touch ``path``, newest first."""
        keys = ("Job-Id", "Action", "Actor")
        form = "--format=%H %P" + "".join(f"%x09%(trailers:key={key},valueonly,separator=%x20)" for key in keys)
        out = self._git("log", "--topo-order", "--no-merges", form, f"{base}..HEAD", "--", f":(literal){path}")
        lines = (line.split("\t", 3) for line in out.decode(errors="replace").splitlines())
        found = ((commits.split(), verb.strip(), actor.strip()) for commits, job, verb, actor in lines if job.strip())
        return [PlatformCommit(shas[0], shas[1], verb, actor) for shas, verb, actor in found]

    def retired_after(self, commit: PlatformCommit, path: str) -> timedelta | None:
        """For how long ``path`` had not changed when ``commit`` took it away; None if it does not say it retired it."""
        told = self._git("log", "-1", f"--format=%ct\t{_ACTION}", commit.sha).decode(errors="replace")
        at, _, action = told.strip().partition("\t")
        before = self._git("log", "-1", "--format=%ct", commit.parent, "--", f":(literal){path}").strip()
        if action != retirements.VERB or not before:
            return None
        return timedelta(seconds=int(at) - int(before))

    def claiming_jobs(self, base: str) -> list[str]:
        """The commits after ``base`` that carry a Job-Id."""
        out = self._git("log", "--format=%H %(trailers:key=Job-Id,valueonly,separator=%x20)", f"{base}..HEAD")
        return [line.split()[0] for line in out.decode(errors="replace").splitlines() if len(line.split()) > 1]

    def messages(self, base: str) -> Iterator[tuple[str, bytes]]:
        """Each commit after ``base`` with its whole message."""
        for entry in self._git("log", "-z", "--format=%H%n%an <%ae>%n%B", f"{base}..HEAD").split(b"\0"):
            sha, _, text = entry.partition(b"\n")
            if sha:
                yield sha.decode(), text

    def introduced(self, base: str) -> Iterator[tuple[str, bytes]]:
        """Each file content that a commit after ``base`` brought in, with its path; also what a later one removed."""
        listed = self._git("rev-list", "--objects", f"{base}..HEAD")
        named = [line.split(b" ", 1) for line in listed.splitlines() if b" " in line]
        names = {sha.decode(): path.decode(errors="surrogateescape") for sha, path in named if path}
        blobs = [sha for sha, kind in self._kinds(list(names)) if kind == "blob"]
        yield from ((names[sha], content) for sha, content in zip(blobs, self._blobs(blobs), strict=True))

    def _kinds(self, shas: list[str]) -> list[tuple[str, str]]:
        out = self._batch("--batch-check=%(objectname) %(objecttype)", shas)
        return [(parts[0], parts[1]) for parts in (line.split() for line in out.decode().splitlines())]

    def _blobs(self, shas: list[str]) -> list[bytes]:
        return list(commands.batched(self._batch("--batch", shas)))

    def _batch(self, form: str, shas: list[str]) -> bytes:
        if not shas:
            return b""
        with commands.lines(shas) as names:
            return commands.inspect(self.root, "cat-file", form, source=names)

    def _above(self, file: Path) -> list[Path]:
        return [up for up in file.parents if up != self.root and up.is_relative_to(self.root)]

    def _git(self, *arguments: str) -> bytes:
        return commands.inspect(self.root, *arguments)
