"""A whole change before it is merged: every file's findings, and what its boxes would become in the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from controller.core.errors import CloudError
from controller.gitops import leaks, retirements, steps, validation
from controller.gitops.findings import Finding
from controller.gitops.manifests import Manifest
from controller.gitops.objects import Object
from controller.gitops.rendering import Cells, Charts, RenderError, judge
from controller.gitops.repository import NotAPlainFile
from controller.gitops.validation import BoxFile
from controller.gitops.worktree import Worktree


@dataclass
class Review:
    """What was looked at and what was found, each finding once, ordered by place."""

    files: int = 0
    boxes: int = 0
    findings: list[Finding] = field(default_factory=list)
    corrections: list[Finding] = field(default_factory=list)
    """What will not stand as it is written, and is put right without anybody's doing."""


@dataclass(frozen=True)
class Reviewer:
    """Judges a checkout; ``charts`` and ``cells`` say how its boxes render."""

    tree: Worktree
    charts: Charts
    cells: Cells
    retire_after: timedelta = retirements.AFTER
    """How long a file has to have said ``destroyed`` before the platform takes it away."""

    def files(self, paths: Iterable[str]) -> Review:
        """The review of these files as they stand on the disk, whatever they were before."""
        review = Review()
        for path in paths:
            review.findings += self._alone(path, review)
        return _ordered(review)

    def since(self, base: str, *, people_only: bool) -> Review:
        """The review of all that changed since the commit ``base``, step by step where states and owners matter.

        ``people_only``: no commit after ``base`` is the platform's, so one that claims a Job-Id is forged.
        """
        review = Review()
        for path in self.tree.changed(base):
            review.findings += self._alone(path, review)
            if validation.is_box(path) and not self._is_odd(path):
                review.findings += self._step(base, path, review)
        review.findings += self._history(base)
        if people_only:
            sentence = "commit {} claims a Job-Id, which only the platform's commits carry: reword it"
            claims = self.tree.claiming_jobs(base)
            review.findings += [Finding("(message)", 1, sentence.format(sha[:12]), "job-id") for sha in claims]
        return _ordered(review)

    def render(self, file: BoxFile) -> list[Object]:
        """The objects of the box.

        Raises RenderError if it does not render.
        """
        release = file.manifest.spec.release
        return self.charts.of(release).render(file.document, self.cells.of(file.cell))

    def _alone(self, path: str, review: Review) -> Iterator[Finding]:
        review.files += 1
        try:
            content = self.tree.on_disk(path)
        except NotAPlainFile:
            yield Finding(path, 1, "a link or a program; only plain files may stand in this repository", "plain-file")
            return
        if content is None:
            return
        yield from validation.secrets(path, content)
        if not validation.is_box(path):
            yield from validation.places(path)
            return
        review.boxes += 1
        file, findings = validation.read(path, content)
        yield from findings
        yield from self._twins(path)
        if file is not None and not findings:
            yield from self._rendered(file)

    def _rendered(self, file: BoxFile) -> Iterator[Finding]:
        try:
            objects = self.render(file)
        except RenderError as error:
            place = ("spec", "release") if error.code == "release_not_at_hand" else ("spec",)
            yield file.finding(place, f"the chart does not render: {error}", "render")
            return
        for breach in judge(objects, file.document, self.cells.of(file.cell)):
            yield file.finding((), breach.sentence, breach.rule)

    def _twins(self, path: str) -> Iterator[Finding]:
        name = path.rpartition("/")[2]
        for other in self.tree.boxes():
            if other != path and other.endswith("/" + name) and validation.is_box(other):
                yield Finding(path, 1, f"the same box stands in {other}; a box is in one cell only", "twin")

    def _step(self, base: str, path: str, review: Review) -> Iterator[Finding]:
        """The findings about the way from ``base`` to the disk; people are held to what they alone changed."""
        commits = self.tree.platform_commits(base, path)
        for commit in commits:
            old, new = self._at(commit.parent, path), self._at(commit.sha, path)
            if old and new:
                yield from steps.platform_change(old, new, path, commit.sha, commit.verb, commit.actor)
        before = self._at(commits[0].sha if commits else base, path)
        content = self.tree.on_disk(path)
        if content is None:
            ours = commits[0] if commits and before is None else None
            last = self._at(ours.parent, path) if ours else before
            age = self.tree.retired_after(ours, path) if ours else None
            yield from steps.remove(path, last, age, self.retire_after)
            return
        file, _ = validation.read(path, content)
        if file is None:
            return
        if before is None:
            yield from steps.create(file)
            return
        reverted = self.tree.stood_before(base, path, content)
        review.corrections += steps.corrections(before, file, reverted=reverted)
        yield from steps.change(before, file, reverted=reverted)

    def _at(self, sha: str, path: str) -> Manifest | None:
        content = self.tree.at(sha, path)
        file, _ = validation.read(path, content) if content is not None else (None, [])
        return file.manifest if file else None

    def _history(self, base: str) -> Iterator[Finding]:
        for path, content in self.tree.introduced(base):
            if self._is_odd(path) or content != self.tree.on_disk(path):
                yield from validation.secrets(path, content, " in an earlier commit of this change")
        for sha, text in self.tree.messages(base):
            for _, shape in leaks.find(text):
                sentence = f"the message of commit {sha[:12]} holds what looks like {shape}"
                yield Finding("(message)", 1, sentence, "no-secrets")

    def _is_odd(self, path: str) -> bool:
        try:
            self.tree.on_disk(path)
        except NotAPlainFile:
            return True
        return False


def before_and_after(reviewer: Reviewer, base: str, path: str) -> tuple[BoxFile | None, BoxFile | None]:
    """The box file at ``base`` and on the disk; None where there is none that keeps the rules.

    Raises InvalidBox if what is on the disk is a file, but not a valid one.
    """
    old = reviewer.tree.at(base, path)
    new = reviewer.tree.on_disk(path)
    was = validation.read(path, old)[0] if old is not None else None
    if new is None:
        return was, None
    file, findings = validation.read(path, new)
    if file is None or findings:
        raise InvalidBox("box_invalid", reason=str(findings[0]) if findings else path)
    return was, file


class InvalidBox(CloudError):
    """Raised when a box file that is to be rendered does not keep the rules."""


def _ordered(review: Review) -> Review:
    review.findings, review.corrections = sorted(set(review.findings)), sorted(set(review.corrections))
    return review
