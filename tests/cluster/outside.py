"""What the cluster reaches on this machine: the GitOps repository, the chart repository and the secret endpoint."""

from __future__ import annotations

import hashlib
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uvicorn
import yaml
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.charts.boxes import CHART
from tests.sandbox.stripe.serving import eventually

HOST = os.environ.get("CLUSTER_TESTS_HOST", "127.0.0.1")
"""The address at which the cluster's pods find this machine."""
LISTEN = "127.0.0.1" if HOST == "127.0.0.1" else "0.0.0.0"


def publish(folder: Path, *releases: str) -> None:
    """Make ``folder`` a Helm repository that has ``charts/box`` under each of the releases."""
    folder.mkdir()
    entries = []
    for release in releases:
        about = {**yaml.safe_load((CHART / "Chart.yaml").read_text()), "version": release}
        archive = folder / f"box-{release}.tgz"
        (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
        with tarfile.open(archive, "w:gz") as out:
            out.add(folder / "Chart.yaml", "box/Chart.yaml")
            for name in ("values.yaml", "values.schema.json", "templates", "files"):
                out.add(CHART / name, f"box/{name}")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        entries.append({**about, "urls": [archive.name], "digest": digest, "created": "2026-11-01T00:00:00Z"})
    index = {"apiVersion": "v1", "entries": {"box": entries}, "generated": "2026-11-01T00:00:00Z"}
    (folder / "index.yaml").write_text(yaml.safe_dump(index))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Away:
    """Answers 503 for the app while ``away`` is set."""

    def __init__(self, app: ASGIApp, away: threading.Event) -> None:
        self._app, self._away = app, away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (PlainTextResponse("away", 503) if self._away.is_set() else self._app)(scope, receive, send)


@contextmanager
def files(folder: Path) -> Iterator[str]:
    """The address of the folder's files over HTTP while the block runs."""
    server = ThreadingHTTPServer((LISTEN, 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def app(served: FastAPI) -> Iterator[str]:
    """The address of ``served`` while the block runs."""
    server = uvicorn.Server(uvicorn.Config(served, log_config=None, timeout_graceful_shutdown=0))
    with socket.create_server((LISTEN, 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        eventually(lambda: server.started)
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
