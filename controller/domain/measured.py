"""What the proxy hands to the meter: one response, measured. Free of SQLAlchemy, which the proxy does not load."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

STREAM = "oc:usage"
"""The Redis stream between proxy and meter; each entry has one field ``usage`` with a Measured as JSON."""

ROLL_UP = """
INSERT INTO usage_monthly (box_id, period_start, requests, input_tokens, output_tokens, computed_at)
SELECT s.box_id, s.period_start, count(*), sum(e.input_tokens), sum(e.output_tokens), {now}
FROM subscriptions s JOIN usage_events e ON e.box_id = s.box_id AND e.at >= s.period_start
WHERE s.box_id = ANY({boxes}) GROUP BY s.box_id, s.period_start
ON CONFLICT (box_id, period_start) DO UPDATE SET requests = excluded.requests,
  input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, computed_at = excluded.computed_at
"""
"""A period's sums, computed from the rows and never incremented: a redelivery cannot count twice.

Whoever runs it holds its boxes' subscriptions ``FOR NO KEY UPDATE``: a sum begun before another's commit must not
replace a newer one. ``now`` and ``boxes`` are the parameters, spelled as the driver wants them.
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
    estimated: bool = False
    at: datetime
