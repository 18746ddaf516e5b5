"""Repositories of a given number of boxes, each way of writing with a remote of its own."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from controller.gitops import manifests
from tests.gitops import remotes
from tests.gitops.test_commits import spec

CELL = "eu1-a"
_ID = "0" * 26


@dataclass(frozen=True)
class World:
    """A seed with ``boxes`` boxes and the folder in which copies of it are made."""

    boxes: int
    folder: Path
    ids: list[str]

    def remote(self, name: str) -> Path:
        """A bare copy of the seed that takes pushes."""
        at = self.folder / f"{name}.git"
        remotes.git(self.folder, "clone", "--quiet", "--bare", "--no-hardlinks", "seed.git", at.name)
        for setting in ("gc.auto", "receive.autogc"):
            remotes.git(at, "config", setting, "0")
        return at


def create(boxes: int, folder: Path) -> World:
    """Seed a repository with ``boxes`` real manifests, each at its path."""
    folder.mkdir(parents=True)
    seed = remotes.create(folder / "seed.git")
    form = manifests.create(_ID, _ID, spec())
    ids = [hashlib.sha256(str(number).encode()).hexdigest()[:26] for number in range(boxes)]
    head = b"commit refs/heads/main\ncommitter ops <ops@example.com> 1790000000 +0000\ndata 5\nboxes\n"
    stream = [head, b"from refs/heads/main^0\n"]
    for box_id in ids:
        content = form.replace(_ID.encode(), box_id.encode())
        path = manifests.path(CELL, box_id)
        stream.append(f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=seed, input=b"".join(stream), check=True)
    remotes.git(seed, "repack", "-a", "-d", "--quiet")
    return World(boxes, folder, ids)
