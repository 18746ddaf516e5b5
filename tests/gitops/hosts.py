"""Git hosts on this machine: git's own HTTP back end behind a password, and an SSH server that takes one key."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncssh

from tests.certificates import Certificate


class HttpHost:
    """Serves the repositories in ``folder`` to whoever knows ``password``; ``saw`` is what each gave."""

    def __init__(
        self, folder: Path, certificate: Certificate | None = None, listen: str = "127.0.0.1", host: str = "127.0.0.1"
    ) -> None:
        """``host`` is how its clients call the address that it listens at."""
        self.folder = folder
        self.user, self.password = "writer", "right"
        self.status: int | None = None
        self.says = b"no"
        self.moved_to: str | None = None
        self.saw: list[str] = []
        self.hangs = threading.Event()
        self.hangs.set()
        self._server = ThreadingHTTPServer((listen, 0), self._handler())
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://{host}:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[HttpHost]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.hangs.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Refuse, or let git answer."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        self.hangs.wait(60)
        given = handler.headers.get("Authorization", "")
        self.saw.append(given)
        right = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.moved_to or self.status is not None or given != right:
            handler.send_response(302 if self.moved_to else self.status or 401)
            if self.moved_to:
                handler.send_header("Location", self.moved_to + handler.path)
            handler.send_header("WWW-Authenticate", 'Basic realm="git"')
            handler.send_header("Content-Type", "text/plain")
            handler.send_header("Content-Length", str(len(self.says)))
            handler.end_headers()
            handler.wfile.write(self.says)
            return
        self._by_git(handler, body)

    def _by_git(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path, _, query = handler.path.partition("?")
        told = {
            "GIT_PROJECT_ROOT": str(self.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_METHOD": handler.command, "REMOTE_USER": self.user, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""), "GIT_CONFIG_NOSYSTEM": "1",
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""), "PATH": os.environ["PATH"],
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""), "GIT_CONFIG_GLOBAL": os.devnull,
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=told, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        handler.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def do_POST(self) -> None:
                host.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


class _OneKey(asyncssh.SSHServer):
    """Lets in whoever holds the private half of ``key``."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self._key = key

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._key.public_data


async def _by_git(process: asyncssh.SSHServerProcess[bytes]) -> None:
    # git-receive-pack '/path': as sshd does, through the shell
    child = await asyncio.create_subprocess_shell(
        process.command or "false", stdin=-1, stdout=-1, stderr=-1, env={"PATH": os.environ["PATH"]}
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    code = await child.wait()
    await process.stdout.drain()
    process.exit(code)
    await process.wait_closed()


@asynccontextmanager
async def ssh_host(host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey) -> AsyncIterator[int]:
    """The port of an SSH server on 127.0.0.1 while the block runs."""
    server = await asyncssh.create_server(
        lambda: _OneKey(client_key), "127.0.0.1", 0, server_host_keys=[host_key], process_factory=_by_git, encoding=None
    )
    async with server:
        yield server.get_port()
