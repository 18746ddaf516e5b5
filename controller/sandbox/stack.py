"""Everything on one machine: started in order, restarted when it dies, and stopped without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from pydantic import SecretStr

from controller.clients.platform import running_file
from controller.clients.stripe import Stripe, StripeSettings
from controller.core import log as logs
from controller.core.db import Database
from controller.core.settings import DatabaseSettings
from controller.domain import migrate
from controller.domain.plans import PLANS
from controller.gitops import commands
from controller.sandbox import accounts, images, services, state
from controller.sandbox.postgres import Postgres
from controller.sandbox.processes import Command, Process, listening, tail, together
from controller.sandbox.services import Addresses, Service
from controller.sandbox.valkey import Valkey

log = logs.get(__name__)

REPO = Path(__file__).resolve().parents[2]
START = timedelta(seconds=60)
RESTART_PAUSE = 0.5
Say = Callable[[str], None]


class Stack:
    """One running sandbox. ``async with Stack(data) as stack`` starts and stops it."""

    def __init__(self, data: Path | None, *, say: Say = lambda _: None, ready_file: Path | None = None) -> None:
        """``data`` is kept; without one everything is in a temporary folder that goes with the stack."""
        self._temporary = data is None
        self.data = (data or Path(tempfile.mkdtemp(prefix="openclaw-cloud-"))).resolve()
        self._say = say
        self._ready_files = [file for file in (ready_file, running_file()) if file is not None]
        self._running: dict[str, Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._servers: list[Postgres | Valkey] = []
        self._held = contextlib.ExitStack()
        self._announced = False
        self.at: Addresses
        self.state: state.State

    async def __aenter__(self) -> Stack:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def addresses(self) -> dict[str, Any]:
        """The ready file's document: with it a black-box test can drive the system."""
        servers = {"postgres": self._servers[0].pid, "queue": self._servers[1].pid, "cache": self._servers[2].pid}
        return {
            "api_url": self.state.url("api"),
            "proxy_url": self.state.url("proxy"),
            "stripe": {"api_url": self.state.url("stripe"), "webhook_secret": self.at.webhook_secret,
                       "api_key": self.state.stripe_api_key, "control_url": f"{self.state.url('stripe')}/_control"},
            "telegram": {"api_url": self.state.url("telegram"),
                         "control_url": f"{self.state.url('telegram')}/_control"},
            "llm": {"url": self.state.url("llm"), "control_url": f"{self.state.url('llm')}/_control"},
            "mail": {"smtp": f"smtp://127.0.0.1:{self.state.ports['smtp']}", "url": self.state.url("mail"),
                     "control_url": f"{self.state.url('mail')}/_control"},
            "git": {"path": str(self.at.git)},
            "kubeconfig": str(self.at.kubeconfig),
            "postgres_dsn": self.at.dsn,
            "queue_redis_url": self.at.queue,
            "cache_redis_url": self.at.cache,
            "metrics": {name: f"{self.state.url(f'metrics-{name}')}/metrics" for name in state.MEASURED}
            | {name: f"{self.state.url(name)}/metrics" for name in ("translator",) if name in self._running},
            "admin_token": self.state.admin_token,
            "processes": servers | {name: process.child.pid for name, process in self._running.items()},
        }  # fmt: skip

    def log_file(self, name: str) -> Path:
        """Where the process ``name`` logs."""
        return self.data / "logs" / f"{name}.log"

    async def _start(self) -> None:
        commands.check_version()
        self.data.mkdir(parents=True, exist_ok=True)
        if self._temporary:
            self.data.chmod(0o711)
        (self.data / "logs").mkdir(exist_ok=True)
        self._held.enter_context(state.held(self.data))
        self.state = state.load(self.data)
        await state.check_ports(self.state)
        opened = accounts.open_place(self.data)
        self._say("stores and vendors")
        image = asyncio.create_task(images.build(REPO / "charts/box", images.default_store()))
        await self._start_servers(opened)
        await together(self._run(one) for one in services.vendors(self.state, self.data))
        secret = await self._open_shop()
        self._say("the agent's image (npm, once a machine)")
        self.at = Addresses(
            dsn=self._servers[0].dsn("postgres") if isinstance(self._servers[0], Postgres) else "",
            queue=self._redis(1),
            cache=self._redis(2),
            webhook_secret=secret,
            git=_git_remote(self.data / "git" / "gitops.git"),
            kubeconfig=opened / "cluster" / "kubeconfig",
            image=await image,
            open_place=opened,
        )
        await _migrate(self.at.dsn)
        self._say("our processes")
        await together(self._run(one) for one in services.platform(self.state, self.at, self.data, REPO))
        self._announce()

    async def _start_servers(self, opened: Path) -> None:
        where, ports = self.data / "logs", self.state.ports
        self._servers = [
            Postgres(opened / "postgres", where, durable=not self._temporary, port=ports["postgres"]),
            Valkey("queue", self.data / "queue", where, queue=True, port=ports["queue"]),
            Valkey("cache", self.data / "cache", where, queue=False, port=ports["cache"]),
        ]
        await together(server.start() for server in self._servers)

    async def _open_shop(self) -> str:
        """Prices and our webhook endpoint at Stripe; the endpoint's secret."""
        settings = StripeSettings(
            stripe_api_key=SecretStr(self.state.stripe_api_key), stripe_api_url=self.state.url("stripe")
        )
        client = Stripe(settings)
        await client.ensure_prices(PLANS)
        return await client.open_endpoint(f"{self.state.url('api')}/webhooks/stripe")

    async def _run(self, service: Service) -> None:
        log_file = self.log_file(service.name)
        command = Command(service.name, service.argv, log_file, env=service.env, stop_grace=service.stop_grace)
        process = await Process.start(command)
        self._running[service.name] = process
        await process.ready(lambda: self._is_ready(service), START)
        self._watchers.append(asyncio.create_task(self._keep(service.name, command)))

    async def _is_ready(self, service: Service) -> bool:
        if service.port is not None:
            return await listening(self.state.ports[service.port])
        return service.says is None or service.says in tail(self.log_file(service.name))

    async def _keep(self, name: str, command: Command) -> None:
        while True:
            await self._running[name].child.wait()
            log.warning("sandbox.process_restarted", process_name=name, code=self._running[name].child.returncode)
            await asyncio.sleep(RESTART_PAUSE)
            self._running[name] = await Process.start(command)
            self._announce()

    def _announce(self) -> None:
        self._announced = True
        text = json.dumps(self.addresses(), indent=1)
        for file in self._ready_files:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = file.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_text(text)
            partial.rename(file)

    async def _stop(self) -> None:
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for name in reversed(list(self._running)):
            await self._running[name].stop()
        for server in reversed(self._servers):
            await server.stop()
        if self._announced:
            for file in self._ready_files:
                file.unlink(missing_ok=True)
        self._held.close()
        if self._temporary:
            accounts.remove(self.data)

    def _redis(self, number: int) -> str:
        server = self._servers[number]
        return server.url if isinstance(server, Valkey) else ""


async def up(data: Path | None, ready_file: Path | None) -> int:
    """Run a stack until SIGINT or SIGTERM, also during its start; 0 after a clean stop."""
    logs.configure("up")
    running = asyncio.create_task(_keep_up(data, ready_file))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _end_once, running)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return 0


def _end_once(running: asyncio.Task[None]) -> None:
    """Cancel ``running``, but never its cleaning up: whoever presses Ctrl-C twice still leaves nothing behind."""
    if not running.cancelling():
        running.cancel()


async def _keep_up(data: Path | None, ready_file: Path | None) -> None:
    async with Stack(data, say=lambda what: typer.echo(f"starting {what}"), ready_file=ready_file) as stack:
        found = stack.addresses()
        places = {
            "api": found["api_url"],
            "proxy": found["proxy_url"],
            "telegram": f"{found['telegram']['api_url']}  (chat here as the customer)",
            "mail": found["mail"]["url"],
            "stripe": found["stripe"]["api_url"],
            "git": found["git"]["path"],
            "cluster": f"kubectl --kubeconfig {found['kubeconfig']}",
            "logs": f"{stack.data}/logs",
        }
        for name, place in places.items():
            typer.echo(f"{name:<10}{place}")
        typer.echo("ready; Ctrl-C stops everything")
        await asyncio.Event().wait()


async def _migrate(dsn: str) -> None:
    database = Database(DatabaseSettings(postgres_dsn=SecretStr(dsn)))
    await migrate.upgrade(database)
    await database.close()


def _git_remote(path: Path) -> Path:
    """A bare repository seeded from ``gitops-repo/``; found again on the next start."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    run = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)]
    subprocess.run(run, check=True, timeout=30)
    files = sorted(file for file in (REPO / "gitops-repo").rglob("*") if file.is_file())
    stream = b"commit refs/heads/main\ncommitter openclaw-cloud <gitops@openclaw.cloud> 1790000000 +0000\n"
    stream += b"data 12\nsandbox seed\n"
    for file in files:
        content = file.read_bytes()
        name = file.relative_to(REPO / "gitops-repo").as_posix()
        stream += f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=stream, check=True, timeout=30)
    return path
