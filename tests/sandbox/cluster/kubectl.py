"""kubectl as people use it, against the stand-in or, with CONTRACT_KUBECONFIG, against a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "kubectl"
SECONDS = 120


class Kubectl:
    """The vendor's program with one kubeconfig and a home of its own."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self._env = {"KUBECONFIG": str(kubeconfig), "HOME": str(home), "PATH": os.defpath, "NO_PROXY": "*"}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The finished call, whatever came of it."""
        argv = [str(PROGRAM), *arguments]
        return subprocess.run(argv, env=self._env, input=stdin, capture_output=True, text=True, timeout=SECONDS)

    def says(self, *arguments: str, stdin: str = "") -> str:
        """What it prints; fails with what it complains about."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refuses(self, *arguments: str, stdin: str = "") -> str:
        """What it complains about; fails if it does not."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def starts(self, *arguments: str) -> subprocess.Popen[str]:
        """A call that goes on until it is ended."""
        argv = [str(PROGRAM), *arguments]
        return subprocess.Popen(argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def reads(self, *arguments: str) -> Any:
        """What it prints as JSON."""
        return json.loads(self.says(*arguments, "-o", "json"))

    def applies(self, obj: object, *options: str) -> str:
        """Apply an object from standard input; what it prints."""
        return self.says("apply", "-f", "-", *options, stdin=json.dumps(obj))
