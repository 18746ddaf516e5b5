"""Who runs what on one machine, and where an unprivileged account can reach its files.

As root, Postgres and the agents drop to accounts of their own. Those cannot enter a folder below, say, a 0700
home, and we change no mode outside our own data, so what they need is placed where everybody may enter.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

SYSTEM_CACHE = Path("/var/cache/openclaw-cloud")
SYSTEM_STATE = Path("/var/lib/openclaw-cloud")


@dataclass(frozen=True)
class Account:
    """A numeric user and group that need not exist in the password file."""

    uid: int
    gid: int


NOBODY = Account(65534, 65534)
AGENT = Account(10001, 10001)
"""The user of the box's image."""


def to_drop_to(account: Account) -> Account | None:
    """``account`` when we are root, None when we are nobody special and stay as we are."""
    return account if os.geteuid() == 0 else None


def cache_dir() -> Path:
    """Where built images and copied tools are kept between runs: the machine's for root, the user's otherwise."""
    if os.geteuid() == 0:
        return SYSTEM_CACHE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclaw-cloud"


def reachable(path: Path) -> bool:
    """Whether everybody may enter every folder on the way to ``path`` and ``path`` itself."""
    resolved = path.resolve()
    return all(_enterable(folder) for folder in (resolved, *resolved.parents) if folder.is_dir())


def shared_copy(tree: Path, name: str) -> Path:
    """``tree`` where every account can read it: itself if it is reachable, else a copy in the cache.

    The copy is made once per content version (``name`` carries it) and moved in place whole.
    """
    if os.geteuid() != 0 or reachable(tree):
        return tree
    target = SYSTEM_CACHE / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent))
        shutil.copytree(tree, building / "tree", symlinks=True)
        _make_readable(building / "tree")
        try:
            (building / "tree").rename(target)
        except OSError:
            if not target.exists():
                raise
        shutil.rmtree(building, ignore_errors=True)
    return target


def open_place(data: Path) -> Path:
    """A folder for what other accounts must enter: ``data/open``, a link elsewhere when ``data`` is closed to them."""
    place = data / "open"
    if place.exists():
        return place.resolve()
    if os.geteuid() == 0 and not reachable(data):
        name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
        target = SYSTEM_STATE / name
        target.mkdir(parents=True, exist_ok=True, mode=0o755)
        place.symlink_to(target)
        return target
    place.mkdir(mode=0o755)
    return place


def remove(data: Path) -> None:
    """Delete a data folder and the open place that belongs to it."""
    place = data / "open"
    if place.is_symlink():
        shutil.rmtree(place.resolve(), ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)


def _enterable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _make_readable(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            extra = stat.S_IRGRP | stat.S_IROTH
            if path.is_dir() or path.stat().st_mode & stat.S_IXUSR:
                extra |= stat.S_IXGRP | stat.S_IXOTH
            path.chmod(path.stat().st_mode | extra)
