"""The executables that make a cluster: found, asked and run; what they say goes to whoever watches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from controller.core.errors import Permanent

NEEDED = {
    "docker": "runs the cluster and builds the images (https://docs.docker.com/engine/install)",
    "k3d": "makes the cluster (https://k3d.io)",
    "kubectl": "talks to it (https://kubernetes.io/docs/tasks/tools)",
    "helm": "packages and renders the charts (https://helm.sh/docs/intro/install)",
    "git": "fills the cluster's Git host",
    "ssh": "is how git reaches it",
}

_OF_DOCKER = {
    "daemon, which does not answer: start it, or let this user talk to it": (
        "version",
        "--format",
        "{{.Server.Version}}",
    ),
    "buildx, which understands our recipes (https://docs.docker.com/go/buildx)": ("buildx", "version"),
}


class ToolsMissing(Permanent):
    """Raised when executables are not there, or docker's daemon does not answer; ``facts["tools"]`` names them."""


class ToolFailed(Permanent):
    """Raised when an executable ends with an error, which it has said itself."""


def missing() -> list[str]:
    """A sentence for each thing that has to be installed or started first."""
    told = [f"missing: {name}, which {what}" for name, what in NEEDED.items() if shutil.which(name) is None]
    if shutil.which("docker") is not None:
        told += [f"missing: docker's {part}" for part, asked in _OF_DOCKER.items() if not _answers(asked)]
    return told


def _answers(asked: tuple[str, ...]) -> bool:
    return subprocess.run(("docker", *asked), capture_output=True, check=False).returncode == 0


class Tools:
    """The executables, of which kubectl and helm know our cluster and no other."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def run(self, *argv: str, said: str | None = None, env: Mapping[str, str] | None = None) -> None:
        """Let it work in sight; ``said`` is its input, which shows in no list of processes.

        Raises ToolFailed.
        """
        done = subprocess.run(argv, input=said, text=True, env=self._env(env), check=False)
        if done.returncode != 0:
            raise ToolFailed("tool_failed", tool=" ".join(argv[:3]), exit_code=done.returncode)

    def ask(self, *argv: str, said: str | None = None, env: Mapping[str, str] | None = None) -> str:
        """What it answers.

        Raises ToolFailed.
        """
        done = subprocess.run(argv, input=said, stdout=subprocess.PIPE, text=True, env=self._env(env), check=False)
        if done.returncode != 0:
            raise ToolFailed("tool_failed", tool=" ".join(argv[:3]), exit_code=done.returncode)
        return done.stdout

    def succeeds(self, *argv: str, env: Mapping[str, str] | None = None) -> bool:
        """Whether it ends without an error, of which nobody is told."""
        return subprocess.run(argv, capture_output=True, env=self._env(env), check=False).returncode == 0

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """The objects are in the cluster as they are here; those that already were are left alone."""
        made = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.apply_text(json.dumps(made))

    def apply_text(self, manifests: str) -> None:
        """The same for objects as YAML, as helm prints them."""
        # server-side: neither secrets nor packaged charts end in an annotation
        self.run("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-", said=manifests)

    def _env(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), **(more or {})}
