"""A real bare repository as the remote, and a writer's clone of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.gitops.repository import GitSettings, Repository
from tests.gitops import remotes


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository with one commit on ``main``."""
    return remotes.create(tmp_path / "remote.git")


@pytest.fixture
def repository(remote: Path, tmp_path: Path) -> Repository:
    """A writer's repository on that remote."""
    return Repository(GitSettings(git_remote=str(remote), git_clone_dir=tmp_path / "clone.git"))
