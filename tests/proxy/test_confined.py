"""The translator where it runs: a root that it cannot write to, a user without a home, and no network but its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
USER = 10001
_SEALED = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
mount -o remount,bind,ro /
cd /
exec unshare --user --map-user=$2 --map-group=$2 -- "$3" -m tests.proxy.confined "$1"
"""
_UNSHARED = ["unshare", "--user", "--map-root-user", "--mount", "--net"]


def may_unshare() -> bool:
    """Whether this machine lets a process have mounts and a network of its own."""
    if shutil.which("unshare") is None:
        return False
    try_it = "mount --make-rprivate / && mount -o remount,bind,ro / && ip link set lo up"
    return subprocess.run([*_UNSHARED, "sh", "-c", try_it], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_unshare(), reason="this machine allows no namespaces")


@pytest.fixture(scope="module", params=["/nonexistent", None], ids=["a home that is not there", "no home"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the process says of itself."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": folder}
    env |= {} if request.param is None else {"HOME": request.param}
    argv = [*_UNSHARED, "sh", "-c", f"ip link set lo up\n{_SEALED}", "sh", folder, str(USER), sys.executable]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) | {"folder": folder, "asked": request.param}
    return found


def test_it_answers_over_every_wire(seen: dict[str, Any]) -> None:
    assert (seen["uid"], seen["home"]) == (USER, seen["asked"])
    assert seen["answers"] == {wire: [200, 200] for wire in ("anthropic", "gemini", "other")}


def test_it_connects_to_its_providers_alone_and_looks_nobody_up(seen: dict[str, Any]) -> None:
    assert set(seen["connected"]) <= {"127.0.0.1"}
    assert set(seen["looked up"]) <= {"127.0.0.1", "None"}


def test_it_writes_nothing_but_to_its_temporary_folder(seen: dict[str, Any]) -> None:
    assert [one for one in seen["written"] if not one.startswith((seen["folder"], "/dev/null"))] == []
