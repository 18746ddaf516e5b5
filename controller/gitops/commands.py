"""How git is run: raw commands with a time-out, in an environment of ours, and what its failures mean.

Nothing else imports GitPython, and nothing else starts git.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

# a machine without git is told so by ``check_version``, and not by a traceback at the import
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
import git

from controller.core.errors import Permanent, Temporary, foreign
from controller.gitops import answers, children
from controller.gitops.answers import Verdict

OLDEST = (2, 34)
"""The git that we need: signatures by ssh, and settings from the environment that reach no remote on the same disk."""

_REMOTE_VERBS = frozenset({"push", "fetch", "clone", "ls-remote"})
# what hosts and ssh say when our credential is wrong, has run out or does not reach so far
_DENIED = (
    "authentication failed",
    "could not read username",
    "could not read password",
    "returned error: 401",
    "returned error: 403",
    "permission denied",
    "repository not found",
)
_UNVERIFIED = ("host key verification failed", "certificate")
_LOW = 10
"""The niceness of what nobody waits for."""
_CONFIG = (
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("core.hooksPath", os.devnull),
    # a clone of ours is a cache: what a power cut spoils is found at the next start, and made again
    ("core.fsync", "none"),
    # a batch's new trees are mostly hashes, which neither shrink nor resemble each other
    ("pack.compression", "1"),
    ("pack.window", "0"),
)
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ASKPASS": "",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "LC_ALL": "C",
}


class GitUnfit(Permanent):
    """Raised when this machine has no git, or one that is too old."""


class RemoteAway(Temporary):
    """Raised when the remote does not answer; what a push did then is unknown until the next fetch."""


class PushRejected(Temporary):
    """Raised when ``main`` moved meanwhile."""


class PushRefused(Permanent):
    """Raised when a hook or a rule of the remote says no."""


class BranchClosed(RemoteAway):
    """Raised when the remote takes no push of ours at all, as to a protected branch: no job is to blame, all wait."""


class AccessDenied(RemoteAway):
    """Raised when the remote does not take our credential, or is not who it should be: no job is to blame, all wait."""


class RepositoryBroken(Temporary):
    """Raised when the local clone cannot be read; it is dropped, the next call clones again."""


@dataclass(frozen=True)
class Access:
    """What lets git in at a remote: settings and variables for its process, and the texts that nobody may be told."""

    config: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class NoSuchThing(Permanent):
    """Raised when a folder is no repository, or a repository does not know what it is asked for."""


def check_version() -> None:
    """Return if this machine's git can do what we need of it.

    Raises GitUnfit that names what was found and what is needed.
    """
    needed = ".".join(map(str, OLDEST))
    try:
        told = _execute(git.Git(), ["git", "version"], timedelta(seconds=10), None, {}).decode(errors="replace")
    except (git.GitCommandError, git.GitCommandNotFound, OSError) as exc:
        raise GitUnfit("git_missing", needed=needed) from exc
    match = re.search(r"(\d+)\.(\d+)", told)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        raise GitUnfit("git_too_old", found=foreign(told.strip()), needed=needed)


def inspect(folder: Path, *arguments: str, source: BinaryIO | None = None) -> bytes:
    """What a git command that only reads prints about the checkout at ``folder``, which is somebody else's.

    Nothing of that checkout's own configuration runs. Raises NoSuchThing with git's own first line.
    """
    trust = [f"safe.directory={folder.resolve()}", "core.fsmonitor=false", f"core.hooksPath={os.devnull}"]
    settings = [part for setting in trust for part in ("-c", setting)]
    try:
        return _execute(git.Git(folder), ["git", *settings, *arguments], timedelta(minutes=2), source, {})
    except git.GitCommandError as exc:
        said = str(exc.stderr).strip().removeprefix("stderr: '").splitlines() or ["git failed"]
        raise NoSuchThing("git_knows_no_such_thing", reason=foreign(said[0].strip("' "))) from exc
    except (git.GitCommandNotFound, OSError) as exc:
        raise NoSuchThing("git_does_not_run", reason=foreign(exc)) from exc


def run(
    arguments: Sequence[str],
    *,
    timeout: timedelta,
    folder: Path | None = None,
    source: BinaryIO | None = None,
    access: Access | None = None,
) -> bytes:
    """What ``git <arguments>`` prints; in the bare repository at ``folder``, if there is one.

    Raises what the failure means: RemoteAway and its kin for verbs that speak to a remote, else RepositoryBroken.
    """
    access = access or Access()
    # named outright: git would go on to look for a repository in the folders above one that is broken
    place = {} if folder is None else {"GIT_DIR": str(folder)}
    environment = {**place, **_numbered(_CONFIG + access.config), **access.environment}
    try:
        return _execute(git.Git(), ["git", *arguments], timeout, source, environment)
    except git.GitCommandError as exc:
        failure = _classified(arguments[0], _redacted(f"{exc.stdout!s}\n{exc.stderr!s}", access.secrets))
    # not from git's own error: a traceback would print the remote's words as they came
    raise failure


class Background:
    """A git command that runs by itself, after everybody else's turn."""

    def __init__(self, verb: str, started: git.Git.AutoInterrupt) -> None:
        self._verb = verb
        self._started = started  # GitPython ends the process when nobody holds this any more
        self._process = cast(subprocess.Popen[bytes], started.proc)
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PGRP, self._process.pid, _LOW)

    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def result(self) -> None:
        """Return if it did what it should.

        Raises RepositoryBroken otherwise, also if it still runs: then it is ended.
        """
        told = b"no end in sight"
        if self.over():
            with suppress(subprocess.TimeoutExpired):  # somebody else holds the pipe
                told = self._process.communicate(timeout=1)[1]
        self.stop()
        if self._process.returncode != 0:
            reason = foreign(told.decode(errors="replace"))
            raise RepositoryBroken("git_command_failed", verb=self._verb, reason=reason)

    def stop(self) -> None:
        """It does not run any more."""
        children.end(self._process)


def begin(*arguments: str, folder: Path) -> Background:
    """``git <arguments>`` running in the bare repository at ``folder``; it must print next to nothing."""
    environment = {**_ENVIRONMENT, "GIT_DIR": str(folder), **_numbered(_CONFIG)}
    runner = git.Git()
    with runner.custom_environment(**environment):
        started = runner.execute(["git", *arguments], as_process=True, start_new_session=True)
    return Background(arguments[0], started)


def _execute(
    runner: git.Git, command: list[str], timeout: timedelta, istream: BinaryIO | None, environment: Mapping[str, str]
) -> bytes:
    with runner.custom_environment(**_ENVIRONMENT, **environment):
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


def _numbered(config: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The settings as git takes them from its environment."""
    names = {f"GIT_CONFIG_KEY_{number}": name for number, (name, _) in enumerate(config)}
    values = {f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(config)}
    return {"GIT_CONFIG_COUNT": str(len(config)), **names, **values}


def _redacted(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return re.sub(r"://[^/@\s]*@", "://***@", text)


@contextmanager
def lines(texts: Iterable[str]) -> Iterator[BinaryIO]:
    """The texts, a line each, as a git command's input: it needs a real descriptor."""
    with tempfile.TemporaryFile() as source:
        source.write("".join(f"{text}\n" for text in texts).encode())
        source.seek(0)
        yield source


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
    if verb in _REMOTE_VERBS and any(sign in text.lower() for sign in _UNVERIFIED):
        return AccessDenied("git_host_unverified", retry_after=timedelta(seconds=30), reason=reason)
    if verb in _REMOTE_VERBS and any(sign in text.lower() for sign in _DENIED):
        return AccessDenied("git_access_denied", retry_after=timedelta(seconds=30), reason=reason)
    if verb in _REMOTE_VERBS:
        return RemoteAway("git_remote_away", retry_after=timedelta(seconds=5), reason=reason)
    return RepositoryBroken("git_command_failed", verb=verb, reason=reason)
