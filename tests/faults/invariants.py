"""The design's invariants, looked up in Postgres, Git, the cell, the logs and the queue of a quiet stand.

``broken(stand)`` lists every violation as a sentence that begins with its number; nothing there is a repair.
I6 and the notices are in ``receipts``. I7, I8 and I11 belong to the token proxy and the doors and are tested there. I9
has no trace of its own: a write under an older fence would show as a second commit of a rev, a lost field (I2) or a job
whose commit is another (I4).
"""

from __future__ import annotations

import base64
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx

from controller.core.crypto import Sealer
from controller.domain import boxes, vault
from controller.domain.boxes import Box
from controller.domain.jobs import Job
from controller.gitops import manifests
from controller.gitops.manifests import Spec
from tests.faults import canaries, receipts
from tests.faults.stands import Stand, git

_NOTHING = frozenset[str]()


def broken(
    stand: Stand, *, failed_jobs: Collection[str] = _NOTHING, set_aside: Collection[str] = _NOTHING
) -> list[str]:
    """Every violation; ``failed_jobs`` and ``set_aside`` are ids whose visible failure the scenario is about."""
    checks = (_entitled, _written, _followed, _linear, _events, receipts.metered, receipts.told, _secrets)
    found = [sentence for check in checks for sentence in check(stand)]
    return found + list(_moved(stand, failed_jobs, set_aside))


def _entitled(stand: Stand) -> Iterator[str]:
    """I1: an entitled subscription has one live box, an ended one has none, and every box that is owned has one."""
    rows = stand.sql(
        """
        SELECT s.id, s.status, b.id AS box, b.state FROM subscriptions s FULL JOIN boxes b ON b.id = s.box_id
        WHERE (s.id IS NULL AND b.customer_id IS NOT NULL)
           OR (s.status IN ('active', 'trialing', 'past_due')) <> coalesce(b.state IN ('active', 'suspended'), false)
        """
    )
    for row in rows:
        yield f"I1: subscription {row['id']} ({row['status']}) and box {row['box']} ({row['state']}) disagree"
    known = {row[0] for row in stand.sql("SELECT stripe_id FROM subscriptions WHERE stripe_id IS NOT NULL")}
    for subscription in _stripe_list(stand, "subscriptions"):
        if subscription["status"] == "active" and subscription["id"] not in known:
            yield f"I1: subscription {subscription['id']} is paid and unknown"


def _written(stand: Stand) -> Iterator[str]:
    """I2: each box's manifest at ``main`` says what Postgres wants; a retired box has none."""
    for box in stand.all(Box):
        if box.retired_at is not None:
            if git(stand, "ls-tree", "--name-only", "main", manifests.path(box.cell, box.id)):
                yield f"I2: box {box.id} is retired and its file is there"
            continue
        try:
            content = git(stand, "show", f"main:{manifests.path(box.cell, box.id)}")
        except subprocess.CalledProcessError:
            yield f"I2: box {box.id} has no manifest"
            continue
        written, wanted = manifests.read(content.encode()).spec, Spec.model_validate(boxes.spec(box))
        if written != wanted:
            yield f"I2: box {box.id} is written as {written} and wanted as {wanted}"


def _followed(stand: Stand) -> Iterator[str]:
    """I3: the cluster has applied the newest rev, and there is a pod exactly where one is wanted."""
    applied, running, spaces = stand.cell.applied(), stand.cell.running(), stand.cell.spaces()
    for box in stand.all(Box):
        if box.retired_at is not None:
            if box.id in applied or box.id in running or box.id in spaces:
                yield f"I3: box {box.id} is retired and something of it is in the cluster"
            continue
        if applied.get(box.id) != box.rev or box.synced_rev != box.rev:
            yield f"I3: box {box.id} wants rev {box.rev}, applied {applied.get(box.id)}, known {box.synced_rev}"
        if (box.id in running) != box.runs():
            yield f"I3: box {box.id} is {box.state} and has {'a' if box.id in running else 'no'} pod"
        if (box.id in spaces) == (box.state == "destroyed"):
            yield f"I3: box {box.id} is {box.state} and its namespace is {'there' if box.id in spaces else 'gone'}"


def _linear(stand: Stand) -> Iterator[str]:
    """I4: one parent each, no empty commit, each job in one commit and each rev of a box in one, nothing corrupt."""
    trees: dict[str, str] = {}
    carried: Counter[str] = Counter()
    shas: dict[str, str] = {}
    revs: Counter[str] = Counter()
    form = "--format=%H%x1f%T%x1f%P%x1f%s%x1f%(trailers:key=Job-Id,valueonly,separator=%x2c)"
    for line in git(stand, "log", "--reverse", form, "main").splitlines():
        sha, tree, parents, subject, job = line.split("\x1f")
        trees[sha] = tree
        if len(parents.split()) > 1:
            yield f"I4: {sha} is a merge"
        if parents and trees.get(parents) == tree:
            yield f"I4: {sha} is empty"
        if job:
            carried[job] += 1
            revs[subject.partition(" ")[0] + subject.rpartition(" at rev ")[2]] += 1
            shas[job] = sha
    yield from (f"I4: {what} is in {n} commits" for what, n in (carried + revs).items() if n > 1)
    for row in stand.all(Job):
        if row.state != "failed" and shas.get(row.id) != row.commit_sha:
            yield f"I4: job {row.id} ({row.state}) says {row.commit_sha}, Git says {shas.get(row.id)}"
    if fault := _fsck(stand.git):
        yield f"I4: the repository is damaged: {fault}"


def _events(stand: Stand) -> Iterator[str]:
    """I5: what was answered 2xx is stored and handled, and no event led to two jobs."""
    stored = {row[0] for row in stand.sql("SELECT event_id FROM inbox")}
    for delivery in httpx.get(f"{stand.stripe_url}/_control/deliveries", timeout=60).json()["deliveries"]:
        if delivery["status"] == "delivered" and delivery["event"] not in stored:
            yield f"I5: event {delivery['event']} was taken and is not stored"
    for row in stand.sql(
        "SELECT cause, count(*) FROM operator_jobs WHERE actor = 'stripe' GROUP BY 1 HAVING count(*) > 1"
    ):
        yield f"I5: event {row[0]} led to {row[1]} jobs"


def _secrets(stand: Stand) -> Iterator[str]:
    """I10: no plain secret in a Git object, a log, the queue, an error body or a stored error."""
    known = _plain_secrets(stand)
    for place, content in canaries.places(stand):
        for name, secret in known.items():
            if any(form in content for form in _forms(secret)):
                yield f"I10: {name} stands in {place}"


def _moved(stand: Stand, failed_jobs: Collection[str], set_aside: Collection[str]) -> Iterator[str]:
    """I12: nothing is left open, and what has failed visibly is what the scenario made fail."""
    for row in stand.sql("SELECT id, verb, state, error FROM operator_jobs WHERE state NOT IN ('done', 'rejected')"):
        if not (row["state"] == "failed" and row["id"] in failed_jobs):
            yield f"I12: job {row['id']} ({row['verb']}) is {row['state']}: {row['error']}"
    for row in stand.sql("SELECT event_id, error FROM inbox WHERE done_at IS NULL"):
        if row["event_id"] not in set_aside:
            yield f"I12: event {row['event_id']} is not handled: {row['error']}"


def _plain_secrets(stand: Stand) -> dict[str, bytes]:
    keys = stand.keys
    known = {
        "the sealing key": keys.sealing, "the pepper": keys.pepper, "the admin token": keys.admin,
        "Stripe's key": keys.stripe, "the webhook secret": keys.webhook, "the database's password": stand.password,
        "the provider's key": stand.outside.model_key,
    }  # fmt: skip
    known |= {f"the bot token of draft {draft}": bot["token"] for draft, bot in stand.bots.items()}
    sealer = Sealer(keys.sealing)
    for row in stand.sql("SELECT owner, name, max(version) AS version FROM sealed_secrets GROUP BY 1, 2"):
        known[f"{row['name']} of {row['owner']}"] = stand.opened(sealer, row["owner"], row["name"], row["version"])
    assert {vault.AGENT, vault.PROXY} <= {name.partition(" ")[0] for name in known} or not stand.all(Box)
    return {name: text.encode() for name, text in known.items()}


def _forms(secret: bytes) -> set[bytes]:
    """The secret as it is, in base64 (whatever stands before it) and escaped for an address."""
    shifted = {base64.b64encode(b"\0" * shift + secret)[4 * (shift > 0) + 4 : -4] for shift in range(3)}
    return {secret, quote(secret, safe="").encode(), *shifted}


def _stripe_list(stand: Stand, what: str) -> Iterator[dict[str, str]]:
    after: dict[str, str] = {}
    headers = {"Authorization": f"Bearer {stand.keys.stripe}"}
    while True:
        page = httpx.get(f"{stand.stripe_url}/v1/{what}", params={"limit": "100", **after}, headers=headers).json()
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"starting_after": page["data"][-1]["id"]}


def _fsck(folder: Path) -> str:
    done = subprocess.run(["git", "fsck", "--no-dangling"], cwd=folder, capture_output=True, timeout=300)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode(errors="replace")[:500]
