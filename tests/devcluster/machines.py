"""A developer's machine with stand-ins for the executables, and what was done with them."""

from __future__ import annotations

import base64
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.devcluster.tools import Tools

EXECUTABLES = ("docker", "k3d", "kubectl", "helm")
SCRIPT = Path(__file__).with_name("executables.py")
EMPTY: dict[str, Any] = {"clusters": {}, "images": {}, "objects": {}, "releases": [], "broken": []}


@dataclass(frozen=True)
class Call:
    """An executable's arguments, the first of them its name, and its input."""

    argv: list[str]
    said: str
    kubeconfig: str | None


def install(folder: Path, *names: str) -> None:
    """The executables ``names`` are in ``folder``."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"#!{sys.executable} -SE\n{SCRIPT.read_text()}")
        (folder / name).chmod(0o755)


class Machine:
    """Executables that note what they are told, before all others of this machine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        install(folder / "bin", *EXECUTABLES)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_WORLD", str(folder))
        self.have(**EMPTY)
        self.tools = Tools(folder / "cluster/kubeconfig")

    def have(self, **parts: Any) -> None:
        """These parts of the world are so from now on."""
        file = self._folder / "world.json"
        world = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(world | parts))

    def world(self, part: str) -> Any:
        """A part of the world as it is now."""
        return json.loads((self._folder / "world.json").read_text())[part]

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The values of a Secret in the cluster."""
        data = self.world("objects")[f"secret/{namespace}/{name}"]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def told(self) -> list[Call]:
        """What was called since the last time that this was asked."""
        file = self._folder / "told"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [Call(**json.loads(line)) for line in lines]

    def commands(self) -> list[str]:
        """The same as lines."""
        return [" ".join(call.argv) for call in self.told()]
