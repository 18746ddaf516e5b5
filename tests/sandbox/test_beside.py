from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from controller.sandbox.beside import beside

DYING = """
import asyncio, signal
from controller.sandbox.beside import beside

async def die():
    raise RuntimeError("of something")

async def main():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    async with beside(die(), "a work"):
        await asked.wait()

asyncio.run(main())
"""


async def test_it_goes_on_while_the_block_lasts_and_ends_with_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with beside(work(), "a work"):
        await begun.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_what_killed_it_is_raised_at_the_end_of_the_block() -> None:
    died = asyncio.Event()

    async def die() -> None:
        died.set()
        raise RuntimeError("of something")

    with pytest.raises(RuntimeError, match="of something"):
        async with beside(die(), "a work"):
            await died.wait()


def test_its_death_stops_the_process_that_serves() -> None:
    done = subprocess.run([sys.executable, "-c", DYING], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"of something" in done.stderr
