"""``openclaw-cloud gitops new-box|audit|replay``: ops' verbs that look at the repository and the database together."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from controller.gitops_cli import Repo, answered

if TYPE_CHECKING:
    from controller.core.db import Database
    from controller.gitops.audits import Change
    from controller.workers.replaying import Difference

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ResultT = TypeVar("ResultT")


def add_to(app: typer.Typer) -> None:
    """The verbs are commands of ``app``."""
    app.command("new-box")(new_box)
    app.command()(audit)
    app.command()(replay)


def new_box(
    repo: Repo = Path(),
    cell: str = "local",
    plan: str = "pro",
    niche: str = "general",
    locale: str = "en",
    release: Annotated[
        str | None, typer.Option(help="Of the chart; without it BOX_RELEASE, or with --seal what is in force.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="An existing customer's id; without it a new one.")] = None,
    seal: Annotated[
        bool,
        typer.Option("--seal", help="Keep the options below, sealed, in the database (POSTGRES_DSN, SEALING_KEY)."),
    ] = False,
    email: str = "ops@openclaw.cloud",
    agent_name: str = "Claw",
    telegram_user: Annotated[list[int] | None, typer.Option()] = None,
) -> None:
    """Write the file of a new box into a checkout, for a pull request; the bot token is read from BOT_TOKEN.

    A file holds nothing personal: without --seal the box starts with no name, users and bot token of its own.
    """
    from controller.core import ids
    from controller.gitops import manifests

    with answered():
        box_id = ids.new()
        path = manifests.path(cell, box_id)
        spec = _spec(plan, niche, locale, release or _release(ask=seal))
        content = manifests.create(box_id, ids.checked(customer) if customer else ids.new(), spec)
        if seal:
            asked = {"email": email, "plan": plan, "niche": niche, "locale": locale, "agent_name": agent_name}
            _announce(
                box_id, {**asked, "telegram_users": telegram_user or [], "bot_token": os.environ.get("BOT_TOKEN")}
            )
    file = repo / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    typer.echo(path)


def audit(
    box: Annotated[str, typer.Option("--box", help="The box's id.")],
    repo: Repo = Path(),
    ref: Annotated[str, typer.Option("--ref", help="Up to this revision.")] = "HEAD",
    as_json: Json = False,
) -> None:
    """Print who changed a box, why, when, in which commit, and when it became live (needs POSTGRES_DSN)."""
    from controller.gitops import audits

    async def joined(database: Database) -> list[Change]:
        async with database.transaction() as session:
            return await audits.with_jobs(session, changes)

    with answered():
        changes = audits.trail(repo, box, ref)
        changes = _with_database(joined)
    if as_json:
        typer.echo(json.dumps([asdict(change) for change in changes], default=_iso))
        return
    head = ("when", "commit", "rev", "who", "what", "why", "state", "live")
    rows = [
        (
            _when(one.at),
            one.sha[:12],
            str(one.rev or "-"),
            one.who,
            one.what,
            one.why,
            one.state or "-",
            _when(one.live_at),
        )
        for one in changes
    ]
    for row in [head, *rows]:
        widths = (max(len(line[column]) for line in [head, *rows]) for column in range(len(head)))
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def replay(
    adopt: Annotated[bool, typer.Option("--adopt", help="Adopt what is newer in Git; stop the writer first.")] = False,
    as_json: Json = False,
) -> None:
    """Compare every box in Git with Postgres and print the differences; exit 1 if there are any.

    Reads GIT_REMOTE and POSTGRES_DSN; with --adopt also SEALING_KEY and TOKEN_PEPPER.
    """
    with answered(), tempfile.TemporaryDirectory(prefix="openclaw-replay-") as folder:
        found = _replay(Path(folder), adopt=adopt)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found]))
    for one in () if as_json else found:
        told = ", ".join(f"{name}: git {git!r}, postgres {ours!r}" for name, (git, ours) in one.fields.items())
        typer.echo(f"{one.path}: {one.reason or told} (newer: {one.newer.value})")
    typer.echo(f"{len(found) or 'no'} differences", err=True)
    raise typer.Exit(1 if found else 0)


def _replay(folder: Path, *, adopt: bool) -> list[Difference]:
    from controller.core.settings import load
    from controller.gitops.repository import GitSettings, Repository
    from controller.workers import context, replaying

    os.environ["GIT_CLONE_DIR"] = str(folder / "clone.git")
    repository = Repository(load(GitSettings))
    if not adopt:
        return _with_database(lambda database: replaying.replay(database, repository))
    mint = context.mint()
    return _with_database(lambda database: replaying.adopt(database, repository, mint))


def _release(*, ask: bool) -> str:
    """The release of a new box: what the database says is in force, if it is to be asked."""
    from controller.core.settings import load
    from controller.domain import releases
    from controller.domain.boxes import BoxSettings

    settings = load(BoxSettings)

    async def in_force(database: Database) -> str:
        async with database.transaction() as session:
            return await releases.in_force(session, settings.box_ring, settings.box_release)

    return _with_database(in_force) if ask else settings.box_release


def _spec(plan: str, niche: str, locale: str, release: str) -> dict[str, Any]:
    from controller.core.settings import load
    from controller.domain import plans
    from controller.domain.boxes import BoxSettings

    settings = load(BoxSettings)
    return {
        "rev": 1, "state": "active", "deletion": "held", "plan": plan,
        "volume_gib": plans.get(plan).resources.volume_gib, "release": release, "ring": settings.box_ring,
        "locale": locale, "niche": niche, "model": "default", "thinking": "low", "profile": 1,
        "secrets": {"agent": 1, "telegram": 1, "proxy": 1}, "connections": [],
    }  # fmt: skip


def _announce(box_id: str, asked: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from controller.core.crypto import Sealer
    from controller.core.settings import SealingSettings, load
    from controller.domain import mint

    try:
        order = mint.Order.model_validate(asked)
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from exc
    sealer = Sealer(load(SealingSettings).sealing_key.get_secret_value())

    async def work(database: Database) -> None:
        async with database.transaction() as session:
            await mint.announce(session, sealer, box_id, order)

    _with_database(work)


def _with_database(work: Callable[[Database], Awaitable[ResultT]]) -> ResultT:
    from controller.core.db import Database
    from controller.core.settings import DatabaseSettings, load

    async def run() -> ResultT:
        database = Database(load(DatabaseSettings))
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _row(one: Change) -> tuple[str, ...]:
    rev, live = str(one.rev or "-"), _when(one.live_at)
    return (_when(one.at), one.sha[:12], rev, one.who, one.what, one.why, one.state or "-", live)


def _when(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
