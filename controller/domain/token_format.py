"""The form of our tokens: ``oc_<kind>_<box id>_<secret>``."""

from __future__ import annotations

import re
from enum import StrEnum

from controller.core.errors import NotAllowed

_TOKEN = re.compile(r"^oc_(agent|proxy)_([a-z0-9]{26})_([A-Za-z0-9_-]{43})$")


class Refusal(StrEnum):
    """How the holder of a token for the models hears that the plan is used up."""

    MESSAGE = "message"
    """As a message of the assistant: the gateway behind a box's own token goes silent for minutes on a 429."""

    ERROR = "error"
    """As OpenAI's 429: for programs of the customer's own."""


def make(kind: str, box_id: str, secret: str) -> str:
    """The token of ``kind`` for a box."""
    return f"oc_{kind}_{box_id}_{secret}"


def parse(token: str, kind: str) -> tuple[str, str]:
    """The box id and the secret in a token of ``kind``.

    Raises NotAllowed if it does not have that form.
    """
    match = _TOKEN.fullmatch(token)
    if match is None or match[1] != kind:
        raise NotAllowed("token_refused")
    return match[2], match[3]
