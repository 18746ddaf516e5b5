"""Runs the API server of the cluster's stand-in in a thread of its own, and speaks to it with the official client."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from kubernetes import client

from controller.sandbox.cluster import api
from controller.sandbox.cluster.store import Store


@dataclass(frozen=True)
class Served:
    """One served cluster: its URL and the official client's groups."""

    url: str
    client: Any  # kubernetes.client.ApiClient; the library has no types that can be named
    core: Any
    apps: Any
    custom: Any


@contextmanager
def served(file: Path) -> Iterator[Served]:
    """The API over the store in ``file``, on a free port of 127.0.0.1 while the block runs."""
    started, held = threading.Event(), list[uvicorn.Server]()
    # asyncio switches Nagle's delay (40 ms an answer) off only where the protocol is named
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=asyncio.run, args=(_serve(file, listener, held, started),), daemon=True)
        thread.start()
        assert started.wait(10), "the server did not start within 10 s"
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        configuration = client.Configuration(host=url)
        with client.ApiClient(configuration) as talks:
            core, apps = client.CoreV1Api(talks), client.AppsV1Api(talks)
            yield Served(url, talks, core, apps, client.CustomObjectsApi(talks))
        held[0].should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop within 10 s"


async def _serve(file: Path, listener: socket.socket, held: list[uvicorn.Server], started: threading.Event) -> None:
    store = Store(file)
    server = uvicorn.Server(uvicorn.Config(api.app(store), log_config=None, timeout_graceful_shutdown=1))
    held.append(server)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    started.set()
    await serving
    store.close()
