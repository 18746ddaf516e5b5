"""Scripts: what the model answers next, in a test's or the demo's own words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from controller.sandbox.documents import Documents


class ToolCall(BaseModel):
    """A call of a tool; ``arguments`` is sent as JSON text."""

    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: dict[str, Any] = {}
    id: str | None = None


class Reply(BaseModel):
    """One answer. With ``status`` of 400 or more it is an error whose message is ``text``."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    """None: the default reply, or nothing beside ``tool_calls``."""
    tool_calls: list[ToolCall] = []
    status: int = Field(default=200, ge=200, le=599)
    code: str | None = None
    """An error's code, such as ``insufficient_quota``."""
    headers: dict[str, str] = {}
    """Further headers, such as ``retry-after``."""
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    """The pause before the first byte."""
    chunk_delay_ms: int = Field(default=0, ge=0, le=60_000)
    """The pause before each further chunk of a stream."""
    match: str | None = None
    """Only for a request whose newest human text contains this."""


class Script(BaseModel):
    """Replies to give, each once, in their order; a request takes the first that matches it."""

    model_config = ConfigDict(extra="forbid")

    replies: list[Reply]
    repeat_last: bool = False
    """The last one that is left stays."""


def load(documents: Documents) -> Script:
    """What is left of the script."""
    return Script.model_validate(documents.get("script", "only") or {"replies": []})


def replace(documents: Documents, script: Script) -> None:
    """From now on the model follows ``script``."""
    documents.put("script", "only", script.model_dump())


def take(documents: Documents, human: str) -> Reply:
    """The reply to a request with the newest human text ``human``; the default one if the script has none."""
    script = load(documents)
    for index, reply in enumerate(script.replies):
        if reply.match is None or reply.match in human:
            if not (script.repeat_last and len(script.replies) == 1):
                del script.replies[index]
                replace(documents, script)
            return reply
    return Reply()
