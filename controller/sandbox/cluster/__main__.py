"""``python -m controller.sandbox.cluster``: the API server, Argo's loops and the kubelet in one process."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from controller.core import log as logs
from controller.sandbox import accounts
from controller.sandbox.cluster import accounting, api, cell_chart, events, furniture
from controller.sandbox.cluster.argo_sets import Sets
from controller.sandbox.cluster.argo_sync import Sync
from controller.sandbox.cluster.checkout import Checkout
from controller.sandbox.cluster.deployments import Deployments
from controller.sandbox.cluster.external_secrets import ExternalSecrets
from controller.sandbox.cluster.kubelet import Kubelet
from controller.sandbox.cluster.logs import Folder
from controller.sandbox.cluster.pods import Node
from controller.sandbox.cluster.render import Charts
from controller.sandbox.cluster.resources import APPLICATION_SET
from controller.sandbox.cluster.snapshots import Snapshots
from controller.sandbox.cluster.store import Store
from controller.sandbox.cluster.usage import Usage

Loop = Callable[[], Coroutine[Any, Any, None]]
_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "sandbox",
    "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
    "users": [{"name": "sandbox", "user": {}}],
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controller.sandbox.cluster")
    parser.add_argument("--port", type=int, required=True)
    for name in ("--data", "--chart", "--image", "--cell-values"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--charts", type=Path)
    for name in ("--git", "--cell", "--secrets-url", "--secrets-token"):
        parser.add_argument(name, required=True)
    parser.add_argument("--poll-seconds", type=float, default=180.0)
    parser.add_argument("--wave-seconds", type=float, default=0.0)
    parser.add_argument("--steady-seconds", type=float, default=60.0)
    parser.add_argument("--backoff-seconds", type=float, default=10.0)
    parser.add_argument("--uid", type=int, default=accounts.AGENT.uid)
    parser.add_argument("--gid", type=int, default=accounts.AGENT.gid)
    return parser.parse_args()


class _Server(uvicorn.Server):
    """The API server; signals are ours, because the pods have to end before it does."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._listening()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


async def _serve(given: argparse.Namespace) -> None:
    data: Path = given.data
    store = Store(data / "objects.sqlite")
    account = accounts.to_drop_to(accounts.Account(given.uid, given.gid))
    steady, backoff = timedelta(seconds=given.steady_seconds), timedelta(seconds=given.backoff_seconds)
    kubelet = Kubelet(store, Node(data, given.image, account, steady, backoff=backoff))
    usage = Usage(kubelet.processes)
    values = json.loads(given.cell_values.read_text())
    await kubelet.sweep()
    own = cell_chart.objects(cell_chart.values(values, given.git, given.secrets_url, given.poll_seconds))
    sets = [one for one in own if one["kind"] == APPLICATION_SET.kind]
    furniture.place(store, [one for one in own if one not in sets])
    charts = Charts(given.chart, given.charts)
    loops: list[Loop] = [
        kubelet.run,
        usage.run,
        partial(events.age, store),
        partial(accounting.run, store),
        Deployments(store).run,
        Snapshots(store, data / "volumes").run,
        ExternalSecrets(store, given.secrets_url, given.secrets_token, given.cell).run,
        Sync(store, charts, given.wave_seconds).run,
        Sets(store, Checkout(given.git, data / "argo.git"), values, sets, given.poll_seconds).run,
    ]
    shown = api.Parts(Folder(data / "logs"), usage, charts)
    options = uvicorn.Config(api.app(store, shown), port=given.port, log_config=None, timeout_graceful_shutdown=0)
    server = _Server(options, lambda: _write_kubeconfig(data / "kubeconfig", given.port))
    await _until_stopped(loops, server)


async def _until_stopped(loops: Sequence[Loop], server: uvicorn.Server) -> None:
    """Run all of them until a signal comes or one fails; its error is raised once everything has ended."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    tasks = [asyncio.create_task(loop()) for loop in loops]
    asked = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait([serving, asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    for early in ended:
        early.result()


def _write_kubeconfig(path: Path, port: int) -> None:
    cluster = {"name": "sandbox", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(_KUBECONFIG | {"clusters": [cluster]}))
    partial.rename(path)  # whoever waits for the file reads it at once


if __name__ == "__main__":
    logs.configure("cluster")
    arguments = _arguments()
    arguments.data.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(arguments))
