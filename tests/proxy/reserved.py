"""Open calls as the gate leaves them to the journal."""

from __future__ import annotations

from controller.core import clock, ids
from proxy.journal import Reservation


def reservation(box_id: str) -> Reservation:
    """One of 100 tokens, 10 of them read."""
    now = clock.now()
    return Reservation(
        request_id=ids.new(), proxy_id="proxy", box_id=box_id, period_start=now, model="small", held_tokens=100,
        input_tokens=10, at=now, quota_key="oc:quota:x",
    )  # fmt: skip
