"""What one change by people to a box's file asks for, and what of it may not be. Pure.

``overrides`` is ops' own. In ``spec`` every field may be asked for but those that number what Postgres holds. A file
that breaks a rule is taken back whole: nobody can tell which half of it was meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller.core.errors import Conflict
from controller.domain import states
from controller.domain.states import Deletion, State
from controller.gitops import steps, validation
from controller.gitops.findings import printable
from controller.gitops.history import Entry
from controller.gitops.manifests import Manifest
from controller.gitops.repository import PLAIN
from controller.gitops.validation import BoxFile, volume


@dataclass(frozen=True)
class Standing:
    """What a box is meant to be, as Postgres has it, where that decides what may come next."""

    path: str
    customer_id: str | None
    state: State
    deletion: Deletion
    retired: bool = False
    """Whether its file left Git for good."""

    wanted: Manifest | None = None
    """The file that Postgres would write; None if that breaks a rule."""


@dataclass(frozen=True)
class Verdict:
    """A change, judged: either ``faults``, or the file that stands and what of it is to be adopted.

    ``fields`` maps names below ``spec`` to JSON values; ``overrides`` is the whole new part if it changed; ``notes``
    tell what is put back although the file stands. ``standby``: it was judged as a box that nobody owns.
    """

    faults: tuple[str, ...] = ()
    after: Manifest | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    new: bool = False
    standby: bool = False

    @property
    def asks(self) -> bool:
        """Whether anything is left for the platform to do."""
        return self.new or bool(self.fields or self.notes) or self.overrides is not None


def judge(
    path: str,
    before: Manifest | None,
    entry: Entry | None,
    content: bytes,
    known: Standing | None,
    *,
    lost: bool = False,
) -> Verdict:
    """The verdict on the file that people left at ``path``: ``entry`` and its ``content``, None and empty if removed.

    ``before`` is the file as it last was good; ``known`` what Postgres says of the box in the file's name. ``lost``:
    the platform's own commit, of a job that Postgres has lost. It is believed where it says what the cluster holds.
    """
    if entry is None:
        return Verdict(faults=(f"{path}: {steps.HOW_TO_END}",) if before is not None else ())
    if entry.mode != PLAIN:
        return Verdict(faults=(f"{printable(path)}: a link or a program; only plain files may stand here",))
    if not validation.is_box(path):  # its name may be anything, so nothing else looks at it
        return Verdict(faults=tuple(str(finding) for finding in validation.places(path)))
    file, findings = validation.read(path, content)
    findings += validation.secrets(path, content)
    if file is None or findings:
        return Verdict(faults=tuple(str(finding) for finding in sorted(set(findings))))
    if known is not None and known.path != path:
        return Verdict(faults=(f"{path}: the same box stands in {known.path}; a box is in one cell only",))
    if known is not None and known.retired:
        return Verdict(faults=(f"{path}: this box was retired, its id and its data are gone; make a new one",))
    if known is None:
        return Verdict(after=file.manifest, new=True)
    return _anew(file, known) if before is None else _change(before, file, known, lost=lost)


def parse(entry: Entry | None, path: str, content: bytes) -> Manifest | None:
    """The manifest in a file that keeps every rule about its own content; None if it does not."""
    if entry is None or entry.mode != PLAIN:
        return None
    file, findings = validation.read(path, content)
    return None if findings or file is None else file.manifest


def differences(before: Manifest, after: Manifest) -> dict[str, Any]:
    """The fields of ``spec`` that differ, with their values in ``after`` as JSON."""
    old, new = before.spec.model_dump(mode="json"), after.spec.model_dump(mode="json")
    return {name: value for name, value in new.items() if old[name] != value}


def overrides(manifest: Manifest) -> dict[str, Any]:
    """What ops want beyond the plan, as JSON."""
    return manifest.overrides.model_dump(mode="json", exclude_none=True)


def standing(path: str, manifest: Manifest) -> Standing:
    """What Postgres will say of a box once its new file is adopted."""
    spec = manifest.spec
    return Standing(path, manifest.metadata.customer, spec.state, spec.deletion, wanted=manifest)


def moved(known: Standing, fields: Mapping[str, Any]) -> Standing:
    """The standing once ``fields`` are adopted."""
    state, deletion = fields.get("state", known.state), fields.get("deletion", known.deletion)
    return replace(known, state=State(state), deletion=Deletion(deletion))


def _anew(file: BoxFile, known: Standing) -> Verdict:
    """A file of a box that Postgres knows and Git has no good one of: it asks for what differs from Postgres.

    It always asks for something: jobs that were raised meanwhile have to be numbered behind what it says.
    """
    if known.wanted is None:
        return Verdict(faults=(f"{file.path}: what the platform knows of this box is no file to compare it with",))
    verdict = _change(known.wanted, file, known)
    told = f"{file.path}: the platform knows this box already, so what differs from that is taken as a change of it"
    return verdict if verdict.faults else replace(verdict, notes=(told, *verdict.notes))


def _change(before: Manifest, file: BoxFile, known: Standing, *, lost: bool = False) -> Verdict:
    after = file.manifest
    own = overrides(after) if after.overrides != before.overrides else None
    if before.metadata.customer is None and known.customer_id is not None:
        return _claimed(before, file, known, own)
    fields = differences(before, after)
    faults = [*_owner(after, known), *_life(fields, known)]
    notes = [
        f"{file.path}: spec.{name} is set by the platform alone and was put back" for name in steps.PLATFORMS
        if not (lost and name == "snapshot") and fields.pop(name, None) is not None and name != "rev"
    ]  # fmt: skip
    back = steps.returned(before, after)
    if back is not None:
        fields["volumes"] = back.model_dump(mode="json")
        notes += [f"{file.path}: {steps.KEPT}"] if back != after.spec.volumes else []
    elif "volumes" in fields and not (lost and steps.keeps_volumes(before, after)):
        faults.append(steps.VOLUMES)
    if after.spec.rev != before.spec.rev:
        notes.append(f"{file.path}: spec.rev is set by the platform alone and moved on to the next number")
    if volume(after) < volume(before):
        if after.overrides.volume_gib is not None:
            faults.append(f"a volume never shrinks: it has {volume(before)} GiB and would get {volume(after)}")
        else:
            fields["volume_gib"] = volume(before)
            notes.append(f"{file.path}: a volume never shrinks, so spec.volume_gib stays {volume(before)}")
    if faults:
        return Verdict(faults=tuple(f"{file.path}: {fault}" for fault in faults))
    unowned = known.customer_id is None
    return Verdict(after=after, fields=fields, overrides=own, notes=tuple(notes), standby=unowned)


def _claimed(before: Manifest, file: BoxFile, known: Standing, own: Mapping[str, Any] | None) -> Verdict:
    """A change of a standby that a purchase has claimed since: the claim has to find a file that it can follow."""
    after, path = file.manifest, file.path
    note = f"{path}: a purchase has claimed this standby meanwhile, so nothing of this change to spec stands"
    faults = _owner(after, known) if after.metadata.customer is not None else []
    faults += _shrunk(before, after) if own is not None else []
    if after.spec.rev != before.spec.rev:
        faults.append("spec.rev is set by the platform alone")
    try:
        states.check(after.spec.state, State.ACTIVE, after.spec.deletion)
    except Conflict:
        faults.append(f"a box that is {after.spec.state} (deletion {after.spec.deletion}) cannot be a customer's")
    if faults:
        return Verdict(faults=(note, *(f"{path}: {fault}" for fault in faults)))
    if after.spec.volume_gib <= before.spec.volume_gib:
        return Verdict(after=after, overrides=own, notes=(note,))
    note += f", but a volume never shrinks: it has {after.spec.volume_gib} GiB"
    return Verdict(after=after, fields={"volume_gib": after.spec.volume_gib}, overrides=own, notes=(note,))


def _shrunk(before: Manifest, after: Manifest) -> list[str]:
    """What is wrong with the overrides of ``after`` over the spec of ``before``."""
    asked = after.overrides.volume_gib
    size, least = before.spec.volume_gib if asked is None else asked, volume(before)
    return [f"a volume never shrinks: it has {least} GiB and would get {size}"] if size < least else []


def _owner(after: Manifest, known: Standing) -> list[str]:
    return [] if after.metadata.customer == known.customer_id else [steps.OWNER]


def _life(fields: Mapping[str, Any], known: Standing) -> list[str]:
    faults, then = [], moved(known, fields)
    try:
        states.check(known.state, then.state, known.deletion)
    except Conflict:
        told = f"a box that is {known.state} (deletion {known.deletion}) cannot become {then.state} in one step"
        faults.append(told)
    if then.deletion != known.deletion and not states.decides(known.state, then.state):
        faults.append("spec.deletion changes only while a box is and stays condemned")
    return faults
