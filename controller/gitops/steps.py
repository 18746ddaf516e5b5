"""Whether a box may go from one version of its file to the next, and who may make which part of the step. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from controller.core.errors import Conflict
from controller.domain import states
from controller.domain.jobs import Verb
from controller.domain.states import Deletion, State
from controller.gitops import manifests
from controller.gitops.findings import Finding
from controller.gitops.manifests import Manifest, Volumes
from controller.gitops.validation import BoxFile, volume

HOW_TO_END = (
    'removing a box\'s file deletes nothing and loses its record; to end a box set spec.state to "condemned", then '
    'spec.deletion to "approved", then spec.state to "destroyed", each by a change of its own'
)

OWNER = "metadata.customer never changes; the platform alone sets it, when a purchase claims a standby"

VOLUMES = (
    "spec.volumes is set by the platform alone, but for a return to the volume that is kept; what was given up is gone"
)

KEPT = "the volume that was in use until then is kept, so spec.volumes.kept will be that one"

RELEASING = frozenset({Verb.UPGRADE.value, Verb.REACTIVATE.value, Verb.RESTORE.value, Verb.ADOPT.value})
"""Verbs whose jobs may change a box's release."""

PLATFORMS = ("rev", "snapshot", "profile", "secrets", "connections")
"""Fields of ``spec`` that number what Postgres or the cluster holds: only commits of the platform, with a Job-Id, set
them."""


def create(file: BoxFile) -> Iterator[Finding]:
    """What is wrong with a box file that people add."""
    spec = file.manifest.spec
    if spec.rev != 1:
        yield file.finding(("spec", "rev"), "a new box starts at rev 1; the platform numbers all that follows", "rev")
    if spec.state not in {State.STANDBY, State.ACTIVE}:
        sentence = f"a new box starts as active or standby, not as {spec.state}"
        yield file.finding(("spec", "state"), sentence, "state")
    if spec.deletion != Deletion.HELD:
        sentence = "a new box cannot be approved for deletion"
        yield file.finding(("spec", "deletion"), sentence, "deletion")
    if spec.snapshot is not None:
        yield file.finding(("spec", "snapshot"), "a new box has no volume yet that a snapshot could be of", "snapshot")
    if spec.volumes is not None:
        yield file.finding(("spec", "volumes"), "a new box has its first volume alone", "volumes")


def change(before: Manifest, file: BoxFile, *, reverted: bool = False) -> Iterator[Finding]:
    """What is wrong with the change that people make to a box file that stood there as ``before``.

    ``reverted``: the file is just as it once was. Nobody leaves out the platform's fields then; see ``corrections``.
    """
    after = file.manifest
    if before.metadata.customer != after.metadata.customer:
        yield file.finding(("metadata", "customer"), OWNER, "metadata")
    for name in () if reverted else _numbered(before, after):
        was = f" back to {before.spec.rev}" if name == "rev" else " back"
        sentence = f"spec.{name} is set by the platform alone, in commits with a Job-Id: put it{was}"
        yield file.finding(("spec", name), sentence, _rule(name))
    if before.spec.volumes != after.spec.volumes and returned(before, after) is None:
        yield file.finding(("spec", "volumes"), VOLUMES, "volumes")
    yield from _life(before, file)
    if volume(after) < volume(before) and after.overrides.volume_gib is not None:
        sentence = f"a volume never shrinks: it has {volume(before)} GiB and would get {volume(after)}"
        yield file.finding(("overrides", "volume_gib"), sentence, "volume")


def corrections(before: Manifest, file: BoxFile, *, reverted: bool = False) -> Iterator[Finding]:
    """What the platform puts right by itself once the change is in ``main``: no reason to refuse it."""
    after = file.manifest
    for name in _numbered(before, after) if reverted else ():
        then = "moves on to the next number" if name == "rev" else "is put back"
        yield file.finding(("spec", name), f"spec.{name} is set by the platform alone and {then}", _rule(name))
    if (back := returned(before, after)) is not None and back != after.spec.volumes:
        yield file.finding(("spec", "volumes"), KEPT, "volumes")
    if volume(after) < volume(before) and after.overrides.volume_gib is None:
        sentence = f"a volume never shrinks, so spec.volume_gib will be {volume(before)} again"
        yield file.finding(("spec", "volume_gib"), sentence, "volume")


def returned(before: Manifest, after: Manifest) -> Volumes | None:
    """The box's volumes once people have put it back on the one that is kept, as by a revert; None if they have not.

    The one that was in use is kept then, whatever the file says of it.
    """
    old, new = manifests.volumes(before), manifests.volumes(after)
    if old.kept is None or (new.used, new.given_up) != (old.kept, old.given_up):
        return None
    return Volumes(used=old.kept, kept=old.used, given_up=old.given_up)


def keeps_volumes(before: Manifest, after: Manifest) -> bool:
    """Whether a step loses no volume but the kept one, and that by name.

    It is a restore, by which a new volume takes the place of the one in use, which is kept; or it puts a kept one back
    that people left out; or it gives the kept one up.
    """
    old, new = manifests.volumes(before), manifests.volumes(after)
    if new.given_up != old.given_up:
        return old.kept is not None and new == Volumes(used=old.used, given_up=old.kept.rev)
    if old.kept is not None or new.kept is None:
        return False
    restored = new.kept == old.used and new.used.snapshot == before.spec.snapshot
    fresh = old.newest < new.used.rev <= after.spec.rev
    return (restored and fresh) or new.used == old.used


def may_release(verb: str, actor: str) -> bool:
    """Whether a job may give a box that exists another release: a rollout's, a return, or the confirmation of ops'."""
    return verb in RELEASING or actor.startswith("ops:")


def platform_change(
    before: Manifest, after: Manifest, path: str, sha: str, verb: str = "", actor: str = ""
) -> Iterator[Finding]:
    """What is wrong with a platform commit of one box: it writes ``spec``, and ``overrides`` belong to ops.

    ``verb`` and ``actor`` as its message has them.
    """
    if before.spec.release != after.spec.release and not may_release(verb, actor):
        sentence = f"platform commit {sha[:12]} changes spec.release, which {verb or 'it'} may not"
        yield Finding(path, 1, sentence, "release")
    if before.spec.volumes != after.spec.volumes and not keeps_volumes(before, after):
        yield Finding(path, 1, f"platform commit {sha[:12]} loses a volume of the box or takes another", "volumes")
    if before.overrides != after.overrides:
        sentence = f"platform commit {sha[:12]} changes overrides, which belong to ops"
        yield Finding(path, 1, sentence, "owner")


def remove(path: str, before: Manifest | None, age: timedelta | None, least: timedelta) -> Iterator[Finding]:
    """A finding, unless the platform retires a file that has said ``destroyed`` for ``least``.

    ``age`` is for how long it had not changed when a commit of the platform's retired it; None: no such commit did.
    """
    if age is None or before is None or before.spec.state != State.DESTROYED:
        yield Finding(path, 1, HOW_TO_END, "file-removed")
    elif age < least:
        yield Finding(path, 1, f"retired {age} after it was destroyed, and {least} is the least", "file-removed")


def _life(before: Manifest, file: BoxFile) -> Iterator[Finding]:
    old, new = before.spec, file.manifest.spec
    try:
        states.check(old.state, new.state, old.deletion)
    except Conflict:
        sentence = f"a box that is {old.state} (deletion {old.deletion}) cannot become {new.state} in one step"
        yield file.finding(("spec", "state"), sentence, "state")
    if new.deletion != old.deletion and not states.decides(old.state, new.state):
        sentence = "spec.deletion changes only while a box is and stays condemned"
        yield file.finding(("spec", "deletion"), sentence, "deletion")


def _numbered(before: Manifest, after: Manifest) -> list[str]:
    return [name for name in PLATFORMS if getattr(before.spec, name) != getattr(after.spec, name)]


def _rule(name: str) -> str:
    return "rev" if name == "rev" else "owner"
