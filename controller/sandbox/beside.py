"""Work that goes on beside a stand-in's web application, and takes the process with it when it dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress

from controller.core import log as logs

log = logs.get(__name__)


@asynccontextmanager
async def beside(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """``work`` goes on while the block lasts.

    If it raises, the process is asked to stop: a stand-in that answers and no longer does its work would hold up
    everything for ever, and one that ended is started again by whoever supervises it.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_end_if_dead)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _end_if_dead(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.error("sandbox.work_died", work=task.get_name(), exc_info=exc)
        # Served in a thread of somebody else's process, nobody listens for the signal, and it would end them.
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)
