"""Postgres dies, cuts connections in the middle of a COMMIT or has no connection left: no accepted write is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import asyncpg
import httpx
import pytest

from controller.domain.plans import PlanName
from tests.faults import measures, shoppers
from tests.faults.loops import until
from tests.faults.stands import OURS, Stand
from tests.faults.wires import Cut


def test_what_was_accepted_is_there_after_a_kill(stand: Stand, size: Callable[[int, int], int]) -> None:
    for _ in range(size(10, 1)):
        starts = {name: stand.children[name].started for name in OURS}
        purchases = [shoppers.buy(stand) for _ in range(3)]
        stand.kill_postgres()
        shoppers.control(stand, f"subscriptions/{purchases[0].subscription}/renew", {"outcome": "paid"})
        stand.start_postgres()
        measures.recovered("postgres killed", shoppers.settle(stand))
        assert {name: stand.children[name].started for name in OURS} == starts


@pytest.mark.smoke
def test_a_commit_of_unknown_outcome_is_looked_up(stand: Stand, size: Callable[[int, int], int]) -> None:
    cuts = [Cut.AFTER, Cut.BEFORE] * size(50, 4)
    stand.postgres_wire.cut_commits(cuts)
    done = len(stand.postgres_wire.cut)
    while len(stand.postgres_wire.cut) < done + len(cuts):
        purchase = shoppers.buy(stand)
        shoppers.resize(stand, purchase, PlanName.PRO)
        stand.sql("SELECT 1")
    measures.recovered("connections cut at COMMIT", shoppers.settle(stand))


def test_all_connections_cut_at_once_are_made_again(stand: Stand, size: Callable[[int, int], int]) -> None:
    for _ in range(size(20, 2)):
        shoppers.buy(stand)
        stand.postgres_wire.break_all()
        measures.recovered("every connection to postgres cut", shoppers.settle(stand))


def test_a_server_without_a_free_connection_is_a_503_and_no_crash(stand: Stand) -> None:
    starts = {name: stand.children[name].started for name in OURS}
    purchase = shoppers.buy(stand)
    with _all_taken(stand):
        shoppers.resize(stand, purchase, PlanName.PRO)
        until(lambda: _status(stand) == 503, "the API says 503")
    measures.recovered("postgres without a free connection", shoppers.settle(stand))
    assert {name: stand.children[name].started for name in OURS} == starts


def test_more_requests_than_connections_wait_their_turn(stand: Stand) -> None:
    stand.restart(["api"], POSTGRES_POOL="1")
    try:
        token = stand.agent_token(stand.mint())
        stand.quiet()
        statuses = stand.loop.call(_profiles(stand, token, 40), 120)
        assert set(statuses) == {200}
    finally:
        stand.restart(["api"])


async def _profiles(stand: Stand, token: str, count: int) -> list[int]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=stand.api_url, headers=headers, timeout=100) as http:
        answers = await asyncio.gather(*(http.get("/internal/agent/profile") for _ in range(count)))
    return [answer.status_code for answer in answers]


@contextlib.contextmanager
def _all_taken(stand: Stand) -> Iterator[None]:
    """Every connection that Postgres has, held."""
    held: list[asyncpg.Connection] = []

    taking, full = True, 0

    async def take() -> None:
        nonlocal full
        while taking:
            try:
                held.append(await asyncpg.connect(stand.postgres.dsn()))
            except asyncpg.TooManyConnectionsError:
                full += 1
                await asyncio.sleep(0.01)

    task = asyncio.run_coroutine_threadsafe(take(), stand.loop.loop)
    until(lambda: full, "connections are taken")
    had = len(held)
    stand.postgres_wire.break_all()  # what our processes had becomes free
    until(lambda: len(held) > had and full > 20, "and is taken as well")
    try:
        yield
    finally:
        taking = False
        task.result(60)
        for connection in held:
            stand.loop.loop.call_soon_threadsafe(connection.terminate)


def _status(stand: Stand) -> int:
    return httpx.get(f"{stand.api_url}/readyz", timeout=60).status_code
