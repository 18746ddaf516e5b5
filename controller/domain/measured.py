"""What the proxy hands to the meter: one response, measured. Free of SQLAlchemy, which the proxy does not load."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

STREAM = "oc:usage"
"""The Redis stream between proxy and meter; each entry has one field ``usage`` with a Measured as JSON."""

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
