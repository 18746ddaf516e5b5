"""Identifiers: server-made, sortable by time, safe in paths, labels and host names."""

from __future__ import annotations

import re
import secrets

from ulid import ULID

from controller.core import clock
from controller.core.errors import Invalid

PATTERN = r"^[a-z0-9]{26}$"
_ID = re.compile(PATTERN)


def new() -> str:
    """A ULID in lower case: 26 characters of ``[a-z0-9]``, unique, ordered by creation time."""
    return str(ULID.from_datetime(clock.now())).lower()


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
