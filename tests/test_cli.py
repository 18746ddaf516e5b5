"""What cannot be done ends a command with one line that says why, and with exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOWHERE = "postgresql://nobody@127.0.0.1:9/none"


def run(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code and the lines on stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [str(Path(sys.executable).with_name("openclaw-cloud")), *arguments]
    ended = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr.splitlines()


def test_migrate_says_that_postgres_is_away() -> None:
    code, said = run("migrate", POSTGRES_DSN=NOWHERE)
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith("openclaw-cloud: database_away")


def test_migrate_says_that_a_revision_is_unknown(idle_dsn: str) -> None:
    code, said = run("migrate", "--revision", "nosuch", POSTGRES_DSN=idle_dsn)
    assert (code, said[-1].split(" ")[1]) == (1, "revision_unknown")


@pytest.mark.parametrize("process", ["api", "proxy", "sweeper", "migrate"])
def test_a_process_names_the_variable_that_is_missing(process: str) -> None:
    code, said = run(process)
    assert (code, said[-1].split(" ")[1]) == (1, "setting_wrong")
    assert "variable=" in said[-1]


@pytest.mark.parametrize("process", ["worker", "writer", "notices"])
def test_a_process_of_dramatiqs_names_it_in_one_line_too(process: str) -> None:
    code, said = run(process)
    ours = [line for line in said if not line.startswith("[")]
    assert (code, len(ours)) == (1, 1)
    assert ours[0].startswith("openclaw-cloud: setting_wrong (variable=QUEUE_REDIS_URL")


def test_the_api_says_that_the_folder_of_niches_is_not_there(tmp_path: Path) -> None:
    niches = str(tmp_path / "no-such")
    given = {"WEB_URL": "http://x", "ADMIN_TOKEN": "a" * 24, "STRIPE_WEBHOOK_SECRET": "whsec", "POSTGRES_DSN": NOWHERE}
    code, said = run("api", NICHES_DIR=niches, **given)
    assert (code, said[-1].split(" ")[1]) == (1, "setting_wrong")
    assert "variable=NICHES_DIR" in said[-1]
