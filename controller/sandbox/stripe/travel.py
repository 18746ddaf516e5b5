"""How webhooks travel and how the API answers, so that a test can make the network bad on purpose."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0

Count = Annotated[int, Field(ge=0)]


class Travel(BaseModel):
    """How events travel; each field keeps its value if omitted. What is drawn is drawn from ``seed``."""

    model_config = ConfigDict(extra="forbid")

    paused: bool = False
    """Hold everything; nothing is lost."""
    held_types: list[str] = []
    """Hold the events of these types until the list is set anew; nothing is lost."""
    duplicate: Annotated[int, Field(ge=0, le=20)] = 0
    """Copies sent of each event beyond the first."""
    duplicate_at_most: Annotated[int, Field(ge=0, le=20)] = 0
    """More copies of each event, a number drawn from 0 to this."""
    delay_ms_at_most: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    """Each delivery waits for a drawn time up to this many milliseconds."""
    shuffle: bool = False
    """Send what is due in a drawn order."""
    seed: int = 0
    """Setting it, even to the value that it has, begins the row of chances anew."""
    drop: Count = 0
    """How many of the next deliveries are lost for good; counts down."""
    lost_posts: Count = 0
    """How many of the next posts do not reach the endpoint and are tried again; counts down."""
    lost_answers: Count = 0
    """How many of the next posts reach the endpoint and are tried again because the answer is lost; counts down."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at a time for each endpoint. Stripe promises no order; 1 keeps the order of events."""
    first_retry_seconds: Annotated[float, Field(gt=0, le=86_400)] = FIRST_RETRY_SECONDS
    """The pause after the first refusal; each further one doubles it."""
    longest_retry_seconds: Annotated[float, Field(gt=0, le=86_400)] = LONGEST_RETRY_SECONDS
    """No pause is longer. Stripe's grow to hours within three days; nobody waits for that in a sandbox."""
    attempts_limit: Count = 0
    """Give a delivery up after so many refusals, as Stripe does after three days; 0 never."""

    def pause_after(self, attempts: int) -> float:
        """Seconds to the next try after so many refusals."""
        return min(self.first_retry_seconds * 2.0 ** min(attempts - 1, 20), self.longest_retry_seconds)


class Trouble(BaseModel):
    """What goes wrong with requests to the API; each field keeps its value if omitted, and the counts go down."""

    model_config = ConfigDict(extra="forbid")

    fail: Count = 0
    """Answer 500 to so many of the next requests, without doing anything."""
    limit: Count = 0
    """Answer 429 to so many of the next requests, without doing anything."""
    lose_answers: Count = 0
    """Do what so many of the next POSTs ask, and cut the connection instead of answering."""
    delay_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    """Milliseconds that every request waits before its work is begun."""
