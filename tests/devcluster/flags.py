"""The options that the real executables take, as their own ``--help`` tells; ``flags.json`` is what they told.

``python -m tests.devcluster.flags`` asks those on the PATH again, which are on few machines that run tests.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

FILE = Path(__file__).with_name("flags.json")
COMMANDS = (
    "docker build", "docker image inspect", "docker pull", "docker push", "docker tag",
    "docker version",
    "k3d cluster create", "k3d cluster delete", "k3d cluster list", "k3d cluster start", "k3d kubeconfig get",
    "helm list", "helm package", "helm repo index", "helm template", "helm upgrade",
)  # fmt: skip


def asked(command: list[str], *more: str) -> list[str]:
    """The long options that a command's help names; ``more`` asks for those that it shares with others."""
    told = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True).stdout
    for extra in more:
        told += subprocess.run([command[0], extra], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(?:^|\s)(--[a-z][a-z0-9-]+)\b", told, re.MULTILINE)))


def known() -> dict[str, list[str]]:
    """By command, what was told when it was asked last."""
    found: dict[str, list[str]] = json.loads(FILE.read_text())
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps({command: asked(command.split()) for command in COMMANDS}, indent=1) + "\n")
