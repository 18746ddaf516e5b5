"""Billing periods: when a month that began on the 31st is over."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta


def later(at: int, interval: str, count: int, anchor_day: int | None = None) -> int:
    """Unix time ``count`` intervals (day, week, month, year) after ``at``.

    Months and years keep ``anchor_day`` (else the day of ``at``), or take the month's last: 31 January,
    28 February, 31 March.
    """
    start = datetime.fromtimestamp(at, UTC)
    if interval in ("day", "week"):
        return int((start + timedelta(**{f"{interval}s": count})).timestamp())
    months = count * (12 if interval == "year" else 1) + start.month - 1
    year, month = start.year + months // 12, months % 12 + 1
    day = min(anchor_day or start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def day_of(at: int) -> int:
    """The day of the month, UTC."""
    return datetime.fromtimestamp(at, UTC).day
