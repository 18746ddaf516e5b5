"""A machine whose git will not do is told so at the start, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.core.errors import Permanent
from controller.gitops import commands


def install(folder: Path, said: str) -> None:
    """A git that says nothing but that."""
    (folder / "git").write_text(f"#!/bin/sh\necho '{said}'\n")
    (folder / "git").chmod(0o755)


def test_the_git_of_this_machine_will_do() -> None:
    commands.check_version()


@pytest.mark.parametrize("said", ["git version 2.33.8", "git version 1.99.0 (Apple Git-1)", "who is git"])
def test_a_git_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    install(tmp_path, said)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent) as caught:
        commands.check_version()
    assert str(caught.value) == f"git_too_old (found={said}, needed=2.34)"


def test_a_machine_without_git_is_told_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match=r"git_missing \(needed=2.34\)"):
        commands.check_version()


def test_the_writer_does_not_start_with_an_old_git_and_says_so_in_one_line(tmp_path: Path) -> None:
    install(tmp_path, "git version 2.33.8")
    command = [sys.executable, "-m", "controller", "writer"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    told = "openclaw-cloud: git_too_old (found=git version 2.33.8, needed=2.34)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
