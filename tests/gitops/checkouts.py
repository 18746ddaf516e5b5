"""A checkout of a GitOps repository with one box, and what people and the platform do to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from controller.cli import app
from controller.gitops import manifests
from tests.gitops import remotes
from tests.gitops.test_commits import spec

BOX = "01kb0t7m8c9d0e1f2g3h4j5k6m"
CUSTOMER = "01kb0t7m8c9d0e1f2g3h4j5k6n"
CELL = "eu1-a"
PATH = manifests.path(CELL, BOX)
JOB = "Job-Id: 01kb0t7m8c9d0e1f2g3h4j5k6p"


def content(box: str = BOX, **changed: Any) -> bytes:
    """A box file as the platform writes it."""
    return manifests.create(box, CUSTOMER, spec(**{"rev": 7, "deletion": "held", **changed}))


class Checkout:
    """A clone with ``main`` at one box, on a branch of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        remotes.git(folder, "init", "--quiet", "--initial-branch=main")
        self.write("README.md", b"# boxes\n")
        self.write(PATH, content())
        self.commit("start")
        remotes.git(folder, "checkout", "--quiet", "-b", "change")

    def write(self, path: str, data: bytes) -> None:
        """Put a file there."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def edit(self, old: str, new: str, path: str = PATH) -> None:
        """Replace text in a file that has it."""
        text = (self.folder / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new).encode())

    def commit(self, message: str = "ops: change") -> str:
        """Commit everything; the sha."""
        remotes.git(self.folder, "add", "--all")
        remotes.git(self.folder, "commit", "--quiet", "--message", message)
        return remotes.git(self.folder, "rev-parse", "HEAD")

    def run(self, *arguments: str) -> Result:
        """The command ``gitops`` on this checkout."""
        return CliRunner().invoke(app, ["gitops", *arguments, "--repo", str(self.folder)])

    def rules(self, *options: str) -> list[str]:
        """The rules that the change since ``main`` breaks, each once."""
        lines = self.run("validate", "--base", "main", *options).stdout.splitlines()
        return list(dict.fromkeys(line.rpartition("(")[2].rstrip(")") for line in lines if line.endswith(")")))
