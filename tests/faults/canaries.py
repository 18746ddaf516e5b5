"""Every place where a plain secret must never stand, as pairs of a name and its bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.faults.stands import Stand

_PLACES = {
    "inbox": "error",
    "operator_jobs": "coalesce(error, '') || fields::text || coalesce(cause, '')",
    "progress_events": "facts::text",
    "subscriptions": "condition",
    "notices": "coalesce(error, '') || facts::text",
}


def places(stand: Stand) -> Iterator[tuple[str, bytes]]:
    """Git objects (those that nothing reaches too), logs, queue, error bodies, and what Postgres keeps in plain."""
    for folder in (stand.git, stand.folder / "writer" / "clone.git"):
        if folder.exists():
            yield f"the objects of {folder.name}", _objects(folder)
    for log in sorted(stand.logs.glob("*.log")):
        yield log.name, log.read_bytes()
    yield "the queue", _queue(stand.redis())
    for file in sorted((stand.folder / "queue").rglob("*")):
        if file.is_file():
            yield f"the queue's {file.name}", file.read_bytes()
    yield "error bodies", "\n".join(stand.errors).encode()
    for table, column in _PLACES.items():
        yield table, "\n".join(str(row[0]) for row in stand.sql(f"SELECT {column} FROM {table}")).encode()


def _objects(folder: Path) -> bytes:
    command = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=300).stdout


def _queue(client: redis.Redis) -> bytes:
    found = []
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        read = {
            b"none": lambda _: None,  # gone meanwhile: Dramatiq forgets what was handled
            b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
            b"list": lambda name: client.lrange(name, 0, -1), b"stream": client.xrange,
            b"zset": lambda name: client.zrange(name, 0, -1),
        }[kind]  # type: ignore[index]  # fmt: skip
        found.append(repr((key, read(key))).encode())  # type: ignore[operator]
    return b"\n".join(found)
