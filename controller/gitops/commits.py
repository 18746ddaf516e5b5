"""From intents to commits: one commit per job, chained, pushed at once, each job in history exactly once.

A refused race is answered by fetching and applying the intents again to what is there now; text is never merged.
Nothing of a box is tried in a call after one of its jobs did not land: the rest of the box waits for the next call.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from controller.core import clock, failpoints
from controller.core import log as logs
from controller.core.errors import CloudError, Permanent, Temporary
from controller.domain.git_remote import EVERYTHING_REFUSED
from controller.domain.jobs import ApprovalNeeded, Verb
from controller.domain.retirements import SINCE
from controller.gitops import answers, children, guards, history, manifests, retirements, steps
from controller.gitops.guards import GuardBreached
from controller.gitops.manifests import Manifest, ManifestError
from controller.gitops.repository import BranchClosed, Commit, NotAPlainFile, PushRefused, PushRejected, Repository

log = logs.get(__name__)

TRIES = 8
SAMPLE = 3
"""Of how many boxes a job is tried by itself, to tell a remote that refuses everything from jobs that are bad."""
_CAUSES = {"stripe": "Stripe-Event", "ops": "Ops-Commit", "rollout": "Rollout"}
"""The trailer of what led to a job, by the kind of its actor."""

_MAKES = frozenset({Verb.PROVISION.value, Verb.PREPARE.value})
"""Verbs for a box that has no file yet."""

_FIRST_WAIT = 0.02
_LONGEST_WAIT = 1.0
_CLOSED_WAIT = timedelta(seconds=5)
_NO_WORD = re.compile(r"[^\x21-\x7e]")
_LONGEST_WORD = 100


class RevBehind(Permanent):
    """Raised when Git already holds this or a newer rev that the job does not know of."""


class FileBroken(CloudError):
    """Raised when Git has no file of the box that can be read: ops' mistakes are put right in seconds, so try again."""


class FileUnread(CloudError):
    """Raised when people changed a box's file and nobody has judged that yet: it takes seconds, so try again."""


@dataclass(frozen=True)
class Intent:
    """One job as Git needs it. ``base_sha`` is where ``main`` stood before any push that may carry it."""

    job_id: str
    box_id: str
    customer_id: str | None
    cell: str
    verb: str
    rev: int
    fields: dict[str, Any]
    actor: str
    cause: str | None
    base_sha: str
    approvals: dict[str, str] = field(default_factory=dict)
    """What a guard or cap held it for, by our error code, and who let it go on."""

    retire_after: timedelta = retirements.AFTER
    """For ``retire``: how long the file has to have said ``destroyed``."""

    read_sha: str | None = None
    """How far people's commits are adopted or put right; None: nobody does that."""

    @property
    def path(self) -> str:
        """The box's file."""
        return manifests.path(self.cell, self.box_id)


@dataclass
class Outcome:
    """What became of a batch: jobs with their commit, jobs that cannot be applied with the reason; the others wait."""

    landed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, CloudError] = field(default_factory=dict)
    trouble: CloudError | None = None
    """What ended the batch before every job was tried."""

    unnamed: dict[str, str] = field(default_factory=dict)
    """The gist of refusals that name no job and came from a remote that took nothing, by job: it may be closed."""

    built_at: datetime = field(default_factory=clock.now)
    pushed_at: datetime = field(default_factory=clock.now)


@dataclass
class _Blame:
    """Whose fault a refusal is: the job's, or the remote's that takes nothing from anybody."""

    sampled: int = 0
    """Of how many boxes a job was picked to be tried by itself."""

    taken: bool = False
    """Whether the remote took anything."""

    alone: list[tuple[Intent, str]] = field(default_factory=list)
    """The jobs that were refused by themselves, of a box each, with the remote's words."""

    def unnamed(self) -> dict[str, str]:
        """The gist of the words of each job that was refused, where they name it not and nothing was taken."""
        told = [] if self.taken else self.alone
        return {one.job_id: answers.gist(words) for one, words in told if not about(one, words)}

    def is_the_remotes(self) -> bool:
        """Whether jobs of two boxes or more were all refused in the same words, which name none of them."""
        enough = len(self.alone) >= max(self.sampled, 2)
        return enough and len(self.unnamed()) == len(self.alone) and len(set(self.unnamed().values())) == 1


def write(repository: Repository, intents: Sequence[Intent]) -> Outcome:
    """Land the intents on ``main``, in order; one that is not valid, or that the remote says no to, is refused alone.

    Of a box whose job was refused nothing else is tried: what follows it is in neither list. Where the remote refuses
    everything, that is BranchClosed and no job's fault. Raises RemoteAway (as that is one) or (after ``TRIES`` lost
    races) PushRejected, or RoundOver, if it stopped before anything became of any job, else that is the outcome's
    ``trouble``. Calling again is safe.
    """
    outcome, blame = Outcome(), _Blame()
    groups = deque([list(intents)])
    try:
        while groups:
            held = {intent.box_id for intent in intents if intent.job_id in outcome.refused}
            group = [intent for intent in groups.popleft() if intent.box_id not in held]
            try:
                blame.taken |= bool(group) and _land(repository, group, outcome)
            except PushRefused as error:
                groups.extendleft(_narrowed(group, outcome, blame, error))
                children.check_time()
    except Temporary as error:
        if not outcome.landed and not outcome.refused:
            raise
        outcome.trouble = error
    outcome.unnamed = {job_id: gist for job_id, gist in blame.unnamed().items() if job_id in outcome.refused}
    return outcome


def about(intent: Intent, words: str) -> bool:
    """Whether the remote's words name the job, its box or its customer."""
    return any(one in words for one in (intent.job_id, intent.box_id, intent.customer_id) if one is not None)


def message(intent: Intent) -> str:
    """The commit's message: ours alone, ids and enums only, so nothing a customer typed can stand in it."""
    lines = [
        f"box({intent.box_id}): {_word(intent.verb)} at rev {intent.rev}",
        "",
        f"Job-Id: {intent.job_id}",
        f"Box: {intent.box_id}",
        *([f"Customer: {_word(intent.customer_id)}"] if intent.customer_id is not None else []),
        f"Action: {_word(intent.verb)}",
        f"Actor: {_word(intent.actor)}",
        *(f"Approved-By: {_word(actor)}" for actor in sorted(set(intent.approvals.values()))),
    ]
    if intent.cause is not None:
        kind = _CAUSES.get(intent.actor.partition(":")[0], "Request-Id")
        lines.append(f"{kind}: {_word(intent.cause)}")
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """``text`` as it may stand in a message, whoever it came from: one word, which starts no line."""
    return _NO_WORD.sub("_", text)[:_LONGEST_WORD] or "_"


def _already_there(repository: Repository, intents: Sequence[Intent], tip: str) -> dict[str, str]:
    wanted = {intent.job_id for intent in intents}
    found: dict[str, str] = {}
    for base in {intent.base_sha for intent in intents} - {tip}:
        found.update(repository.trailers(base, tip, "Job-Id"))
    return {job_id: sha for job_id, sha in found.items() if job_id in wanted}


def _land(repository: Repository, group: Sequence[Intent], outcome: Outcome) -> bool:
    """Push the group as one chain and note what became of its jobs; whether there was anything to push.

    Raises PushRefused if the remote says no to the chain, and what ``write`` does.
    """
    for attempt in range(TRIES):
        tip = repository.tip()
        outcome.landed.update(_already_there(repository, group, tip))
        made = Outcome()
        built = _build(repository, tip, [intent for intent in group if intent.job_id not in outcome.landed], made)
        if built:
            made.built_at = clock.now()
            failpoints.hit("gitops.before_push")
            try:
                repository.push(made.landed[built[-1].job_id])
            except PushRejected:
                log.info("gitops.push_rejected", attempt=attempt + 1, jobs=len(built))
                time.sleep(random.uniform(0, min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)))  # noqa: S311, only a wait
                children.check_time()
                continue
            outcome.built_at, outcome.pushed_at = made.built_at, clock.now()
            failpoints.hit("gitops.after_push")
        outcome.landed.update(made.landed)
        outcome.refused.update(made.refused)
        return bool(built)
    raise PushRejected("git_push_rejected", tries=TRIES)


def _narrowed(group: Sequence[Intent], outcome: Outcome, blame: _Blame, error: PushRefused) -> list[list[Intent]]:
    """What to try next of a group that the remote refused, last first, down to the job that is to blame.

    First a few jobs by themselves, then the rest, each half of it. Raises BranchClosed once the few say that it is
    not about jobs: a remote that refuses everything is asked four times, not ninety-nine.
    """
    left = [intent for intent in group if intent.job_id not in outcome.landed]
    if len(left) == 1:
        outcome.refused[left[0].job_id] = error
        blame.alone.append((left[0], str(error.facts.get("reason"))))
        if blame.is_the_remotes():
            for intent, _ in blame.alone:
                del outcome.refused[intent.job_id]
            raise BranchClosed(EVERYTHING_REFUSED, retry_after=_CLOSED_WAIT, reason=blame.alone[0][1])
        return []
    if not blame.sampled:
        firsts = list({intent.box_id: intent for intent in reversed(left)}.values())
        # at random: jobs that are to blame must not hide behind each other for ever
        few = random.sample(firsts, min(SAMPLE, len(firsts)))
        blame.sampled = len(few)
        return [[intent for intent in left if intent not in few], *([intent] for intent in few)]
    middle = len(left) // 2
    return [left[middle:], left[:middle]]


def _build(repository: Repository, tip: str, intents: Sequence[Intent], outcome: Outcome) -> list[Intent]:
    files = _read(repository, tip, intents, outcome)
    failpoints.hit("gitops.read")
    held = {intent.box_id for intent in intents if intent.job_id in outcome.refused}
    built, commits = [], []
    for intent in intents:
        if intent.box_id in held:
            continue
        try:
            content = _applied(repository, tip, intent, files.get(intent.path))
        except (ManifestError, RevBehind, FileBroken, GuardBreached, ApprovalNeeded) as error:
            outcome.refused[intent.job_id] = _excused(repository, tip, intent, error)
            held.add(intent.box_id)
            continue
        files.pop(intent.path, None)
        if content is not None:
            files[intent.path] = content
        built.append(intent)
        commits.append(Commit({intent.path: content}, message(intent)))
    shas = repository.chain(tip, commits) if commits else []
    failpoints.hit("gitops.built")
    meant = dict(zip(shas, built, strict=True))
    if strays := _strays(repository, tip, meant):
        outcome.refused.update(strays)
        held = {intent.box_id for intent in built if intent.job_id in strays}
        return _build(repository, tip, [intent for intent in built if intent.box_id not in held], outcome)
    outcome.landed.update({intent.job_id: sha for sha, intent in meant.items()})
    return built


def _excused(repository: Repository, tip: str, intent: Intent, error: CloudError) -> CloudError:
    """The error, or FileUnread if it may be over once what people did to the box's file is adopted or put right."""
    read = intent.read_sha
    if not isinstance(error, Permanent) or read is None or not history.is_ancestor(repository, read, tip):
        return error
    people = ("--max-count=1", "--invert-grep", "--grep=^Job-Id: ")
    if not repository.ask("rev-list", *people, f"{read}..{tip}", "--", intent.path):
        return error
    return FileUnread("manifest_unread", box=intent.box_id, reason=str(error))


def _strays(repository: Repository, tip: str, meant: dict[str, Intent]) -> dict[str, GuardBreached]:
    """The jobs whose commits do anything else to the tree than write, or retire, their box's file."""
    if not meant:
        return {}
    paths = {sha: intent.path for sha, intent in meant.items()}
    removals = {sha for sha, intent in meant.items() if intent.verb == retirements.VERB}
    found = guards.check_trees(history.between(repository, tip, list(meant)[-1]), paths, removals)
    return {meant[sha].job_id: error for sha, error in found.items()}


def _read(repository: Repository, tip: str, intents: Sequence[Intent], outcome: Outcome) -> dict[str, bytes]:
    try:
        return repository.read(tip, [intent.path for intent in intents])
    except NotAPlainFile:
        files = {}
        for path, first in {intent.path: intent for intent in reversed(intents)}.items():
            try:
                files.update(repository.read(tip, [path]))
            except NotAPlainFile as error:
                outcome.refused[first.job_id] = FileBroken(error.code, **error.facts)
        return files


def apply(intent: Intent, content: bytes | None) -> bytes:
    """The box's file after the intent: a new one for ``provision`` and ``prepare``, else only the job's fields changed,
    and the customer set by a ``claim``.

    Raises ManifestError if the result is not valid, RevBehind if Git has this rev or a newer one already, FileBroken
    if what Git has is no box, and what ``guards.check`` does if no job may take that step from what Git has now.
    """
    if content is None and intent.verb in _MAKES:
        new = partial(guards.check_new, approved=intent.approvals)
        return manifests.create(intent.box_id, intent.customer_id, intent.fields, new)
    current, known = _current(intent, content)
    fields = guards.grown(current, intent.fields)
    may_release = steps.may_release(intent.verb, intent.actor)
    allow = partial(guards.check, approved=intent.approvals, may_release=may_release)
    owner = intent.customer_id if intent.verb == Verb.CLAIM else None
    return manifests.change(known, fields, allow, customer=owner)


def _current(intent: Intent, content: bytes | None) -> tuple[Manifest, bytes]:
    if content is None:
        raise FileBroken("manifest_missing", box=intent.box_id)
    try:
        current = manifests.read(content)
    except ManifestError as exc:
        raise FileBroken(exc.code, **exc.facts) from exc
    if current.spec.rev >= intent.rev:
        raise RevBehind("rev_behind_git", box=intent.box_id, git=current.spec.rev, job=intent.rev)
    return current, content


def _applied(repository: Repository, tip: str, intent: Intent, content: bytes | None) -> bytes | None:
    """The box's file after the intent; None for ``retire``, if Git itself says that the file may go."""
    if intent.verb != retirements.VERB:
        return apply(intent, content)
    _current(intent, content)
    retirements.check(repository, tip, intent.path, intent.fields.get(SINCE), intent.retire_after)
    return None
