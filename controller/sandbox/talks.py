"""What the demo's customer talks about with the agent: a tool that runs in the box, and what it still knows later.

With a model of one's own (``LLM_UPSTREAM_URL``) nobody can know its words in advance: then only the greeting is played.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from controller.core.errors import Permanent
from controller.sandbox.journey import Customer

GREETING = "Olá! Quais são os horários da farmácia?"
NOTE = "aspirina chega na quinta"
METER_PATIENCE = timedelta(seconds=20)
RULES: tuple[dict[str, Any], ...] = (
    {"pattern": "^Anote: (.+)", "steps": [{
        "tool_calls": [{"name": "exec", "arguments": {"command": "echo '{{match.1}}' >> notes.txt; cat notes.txt"}}],
        "then": "Anotado: {{result}}"}]},
    {"pattern": "^O que eu pedi", "steps": [{
        "tool_calls": [{"name": "exec", "arguments": {"command": "cat notes.txt"}}],
        "then": "Você me pediu para anotar: {{result}}"}]},
)  # fmt: skip
_MONTH = "SELECT requests, input_tokens, output_tokens FROM usage_monthly WHERE box_id = $1"
_LEDGER = """
SELECT count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint FROM usage_events
WHERE box_id = $1 AND NOT estimated
"""


class Unequal(Permanent):
    """Raised when what we metered is not what the model counted."""


@dataclass(frozen=True)
class Talk:
    """What was said and heard."""

    said: str
    heard: str


def scripted() -> bool:
    """Whether the model is our stand-in, which says what it was taught."""
    return not any(name.startswith("LLM_") for name in os.environ)


async def greet(customer: Customer, within: timedelta) -> Talk:
    """The first question and whatever the agent answers."""
    await customer.say(GREETING)
    return Talk(GREETING, await customer.hear(within))


async def note(customer: Customer, within: timedelta) -> Talk:
    """The agent writes something down with a command in its box."""
    await customer.teach(*RULES)
    said = f"Anote: {NOTE}"
    await customer.say(said)
    return Talk(said, await customer.hear_of(f"Anotado: {NOTE}", within))


async def recall(customer: Customer, within: timedelta) -> Talk:
    """The agent still has it, after its pod was replaced, stopped and started."""
    said = "O que eu pedi para anotar?"
    await customer.say(said)
    return Talk(said, await customer.hear_of(NOTE, within))


async def month(dsn: str, customer: Customer) -> dict[str, int]:
    """This month's usage, once it equals the model's own count.

    Raises Unequal if it does not within the meter's patience.
    """
    return await _equal(dsn, customer, _MONTH)


async def ledger(dsn: str, customer: Customer) -> dict[str, int]:
    """All of the box's metered calls, once they equal the model's own count.

    Raises Unequal if they do not within the meter's patience.
    """
    return await _equal(dsn, customer, _LEDGER)


async def _equal(dsn: str, customer: Customer, query: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    metered: dict[str, int] = {}
    counted = await customer.model_usage()
    try:
        async with asyncio.timeout(METER_PATIENCE.total_seconds()):
            while not metered or (scripted() and metered != counted):
                await asyncio.sleep(0.1)
                counted = await customer.model_usage()
                row = await connection.fetchrow(query, customer.box_id)
                metered = dict(zip(counted, row, strict=True)) if row else {}
    except TimeoutError as exc:
        raise Unequal("usage_unequal", metered=metered, counted=counted) from exc
    finally:
        await connection.close()
    return metered
