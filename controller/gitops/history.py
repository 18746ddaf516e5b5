"""What commits did to files: the history of ``main`` since a commit, read with few git commands however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.gitops.repository import Repository

_NOTHING = "0" * 40
_FILES = ("-c", "-z", "--raw", "--no-renames", "--no-abbrev", "--format=%H")
_TRAILERS = "%(trailers:key=Job-Id,valueonly,unfold,separator=%x20)"


@dataclass(frozen=True)
class Entry:
    """A file as a commit has it: its mode, and the id of its content."""

    mode: str
    blob: str


@dataclass(frozen=True)
class Touched:
    """A file that a commit added, changed or removed; for a merge, one that differs from every parent's."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Past:
    """One commit: its author, as it says, and the values of its ``Job-Id`` trailers, which anybody can write."""

    sha: str
    author: str
    job_ids: tuple[str, ...]


def since(repository: Repository, base: str, tip: str) -> list[Past]:
    """The commits after ``base`` up to ``tip``, each after its parents."""
    form = f"--format=%H%x09{_TRAILERS}%x09%ae"
    out = repository.ask("log", "--topo-order", "--reverse", form, f"{base}..{tip}").decode(errors="replace")
    made = []
    for line in out.split("\n"):
        if line:
            sha, _, rest = line.partition("\t")
            jobs, _, author = rest.rpartition("\t")
            made.append(Past(sha, author, tuple(jobs.split())))
    return made


def between(repository: Repository, base: str, tip: str) -> dict[str, list[Touched]]:
    """The files that each commit after ``base`` up to ``tip`` touched, each commit after its parents."""
    return _by_commit(repository.ask("log", "--topo-order", "--reverse", *_FILES, f"{base}..{tip}"))


def touched(repository: Repository, shas: Sequence[str]) -> dict[str, list[Touched]]:
    """The files that each of those commits touched."""
    if not shas:
        return {}
    return _by_commit(repository.ask("log", "--no-walk=unsorted", "--stdin", *_FILES, lines=shas))


def versions(repository: Repository, sha: str, path: str, limit: int) -> Iterable[Entry]:
    """The file's last ``limit`` versions up to ``sha``, newest first."""
    out = repository.ask("log", f"-{limit}", "--format=%H", sha, "--", f":(literal){path}")
    shas = out.decode().split()
    changes = touched(repository, shas)
    for one in shas:
        yield from (file.after for file in changes[one] if file.path == path and file.after is not None)


def is_ancestor(repository: Repository, base: str, tip: str) -> bool:
    """Whether ``tip`` is ``base`` or comes after it; False also if nobody knows ``base`` any more."""
    known = repository.ask("cat-file", "--batch-check", lines=[base]).split()
    if known[1:2] != [b"commit"]:
        return False
    return not repository.ask("rev-list", "--max-count=1", base, f"^{tip}").strip()


def _by_commit(out: bytes) -> dict[str, list[Touched]]:
    # `<sha>`, then for each file its modes and blobs, and its path: all of them end in a NUL
    found: dict[str, list[Touched]] = {}
    files: list[Touched] = []
    parts = iter(out.split(b"\0"))
    for part in parts:
        text = part.decode().strip("\n")
        if text.startswith(":"):
            files.append(_touched(text, next(parts).decode(errors="surrogateescape")))
        elif text:
            files = found.setdefault(text, [])
    return found


def _touched(meta: str, path: str) -> Touched:
    # `:<mode> <mode> <blob> <blob> M`, with one more colon, mode and blob for each further parent of a merge
    parents = len(meta) - len(meta.lstrip(":"))
    fields = meta.lstrip(":").split(" ")
    modes, blobs = fields[: parents + 1], fields[parents + 1 : 2 * parents + 2]
    entries = [Entry(mode, blob) if blob != _NOTHING else None for mode, blob in zip(modes, blobs, strict=True)]
    return Touched(path, entries[0], entries[-1])
