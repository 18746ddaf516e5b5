"""What no job of the platform may do to a box's file: the writer's last look before a push. Pure.

A job is made from Postgres, and Git may have moved on since, by ops or by another job. So the step is judged between
what Git has and what it would get (``check``), and once the commits are built, what they really do to the tree
(``check_trees``). Only what the job itself changes is judged: a file that ops left in a strange form can still be
suspended or ended.

A rule that protects data or that the cluster would enforce anyway is a GuardBreached, which no approval lifts. One
that only protects what the customer pays for is an ApprovalNeeded: an admin may know better.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from controller.core.errors import Conflict, Permanent
from controller.domain import states
from controller.domain.jobs import ApprovalNeeded
from controller.domain.states import Deletion, State
from controller.gitops import manifests, steps
from controller.gitops.history import Entry, Touched
from controller.gitops.manifests import Manifest, Snapshot
from controller.gitops.repository import PLAIN
from controller.gitops.validation import crossed, is_box, least_volume, volume

BELOW_PLAN = "volume_below_plan"


class GuardBreached(Permanent):
    """Raised when a job would take a step that no box may take; the file stays as it is."""


def grown(before: Manifest, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The job's ``fields`` where a volume that ops made larger meanwhile keeps its size: Kubernetes shrinks none."""
    least = before.spec.volume_gib
    asked = fields.get("volume_gib")
    return {**fields, "volume_gib": least} if isinstance(asked, int) and asked < least else dict(fields)


def check(before: Manifest, after: Manifest, approved: Collection[str] = (), *, may_release: bool = False) -> None:
    """Return if a job may take a box's file from ``before`` to ``after``; ``approved`` are codes of ApprovalNeeded.

    ``may_release`` is what ``steps`` says of the job. Raises GuardBreached that names the first broken rule,
    ApprovalNeeded if the volume is too small for a new plan.
    """
    for rule, old, new in _breaches(before, after, may_release):
        raise GuardBreached("guard_breached", box=before.metadata.id, rule=rule, old=old, new=new)
    if (before.spec.plan, before.spec.volume_gib) != (after.spec.plan, after.spec.volume_gib):
        _check_volume(after, approved)


def check_new(made: Manifest, approved: Collection[str] = ()) -> None:
    """Return if a job may add a box like this. Raises as ``check`` does."""
    if made.spec.state not in states.RUNNING or made.spec.deletion != Deletion.HELD:
        state, deletion = made.spec.state, made.spec.deletion
        raise GuardBreached("guard_breached", box=made.metadata.id, rule="new", state=state, deletion=deletion)
    _check_volume(made, approved)


def check_trees(
    changes: Mapping[str, Sequence[Touched]], paths: Mapping[str, str], removals: Collection[str] = ()
) -> dict[str, GuardBreached]:
    """The commits that may not be pushed, with the reason; ``paths`` are the box files by the commit meant for each.

    ``changes`` is what the commits really do, as Git tells. Each may write the one plain file that it is for, those in
    ``removals`` may take it away and nothing else, and with anything else among them none may go.
    """
    if changes.keys() - paths.keys():
        return {sha: GuardBreached("guard_breached", rule="commits", commit=sha[:12]) for sha in paths}
    strays = {sha: next(_strays(sha, path, changes.get(sha, ()), sha in removals), None) for sha, path in paths.items()}
    return {sha: error for sha, error in strays.items() if error is not None}


def _breaches(before: Manifest, after: Manifest, may_release: bool) -> Iterator[tuple[str, object, object]]:
    old, new = before.spec, after.spec
    if new.rev <= old.rev:
        yield "rev", old.rev, new.rev
    try:
        states.check(old.state, new.state, old.deletion)
    except Conflict:
        yield "state", f"{old.state}/{old.deletion}", new.state
    if before.metadata.customer != after.metadata.customer and not _is_claim(before, after):
        yield "customer", before.metadata.customer, after.metadata.customer
    if old.deletion != new.deletion and not states.decides(old.state, new.state):
        yield "deletion", f"{old.state}/{old.deletion}", f"{new.state}/{new.deletion}"
    if old.release != new.release and not may_release:
        yield "release", old.release, new.release
    if old.snapshot != new.snapshot and not may_release:
        yield "snapshot", old.snapshot, new.snapshot
    if new.snapshot is not None and old.snapshot != new.snapshot and not _was_there(before, new.snapshot):
        yield "snapshot", old.snapshot, new.snapshot
    if old.volumes != new.volumes and not steps.keeps_volumes(before, after):
        yield "volumes", old.volumes, new.volumes
    if volume(after) < volume(before):
        yield "volume", volume(before), volume(after)
    if old.plan != new.plan:
        yield from (("resources", f"{high}={most}", f"{low}={asked}") for low, asked, high, most in crossed(after))


def _was_there(before: Manifest, snapshot: Snapshot) -> bool:
    """Whether the volume that the snapshot is of is one that Git knows: one of any other could never be taken."""
    return (snapshot.volume or 0) <= manifests.volumes(before).newest


def _is_claim(before: Manifest, after: Manifest) -> bool:
    """Whether nobody's box becomes somebody's; ops may have condemned it while the claim was on its way."""
    waited = before.spec.state in {State.STANDBY, State.CONDEMNED} and before.metadata.customer is None
    return waited and after.spec.state == State.ACTIVE


def _check_volume(made: Manifest, approved: Collection[str]) -> None:
    size, least = made.spec.volume_gib, least_volume(made)
    if size < least and BELOW_PLAN not in approved:
        raise ApprovalNeeded(BELOW_PLAN, box=made.metadata.id, plan=made.spec.plan, volume_gib=size, least=least)


def _strays(sha: str, path: str, changes: Sequence[Touched], removes: bool) -> Iterator[GuardBreached]:
    if len(changes) != 1:
        yield GuardBreached("guard_breached", rule="one-path", commit=sha[:12], found=len(changes))
    for change in changes:
        if change.path != path or not is_box(path):
            yield GuardBreached("guard_breached", rule="path", commit=sha[:12])
        old, new = _mode(change.before), _mode(change.after)
        if new != (None if removes else PLAIN) or old not in ({PLAIN} if removes else {PLAIN, None}):
            yield GuardBreached("guard_breached", rule="mode", commit=sha[:12], old=old, new=new)


def _mode(entry: Entry | None) -> str | None:
    return entry.mode if entry else None
