"""What a release of ``charts/box`` is called, wherever somebody outside names one."""

from __future__ import annotations

import re

from controller.core.errors import Invalid

PATTERN = r"^\d{4}\.\d{1,2}\.\d{1,4}$"
"""Year, month and number, as chart versions are."""


def checked(value: str) -> str:
    """``value`` if it is a release's name; raises Invalid otherwise."""
    if not re.fullmatch(PATTERN, value, re.ASCII):
        raise Invalid("release_malformed")
    return value
