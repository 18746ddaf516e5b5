"""What the model remembers: who may ask, what was asked, and what it cost, in total and by key.

Requests are kept to the newest ``KEPT_REQUESTS`` and their bodies to the newest ``KEPT_BYTES``; sums lose nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Literal

from starlette.requests import Request

from controller.core import clock
from controller.sandbox.documents import Document, Documents
from controller.sandbox.llm.answers import Usage
from controller.sandbox.llm.turns import Body, Dialect

KEPT_REQUESTS = 2_000
KEPT_BYTES = 16 * 1024 * 1024
LARGEST_KEPT_BODY_BYTES = 1024 * 1024
"""A larger body, such as one with pictures, is told by its size alone."""

_SECRET_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")
_SUMMED = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_TOTAL = "only"

End = Literal["whole", "cut", "gone"]
"""How an answer ended: all of it was sent, the script cut it, or the client went away."""


def label(key: str) -> str:
    """What a key is called where it must not be seen: the start of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Ledger:
    """Keys, requests and sums in ``documents``. ``key`` works from the start and for ever."""

    def __init__(self, documents: Documents, key: str, kept_bytes: int = KEPT_BYTES) -> None:
        self.documents = documents
        self._kept_bytes = kept_bytes
        self._kept = deque((row["n"], row["size"]) for row in documents.find("body"))
        self._held_bytes = sum(size for _, size in self._kept)
        self._first = label(key)

    def knows(self, key: str) -> bool:
        """Whether ``key`` may ask. Labels are compared, so time tells nothing of a key."""
        return label(key) == self._first or self.documents.get("key", label(key)) is not None

    def admit(self, key: str) -> str:
        """``key`` may ask from now on; its label."""
        self.documents.put("key", label(key), {"label": label(key)})
        return label(key)

    def revoke(self, name: str) -> bool:
        """The key with this label may ask no more; whether there was one."""
        return self.documents.remove("key", name)

    def begin(self, row: Document, headers: Mapping[str, str], body: Body) -> int:
        """Record a request before it is answered; its number."""
        number = self.documents.next("request")
        hidden = {
            name: hashlib.sha256(value.encode()).hexdigest() if name in _SECRET_HEADERS else value
            for name, value in headers.items()
        }
        size = self._keep_body(number, body)
        row = {"n": number, "at": clock.now().timestamp(), "headers": hidden, "body_bytes": size, **row}
        self.documents.put("request", str(number), row | {"finished": False, "ended": None})
        self.documents.remove("request", str(number - KEPT_REQUESTS))
        return number

    def spend(self, name: str, usage: Usage) -> None:
        """Add an answer's usage to the total and to the sum of the key with label ``name``."""
        told = shown(usage)
        for sum_id in (_TOTAL, name):
            sums = self._sums(sum_id)
            more = {field: sums[field] + told[field] for field in _SUMMED}
            self.documents.put("usage", sum_id, {"requests": sums["requests"] + 1, "label": sum_id, **more})

    def finish(self, number: int, ended: End, chunks: int) -> None:
        """The answer is over; ``chunks`` of it were written."""
        row = self.documents.get("request", str(number))
        if row is not None:
            told = {"finished": ended == "whole", "ended": ended, "chunks": chunks}
            self.documents.put("request", str(number), row | told)

    def requests(self, after: int, *, limit: int = -1, with_bodies: bool = True) -> list[Document]:
        """The recorded requests with numbers above ``after``, oldest first; ``body`` is None if it was not kept."""
        rows = self.documents.find("request", above=("n", after), limit=limit)
        if not with_bodies:
            return rows
        kept = {row["n"]: row["body"] for row in self.documents.find("body", above=("n", after))}
        return [row | {"body": kept.get(row["n"])} for row in rows]

    def usage(self) -> Document:
        """The total, and below ``keys`` the sum of each key by its label."""
        by_key = {row.pop("label"): row for row in self.documents.find("usage") if row["label"] != _TOTAL}
        total = self._sums(_TOTAL)
        del total["label"]
        return total | {"keys": by_key}

    def reset(self) -> None:
        """Forget requests, sums, added keys and the script; numbers go on."""
        with self.documents.transaction():
            for kind in ("request", "body", "usage", "key", "script"):
                self.documents.clear(kind)
        self._kept.clear()
        self._held_bytes = 0

    def _sums(self, name: str) -> Document:
        return self.documents.get("usage", name) or {"requests": 0, "label": name, **dict.fromkeys(_SUMMED, 0)}

    def _keep_body(self, number: int, body: Body) -> int:
        size = len(json.dumps(body, ensure_ascii=False).encode())
        if size > LARGEST_KEPT_BODY_BYTES:
            return size
        self.documents.put("body", str(number), {"n": number, "size": size, "body": body})
        self._kept.append((number, size))
        self._held_bytes += size
        while self._held_bytes > self._kept_bytes or len(self._kept) > KEPT_REQUESTS:
            oldest, freed = self._kept.popleft()
            self.documents.remove("body", str(oldest))
            self._held_bytes -= freed
        return size


def authenticate(request: Request, dialect: Dialect) -> str:
    """The label of the request's key. Raises the dialect's Fault if it may not ask."""
    ledger: Ledger = request.app.state.ledger
    key = dialect.key(request)
    if key is None or not ledger.knows(key):
        raise dialect.stranger(key)
    return label(key)


def shown(usage: Usage) -> Document:
    """Usage as the control tells it, the same for every vendor."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "cached_tokens": usage.cached,
        "reasoning_tokens": usage.reasoning,
    }
