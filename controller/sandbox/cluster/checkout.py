"""Argo's view of Git: a bare clone that is fetched on demand and read without a work tree."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from controller.core.errors import Temporary, foreign

TIMEOUT_SECONDS = 30


class GitAway(Temporary):
    """Raised when git fails or the remote does not answer."""


class Checkout:
    """A clone of one remote, read at ``main``."""

    def __init__(self, remote: str, clone: Path) -> None:
        self.remote = remote
        self._clone = clone

    async def fetch(self) -> str:
        """Bring the clone up to date; the sha of ``main``."""
        if not (self._clone / "HEAD").exists():
            await _git(None, "clone", "--quiet", "--bare", "--", self.remote, str(self._clone))
        await _git(self._clone, "fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main")
        return (await _git(self._clone, "rev-parse", "refs/heads/main")).decode().strip()

    async def files(self, sha: str, folder: str, digit: str) -> dict[str, bytes]:
        """The ``.yaml`` files at ``sha`` in the sub-folders of ``folder`` that begin with ``digit``, by path."""
        listed = (await _git(self._clone, "ls-tree", "-r", "-z", sha, "--", f"{folder}/")).decode()
        blobs = {}
        for entry in filter(None, listed.split("\0")):
            meta, path = entry.split("\t", 1)
            inner = path.removeprefix(f"{folder}/")
            if inner.startswith(digit) and path.endswith(".yaml"):
                blobs[path] = meta.split()[2]
        return {path: await _git(self._clone, "cat-file", "blob", blob) for path, blob in blobs.items()}


async def _git(folder: Path | None, *arguments: str) -> bytes:
    env = {"PATH": os.environ.get("PATH", ""), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull}
    child = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            out, err = await child.communicate()
    except TimeoutError as exc:
        child.kill()
        await child.wait()
        raise GitAway("git_timed_out", verb=arguments[0]) from exc
    if child.returncode != 0:
        raise GitAway("git_failed", verb=arguments[0], reason=foreign(err.decode(errors="replace")))
    return out
