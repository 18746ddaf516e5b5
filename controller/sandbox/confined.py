"""``python -m controller.sandbox.confined PLAN``: runs one command where it sees its own files and a few doors.

The command gets namespaces of its own: for processes, mounts, the network and IPC. Its root holds the system's
programs, the folders that the plan names and a private ``/tmp``; its only network is loopback, on which each of the
plan's doors leads to one address outside, and one port leads in. It runs without capabilities as the plan's user.

Not confined: CPU time, memory, disk space, and the kernel's system calls. Needs root. We end as the command ends, and
it ends with us.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NEW_PID, _NEW_NET = 0x20000000, 0x40000000
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41
_BLOCK_BYTES = 65_536
_LOOPBACK = "127.0.0.1"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# Given are: an empty folder, where the new root is put together; the user, the group, the text of /etc/hosts, the
# folders to read, one a line, and those to write; and then the command.
BUILD_ROOT = r"""
set -eu
root=$1 user=$2 group=$3 hosts=$4 readable=$5 writable=$6
shift 6
mount --make-rprivate /
mount -t tmpfs -o mode=0755,size=16m none "$root"
cd "$root"
put() { # OPTIONS PATH: what the machine has at PATH, at the same place
    if [ -d "$2" ]; then mkdir -p ".$2"; else mkdir -p ".${2%/*}"; : > ".$2"; fi
    mount -o "$1" "$2" ".$2"
}
put bind,ro,nosuid /usr
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then cp -P "/$name" "./$name"; elif [ -d "/$name" ]; then put bind,ro,nosuid "/$name"; fi
done
for name in passwd group nsswitch.conf resolv.conf ld.so.cache localtime ssl ca-certificates alternatives; do
    if [ -e "/etc/$name" ]; then put bind,ro,nosuid,nodev "/etc/$name"; fi
done
printf '%s' "$hosts" > etc/hosts
mkdir -p proc dev tmp
mount -t proc -o nosuid,nodev,noexec proc proc
for name in null zero full random urandom; do put bind,nosuid,noexec "/dev/$name"; done
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777,size=512m,nosuid,nodev none tmp
printf '%s\n' "$readable" | while IFS= read -r path; do [ -z "$path" ] || put bind,ro,nosuid,nodev "$path"; done
printf '%s\n' "$writable" | while IFS= read -r path; do [ -z "$path" ] || put bind,nosuid,nodev "$path"; done
mkdir old
pivot_root . old
cd /
umount -l old
rmdir old
mount -o remount,ro /
exec setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    --ambient-caps=-all --pdeathsig KILL -- "$@"
"""


@dataclass(frozen=True)
class Door:
    """``host:port`` outside, reached inside at ``inside``, a loopback address, and the same port."""

    inside: str
    host: str
    port: int


@dataclass(frozen=True)
class Plan:
    """What to run, as whom, and all that it may see."""

    argv: list[str]
    uid: int
    gid: int
    readable: list[str]
    writable: list[str]
    doors: list[Door]
    hosts: str
    """The text of ``/etc/hosts``."""

    port: int | None
    """The port inside that is reached from outside, on loopback."""

    empty: str
    """An empty folder."""

    @classmethod
    def read(cls, file: Path) -> Plan:
        """The plan that was written to ``file``."""
        given = json.loads(file.read_text())
        return cls(**given | {"doors": [Door(**door) for door in given["doors"]]})


class Space:
    """A network namespace with nothing but loopback, to make sockets in."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._outside = _namespace("net")
        self._do("unshare", _NEW_NET)
        self._inside = _namespace("net")
        _raise_loopback()
        self._do("setns", self._outside, _NEW_NET)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets and processes made in the block are of the namespace; there must be no ``await`` in it."""
        self._do("setns", self._inside, _NEW_NET)
        try:
            yield
        finally:
            self._do("setns", self._outside, _NEW_NET)

    def start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        """A process in it that is the first of a process namespace of its own."""
        outside = _namespace("pid")
        with self.entered():
            self._do("unshare", _NEW_PID)
            try:
                return subprocess.Popen(argv)
            finally:
                self._do("setns", outside, _NEW_PID)
                os.close(outside)

    def _do(self, name: str, *arguments: int) -> None:
        if getattr(self._libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


async def run(plan: Plan) -> int:
    """Run the plan to its end; the command's exit code, 128 + n if it died of signal n."""
    space = Space()
    servers = [await _lead_out(space, door) for door in plan.doors]
    if plan.port is not None:
        servers.append(await _lead_in(space, plan.port))
    folders = ["\n".join(paths) for paths in (plan.readable, plan.writable)]
    build = [plan.empty, str(plan.uid), str(plan.gid), plan.hosts, *folders]
    child = space.start(
        ["unshare", "--mount", "--ipc", "--uts", "--", "sh", "-c", BUILD_ROOT, "sh", *build, *plan.argv]
    )
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(os.pidfd_open(child.pid), over.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, child.send_signal, number)
    await over.wait()
    for server in servers:
        server.close()
    code = child.wait()
    return 128 - code if code < 0 else code


async def _lead_out(space: Space, door: Door) -> asyncio.Server:
    with space.entered():
        listener = _listener(door.inside, door.port)
    return await _relay(listener, lambda: asyncio.open_connection(door.host, door.port))


async def _lead_in(space: Space, port: int) -> asyncio.Server:
    async def connect() -> Streams:
        with space.entered():
            made = socket.socket()
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (_LOOPBACK, port))
        except OSError:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    return await _relay(_listener(_LOOPBACK, port), connect)


async def _relay(listener: socket.socket, connect: Callable[[], Awaitable[Streams]]) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The command is over. Python 3.11 would log it as an error, behind the command's last words.
        with contextlib.suppress(asyncio.CancelledError):
            await _join((reader, writer), connect)

    return await asyncio.start_server(serve, sock=listener)


async def _join(near: Streams, connect: Callable[[], Awaitable[Streams]]) -> None:
    reader, writer = near
    try:
        far_reader, far_writer = await connect()
    except OSError:
        # As good as refused: what there is to say is said by the far end's absence.
        writer.transport.abort()
        return
    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    for one in (writer, far_writer):
        one.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end; a connection that breaks on one side breaks on the other."""
    try:
        while block := await reader.read(_BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def _listener(host: str, port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(128)
    return made


def _namespace(kind: str) -> int:
    return os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Plan.read(Path(sys.argv[1])))))
