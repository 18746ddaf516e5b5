"""``openclaw-cloud``: one binary, one subcommand a process or an ops verb.

Imports stay inside the commands: each process loads only what it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from controller import gitops_cli, gitops_live_cli, rollouts_cli
from controller.core.errors import CloudError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
admin_app = typer.Typer(no_args_is_help=True, help="What ops do by hand, through the API.")
jobs_app = typer.Typer(invoke_without_command=True)
admin_app.add_typer(jobs_app, name="jobs")
app.add_typer(admin_app, name="admin")
admin_app.add_typer(rollouts_cli.app, name="rollout")
gitops_live_cli.add_to(gitops_cli.app)
app.add_typer(gitops_cli.app, name="gitops")

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Keep everything here; without it all is temporary.")]


@app.command()
def api() -> None:
    """Serve the API."""
    import uvicorn

    from api import serve

    application, settings = serve.api()
    uvicorn.run(
        application, host=settings.api_host, port=settings.api_port, log_level="warning", timeout_graceful_shutdown=2
    )


@app.command()
def secrets() -> None:
    """Serve the secret endpoint for External Secrets."""
    import uvicorn

    from api import serve

    application, settings = serve.secrets()
    uvicorn.run(
        application,
        host=settings.secrets_host,
        port=settings.secrets_port,
        ssl_context_factory=serve.secrets_tls(settings),
        log_level="warning",
        timeout_graceful_shutdown=2,
    )


@app.command()
def proxy() -> None:
    """Serve the token proxy."""
    from proxy.app import run

    run()


@app.command()
def translator() -> None:
    """Serve OpenAI's chat in front of providers that speak otherwise."""
    from proxy.translator import run

    run()


@app.command()
def worker() -> None:
    """Run the Dramatiq workers for outside events."""
    _dramatiq("controller.workers.actors:billing_broker", "billing", threads=4)


@app.command()
def writer() -> None:
    """Run the git writer, the only process with the push credential."""
    from controller.gitops import commands

    commands.check_version()
    _dramatiq("controller.workers.actors:writer_broker", "gitops", threads=1)


@app.command()
def notices() -> None:
    """Send what customers have to be told, by Telegram and mail."""
    _dramatiq("controller.workers.actors:notices_broker", "notices", threads=4)


@app.command()
def sweeper() -> None:
    """Send again whatever was left behind, keep the standby boxes, take rollouts on, and have ops' pushes looked at."""
    from controller.core.settings import load
    from controller.domain.lifecycle import LifecycleSettings
    from controller.domain.standbys import StandbySettings
    from controller.workers import adopting, context, rollouts
    from controller.workers import sweeper as sweeping

    async def work(stop: asyncio.Event) -> None:
        parts = context.build()
        keep, often, look = load(LifecycleSettings), load(sweeping.SweeperSettings), load(adopting.AdoptionSettings)
        pace, pool = load(rollouts.RolloutSettings), sweeping.Pool(parts.mint, load(StandbySettings))
        async with asyncio.TaskGroup() as all_of_it:
            all_of_it.create_task(sweeping.run(parts.database, parts.bell, often, keep, stop, pool))
            all_of_it.create_task(adopting.ring(parts.bell, look, stop))
            all_of_it.create_task(rollouts.run(parts.database, parts.bell, pace, stop))

    _until_stopped("sweeper", work)


@app.command()
def watcher() -> None:
    """Follow the cluster, write down what pods use, and end the pods of boxes that an admin stopped."""
    from controller.clients.kubernetes import Cluster, ClusterSettings
    from controller.core.settings import load
    from controller.domain.boxes import BoxSettings
    from controller.domain.pod_metrics import PodMetricsSettings
    from controller.workers import context, pod_metrics, stopping
    from controller.workers import watcher as watching

    async def work(stop: asyncio.Event) -> None:
        parts, cluster, often = context.stores(), Cluster(load(ClusterSettings)), load(PodMetricsSettings)
        halt = load(stopping.StoppageSettings)
        async with asyncio.TaskGroup() as all_three:
            all_three.create_task(watching.run(parts.database, cluster, parts.bell, stop, load(BoxSettings).cell))
            all_three.create_task(pod_metrics.run(parts.database, cluster, often, stop))
            all_three.create_task(stopping.run(parts.database, cluster, halt, stop))

    _until_stopped("watcher", work)


@app.command()
def meter() -> None:
    """Move usage from the stream into Postgres."""
    from controller.core.db import Database
    from controller.core.settings import DatabaseSettings, QueueSettings, load
    from controller.workers import metering

    def work(stop: asyncio.Event) -> Awaitable[None]:
        return metering.run(Database(load(DatabaseSettings)), load(QueueSettings), stop)

    _until_stopped("meter", work)


@app.command()
def migrate(revision: str = "head") -> None:
    """Bring the database's schema to REVISION."""
    from controller.core.db import Database
    from controller.core.settings import DatabaseSettings, load
    from controller.domain import migrate as migrations

    async def work() -> None:
        database = Database(load(DatabaseSettings))
        await migrations.upgrade(database, revision)
        await database.close()

    asyncio.run(work())


@app.command()
def up(
    data: DataDir = None,
    ready_file: Annotated[Path | None, typer.Option(help="Where to write the addresses once all is ready.")] = None,
) -> None:
    """Run everything on this machine until Ctrl-C."""
    from controller.sandbox import stack

    raise typer.Exit(asyncio.run(stack.up(data, ready_file)))


@app.command()
def demo(json_file: JsonFile = None) -> None:
    """Buy a box, talk to it, change it and cancel it, on this machine."""
    from controller.sandbox import demo as showing

    raise typer.Exit(asyncio.run(showing.run(json_file)))


@admin_app.command()
def mint(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plan: str = "pro",
    niche: str = "general",
    bot_token: str | None = None,
    telegram_user: Annotated[list[int] | None, typer.Option()] = None,
) -> None:
    """Make a paid customer with a box; prints customer_id, box_id, proxy_token and agent_token.

    Reads API_URL and ADMIN_TOKEN, or the file of a running ``openclaw-cloud up``.
    """
    from controller.clients import platform

    asked: dict[str, Any] = {"plan": plan, "niche": niche, "telegram_users": telegram_user or []}
    if bot_token is not None:
        asked["bot_token"] = bot_token
    made = platform.create_customer(asked)
    typer.echo(json.dumps(made) if as_json else "\n".join(f"{name}: {value}" for name, value in made.items()))


@jobs_app.callback()
def jobs(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one array.")] = False,
    state: Annotated[str | None, typer.Option(help="Only these, such as needs_approval or failed.")] = None,
) -> None:
    """List the newest jobs, at most 200, and what holds or failed each."""
    if context.invoked_subcommand is not None:
        return
    from controller.clients import platform

    found = platform.list_jobs(state)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for job in found:
        told = (job["id"], job["box_id"], job["verb"], job["state"], job["actor"], job["error"] or "")
        typer.echo("  ".join(told).rstrip())


@admin_app.command()
def approve(job_ids: Annotated[list[str], typer.Argument(help="Jobs in state needs_approval.")]) -> None:
    """Let jobs go on that a cap or guard holds.

    Stops at the first that cannot be approved; those named before it stay approved.
    """
    from controller.clients import platform

    for job_id in job_ids:
        platform.approve(job_id)
        typer.echo(f"approved: {job_id}")


@admin_app.command()
def conditions(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one array.")] = False) -> None:
    """List what should move and does not: what, which box, since when and why."""
    from controller.clients import platform

    found = platform.list_conditions()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        typer.echo("  ".join((one["kind"], one["box_id"], one["since"], one["reason"])))


@admin_app.command()
def box(box: Annotated[str, typer.Argument(help="The box's id.")]) -> None:
    """Print as JSON what is wanted of a box, what the cluster says of it, and what does not move."""
    from controller.clients import platform

    typer.echo(json.dumps(platform.show_box(box), indent=2))


@admin_app.command()
def retry(box: Annotated[str, typer.Argument(help="The box's id.")]) -> None:
    """Have Argo CD begin anew with a box that it gave up: a new rev that changes nothing."""
    from controller.clients import platform

    typer.echo(f"retried: {box} (job {platform.retry(box)['job_id']})")


@admin_app.command()
def stop(
    box: Annotated[str, typer.Argument(help="The box's id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit; a line.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop a box at once, also while Git is away: its tokens are dead and its pod ends; the commit follows."""
    from controller.clients import platform

    told = platform.stop(box, reason)
    typer.echo(json.dumps(told) if as_json else f"stopped: {box} (stoppage {told['id']}, by {told['actor']})")


@admin_app.command()
def start(box: Annotated[str, typer.Argument(help="The box's id.")]) -> None:
    """Let a box run again that was stopped, with new tokens; anything else that suspends it stays."""
    from controller.clients import platform

    job = platform.start(box)["job_id"]
    typer.echo(f"started: {box} (job {job})" if job else f"nothing to start: {box}")


@admin_app.command()
def restore(
    box: Annotated[str, typer.Option("--box", help="The box's id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit; a line.")],
    discard: Annotated[bool, typer.Option("--discard", help="Give up, for good, the volume that is kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take a box's data back to before its last upgrade, and its release with them; the volume of now is kept.

    It is kept until it is given up with --discard; a `git revert` of the restore's commit goes back to it.
    """
    from controller.clients import platform

    told = platform.discard(box, reason) if discard else platform.restore(box, reason)
    line = f"given up: volume {told['volume']} of {box}" if discard else f"restoring: {box} to {told['release']}"
    typer.echo(json.dumps(told) if as_json else f"{line} (job {told['job_id']})")


@jobs_app.command()
def reject(
    job_id: Annotated[str, typer.Argument(help="A job in state needs_approval or failed.")],
    reason: Annotated[str, typer.Option(help="Why it shall not be, for whoever asks later.")],
) -> None:
    """Say that a job shall not be: its box is wanted as it was before it, or as later jobs say."""
    from controller.clients import platform

    followed_by = platform.reject(job_id, reason)
    typer.echo(f"rejected: {job_id}" + (f", followed by {followed_by}" if followed_by else ""))


def main() -> None:
    """Run the command line; our own errors end it with one line and exit code 1."""
    try:
        app()
    except CloudError as error:
        typer.echo(f"openclaw-cloud: {error}", err=True)
        sys.exit(1)


def _dramatiq(broker: str, queue: str, *, threads: int) -> None:
    os.environ["dramatiq_queue_prefetch"] = "4"  # noqa: SIM112, Dramatiq's own spelling
    argv = ["-p", "1", "-t", str(threads), "-Q", queue, "--worker-shutdown-timeout", "60000", broker]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", *argv])  # noqa: S606


def _until_stopped(name: str, work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    from controller.core import log, metrics
    from controller.core.settings import load

    async def guarded() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        metrics.serve(load(metrics.MetricsSettings))
        await work(stop)

    log.configure(name)
    asyncio.run(guarded())
