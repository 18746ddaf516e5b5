"""All that surrounds one real gateway, on one address: the platform, its MCP door, a scripted model and Telegram."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from controller.sandbox import accounts
from controller.sandbox.processes import Command, Process, tail
from tests.charts import mcp_notes
from tests.charts import platform as platforms
from tests.charts.platform import Platform

BOOT = timedelta(minutes=4)
TURN_SECONDS = 120.0
BOT = {"id": 123456789, "is_bot": True, "first_name": "Ana", "username": "ana_bot"}
USER = {"id": 7001, "is_bot": False, "first_name": "Rui"}

Body = dict[str, Any]
Step = Callable[[Body], dict[str, Any]]
"""One answer of the model, made of the request: the delta of its only chunk."""


def call(tool: str, **arguments: Any) -> Step:
    """The model calls ``tool``."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return lambda _: {"tool_calls": [{"index": 0, "id": "call1", "type": "function", "function": function}]}


def tell(body: Body) -> dict[str, Any]:
    """The model repeats what the last tool answered."""
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    return {"content": f"RESULT {results[-1]}"}


class World(Platform):
    """The platform of ``platform.py`` with a model that follows ``script``, a chat, and an MCP server as ``linear``."""

    def __init__(self, notes_url: str) -> None:
        super().__init__()
        self.script: list[Step] = []
        self.prompts: list[Body] = []
        self.asked: list[tuple[str, str]] = []
        """Path and bearer token of every request for connections and to the MCP door."""

        self._notes_url = notes_url
        self._updates: asyncio.Queue[str] = asyncio.Queue()
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._update_id = 0

    async def turn(self, *script: Step, text: str = "please") -> str:
        """What the agent sends to its user when told ``text``, with the model following ``script``."""
        self.script = list(script)
        self._updates.put_nowait(text)
        async with asyncio.timeout(TURN_SECONDS):
            return await self._heard.get()

    def install(self, app: web.Application) -> None:
        """Add the routes beside the platform's own."""
        app.router.add_get("/internal/agent/connections", self.answer_connections)
        app.router.add_route("*", "/mcp/linear", self.answer_mcp)
        app.router.add_post("/v1/chat/completions", self.answer_model)
        app.router.add_route("*", "/bot{token}/{method}", self.answer_bot)

    async def answer_connections(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"connections": self.profile["connections"]})

    async def answer_mcp(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.method == "GET":
            return web.Response(status=405)
        passed = {"content-type", "accept", "mcp-session-id", "mcp-protocol-version"}
        headers = {name: value for name, value in request.headers.items() if name.lower() in passed}
        async with httpx.AsyncClient() as http:
            answer = await http.request(request.method, self._notes_url, content=await request.read(), headers=headers)
        kept = {name: answer.headers[name] for name in ("content-type", "mcp-session-id") if name in answer.headers}
        return web.Response(status=answer.status_code, body=answer.content, headers=kept)

    async def answer_model(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.prompts.append(body)
        delta = self.script.pop(0)(body) if self.script else {"content": "ok"}
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if "tool_calls" in delta else "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        chunks = [{**head, "choices": [choice]}, {**head, "choices": [last]}, {**head, "choices": [], "usage": usage}]
        lines = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
        text = "".join(f"data: {line}\n\n" for line in lines)
        return web.Response(text=text, content_type="text/event-stream")

    async def answer_bot(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        chat = {"id": USER["id"], "type": "private", "first_name": "Rui"}
        message = {"message_id": 2, "date": 1_790_000_000, "chat": chat, "from": BOT, "text": "…"}
        if method == "getUpdates":
            return web.json_response({"ok": True, "result": await self._next_updates(chat)})
        if method in {"sendMessage", "editMessageText"}:
            self._hear(str((await request.json())["text"]))
        known: dict[str, Any] = {"getMe": BOT, "sendMessage": message, "editMessageText": message}
        return web.json_response({"ok": True, "result": known.get(method, True)})

    def _hear(self, text: str) -> None:
        # While a tool runs the gateway shows that it works, and takes that back.
        if text.startswith(("RESULT", "ok")):
            self._heard.put_nowait(text)

    async def _next_updates(self, chat: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(5):
                text = await self._updates.get()
        except TimeoutError:
            return []
        self._update_id += 1
        said = {"message_id": self._update_id, "date": 1_790_000_000, "chat": chat, "from": USER, "text": text}
        return [{"update_id": self._update_id, "message": said}]

    def _note(self, request: web.Request) -> None:
        self.asked.append((request.path, request.headers.get("Authorization", "").removeprefix("Bearer ")))


@contextlib.asynccontextmanager
async def around() -> AsyncIterator[World]:
    """A world on a loopback port of its own."""
    async with mcp_notes.serving() as notes_url:
        world = World(notes_url)
        async with platforms.serving(world):
            yield world


class Gateway:
    """A box with the real gateway in that world, on a volume that outlives it; its pod is told ``told`` besides."""

    def __init__(self, image: Path, folder: Path, world: Platform, **told: str) -> None:
        self.image, self.folder, self.world = image, folder, world
        self._told = {"OPENCLAW_PROXY_URL": world.url, "OPENCLAW_EXEC": "full", **told}
        self._box: Process | None = None

    async def boot(self) -> dict[str, Any]:
        """Start it; its report, once it is ready."""
        account = accounts.to_drop_to(accounts.AGENT)
        env = platforms.environment(self.folder, self.world.url, **self._told)
        env["NODE_COMPILE_CACHE"] = str(self.image / "compile-cache")
        (self.folder / "data").mkdir(exist_ok=True)
        if account:
            for place in (self.folder / "data", self.folder / "tmp"):
                os.chown(place, account.uid, account.gid)
        argv = [str(self.image / "bin/node"), str(self.image / "entrypoint.mjs")]
        command = Command("box", argv, self.folder / "log", env, account, stop_grace=timedelta(seconds=45))
        self._box = await Process.start(command)
        return await self.reported()

    async def reported(self) -> dict[str, Any]:
        """The gateway's next report."""
        try:
            async with asyncio.timeout(BOOT.total_seconds()):
                return await self.world.reports.get()
        except TimeoutError:
            raise AssertionError(self.log()) from None

    def reloads(self) -> int:
        """How often the gateway took up a changed configuration while it ran."""
        return (self.folder / "log").read_text().count("config hot reload applied")

    async def reloaded(self, before: int) -> None:
        """Return once it did so more than ``before`` times."""
        async with asyncio.timeout(TURN_SECONDS):
            while self.reloads() <= before:
                await asyncio.sleep(0.1)

    async def stop(self) -> int | None:
        """Stop it as a pod is stopped; its exit code, None if it never ran."""
        if self._box is None:
            return None
        await self._box.stop()
        return self._box.child.returncode

    def pids(self) -> list[int]:
        """The entrypoint and its direct children."""
        assert self._box is not None
        pid = self._box.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def log(self) -> str:
        """The end of what it wrote."""
        return tail(self.folder / "log", 40)
