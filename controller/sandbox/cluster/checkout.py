"""Argo's view of Git: a bare clone that is fetched on demand and read without a work tree."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from controller.core.errors import Temporary, foreign

TIMEOUT_SECONDS = 30.0
GONE_SECONDS = 2.0


class GitAway(Temporary):
    """Raised when git fails or the remote does not answer."""


class Checkout:
    """A clone of one remote, read at ``main``; nobody else works in it."""

    def __init__(self, remote: str, clone: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.remote = remote
        self._clone = clone
        self._timeout = timeout_seconds

    async def fetch(self) -> str:
        """Bring the clone up to date; the sha of ``main``.

        Raises GitAway. A git that was killed at any point of an earlier call does not stand in the way.
        """
        if not (self._clone / "HEAD").exists():
            await self._begin()
        self._unlock()
        # in the foreground: what outlives the call could hold a lock that the next one takes for a dead one's
        await self._git("-c", "gc.autoDetach=false", "fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main")
        return (await self._git("rev-parse", "refs/heads/main")).decode().strip()

    async def files(self, sha: str, folder: str, digits: Sequence[str]) -> dict[str, bytes]:
        """The ``.yaml`` files at ``sha`` by path: in sub-folders of ``folder`` that begin with one of ``digits``."""
        listed = os.fsdecode(await self._git("ls-tree", "-r", "-z", sha, "--", f"{folder}/"))
        blobs = {}
        for entry in filter(None, listed.split("\0")):
            meta, path = entry.split("\t", 1)
            if path.removeprefix(f"{folder}/").startswith(tuple(digits)) and path.endswith(".yaml"):
                blobs[path] = meta.split()[2]
        if not blobs:
            return {}
        asked = "".join(f"{blob}\n" for blob in blobs.values()).encode()
        return dict(zip(blobs, _contents(await self._git("cat-file", "--batch", stdin=asked)), strict=True))

    async def _begin(self) -> None:
        """Clone beside the place and move there, so that half a clone is never taken for one."""
        new = self._clone.with_name(f"{self._clone.name}.new")
        for old in (new, self._clone):
            shutil.rmtree(old, ignore_errors=True)
        await _run(None, ("clone", "--quiet", "--bare", "--", self.remote, str(new)), self._timeout)
        new.rename(self._clone)

    def _unlock(self) -> None:
        """Remove the locks of a git that was killed: it would refuse to work until somebody does."""
        for lock in [*self._clone.glob("*.lock"), *self._clone.glob("refs/**/*.lock")]:
            lock.unlink(missing_ok=True)

    async def _git(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        return await _run(self._clone, arguments, self._timeout, stdin)


def _contents(batch: bytes) -> list[bytes]:
    """The blobs in the order in which ``cat-file --batch`` was asked for them."""
    found, at = [], 0
    while at < len(batch):
        head = batch.index(b"\n", at)
        size = int(batch[at:head].split()[2])
        found.append(batch[head + 1 : head + 1 + size])
        at = head + size + 2
    return found


async def _run(folder: Path | None, arguments: Sequence[str], timeout: float, stdin: bytes | None = None) -> bytes:
    env = {"PATH": os.environ.get("PATH", ""), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull}
    verb, pipe = arguments[0], asyncio.subprocess.PIPE
    given = asyncio.subprocess.DEVNULL if stdin is None else pipe
    try:
        child = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=folder, env=env, stdin=given, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as exc:
        raise GitAway("git_not_started", verb=verb, reason=foreign(exc)) from exc
    try:
        async with asyncio.timeout(timeout):
            out, err = await child.communicate(stdin)
    except TimeoutError as exc:
        raise GitAway("git_timed_out", verb=verb) from exc
    finally:
        await _end(child)
    if child.returncode != 0:
        raise GitAway("git_failed", verb=verb, reason=foreign(err.decode(errors="replace")))
    return out


async def _end(child: asyncio.subprocess.Process) -> None:
    """Leave no git behind, nor one of its own children, however the call ended."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        # it is dead now; a pipe that somebody else still holds must not hold us
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_SECONDS):
                await child.communicate()
