"""Many open calls are kept alive without holding up what else the process does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from controller.core import ids
from proxy.calls import RENEWED_AT_ONCE, Books, Call, OpenCalls
from proxy.catalog import Prices
from proxy.gate import Admission
from proxy.journal import Journal
from proxy.lines import Line
from proxy.meter import Meter
from proxy.reading import Reader
from proxy.verdicts import Token, Verdict
from tests.proxy.reserved import reservation

LEASE = timedelta(seconds=30)
NOWHERE = "redis://127.0.0.1:1"
"""A call whose Redis is away is kept alive all the same: Postgres has it."""


@pytest.fixture
async def books() -> Books:
    dsn, line = "postgres://127.0.0.1:1/none", Line(NOWHERE)
    meter = Meter(line, line, asyncpg.create_pool(dsn, min_size=0), LEASE)
    return Books(Journal(dsn, "proxy", LEASE), meter, line, LEASE)


def opened(books: Books) -> Call:
    """A call of whose answer four tokens went out."""
    row = reservation(ids.new())
    verdict = Verdict(row.box_id, "customer", True, "starter", "en", "", row.at, None)
    call = Call(Token("lookup", row.box_id, "secret"), Admission(verdict, row, 90, 0.0), Reader(hide_usage=False),
                Prices(), books)  # fmt: skip
    call.reader.delivered_bytes = 16
    return call


async def test_every_open_call_tells_what_it_has_used_so_far(books: Books) -> None:
    calls, open_ = OpenCalls(), [opened(books) for _ in range(2 * RENEWED_AT_ONCE + 1)]
    for call in open_:
        calls.add(call)
    await calls.renew()
    assert [call.row.output_tokens for call in open_] == [4] * len(open_)


async def test_others_have_their_turn_while_many_calls_are_kept_alive(books: Books) -> None:
    calls, open_ = OpenCalls(), [opened(books) for _ in range(2 * RENEWED_AT_ONCE)]
    for call in open_:
        calls.add(call)
    renewal = asyncio.create_task(calls.renew())
    await asyncio.sleep(0)
    assert [call.row.output_tokens for call in (open_[0], open_[-1])] == [4, 0]
    await renewal


async def test_a_call_that_ends_before_its_turn_holds_nothing_again(books: Books) -> None:
    calls, open_ = OpenCalls(), [opened(books) for _ in range(RENEWED_AT_ONCE + 1)]
    for call in open_:
        calls.add(call)
    renewal = asyncio.create_task(calls.renew())
    await asyncio.sleep(0)
    calls.discard(open_[-1])
    await renewal
    assert open_[-1].row.output_tokens == 0
