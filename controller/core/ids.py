"""Identifiers: server-made, sortable by time, safe in paths, labels and host names."""

from __future__ import annotations

import os
import re
import secrets

from controller.core import clock
from controller.core.errors import Invalid

PATTERN = r"^[a-z0-9]{26}$"
_ID = re.compile(PATTERN)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def new() -> str:
    """A ULID in lower case: 26 characters of ``[a-z0-9]``, unique, ordered by creation time.

    48 bits of milliseconds and 80 random ones in Crockford's base 32; cheap, for every call of a model is given one.
    """
    value = int(clock.now().timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def checked(value: str) -> str:
    """``value`` if it is an id of ours.

    Raises Invalid otherwise: called at the last moment before an id enters a path.
    """
    if not _ID.fullmatch(value):
        raise Invalid("id_malformed")
    return value


def secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)
