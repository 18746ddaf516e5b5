"""When a box's file may leave Git: the one step that removes a file, so Git itself has to say that nothing is lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from controller.core import clock
from controller.domain.states import State
from controller.gitops import history, manifests
from controller.gitops.guards import GuardBreached
from controller.gitops.manifests import ManifestError
from controller.gitops.repository import NotAPlainFile, Repository

VERB = "retire"
AFTER = timedelta(days=7)
"""How long a file has to say ``destroyed`` unless settings say otherwise."""

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def check(repository: Repository, tip: str, path: str, since: object, after: timedelta) -> None:
    """Return if ``main`` calls the box at ``path`` destroyed since the commit ``since``, and that is ``after`` ago.

    Destroyed is where a box's life ends, so what said so then and says so at the tip said so in between. Raises
    GuardBreached that names the broken rule.
    """
    if not isinstance(since, str) or not _SHA.fullmatch(since) or not history.is_ancestor(repository, since, tip):
        raise GuardBreached("guard_breached", rule="retire-history", path=path, found=str(since)[:40])
    for sha in (since, tip):
        if _state(repository, sha, path) != State.DESTROYED:
            raise GuardBreached("guard_breached", rule="retire-state", path=path, commit=sha[:12])
    at = datetime.fromtimestamp(int(repository.ask("show", "--no-patch", "--format=%ct", since)), UTC)
    if clock.now() - at < after:
        raise GuardBreached("guard_breached", rule="retire-age", path=path, since=at.isoformat())


def removed(repository: Repository, tip: str) -> set[str]:
    """The paths that a retirement took out of Git up to ``tip``; one of them may be there again."""
    options = ("--diff-filter=D", "--no-renames", "--name-only", "-z", "--format=", f"--grep=^Action: {VERB}$")
    listed = repository.ask("log", *options, tip)
    return {name.decode(errors="surrogateescape").strip("\n") for name in listed.split(b"\0") if name.strip(b"\n")}


def _state(repository: Repository, sha: str, path: str) -> State | None:
    try:
        content = repository.read(sha, [path]).get(path)
        return manifests.read(content).spec.state if content is not None else None
    except (ManifestError, NotAPlainFile):
        return None
