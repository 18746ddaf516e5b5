"""The provider that all stand in front of: one process that answers raw bytes, so that it is nobody's bottleneck.

``python -m tests.bench.proxy.mock PORT``. A question's mark (``bodies.MARK``) says how to answer; each chunk of a
stream carries the instant at which it was due, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import httptools
import uvloop

from tests.bench.proxy.bodies import MARK

_MARK = MARK.encode()
_USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
_HEAD = {"id": "chatcmpl-bench", "created": 1, "model": "small"}
_STAMPED = b"@@@"
STAMP = b"due=%.6f;"


def _whole() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}
    body = json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _event(delta: dict[str, str], finish: str | None = None, *, usage: bool = False) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]
    event = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": _USAGE if usage else None}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_WHOLE = _whole()
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_BEFORE, _AFTER = _event({"role": "assistant", "content": _STAMPED.decode()}).split(_STAMPED)
_END = _framed(_event({}, "stop") + _event({}, usage=True) + b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Conversation(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        asked = b"".join(self._body)
        self._body.clear()
        if b'"stream":true' not in asked and b'"stream": true' not in asked:
            self._write(_WHOLE)
            return
        start = asked.rfind(_MARK) + len(_MARK)
        told = asked[start : asked.index(b'"', start)].decode() or "1,0,0"
        chunks, every, first = told.split(",")
        self._begin(int(chunks), float(every), time.monotonic() + float(first))

    def _begin(self, chunks: int, every: float, due: float) -> None:
        delay = due - time.monotonic()
        if delay > 0:
            self._timer = asyncio.get_running_loop().call_later(delay, self._chunk, chunks, every, due, _STREAM_HEAD)
        else:
            self._chunk(chunks, every, due, _STREAM_HEAD)

    def _chunk(self, left: int, every: float, due: float, before: bytes = b"") -> None:
        """Write a chunk and see to the next, which is due at its own time however late this one is."""
        before += _framed(b"".join((_BEFORE, STAMP % due, _AFTER)))
        while left > 1 and (delay := due + every - time.monotonic()) <= 0:
            left, due = left - 1, due + every
            before += _framed(b"".join((_BEFORE, STAMP % due, _AFTER)))
        if left == 1:
            self._write(before + _END)
            return
        self._write(before)
        self._timer = asyncio.get_running_loop().call_later(delay, self._chunk, left - 1, every, due + every)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def serve(port: int) -> None:
    """Answer on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
