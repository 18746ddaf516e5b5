"""What Node's usual clients make of our answers: OpenAI's own, pi-ai (which always streams) and Vercel's AI SDK."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from controller.core import ids
from controller.core.db import Database
from controller.domain import plans, usage
from controller.domain.measured import Measured
from controller.domain.subscriptions import Subscription
from controller.domain.tokens import ProxyToken
from tests.proxy.conftest import proxy
from tests.proxy.node.conftest import Row
from tests.proxy.node.driver import Outcome
from tests.sandbox.stripe.serving import eventually

CLIENTS = ["openai", "pi", "vercel"]
CALLS: list[dict[str, Any]] = [
    {"id": "call_a1", "name": "weather", "arguments": {"city": 'São "Paulo" 🎉'}},
    {"id": "call_b2", "name": "clock", "arguments": {"zone": "UTC"}},
]
EARLY_MS = 20
"""A timer may end a moment before its time."""

every_client = pytest.mark.parametrize("client", CLIENTS)
streamed_and_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


async def use_up(database: Database, row: Row, refusal: str) -> None:
    """Nothing is left of the box's plan, and its token hears of that as ``refusal`` says."""
    async with database.transaction() as session:
        start = await session.scalar(select(Subscription.period_start).where(Subscription.box_id == row.box_id))
        assert start is not None
        one = Measured(
            request_id=ids.new(), box_id=row.box_id, model="small", input_tokens=plans.get("pro").tokens,
            output_tokens=0, at=start + timedelta(hours=1),
        )  # fmt: skip
        await usage.record(session, [one])
        await session.execute(update(ProxyToken).where(ProxyToken.box_id == row.box_id).values(refusal=refusal))


@every_client
@streamed_and_not
async def test_an_answer_is_understood_with_its_usage(row: Row, client: str, stream: bool) -> None:
    row.model.script({"text": "Olá, tudo bem? ✨", "segment_bytes": 3})
    said = row.ask(client, stream=stream).only
    (told,) = [one["usage"] for one in row.model.requests()]
    assert (said.text, said.finish, said.calls) == ("Olá, tudo bem? ✨", "stop", [])
    assert said.usage == {"input": told["prompt_tokens"], "output": told["completion_tokens"]}


@every_client
@streamed_and_not
async def test_parallel_calls_of_tools_arrive_whole(row: Row, client: str, stream: bool) -> None:
    row.model.script({"text": "Já vejo.", "tool_calls": CALLS, "chunk_chars": 1, "ascii_arguments": True})
    said = row.ask(client, stream=stream, tools=True).only
    assert (said.text, said.finish, said.calls) == ("Já vejo.", "tool_calls", CALLS)


@every_client
@streamed_and_not
async def test_a_wrong_token_is_told_as_such_and_not_tried_again(row: Row, client: str, stream: bool) -> None:
    wrong = row.token[:-1] + ("A" if row.token[-1] != "A" else "B")
    outcome = row.ask(client, stream=stream, token=wrong, retries=2)
    error = outcome.only.error
    assert error is not None
    assert outcome.statuses == [401]
    assert "token refused" in error.message
    if client != "pi":
        assert (error.status, error.code) == (401, "token_refused")


@every_client
@streamed_and_not
async def test_a_providers_retry_after_is_waited_for(row: Row, client: str, stream: bool) -> None:
    row.model.script({"status": 429, "text": "slower", "headers": {"retry-after": "1"}}, {"text": "Agora sim."})
    outcome = row.ask(client, stream=stream, retries=2)
    assert outcome.only.text == "Agora sim."
    assert outcome.statuses == [429, 200]
    first, second = outcome.attempts
    assert second.at - first.at >= 1000 - EARLY_MS


@every_client
async def test_who_asks_too_fast_waits_as_told_and_is_answered(row: Row, client: str, dsn: str) -> None:
    with proxy(dsn, row.queue_url, f"{row.model.base}/v1", rate_per_second=0.8, rate_burst=1) as base:

        def hurried() -> Outcome | None:
            outcome = row.ask(client, base=base, at_once=2, retries=5)
            return outcome if 429 in outcome.statuses else None

        outcome = eventually(hurried, seconds=60)
    assert outcome is not None
    assert [said.text for said in outcome.answers] == ["You said: oi"] * 2
    refused = next(one for one in reversed(outcome.attempts) if one.status == 429)
    last = max(one.at for one in outcome.attempts)
    assert last - refused.at >= int(refused.retry_after or 0) * 1000 - EARLY_MS


@every_client
@streamed_and_not
async def test_a_boxs_used_up_plan_is_an_answer_like_any_other(
    row: Row, database: Database, client: str, stream: bool
) -> None:
    await use_up(database, row, "message")
    outcome = row.ask(client, stream=stream)
    assert "tokens do seu plano" in outcome.only.text
    assert (outcome.only.finish, outcome.only.usage) == ("stop", {"input": 0, "output": 0})
    assert [one.limit for one in outcome.attempts] == ["tokens"]
    assert row.model.requests() == []


@every_client
@streamed_and_not
async def test_a_programs_used_up_plan_is_an_error(row: Row, database: Database, client: str, stream: bool) -> None:
    await use_up(database, row, "error")
    outcome = row.ask(client, stream=stream)
    error = outcome.only.error
    assert error is not None
    assert "tokens do seu plano" in error.message
    assert outcome.statuses == [429]
    if client != "pi":
        assert (error.status, error.code) == (429, "plan_used_up")


@pytest.mark.parametrize("client", ["openai", "pi"])
async def test_no_client_asks_again_for_a_used_up_plan_if_it_listens(row: Row, database: Database, client: str) -> None:
    await use_up(database, row, "error")
    assert row.ask(client, retries=2).statuses == [429]


@every_client
async def test_who_leaves_in_mid_stream_ends_the_models_work_and_pays_for_what_came(row: Row, client: str) -> None:
    row.model.script({"text": "um dois três quatro", "stall_after": 3})
    assert row.ask(client, stream=True, leave=True).only.error is not None
    eventually(lambda: row.model.requests()[0]["ended"] == "gone")
    measured = await row.measured()
    assert measured.estimated
    assert measured.output_tokens > 0


@every_client
@streamed_and_not
async def test_an_answer_that_breaks_off_is_no_answer(row: Row, client: str, stream: bool) -> None:
    row.model.script({"text": "um dois três quatro", "cut_after": 1 if not stream else 3})
    assert row.ask(client, stream=stream).only.error is not None
