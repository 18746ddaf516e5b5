"""The stand: real Postgres, Valkey, Git and our own processes, with a wire in front of each store to break it at.

Stripe is the sandbox's, the cell is ``cells.Cell``. Everything a fault needs is a verb here or on its parts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import redis
from pydantic import SecretStr
from sqlalchemy import select

from controller.clients.stripe import Stripe, StripeSettings
from controller.core.crypto import Sealer
from controller.core.db import Base, Database
from controller.core.settings import DatabaseSettings
from controller.domain import migrate, vault
from controller.domain.notices import LEASE
from controller.domain.plans import PLANS
from controller.sandbox import accounts
from controller.sandbox.postgres import Postgres
from controller.sandbox.processes import Command, StartError, free_port, python, tail
from controller.sandbox.valkey import Valkey
from tests.faults import environments
from tests.faults.cells import Cell
from tests.faults.children import Child
from tests.faults.environments import Keys
from tests.faults.loops import Loop, until
from tests.faults.outside import Outside
from tests.faults.talks import Talks
from tests.faults.wires import Wire
from tests.gitops import remotes

ROOT = Path(__file__).resolve().parents[2]
NICHES = str(ROOT / "charts/box/files/niches")
QUIET = 240.0
OURS = ("api", "worker", "writer", "sweeper", "watcher", "meter", "notices", "proxy")
RINGING = ("worker", "writer", "notices")
"""Those that listen on a queue."""
RowT = TypeVar("RowT", bound=Base)
_OPEN = """
SELECT (SELECT count(*) FROM inbox WHERE done_at IS NULL AND set_aside_at IS NULL)
     + (SELECT count(*) FROM operator_jobs WHERE state IN ('queued', 'committed', 'synced'))
     + (SELECT count(*) FROM notices WHERE state IN ('waiting', 'claimed', 'sending'))
     + (SELECT count(*) FROM reservations)
"""
_ABANDONED = """
UPDATE notices SET claimed_at = claimed_at - $1::interval
WHERE state IN ('claimed', 'sending') AND claimed_at <= to_timestamp($2)
"""


class Stand:
    """Everything, running from its making to ``close``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="openclaw-faults-"))
        self.folder.chmod(0o755)
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.loop = Loop()
        self.keys = Keys()
        self.bots: dict[str, dict[str, Any]] = {}
        """Every customer's bot by the draft that it was given with."""
        # durable: what Postgres acknowledged must be there after a SIGKILL
        self.postgres = Postgres(self.folder / "postgres", self.logs, durable=True)
        self.valkey = Valkey("queue", self.folder / "queue", self.logs, queue=True)
        self.loop.call(self.postgres.start())
        self.loop.call(self.valkey.start())
        self.postgres_wire = Wire(self.loop, self.postgres.port)
        self.valkey_wire = Wire(self.loop, self.valkey.port)
        self.database = Database(DatabaseSettings(postgres_dsn=SecretStr(self.postgres.dsn())))
        self.loop.call(migrate.upgrade(self.database))
        self.git = remotes.create(self.folder / "gitops.git")
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self.stripe_url = f"http://127.0.0.1:{free_port()}"
        self.proxy_url = f"http://127.0.0.1:{free_port()}"
        self.outside = Outside(self.folder)
        self.talks = Talks(self.loop, self.proxy_url, self.proxy_token)
        self.children: dict[str, Child] = {}
        self._open_shop()
        sealer = Sealer(self.keys.sealing)
        self.cell = Cell(self.loop, self.folder, self.git, self.api_url, lambda *key: self._token(sealer, *key))
        self.given_up = False
        """Whether it once did not become quiet in time."""
        self.errors = self.cell.refused
        """Every error body that anybody was given."""
        for name in OURS:
            self._start(name)
        self.ready()

    def ready(self) -> None:
        """Return once all our processes do their work."""
        until(self.answers, "the API and the proxy answer")
        for name in RINGING:
            self.children[name].says("ready for action")

    def quiet(self, seconds: float = QUIET) -> float:
        """Wait until nothing is open any more, and every 2xx was followed by its work; how long that took.

        What a sender of notices held when it died is let go of at once (``let_go``). Nobody waits a second time for a
        stand that did not become quiet once.
        """
        start = time.monotonic()
        while self.open() != 0 or self.talks.busy() or self.unmetered():
            self.given_up = self.given_up or time.monotonic() - start >= seconds
            assert not self.given_up, f"not quiet: {self.leftovers()}"
            self.let_go()
            time.sleep(0.05)
        return time.monotonic() - start

    def let_go(self) -> list[str]:
        """The lease of every notice passes whose sender has died, unless Postgres is away; the points hit so far."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.sql(_ABANDONED, LEASE, self.children["notices"].died_at)
        return self.hits()

    def open(self) -> int:
        """How many events, jobs, notices and calls are not finished; -1 while Postgres does not answer."""
        try:
            return int(self.sql(_OPEN)[0][0])
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return -1

    def unmetered(self) -> int:
        """How many answers that are over have no row yet."""
        talks = self.talks
        return len(talks.answered().keys() - talks.under_way().keys() - self.rows())

    def rows(self) -> set[str]:
        """The answers that have a row."""
        return {row[0] for row in self.sql("SELECT request_id FROM usage_events")}

    def box_of(self, subscription: str) -> str:
        """The box of a Stripe subscription; nothing as long as there is none."""
        rows = self.sql("SELECT box_id FROM subscriptions WHERE stripe_id = $1", subscription)
        return str(rows[0][0]) if rows and rows[0][0] else ""

    def leftovers(self) -> list[Any]:
        """What is open, for a message."""
        notices = "SELECT id, channel, state, attempts, error FROM notices WHERE closed_at IS NULL LIMIT 20"
        jobs = "SELECT id, verb, rev, state, attempts, error FROM operator_jobs WHERE state <> 'done'"
        lost = self.talks.answered().keys() - self.talks.under_way().keys() - self.rows()
        calls = [f"call {key} has no row" for key in sorted(lost)]
        return [*self.sql(jobs), *self.sql(notices), *self.sql("SELECT * FROM reservations LIMIT 20"), *calls]

    def last_words(self) -> list[tuple[str, str]]:
        """Titled texts for a report: the end of each process's log, and the deliveries that wait."""
        said = [(f"{name}, the last lines", tail(child.command.log, 25)) for name, child in self.children.items()]
        try:
            url = f"{self.stripe_url}/_control/deliveries"
            waiting = httpx.get(url, params={"status": "waiting"}, timeout=10).json()["deliveries"]
        except httpx.HTTPError as exc:
            return [*said, ("Stripe does not answer", repr(exc))]
        return [
            *said,
            ("Stripe still has to deliver", "\n".join(str(row | {"now": time.time()}) for row in waiting[:5])),
        ]

    def sql(self, query: str, *arguments: object) -> list[Any]:
        """Rows, straight from Postgres."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.postgres.dsn(), timeout=5)
            try:
                return list(await connection.fetch(query, *arguments))
            finally:
                await connection.close()

        return self.loop.call(ask())

    def all(self, table: type[RowT]) -> list[RowT]:
        """Every row of one table, as the domain has it."""

        async def read() -> list[RowT]:
            async with self.database.transaction() as session:
                return list(await session.scalars(select(table)))

        return self.loop.call(read())

    def opened(self, sealer: Sealer, owner: str, name: str, version: int) -> str:
        """A secret in plain."""

        async def read() -> str:
            async with self.database.transaction() as session:
                return await vault.get(session, sealer, owner, name, version, reader="cell:local")

        return self.loop.call(read())

    def agent_token(self, box_id: str) -> str:
        """The newest agent token of a box."""
        version = self.sql("SELECT max(version) FROM agent_tokens WHERE box_id = $1", box_id)[0][0]
        return self.opened(Sealer(self.keys.sealing), box_id, vault.AGENT, version)

    def proxy_token(self, box_id: str) -> str:
        """The newest token of a box for the models."""
        version = self.sql("SELECT max(version) FROM sealed_secrets WHERE owner = $1 AND name = 'proxy'", box_id)[0][0]
        return self.opened(Sealer(self.keys.sealing), box_id, vault.PROXY, version)

    @property
    def password(self) -> str:
        """The database's password."""
        return self.postgres.dsn().split(":")[2].partition("@")[0]

    def arm(self, points: Iterable[str], action: str = "kill", times: int = 1) -> None:
        """From now on each of ``points`` acts ``times`` times, counted anew; no points disarm all."""
        armed = self.folder / "armed"
        armed.write_text("")
        for mark in self.folder.glob("hits*"):
            mark.unlink()
        armed.with_suffix(".new").write_text(",".join(f"{point}:{action}:{times}" for point in points))
        armed.with_suffix(".new").rename(armed)

    def hits(self) -> list[str]:
        """The points hit since they were armed."""
        log = self.folder / "hits"
        return log.read_text().split() if log.exists() else []

    def kill_queue(self) -> None:
        """SIGKILL to Valkey."""
        self.signal_queue(signal.SIGKILL)
        self.loop.call(self.valkey.stop())

    def start_queue(self) -> None:
        """Valkey again, with what its file holds."""
        self.loop.call(self.valkey.start())

    def signal_queue(self, number: signal.Signals) -> None:
        """Send Valkey a signal."""
        os.kill(self.valkey.pid, number)

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster; its children notice and end."""
        os.kill(self.postgres.pid, signal.SIGKILL)
        self.loop.call(self.postgres.stop())

    def start_postgres(self) -> None:
        """Postgres again, recovered."""
        until(self._try_postgres, "Postgres starts")

    def redis(self) -> redis.Redis:
        """A client that does not go through the wire."""
        return redis.Redis.from_url(self.valkey.url)

    def restart(self, names: Iterable[str] = OURS, **env: str) -> None:
        """Restart these processes one after the other, with ``env`` on top."""
        for name in names:
            after = len(self.children[name].log())
            self.children[name].restart(**env)
            if name in RINGING:
                self.children[name].says("ready for action", after)
        until(self.answers, "the API and the proxy answer")

    def admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """One request with the admin's token; error bodies are kept for the canary scan."""
        headers = {"Authorization": f"Bearer {self.keys.admin}"}
        answer = httpx.request(method, f"{self.api_url}/admin{path}", json=body, headers=headers, timeout=60)
        if answer.is_error:
            self.errors.append(answer.text)
        return answer

    def mint(self) -> str:
        """A new box of ops; its id."""
        made = until(lambda: self._try_mint(), "a box is minted")
        return str(made["box_id"])

    def close(self) -> None:
        """Stop everything and delete the folder."""
        self.talks.close()
        for child in self.children.values():
            child.end()
        self.cell.close()
        self.outside.close()
        self.loop.call(self.database.close())
        for wire in (self.postgres_wire, self.valkey_wire):
            self.loop.call(_closed(wire))
        self.loop.call(self.valkey.stop())
        self.loop.call(self.postgres.stop())
        self.loop.close()
        accounts.remove(self.folder)

    def _try_postgres(self) -> bool:
        try:
            self.loop.call(self.postgres.start())
        except StartError:  # children of the old one still hold its memory
            return False
        return self.open() >= 0

    def _try_mint(self) -> dict[str, Any]:
        try:
            answer = self.admin("POST", "/customers", {})
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.status_code == 201 else {}

    def answers(self) -> bool:
        """Whether the API and the proxy are ready."""
        return all(_is_up(f"{url}/readyz") for url in (self.api_url, self.proxy_url))

    def _open_shop(self) -> None:
        port, data = self.stripe_url.rpartition(":")[2], str(self.folder / "stripe")
        argv = python("controller.sandbox.stripe", "--port", port, "--data", data)
        self.children["stripe"] = Child(
            self.loop, Command("stripe", argv, self.logs / "stripe.log", env=environments.plain())
        )
        settings = StripeSettings(stripe_api_key=SecretStr(self.keys.stripe), stripe_api_url=self.stripe_url)
        until(lambda: _is_up(f"{self.stripe_url}/_control/ready"), "Stripe answers")

        async def open_shop() -> str:
            client = Stripe(settings)
            await client.ensure_prices(PLANS)
            return await client.open_endpoint(f"{self.api_url}/webhooks/stripe")

        self.keys.webhook = self.loop.call(open_shop())

    def _start(self, name: str) -> None:
        argv = [sys.executable, "-m", "controller", name]
        self.children[name] = Child(
            self.loop, Command(name, argv, self.logs / f"{name}.log", env=environments.ours(self, NICHES))
        )

    async def _token(self, sealer: Sealer, box_id: str, version: int) -> str:
        async with self.database.transaction() as session:
            return await vault.get(session, sealer, box_id, vault.AGENT, version, reader="cell:local")


def git(stand: Stand, *arguments: str) -> str:
    """What git prints of the remote."""
    done = subprocess.run(["git", *arguments], cwd=stand.git, check=True, capture_output=True, timeout=120)
    return done.stdout.decode(errors="replace")


async def _closed(wire: Wire) -> None:
    wire.close()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False
