"""People are told on the forge what became of their commits: never in adoption's way, and again until it is done."""

from __future__ import annotations

from controller.clients.forge import Forge, Kind
from controller.core import clock, metrics
from controller.core import log as logs
from controller.core.db import Database
from controller.core.errors import CloudError, OutcomeUnknown
from controller.domain import adoption
from controller.domain.adoption import OpsCommit, Outcome

log = logs.get(__name__)

TOLD = metrics.counter("forge_reports", "Attempts to tell people what became of a commit", "outcome")
LOCK = "forge"

_LINES = {
    Outcome.ADOPTED: "adopted",
    Outcome.CORRECTED: "adopted; some of it was put back, see the comment",
    Outcome.RESTORED: "files were put back, see the comment",
}


async def tell(database: Database, forge: Forge) -> None:
    """Say on the forge what became of each commit that is due; a failure stays in its row.

    Nothing is done while another process is at it.
    """
    async with database.exclusive(LOCK) as held:
        if not held:
            return
        async with database.transaction() as session:
            due = await adoption.untold(session)
        for row in due:
            try:
                error = await _tell(database, forge, row)
            except CloudError as caught:
                error = caught
            await _record(database, row.sha, error)


def comment(row: OpsCommit) -> str:
    """What does not stand of a commit and why, as Markdown that shows it word for word."""
    lines = "\n".join(row.notes).replace("```", "'''")
    return f"What of this commit does not stand, and why:\n\n```\n{lines}\n```\n"


async def _tell(database: Database, forge: Forge, row: OpsCommit) -> CloudError | None:
    if forge.kind == Kind.NONE:
        return None
    if row.status_at is None:
        good = row.outcome != Outcome.RESTORED
        await forge.status(row.sha, good=good, description=_LINES[Outcome(row.outcome)])
        async with database.transaction() as session:
            (await session.get_one(OpsCommit, row.sha)).status_at = clock.now()
    if row.notes:
        try:
            await forge.comment(row.sha, comment(row))
        except OutcomeUnknown as error:
            # it may stand there, the status says the same in short, and a second one would be noise
            log.warning("forge.comment_unknown", sha=row.sha, error=str(error))
    return None


async def _record(database: Database, sha: str, error: CloudError | None) -> None:
    async with database.transaction() as session:
        row = await session.get_one(OpsCommit, sha)
        if error is None:
            row.told_at, row.error = clock.now(), None
        else:
            adoption.failed(row, error)
            log.warning("forge.report_failed", sha=sha, error=row.error, given_up=row.told_at is not None)
    TOLD.labels("failed" if error else "told").inc()
