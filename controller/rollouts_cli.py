"""``openclaw-cloud admin rollout``: a release of the boxes' chart, ring by ring, through the API."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(help="Roll a release of the boxes' chart out, ring by ring; one rollout at a time.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COUNTS = ("waiting", "under_way", "healthy", "failed", "left", "undone")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    release: Annotated[str | None, typer.Option("--release", help="A published version of the chart.")] = None,
    batch: Annotated[int | None, typer.Option(help="At most so many boxes under way at once (20).")] = None,
    soak_minutes: Annotated[float | None, typer.Option(help="How long a ring must stay well (10).")] = None,
    patience_minutes: Annotated[float | None, typer.Option(help="How long a box may take to be well (15).")] = None,
    failures_percent: Annotated[int | None, typer.Option(help="How many of a ring may fail, in percent (0).")] = None,
    as_json: Json = False,
) -> None:
    """Begin with --release, or see how the newest rollout is with `status`.

    It stops by itself, with the reason, when more boxes of a ring fail than may.
    """
    from controller.clients import platform

    if context.invoked_subcommand is not None:
        if release is not None:
            raise typer.BadParameter("--release starts a rollout and goes with no other command")
        return
    if release is None:
        raise typer.BadParameter("give --release to start one, or a command: status, pause, resume, abort")
    asked: dict[str, Any] = {
        "release": release,
        "batch": batch,
        "soak": None if soak_minutes is None else soak_minutes * 60,
        "patience": None if patience_minutes is None else patience_minutes * 60,
        "failures_percent": failures_percent,
    }
    _print(platform.start_rollout({name: value for name, value in asked.items() if value is not None}), as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """How the newest rollout is, ring by ring, and the boxes that failed or were left alone."""
    from controller.clients import platform

    told = platform.list_rollouts()
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"release of the fleet: {told['fleet_release']}")
    if told["rollouts"]:
        _print(told["rollouts"][0], as_json)


@app.command()
def pause(as_json: Json = False) -> None:
    """Move no more boxes until `resume`; those under way go on."""
    _act("pause", as_json)


@app.command()
def resume(as_json: Json = False) -> None:
    """Go on after `pause`, or try again after it stopped."""
    _act("resume", as_json)


@app.command()
def abort(as_json: Json = False) -> None:
    """Give every box that was moved its former release, the last moved first, unless ops chose another since."""
    _act("abort", as_json)


def _act(verb: str, as_json: bool) -> None:
    from controller.clients import platform

    _print(platform.change_rollout(verb), as_json)


def _print(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(one))
        return
    at = "" if one["ring"] is None else f" at ring {one['ring']}"
    typer.echo(f"{one['id']}  {one['release']}  {one['state']}{at}")
    if one["reason"]:
        typer.echo(f"  {one['reason']}")
    for ring in one["rings"]:
        counted = ", ".join(f"{ring[name]} {name.replace('_', ' ')}" for name in _COUNTS if ring[name])
        typer.echo(f"  ring {ring['ring']}: {counted or 'nothing'}")
    for box in one["troubles"]:
        typer.echo(f"  box {box['box_id']}: {box['reason']}")
