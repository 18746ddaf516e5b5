"""The writer's repository: a full bare clone, commits built by ``fast-import``, plain pushes.

Knows paths, bytes and messages; nothing of boxes or jobs. No work tree, no index, no rebase, no force. A push is a
compare-and-swap on ``main``: whoever is late gets PushRejected, fetches and builds again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import CloudError, Permanent, foreign
from controller.gitops import commands, remotes, signatures
from controller.gitops.commands import (
    AccessDenied,
    BranchClosed,
    PushRefused,
    PushRejected,
    RemoteAway,
    RepositoryBroken,
)
from controller.gitops.remotes import GitSettings
from controller.gitops.upkeep import Upkeep

__all__ = [
    "AccessDenied",
    "BranchClosed",
    "Commit",
    "GitSettings",
    "NotAPlainFile",
    "PushRefused",
    "PushRejected",
    "RemoteAway",
    "Repository",
    "RepositoryBroken",
]

log = logs.get(__name__)

MAIN = "refs/heads/main"
PLAIN = "100644"
"""The mode of a plain file."""
_SCRATCH = "refs/writer/next"
# thin packs cost both sides a third of a push's time: the trees that they leave out are looked for and put back
_PLAINLY = ("--quiet", "--porcelain", "--no-thin")


class NotAPlainFile(Permanent):
    """Raised when a path that is to be read is a link, a program, a folder or another repository."""


@dataclass(frozen=True)
class Commit:
    """One commit to build: files to write (whole content; None takes the file away) and a message with its trailers."""

    files: Mapping[str, bytes | None]
    message: str


class Repository:
    """A local bare clone and its remote. One thread at a time."""

    def __init__(self, settings: GitSettings) -> None:
        self._settings = settings
        self._dir = settings.git_clone_dir
        # whoever had it before may have been killed, or its machine
        self._doubted = True
        self._tip: str | None = None
        self._upkeep = Upkeep(settings.git_clone_dir, settings.git_most_packs)
        key = settings.git_signing_key
        self._key = signatures.read_key(key.get_secret_value()) if key else None

    def tip(self) -> str:
        """Where ``main`` was when it was last fetched or pushed by us, or is now, if that is not known (``fetch``).

        Good to build on, as a push to a ``main`` that moved is refused. On a host, each question takes half a second.
        """
        return self._tip if self._tip is not None and self._exists() else self.fetch()

    def fetch(self) -> str:
        """Bring the clone up to date; the sha of ``main``.

        Raises RemoteAway, also if the remote has no ``main``; RepositoryBroken if the remote is there and fetching from
        it fails all the same, as with a lock that a killed process left.
        """
        if self._doubted:
            self._check()
        if not self._exists():
            self._clone()
        self._unlock()
        try:
            self._ask_remote("fetch", "--quiet", "--no-tags", "--", self._settings.git_remote, f"+{MAIN}:{MAIN}")
        except AccessDenied:
            raise
        except RemoteAway as exc:
            # Git tells a broken clone and a remote that is away in the same breath: ask the remote alone.
            self._ask_remote("ls-remote", "--exit-code", "--", self._settings.git_remote, MAIN, local=False)
            self._drop()
            raise RepositoryBroken("git_clone_broken", reason=exc.facts.get("reason")) from exc
        self._tip = self._git("rev-parse", "--verify", MAIN)
        return self._tip

    def read(self, sha: str, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents at ``sha`` of those ``paths`` that exist there.

        Raises NotAPlainFile if one of them is something else.
        """
        wanted = list(dict.fromkeys(paths))
        listed = self._git("ls-tree", "-z", sha, "--", *wanted) if wanted else ""
        blobs = {}
        for entry in filter(None, listed.split("\0")):
            meta, path = entry.split("\t", 1)
            mode, kind, blob = meta.split(" ")
            if kind != "blob" or mode != PLAIN:
                raise NotAPlainFile("git_not_a_plain_file", path=path, mode=mode)
            blobs[path] = blob
        return dict(zip(blobs, self._cat(list(blobs.values())), strict=True))

    def trailers(self, base: str, tip: str, key: str) -> dict[str, str]:
        """The values of the trailer ``key`` in the commits after ``base`` up to ``tip``, each with its sha."""
        out = self._git("log", "--format=%H %(trailers:key=" + key + ",valueonly,separator=%x20)", f"{base}..{tip}")
        found = {}
        for line in out.split("\n"):
            # other people's commits may carry the trailer too, in any form
            sha, *values = line.split() or [""]
            found.update(dict.fromkeys(values, sha))
        return found

    def ask(self, *arguments: str, lines: Sequence[str] = ()) -> bytes:
        """What a git command that only reads prints about the clone; ``lines`` are its input."""
        with commands.lines(lines) as source, self._dropped_when_broken():
            return self._raw(*arguments, source=source)

    def contents(self, blobs: Sequence[str]) -> dict[str, bytes]:
        """The content of each of those blobs, by its id."""
        once = list(dict.fromkeys(blobs))
        return dict(zip(once, self._cat(once), strict=True))

    def chain(self, tip: str, commits: Sequence[Commit]) -> list[str]:
        """Build ``commits`` on top of ``tip``, each on the one before, signed if there is a key; their shas.

        Moves no branch.
        """
        with tempfile.TemporaryDirectory(prefix="openclaw-git-") as folder:
            stream, marks = Path(folder) / "stream", Path(folder) / "marks"
            with stream.open("wb") as out:
                self._write_stream(out, tip, commits)
            with stream.open("rb") as source:
                self._git("fast-import", "--quiet", "--done", "--force", f"--export-marks={marks}", source=source)
            made = dict(line.split() for line in marks.read_text().splitlines())
        built = [made[f":{number}"] for number in range(1, len(commits) + 1)]
        return self._signed(built, self._key) if self._key else built

    def push(self, sha: str) -> None:
        """Make ``sha`` the remote's ``main`` if that is a fast-forward.

        Raises PushRejected when ``main`` moved, PushRefused when a hook said no to what is pushed, BranchClosed when it
        takes nothing from us, RemoteAway otherwise: then look. The next fetch looks into the clone, too.
        """
        try:
            self._ask_remote("push", *_PLAINLY, "--", self._settings.git_remote, f"{sha}:{MAIN}")
            self._tip = sha
        except RemoteAway as error:
            # that is also how git says that the clone lacks what it should send
            self._doubted = not isinstance(error, AccessDenied | BranchClosed)
            raise

    def tidy(self) -> None:
        """Have the clone's small packs merged, beside what comes next, if they have become many (``upkeep``).

        Left alone, 400 batches double the cost of the next. Raises nothing: what cannot be tidied is made again.
        """
        try:
            self._upkeep.tend()
        except (RepositoryBroken, OSError) as error:
            log.warning("gitops.clone_broken", reason=foreign(error))
            self._drop()

    def settle(self) -> None:
        """Return once nothing is tidied any more."""
        self._upkeep.wait()

    def _exists(self) -> bool:
        return (self._dir / "HEAD").exists()

    def _check(self) -> None:
        """Drop the clone unless it is whole; one that is dropped for nothing costs a clone."""
        self._upkeep.stop()
        try:
            if self._exists():
                self._raw("fsck", "--no-dangling", "--no-progress")
        except RepositoryBroken as error:
            log.warning("gitops.clone_broken", reason=error.facts.get("reason"))
            self._drop()
        self._doubted = False

    def _clone(self) -> None:
        self._dir.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._dir, ignore_errors=True)
        building = Path(tempfile.mkdtemp(dir=self._dir.parent, prefix="clone-"))
        try:
            # a remote on the same disk is asked as any other: its files, copied, would be shared with what breaks here,
            # or be gone in between where another writer pushes
            form = ("--quiet", "--bare", "--no-local")
            self._ask_remote("clone", *form, "--", self._settings.git_remote, str(building), local=False)
            building.rename(self._dir)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _unlock(self) -> None:
        """Remove the locks of a git that was killed: it would refuse to work until somebody does.

        The clone is this process's alone, and it runs one git at a time.
        """
        for lock in (*self._dir.glob("*.lock"), *self._dir.glob("refs/**/*.lock")):
            lock.unlink(missing_ok=True)
            log.warning("gitops.lock_removed", lock=lock.name)

    def _cat(self, blobs: list[str]) -> list[bytes]:
        if not blobs:
            return []
        with commands.lines(blobs) as names, self._dropped_when_broken():
            return list(commands.batched(self._raw("cat-file", "--batch", source=names)))

    def _signed(self, shas: list[str], key: Ed25519PrivateKey) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="openclaw-git-") as folder:
            paths = [Path(folder) / str(number) for number in range(len(shas))]
            for path, content in zip(paths, signatures.chain(self._cat(shas), key), strict=True):
                path.write_bytes(content)
            with commands.lines(map(str, paths)) as names:
                arguments = ("hash-object", "-t", "commit", "-w", "--no-filters", "--stdin-paths")
                return self._git(*arguments, source=names).split()

    def _write_stream(self, out: IO[bytes], tip: str, commits: Sequence[Commit]) -> None:
        when = int(clock.now().timestamp())
        author = f"{self._settings.git_author_name} <{self._settings.git_author_email}> {when} +0000"
        for number, commit in enumerate(commits, 1):
            parent = tip if number == 1 else f":{number - 1}"
            out.write(f"commit {_SCRATCH}\nmark :{number}\ncommitter {author}\n".encode())
            _write_data(out, commit.message.encode())
            out.write(f"from {parent}\n".encode())
            for path, content in sorted(commit.files.items()):
                if content is None:
                    out.write(b"D " + _quoted(path) + b"\n")
                    continue
                out.write(f"M {PLAIN} inline {path}\n".encode())
                _write_data(out, content)
        out.write(b"done\n")

    def _ask_remote(self, *arguments: str, local: bool = True) -> None:
        with remotes.access(self._settings) as access:
            folder = self._dir if local else None
            self._run(arguments, folder=folder, access=access)

    def _git(self, *arguments: str, source: BinaryIO | None = None) -> str:
        with self._dropped_when_broken():
            return self._raw(*arguments, source=source).decode(errors="replace").rstrip("\n")

    def _raw(self, *arguments: str, source: BinaryIO | None = None) -> bytes:
        return self._run(arguments, folder=self._dir, source=source)

    def _run(self, arguments: Sequence[str], **more: Any) -> bytes:
        try:
            return commands.run(arguments, timeout=self._settings.git_timeout, **more)
        except CloudError:
            self._tip = None  # and the next fetch takes away the locks of a git that was cut off
            raise

    @contextmanager
    def _dropped_when_broken(self) -> Iterator[None]:
        try:
            yield
        except RepositoryBroken:
            self._drop()
            raise

    def _drop(self) -> None:
        self._tip = None
        self._upkeep.stop()
        shutil.rmtree(self._dir, ignore_errors=True)


def _write_data(out: IO[bytes], data: bytes) -> None:
    out.write(f"data {len(data)}\n".encode() + data + b"\n")


def _quoted(path: str) -> bytes:
    """A path, which may be anybody's, as ``fast-import`` reads it."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode(errors="surrogateescape")
