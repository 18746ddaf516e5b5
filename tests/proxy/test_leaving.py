"""Work for a client ends with the client, and leaves the task that did it as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from proxy import leaving
from proxy.leaving import CutOff, unless_left


class Client:
    """What the server knows of one: it is there until it has left."""

    def __init__(self) -> None:
        self._left = asyncio.get_running_loop().create_future()
        self.begun, self.cleared = asyncio.Event(), asyncio.Event()

    @property
    def scope(self) -> Scope:
        return {"extensions": leaving.extension(self._left)}

    def leave(self) -> None:
        self._left.set_result(None)

    async def endless(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleared.set()


async def gives(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


async def test_work_gives_its_result_to_a_client_that_stays() -> None:
    assert await unless_left(Client().scope, gives(7)) == 7


async def test_what_goes_wrong_in_the_work_is_told() -> None:
    with pytest.raises(ValueError, match="so"):
        await unless_left(Client().scope, gives(ValueError("so")))


async def test_work_is_over_when_the_client_is_said_to_have_left() -> None:
    client = Client()
    asyncio.get_running_loop().call_soon(client.leave)
    with pytest.raises(ClientDisconnect):
        await unless_left(client.scope, client.endless())
    assert client.cleared.is_set()


async def test_a_call_that_may_not_go_on_is_cut_off() -> None:
    client, cut = Client(), asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(cut.set_result, None)
    with pytest.raises(CutOff):
        await unless_left(client.scope, client.endless(), cut)
    assert client.cleared.is_set()


async def test_the_task_can_go_on_afterwards() -> None:
    client = Client()
    client.leave()
    with pytest.raises(ClientDisconnect):
        await unless_left(client.scope, client.endless())
    task = asyncio.current_task()
    assert task is not None
    assert (task.cancelling(), await unless_left(Client().scope, gives(1))) == (0, 1)


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_cancels_the_task_is_not_taken_for_a_client_that_left(leaves: bool) -> None:
    client = Client()
    task = asyncio.create_task(unless_left(client.scope, client.endless()))
    await client.begun.wait()
    if leaves:
        client.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.cleared.is_set()


async def test_work_that_is_done_is_not_disturbed_by_who_leaves_then() -> None:
    client = Client()
    client.leave()

    async def at_once() -> int:
        return 7

    assert await unless_left(client.scope, at_once()) == 7
    await asyncio.sleep(0)  # in which a cancellation that was on its way would come
