"""A table of JSON documents in SQLite: the memory of the vendor stand-ins.

Made for one process: calls are synchronous, short, and belong on one event loop.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""One JSON object."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
  UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS documents_in_order ON documents (kind, seq);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Documents:
    """Documents by kind and id, in the order in which they were first put.

    What a finished transaction wrote survives the process's death at any instant.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the table in ``folder``, which is created as well."""
        self.undone = 0
        """How many transactions were taken back: what is remembered beside the table is wrong after each."""
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            folder / "documents.sqlite", isolation_level=None, check_same_thread=False, timeout=5
        )
        # NORMAL with a write-ahead log: safe against a killed process, no fsync for each commit.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes of the block or none; a block inside another joins it. Never await inside."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            self.undone += 1
            raise
        self._db.execute("COMMIT")

    def put(self, kind: str, key: str, body: Document) -> None:
        """Write ``body`` under ``kind`` and ``key``; a replaced document keeps its place in the order."""
        self._db.execute(
            "INSERT INTO documents (kind, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, key, json.dumps(body, ensure_ascii=False)),
        )

    def get(self, kind: str, key: str) -> Document | None:
        """The document, or None."""
        row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND id = ?", (kind, key)).fetchone()
        return _decoded(row) if row else None

    def remove(self, kind: str, key: str) -> bool:
        """Forget the document; whether there was one."""
        cursor = self._db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, key))
        return cursor.rowcount > 0

    def find(
        self,
        kind: str,
        where: Mapping[str, str | int | None] | None = None,
        *,
        above: tuple[str, int] | None = None,
        after: str | None = None,
        before: str | None = None,
        newest_first: bool = False,
        limit: int = -1,
    ) -> list[Document]:
        """Documents of ``kind`` whose fields equal ``where`` (a dotted name reaches inside; None is null).

        ``above`` asks a field to exceed a number; ``after`` and ``before`` are keys that bound the answer
        in the order of first writing; ``limit`` < 0 is none.
        """
        conditions, values = _matching(where or {}, above)
        for key, sign in ((after, ">"), (before, "<")):
            if key is not None:
                conditions.append(f"seq {sign} (SELECT seq FROM documents WHERE kind = ? AND id = ?)")  # noqa: S608, constants
                values += [kind, key]
        clause = " AND ".join(["kind = ?", *conditions])
        order = "DESC" if newest_first else "ASC"
        rows = self._db.execute(
            f"SELECT body FROM documents WHERE {clause} ORDER BY seq {order} LIMIT ?",  # noqa: S608, constants
            (kind, *values, limit),
        )
        return [_decoded(row) for row in rows]

    def clear(self, kind: str) -> None:
        """Forget every document of ``kind``; counters go on."""
        self._db.execute("DELETE FROM documents WHERE kind = ?", (kind,))

    def next(self, counter: str, first: int = 1) -> int:
        """The counter's next number, ``first`` at the start; no number comes twice, not after a restart."""
        row = self._db.execute(
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (counter, first),
        ).fetchone()
        return int(row[0])


def _matching(
    where: Mapping[str, str | int | None], above: tuple[str, int] | None
) -> tuple[list[str], list[str | int | None]]:
    conditions, values = [], list[str | int | None]()
    for name, value in where.items():
        conditions.append("json_extract(body, ?) IS ?")
        values += [f"$.{name}", value]
    if above:
        conditions.append("json_extract(body, ?) > ?")
        values += [f"$.{above[0]}", above[1]]
    return conditions, values


def _decoded(row: tuple[str, ...]) -> Document:
    body: Document = json.loads(row[0])
    return body
