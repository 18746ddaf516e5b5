"""Whether agents may run commands on this machine, and how a pod that may is kept to itself.

On Kubernetes the pod is the confinement. Here it is ``confined``: namespaces, a root of its own, and doors to the
addresses that the pod's variables name. Where that is not to be had (not root, no Linux), commands are on with our own
stand-in for the model alone, which runs only what a script says.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from controller.core.settings import Group
from controller.sandbox.accounts import Account
from controller.sandbox.confined import Door, Plan
from controller.sandbox.processes import Command, python

Exec = Literal["full", "off"]

_TOOLS = ("unshare", "setpriv", "mount", "umount", "pivot_root", "sh")
_PROBE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "mount", "--make-rprivate", "/")
_PATH = f"{os.defpath}:/usr/sbin:/sbin"
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ExecSettings(Group):
    """Agents' commands in the sandbox."""

    sandbox_exec: Literal["auto", "full", "off"] = "auto"
    """auto: on if they are confined or the model is our stand-in. full: on even if nothing confines them."""


def mode(settings: ExecSettings, *, own_model: bool) -> Exec:
    """What the cell's ``exec`` is; ``own_model``: the model is our scripted stand-in."""
    if settings.sandbox_exec != "auto":
        return settings.sandbox_exec
    return "full" if own_model or available() else "off"


@functools.cache
def available() -> bool:
    """Whether this machine lets us confine: we are root on Linux, with util-linux, and namespaces are allowed."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    if any(shutil.which(tool, path=_PATH) is None for tool in _TOOLS):
        return False
    done = subprocess.run(_PROBE, env={"PATH": _PATH}, capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def wrap(
    command: Command, account: Account, readable: Iterable[Path], writable: Iterable[Path], port: int | None
) -> Command:
    """``command`` confined: it reads and writes those folders and reaches the addresses of its own variables.

    The plan is written beside its log. The folder ``empty`` there only marks a place.
    """
    empty = command.log.parent / "empty"
    empty.mkdir(exist_ok=True)
    doors, hosts = _doors(command.env)
    plan = Plan(
        argv=list(command.argv),
        uid=account.uid,
        gid=account.gid,
        readable=_existing(readable),
        writable=_existing(writable),
        doors=doors,
        hosts=hosts,
        port=port,
        empty=str(empty),
    )
    file = command.log.with_suffix(".plan")
    file.touch(mode=0o600)
    file.write_text(json.dumps(asdict(plan)))
    env = {**command.env, "PATH": f"{command.env.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    return replace(command, argv=python("controller.sandbox.confined", str(file)), env=env, account=None)


def image_folders(image: Path) -> list[Path]:
    """What a container of the image reads: the image and the layers that it links to."""
    links = [path.resolve() for path in image.iterdir() if path.is_symlink()]
    return sorted({image.resolve(), *links})


def _existing(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths if path.exists()]


def _doors(variables: Mapping[str, str]) -> tuple[list[Door], str]:
    """A door for each address in the variables, and the names that lead to the ones outside this machine."""
    addresses = sorted({found for value in variables.values() if (found := _address(value))})
    outside = sorted({host for host, _ in addresses} - set(_LOOPBACK))
    inside = {host: f"127.0.1.{number}" for number, host in enumerate(outside, 1)}
    names = {"localhost": "127.0.0.1", **inside}
    doors = [Door(inside.get(host, "127.0.0.1"), host, port) for host, port in addresses]
    return doors, "".join(f"{address} {name}\n" for name, address in names.items())


def _address(value: str) -> tuple[str, int] | None:
    url = urlsplit(value)
    if url.scheme not in _PORTS or not url.hostname:
        return None
    return url.hostname, url.port or _PORTS[url.scheme]
