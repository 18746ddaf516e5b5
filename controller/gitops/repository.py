"""The only code that runs git: a full bare clone, commits built by ``fast-import``, plain pushes.

Knows paths, bytes and messages; nothing of boxes or jobs. No work tree, no index, no rebase, no force. A push is a
compare-and-swap on ``main``: whoever is late gets PushRejected, fetches and builds again.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, BinaryIO, cast

import git
from pydantic import Field

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import Permanent, Temporary, foreign
from controller.core.settings import Group
from controller.gitops import answers, children
from controller.gitops.answers import Verdict

log = logs.get(__name__)

MAIN = "refs/heads/main"
_SCRATCH = "refs/writer/next"
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
}


class GitSettings(Group):
    """The GitOps repository and where this process keeps its clone."""

    git_remote: str
    """A path or address. Credentials never stand in it: it is logged."""

    git_clone_dir: Path
    """The bare clone: a cache, made again when it is missing or broken."""

    git_timeout: timedelta = Field(default=timedelta(seconds=30))
    """For one git command. 30 s: far below an actor's limit, far above a slow host."""

    git_author_name: str = "openclaw-cloud"
    git_author_email: str = "gitops@openclaw.cloud"


class RemoteAway(Temporary):
    """Raised when the remote does not answer; what a push did then is unknown until the next fetch."""


class PushRejected(Temporary):
    """Raised when ``main`` moved meanwhile."""


class PushRefused(Permanent):
    """Raised when a hook or a rule of the remote says no."""


class BranchClosed(RemoteAway):
    """Raised when the remote takes no push of ours at all, as to a protected branch: no job is to blame, all wait."""


class NotAPlainFile(Permanent):
    """Raised when a path that is to be read is a link, a program, a folder or another repository."""


class RepositoryBroken(Temporary):
    """Raised when the local clone cannot be read; it is dropped, the next call clones again."""


@dataclass(frozen=True)
class Commit:
    """One commit to build: files to write (whole content) and a message with its trailers."""

    files: dict[str, bytes]
    message: str


class Repository:
    """A local bare clone and its remote. One thread at a time."""

    def __init__(self, settings: GitSettings) -> None:
        self._settings = settings
        self._dir = settings.git_clone_dir

    def fetch(self) -> str:
        """Bring the clone up to date; the sha of ``main``.

        Raises RemoteAway, also if the remote has no ``main``; RepositoryBroken if the remote is there and fetching from
        it fails all the same, as with a lock that a killed process left.
        """
        if not (self._dir / "HEAD").exists():
            self._clone()
        self._unlock()
        try:
            self._git("fetch", "--quiet", "--no-tags", "origin", f"+{MAIN}:{MAIN}")
        except RemoteAway as exc:
            # Git tells a broken clone and a remote that is away in the same breath: ask the remote alone.
            remote = ["git", "ls-remote", "--exit-code", "--", self._settings.git_remote, MAIN]
            _run(git.Git(), remote, self._settings.git_timeout)
            self._drop()
            raise RepositoryBroken("git_clone_broken", reason=exc.facts.get("reason")) from exc
        return self._git("rev-parse", "--verify", MAIN)

    def read(self, sha: str, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents at ``sha`` of those ``paths`` that exist there.

        Raises NotAPlainFile if one of them is something else.
        """
        wanted = list(dict.fromkeys(paths))
        listed = self._git("ls-tree", "-z", sha, "--", *wanted) if wanted else ""
        blobs = {}
        for entry in filter(None, listed.split("\0")):
            meta, path = entry.split("\t", 1)
            mode, kind, blob = meta.split(" ")
            if kind != "blob" or mode != "100644":
                raise NotAPlainFile("git_not_a_plain_file", path=path, mode=mode)
            blobs[path] = blob
        return dict(zip(blobs, self._cat(list(blobs.values())), strict=True))

    def trailers(self, base: str, tip: str, key: str) -> dict[str, str]:
        """The values of the trailer ``key`` in the commits after ``base`` up to ``tip``, each with its sha."""
        out = self._git("log", "--format=%H %(trailers:key=" + key + ",valueonly,separator=%x20)", f"{base}..{tip}")
        found = {}
        for line in out.split("\n"):
            # other people's commits may carry the trailer too, in any form
            sha, *values = line.split() or [""]
            found.update(dict.fromkeys(values, sha))
        return found

    def chain(self, tip: str, commits: Sequence[Commit]) -> list[str]:
        """Build ``commits`` on top of ``tip``, each on the one before; their shas. Moves no branch."""
        with tempfile.TemporaryDirectory(prefix="openclaw-git-") as folder:
            stream, marks = Path(folder) / "stream", Path(folder) / "marks"
            with stream.open("wb") as out:
                self._write_stream(out, tip, commits)
            with stream.open("rb") as source:
                self._git("fast-import", "--quiet", "--done", "--force", f"--export-marks={marks}", istream=source)
            made = dict(line.split() for line in marks.read_text().splitlines())
        return [made[f":{number}"] for number in range(1, len(commits) + 1)]

    def push(self, sha: str) -> None:
        """Make ``sha`` the remote's ``main`` if that is a fast-forward.

        Raises PushRejected when ``main`` moved, PushRefused when a hook said no to what is pushed, BranchClosed when it
        takes nothing from us, RemoteAway otherwise: then look.
        """
        self._git("push", "--quiet", "--porcelain", "origin", f"{sha}:{MAIN}")

    def _clone(self) -> None:
        self._dir.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._dir, ignore_errors=True)
        building = Path(tempfile.mkdtemp(dir=self._dir.parent, prefix="clone-"))
        try:
            command = ["git", "clone", "--quiet", "--bare", "--", self._settings.git_remote, str(building)]
            _run(git.Git(), command, self._settings.git_timeout)
            building.rename(self._dir)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        for name, value in (("gc.auto", "0"), ("core.hooksPath", os.devnull)):
            self._git("config", name, value)

    def _unlock(self) -> None:
        """Remove the locks of a git that was killed: it would refuse to work until somebody does.

        The clone is this process's alone, and it runs one git at a time.
        """
        for lock in (*self._dir.glob("*.lock"), *self._dir.glob("refs/**/*.lock")):
            lock.unlink(missing_ok=True)
            log.warning("gitops.lock_removed", lock=lock.name)

    def _cat(self, blobs: list[str]) -> list[bytes]:
        if not blobs:
            return []
        with tempfile.TemporaryFile() as names:
            names.write("\n".join(blobs).encode() + b"\n")
            names.seek(0)
            with self._dropped_when_broken():
                out = _run_raw(self._repo().git, ["git", "cat-file", "--batch"], self._settings.git_timeout, names)
                return list(batched(out))

    def _write_stream(self, out: IO[bytes], tip: str, commits: Sequence[Commit]) -> None:
        when = int(clock.now().timestamp())
        author = f"{self._settings.git_author_name} <{self._settings.git_author_email}> {when} +0000"
        for number, commit in enumerate(commits, 1):
            parent = tip if number == 1 else f":{number - 1}"
            out.write(f"commit {_SCRATCH}\nmark :{number}\ncommitter {author}\n".encode())
            _write_data(out, commit.message.encode())
            out.write(f"from {parent}\n".encode())
            for path, content in sorted(commit.files.items()):
                out.write(f"M 100644 inline {path}\n".encode())
                _write_data(out, content)
        out.write(b"done\n")

    def _repo(self) -> git.Repo:
        try:
            return git.Repo(self._dir)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, configparser.Error) as exc:
            raise RepositoryBroken("git_clone_broken") from exc

    def _git(self, *arguments: str, istream: BinaryIO | None = None) -> str:
        with self._dropped_when_broken():
            return _run(self._repo().git, ["git", *arguments], self._settings.git_timeout, istream)

    @contextmanager
    def _dropped_when_broken(self) -> Iterator[None]:
        try:
            yield
        except RepositoryBroken:
            self._drop()
            raise

    def _drop(self) -> None:
        shutil.rmtree(self._dir, ignore_errors=True)


class NoSuchThing(Permanent):
    """Raised when a folder is no repository, or a repository does not know what it is asked for."""


def inspect(folder: Path, *arguments: str, source: BinaryIO | None = None) -> bytes:
    """What a git command that only reads prints about the checkout at ``folder``, which is somebody else's.

    Nothing of that checkout's own configuration runs. Raises NoSuchThing with git's own first line.
    """
    trust = [f"safe.directory={folder.resolve()}", "core.fsmonitor=false", f"core.hooksPath={os.devnull}"]
    settings = [part for setting in trust for part in ("-c", setting)]
    try:
        return _execute(git.Git(folder), ["git", *settings, *arguments], timedelta(minutes=2), source)
    except git.GitCommandError as exc:
        said = str(exc.stderr).strip().removeprefix("stderr: '").splitlines() or ["git failed"]
        raise NoSuchThing("git_knows_no_such_thing", reason=foreign(said[0].strip("' "))) from exc
    except (git.GitCommandNotFound, OSError) as exc:
        raise NoSuchThing("git_does_not_run", reason=foreign(exc)) from exc


def _run(runner: git.Git, command: list[str], timeout: timedelta, istream: BinaryIO | None = None) -> str:
    return _run_raw(runner, command, timeout, istream).decode(errors="replace").rstrip("\n")


def _run_raw(runner: git.Git, command: list[str], timeout: timedelta, istream: BinaryIO | None) -> bytes:
    try:
        return _execute(runner, command, timeout, istream)
    except git.GitCommandError as exc:
        raise _classified(command[1], f"{exc.stdout!s}\n{exc.stderr!s}") from exc


def _execute(runner: git.Git, command: list[str], timeout: timedelta, istream: BinaryIO | None) -> bytes:
    with runner.custom_environment(**_ENVIRONMENT):
        # raw git without GitPython's own option handling; it needs a real descriptor as input
        started = runner.execute(command, istream=istream, as_process=True, start_new_session=True)
    process = cast(subprocess.Popen[bytes], started.proc)
    try:
        out, told = children.finish(process, timeout)
    except TimeoutError as exc:
        raise git.GitCommandError(command, 1, str(exc).encode()) from exc
    if process.returncode != 0:
        raise git.GitCommandError(command, process.returncode, told, out)
    return out


def batched(out: bytes) -> Iterator[bytes]:
    """The contents in what ``git cat-file --batch`` prints."""
    # `<sha> blob <size>\n<content>\n`, again and again
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        told = out[at:end].split(b" ")
        if len(told) != 3:  # `<sha> missing`
            raise RepositoryBroken("git_object_missing")
        size = int(told[2])
        yield out[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


def _classified(verb: str, text: str) -> Temporary | Permanent:
    reason = answers.words(text)
    meant = answers.verdict(text) if verb == "push" else Verdict.AWAY
    if meant == Verdict.CLOSED:
        return BranchClosed("git_branch_closed", retry_after=timedelta(seconds=5), reason=reason)
    if meant == Verdict.REFUSED:
        return PushRefused("git_push_refused", reason=reason)
    if meant == Verdict.MOVED:
        return PushRejected("git_push_rejected", reason=reason)
    if verb in {"push", "fetch", "clone", "ls-remote"}:
        return RemoteAway("git_remote_away", retry_after=timedelta(seconds=5), reason=reason)
    return RepositoryBroken("git_command_failed", verb=verb, reason=reason)


def _write_data(out: IO[bytes], data: bytes) -> None:
    out.write(f"data {len(data)}\n".encode() + data + b"\n")
