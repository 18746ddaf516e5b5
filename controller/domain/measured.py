"""What the proxy hands to the meter: one response, measured. Free of SQLAlchemy, which the proxy does not load."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

STREAM = "oc:usage"
"""The Redis stream between proxy and meter; each entry has one field ``usage`` with a Measured as JSON."""

ROLL_UP = """
INSERT INTO usage_monthly (box_id, period_start, requests, input_tokens, output_tokens, cost_microusd, computed_at)
SELECT e.box_id, e.period_start, count(*), sum(e.input_tokens), sum(e.output_tokens), sum(e.cost_microusd), {now}
FROM usage_events e
WHERE (e.box_id, e.period_start) IN (SELECT * FROM unnest(CAST({boxes} AS text[]), CAST({periods} AS timestamptz[])))
GROUP BY e.box_id, e.period_start
ON CONFLICT (box_id, period_start) DO UPDATE SET requests = excluded.requests,
  input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
  cost_microusd = excluded.cost_microusd, computed_at = excluded.computed_at
"""
"""Periods' sums, computed from the rows and never incremented: a redelivery cannot count twice.

Whoever runs it holds its boxes' subscriptions ``FOR NO KEY UPDATE``: a sum begun before another's commit must not
replace a newer one. ``now``, ``boxes`` and ``periods`` (pairs) are the parameters, spelled as the driver wants them.
"""

Count = Annotated[int, Field(ge=0, le=2**40)]


class Measured(BaseModel):
    """One response as the proxy measured it; ``request_id`` is the proxy's own, made before the upstream call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: str
    box_id: str
    model: str
    input_tokens: Count
    output_tokens: Count
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0
    cost_microusd: Annotated[int, Field(ge=0, le=2**60)] = 0
    """What the provider's price list makes of it, in millionths of a US dollar."""

    estimated: bool = False
    """The provider did not say, and we counted what was delivered."""

    at: datetime
    period_start: datetime | None = None
    """The billing period in which the call was admitted; None: the box's current one."""

    @cached_property
    def text(self) -> str:
        """It as JSON, for the stream and the journal alike."""
        return self.model_dump_json()
