"""Tokens of a text, counted by a process of its own while a plan is nearly used up.

The tokenizer brings 140 MB with it and holds Python's lock while it works, so the process that serves streams must not
load it. The counting one is started when it is needed and ended when it was idle for a while.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from importlib import import_module
from typing import Any, BinaryIO

from controller.core import log as logs

log = logs.get(__name__)

IDLE_SECONDS = 60.0
LONGEST_SECONDS = 15.0
"""For one text and a start. A counter that takes longer is ended; the bound by bytes then stands."""

_SIZE = struct.Struct(">I")


class Counter:
    """The counting process, as the serving one sees it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def count(self, text: bytes) -> int | None:
        """Tokens of ``text`` as o200k has them; None if they cannot be counted now."""
        async with self._turn:
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    return await self._ask(text)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.warning("counting.failed", error=type(error).__name__)
                self.close()
                return None
            finally:
                self._rest()

    def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()

    async def _ask(self, text: bytes) -> int:
        if self._process is None or self._process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy.counting", stdin=pipe, stdout=pipe
            )
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        into.write(_SIZE.pack(len(text)) + text)
        await into.drain()
        return int(_SIZE.unpack(await out.readexactly(_SIZE.size))[0])

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Count text after text until ``source`` ends, as it does when the serving process is gone."""
    encoding: Any = import_module("bpe_openai").get_encoding("o200k_base")
    while len(size := source.read(_SIZE.size)) == _SIZE.size:
        text = source.read(_SIZE.unpack(size)[0]).decode(errors="replace")
        sink.write(_SIZE.pack(len(encoding.encode_ordinary(text))))
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
