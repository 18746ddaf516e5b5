"""A Helm repository over HTTP: it answers its index as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Repository:
    """What it holds; ``answer`` says something else than its index, and ``status`` with what."""

    url: str = ""
    releases: list[str] = field(default_factory=list)
    answer: bytes | None = None
    status: int = 200

    def index(self) -> bytes:
        """Helm's ``index.yaml``; JSON is YAML."""
        entries = [
            {"apiVersion": "v2", "name": "box", "version": one, "urls": [f"box-{one}.tgz"]} for one in self.releases
        ]
        return json.dumps({"apiVersion": "v1", "entries": {"box": entries}}).encode()


@contextmanager
def running(*releases: str) -> Iterator[Repository]:
    """A repository with these releases while the block runs."""
    made = Repository(releases=list(releases))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (made.index() if made.answer is None else made.answer) if self.path == "/index.yaml" else b""
            self.send_response(made.status if body else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        server.shutdown()
