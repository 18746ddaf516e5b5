"""A small MCP server, over HTTP within a test or, run as a program, over stdio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from mcp.server import MCPServer

from controller.sandbox.processes import free_port


def notes() -> MCPServer:
    """A server with one tool, which says its argument backwards."""
    server = MCPServer("notes")

    @server.tool()
    def lookup(word: str) -> str:
        """The note on a word."""
        return f"note:{word[::-1]}"

    return server


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Its address on loopback, over streamable HTTP."""
    port = free_port()
    app = notes().streamable_http_app(json_response=True)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        await task


if __name__ == "__main__":
    notes().run("stdio")
