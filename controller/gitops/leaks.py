"""The shapes of secrets: what must never stand in a file, a name or a message that Git keeps.

A finding says where and of which shape, never what it read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = rb"(?<![A-Za-z0-9_-])"
SHAPES: dict[str, re.Pattern[bytes]] = {
    "a Telegram bot token": re.compile(rb"(?<![0-9A-Za-z])\d{6,12}:[A-Za-z0-9_-]{30,50}(?![A-Za-z0-9_-])"),
    "a secret key of Stripe's form": re.compile(_WORD + rb"(?:sk|rk)_[A-Za-z0-9_]{10,}"),
    "a webhook secret of Stripe's form": re.compile(_WORD + rb"whsec_[A-Za-z0-9+/=]{10,}"),
    "a model provider's key": re.compile(_WORD + rb"(?:sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{35})"),
    "a GitHub token": re.compile(_WORD + rb"(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,})"),
    "a GitLab token": re.compile(_WORD + rb"gl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{16,}"),
    "a Slack token": re.compile(_WORD + rb"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "an AWS key": re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    "one of the platform's own tokens": re.compile(_WORD + rb"oc_[a-z]+_[A-Za-z0-9_-]{20,}"),
    "a JSON web token": re.compile(_WORD + rb"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
    "a private key": re.compile(
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    ),
    "a password in an address": re.compile(rb"[a-z][a-z0-9+.-]*://[^\s/:@\"']*:[^\s/@\"'<>{}$]+@"),
}
"""By what a reader would call it. Each shape also matches in the middle of a line, in a comment or in quotes."""


def find(content: bytes) -> Iterator[tuple[int, str]]:
    """The line (from 1) and the shape of each secret in ``content``, in the order of the shapes."""
    for shape, pattern in SHAPES.items():
        for match in pattern.finditer(content):
            yield content.count(b"\n", 0, match.start()) + 1, shape
