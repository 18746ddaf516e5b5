"""Ops' commits as intents: what people changed in box files since a commit, and which files have to be put right.

The order in ``main`` is the order of the intents: where a later commit of the platform sets a field again, that commit
has the last word, and whoever wrote the earlier one is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.core import failpoints
from controller.core import log as logs
from controller.domain.boxes import Place
from controller.domain.jobs import BY_OPS
from controller.gitops import history, manifests, validation, verdicts
from controller.gitops.history import Entry, Past, Touched
from controller.gitops.manifests import Manifest, ManifestError
from controller.gitops.repository import PLAIN, Commit, Repository
from controller.gitops.verdicts import Standing, Verdict

log = logs.get(__name__)

LOOK_BACK = 20
"""How many versions of a file are read to find a good one, where the commit before the change has none."""

_NAME = re.compile(r"cells/(?P<cell>[^/]+)/boxes/[^/]+/(?P<id>[a-z0-9]{26})\.yaml")
_SAFE = re.compile(r"[^A-Za-z0-9._+@-]")


@dataclass
class Wish:
    """What one commit of people asks for one box."""

    sha: str
    actor: str
    path: str
    box_id: str
    verdict: Verdict
    fields: dict[str, object] = field(default_factory=dict)


@dataclass
class Report:
    """What is to be said of one commit of people: the boxes that it touched and what of it does not stand, and why."""

    sha: str
    actor: str
    boxes: list[str] = field(default_factory=list)
    restored: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class Reading:
    """What was read: wishes in the order of ``main``, contents to put back (None: take away), and a report a commit."""

    tip: str
    wishes: list[Wish] = field(default_factory=list)
    repairs: dict[str, bytes | None] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    """Each touched box's file as it stands at the end, after the repairs, by its path."""


@dataclass
class _File:
    """A path on the way through history: its last good content, and the commit that made it bad, if it is."""

    good: bytes | None
    manifest: Manifest | None
    bad: str | None = None


def actor(author: str) -> str:
    """Who is behind a commit, as jobs and trailers name them: nothing but the characters of an address."""
    return BY_OPS + (_SAFE.sub("-", author)[:100] or "unknown")


def box_of(path: str) -> str | None:
    """The id of the box that a file at ``path`` would be; None if it is no box file's place."""
    found = place_of(path)
    return found.box_id if found else None


def place_of(path: str) -> Place | None:
    """The box that a file at ``path`` would be, and the cell that it would be in; None if it is no box file's place."""
    match = _NAME.fullmatch(path)
    return Place(match["cell"], match["id"]) if match else None


def by_people(repository: Repository, past: Sequence[Past], own: Collection[str]) -> dict[str, list[Touched]]:
    """The commits that are not the platform's and touch something under ``cells/``, with what they touch."""
    others = history.touched(repository, [one.sha for one in past if one.sha not in own])
    below = {sha: [file for file in files if _concerns(file.path)] for sha, files in others.items()}
    return {sha: files for sha, files in below.items() if files}


class Reader:
    """Goes through commits in their order; ``standings`` are the boxes of Postgres by id.

    ``put_backs`` are the platform's commits that put files right after a look that was not finished.
    """

    def __init__(
        self, repository: Repository, standings: Mapping[str, Standing], put_backs: Collection[str] = ()
    ) -> None:
        self._repository = repository
        self._put_backs = put_backs
        self._standings = dict(standings)
        self._files: dict[str, _File] = {}
        self._contents: dict[str, bytes] = {}

    def read(self, tip: str, past: Sequence[Past], theirs: Mapping[str, list[Touched]]) -> Reading:
        """What the commits of people in ``theirs`` ask for; all others in ``past`` are the platform's."""
        reading = Reading(tip)
        paths = {file.path for files in theirs.values() for file in files}
        ours = history.touched(self._repository, [one.sha for one in past if one.sha not in theirs]) if theirs else {}
        everything = {**ours, **theirs}
        self._load([file for files in everything.values() for file in files if file.path in paths])
        for one in past:
            for file in everything.get(one.sha, []):
                if file.path in paths and one.sha in theirs:
                    self._people(reading, one, file)
                elif file.path in paths and not (one.sha in self._put_backs and self._track(one.sha, file).bad):
                    self._platform(reading, one, file)
        self._finish(reading)
        return reading

    def _people(self, reading: Reading, one: Past, file: Touched) -> None:
        track = self._track(one.sha, file)
        box_id = box_of(file.path)
        report = reading.reports.setdefault(one.sha, Report(one.sha, actor(one.author)))
        if box_id is not None and box_id not in report.boxes:
            report.boxes.append(box_id)
        known = self._standings.get(box_id) if box_id else None
        before = track.manifest if track.bad else self._manifest(file.path, file.before) or track.manifest
        content = self._content(file.after)
        verdict = verdicts.judge(file.path, before, file.after, content, known, lost=bool(one.job_ids))
        report.notes += [*verdict.faults, *verdict.notes]
        if verdict.faults:
            track.bad, report.restored = one.sha, True
            return
        track.good, track.manifest, track.bad = (content if file.after else None), verdict.after, None
        if "volumes" in verdict.fields:  # no job may take a volume out of use, not even to say what held in between
            for wish in reading.wishes:
                if wish.path == file.path and "volumes" in wish.fields:
                    wish.fields["volumes"] = verdict.fields["volumes"]
        if box_id is not None and verdict.asks:
            reading.wishes.append(Wish(one.sha, report.actor, file.path, box_id, verdict, dict(verdict.fields)))
            if known is not None:
                self._standings[box_id] = verdicts.moved(known, verdict.fields)
            elif verdict.after is not None:
                self._standings[box_id] = verdicts.standing(file.path, verdict.after)

    def _platform(self, reading: Reading, one: Past, file: Touched) -> None:
        before, after = self._manifest(file.path, file.before), self._manifest(file.path, file.after)
        track = self._track(one.sha, file)
        if file.after is None:
            self._retire(reading, one, file.path, track)
        if after is None:
            return
        fields = verdicts.differences(before, after) if before else {}
        if track.bad and track.good is not None:
            track.good = _changed(track.good, fields)
        elif not track.bad:
            track.good = self._content(file.after)
        track.manifest = self._parsed(file.path, track.good)
        for wish in reading.wishes:
            for name in sorted({*wish.fields} & {*fields} if wish.path == file.path else ()):
                del wish.fields[name]
                note = f"{file.path}: spec.{name} was set again by the later commit {one.sha[:12]} of the platform"
                reading.reports[wish.sha].notes.append(note)

    def _retire(self, reading: Reading, one: Past, path: str, track: _File) -> None:
        """The platform took the file away: nothing is put back, and nothing that was asked for the box is adopted."""
        track.good = track.manifest = track.bad = None
        box_id = box_of(path)
        if box_id in self._standings:
            self._standings[box_id] = replace(self._standings[box_id], retired=True)
        for wish in [wish for wish in reading.wishes if wish.path == path]:
            reading.wishes.remove(wish)
            reading.reports[wish.sha].notes.append(f"{path}: the box was retired by the later commit {one.sha[:12]}")

    def _finish(self, reading: Reading) -> None:
        for path, track in self._files.items():
            if track.bad is not None:
                reading.repairs[path] = track.good
            if track.manifest is not None:
                reading.manifests[path] = track.manifest

    def _track(self, sha: str, file: Touched) -> _File:
        if file.path not in self._files:
            good = self._content(file.before) if self._manifest(file.path, file.before) else None
            if good is None and file.before is not None:
                good = self._look_back(sha, file)
            self._files[file.path] = _File(good, self._parsed(file.path, good))
        return self._files[file.path]

    def _look_back(self, sha: str, file: Touched) -> bytes | None:
        for entry in history.versions(self._repository, f"{sha}^", file.path, LOOK_BACK):
            content = self._repository.contents([entry.blob])[entry.blob]
            if verdicts.parse(entry, file.path, content) is not None:
                return content
        return None

    def _load(self, files: Sequence[Touched]) -> None:
        boxes = [file for file in files if validation.is_box(file.path)]
        entries = [entry for file in boxes for entry in (file.before, file.after) if entry is not None]
        readable = [entry.blob for entry in entries if entry.mode == PLAIN]
        self._contents = self._repository.contents(readable)

    def _content(self, entry: Entry | None) -> bytes:
        return self._contents.get(entry.blob, b"") if entry is not None else b""

    def _manifest(self, path: str, entry: Entry | None) -> Manifest | None:
        return verdicts.parse(entry, path, self._content(entry))

    def _parsed(self, path: str, content: bytes | None) -> Manifest | None:
        return None if content is None else verdicts.parse(Entry(PLAIN, ""), path, content)


def message(repairs: Mapping[str, bytes | None], reports: Sequence[Report]) -> str:
    """The message of the commit that puts files right: ids and shas alone, since paths may be anybody's."""
    shas = [report.sha for report in reports if report.restored]
    boxes = sorted({box_id for path in repairs if (box_id := box_of(path))})
    lines = [f"boxes: put back {len(repairs)} file{'' if len(repairs) == 1 else 's'}", ""]
    lines += [f"Restores: {sha}" for sha in shas] + [f"Box: {box_id}" for box_id in boxes] + ["Actor: platform"]
    return "\n".join(lines) + "\n"


def repair(repository: Repository, reading: Reading) -> str:
    """The commit that puts the files of ``reading`` right, not pushed; its tip if ``main`` has them so."""
    if not reading.repairs:
        return reading.tip
    commit = Commit(reading.repairs, message(reading.repairs, list(reading.reports.values())))
    [sha] = repository.chain(reading.tip, [commit])
    before, after = repository.ask("rev-parse", f"{reading.tip}^{{tree}}", f"{sha}^{{tree}}").split()
    return reading.tip if before == after else sha


def push(repository: Repository, reading: Reading, sha: str) -> None:
    """``main`` is at what ``repair`` gave.

    Raises PushRejected when ``main`` moved meanwhile: then read again.
    """
    failpoints.hit("adopt.before_push")
    repository.push(sha)
    log.warning("gitops.files_put_back", sha=sha, files=len(reading.repairs))


def _concerns(path: str) -> bool:
    return path.startswith("cells/") and (validation.is_box(path) or any(validation.places(path)))


def _changed(content: bytes, fields: Mapping[str, object]) -> bytes:
    try:
        return manifests.change(content, dict(fields))
    except ManifestError:  # made for what the bad file said; the job that follows puts all of the spec right
        return content
