"""Scripts: what the model answers, in a test's or the demo's own words, and how its answers misbehave.

``replies`` are given once each, in their order. ``rules`` stay: a rule answers every request that it fits with its
steps. Replies come first, then the rules in their order, then the default. In texts and in tool arguments
``{{human}}``, ``{{result}}``, ``{{results}}``, ``{{recalled}}`` and ``{{match.N}}`` are filled in (``filling.py``).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from controller.core import ids
from controller.sandbox.documents import Documents
from controller.sandbox.llm import filling

Api = Literal["chat", "responses", "messages", "gemini", "embeddings"]


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"not a regular expression: {exc}") from exc
    return pattern


Pattern = Annotated[str, AfterValidator(_compiled)]
Filled = Annotated[str, AfterValidator(filling.checked)]


class ToolCall(BaseModel):
    """A call of a tool; ``arguments`` is sent as JSON text."""

    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: dict[str, Any] = {}
    id: str | None = None


class Faults(BaseModel):
    """How the answer travels. Counts of chunks are counts of events; an answer that is no stream has two halves."""

    model_config = ConfigDict(extra="forbid")

    delay_ms: int = Field(default=0, ge=0, le=600_000)
    """The pause before the first byte."""
    chunk_delay_ms: int = Field(default=0, ge=0, le=60_000)
    """The pause before each further chunk of a stream."""
    chunk_chars: int | None = Field(default=None, ge=1)
    """Characters of text or of a call's arguments in a chunk; 1 splits inside JSON escapes. None: a word each."""
    ascii_arguments: bool = False
    """Arguments carry ``\\uXXXX`` escapes, so that a small chunk splits a character's two halves."""
    segment_bytes: int | None = Field(default=None, ge=1)
    """The body is written in pieces of so many bytes, which split events and UTF-8 characters."""
    stall_after: int | None = Field(default=None, ge=0)
    """After so many chunks nothing comes for ``stall_ms``; 0 is right after the headers."""
    stall_ms: int = Field(default=600_000, ge=0, le=3_600_000)
    cut_after: int | None = Field(default=None, ge=0)
    """After so many chunks the answer ends without its end."""
    cut_by: Literal["close", "error"] = "close"
    """``close``: the connection is closed. ``error``: the vendor's error event comes first."""
    no_usage: bool = False
    """The answer does not say what it used; the sums still do."""
    content_type: str | None = None
    """Another content type than the body's."""
    raw: str | None = None
    """This body instead of an answer: a web page, broken JSON."""


class Reply(Faults):
    """One answer. With ``status`` of 400 or more it is an error whose message is ``text``."""

    text: Filled | None = None
    """None: the default reply, or nothing beside ``tool_calls``."""
    tool_calls: list[ToolCall] = []
    then: Reply | None = None
    """What to answer once the tools' results are there; a string is its text."""
    reasoning: Filled | None = None
    """Thinking before the answer; it counts as reasoning tokens."""
    refusal: bool = False
    """The model declines, with ``text`` as its words."""
    recall: Pattern | None = None
    """Look for this in the whole request, newest text first; ``{{recalled}}`` is what was found."""
    cached_tokens: int = Field(default=0, ge=0)
    """How many of the prompt's tokens came from the vendor's cache."""
    cache_written_tokens: int = Field(default=0, ge=0)
    """How many of them went into it; Google does not tell."""
    status: int = Field(default=200, ge=200, le=599)
    code: str | None = None
    """An error's code, such as ``insufficient_quota``."""
    headers: dict[str, str] = {}
    """Further headers, such as ``retry-after``."""
    match: str | None = None
    """Only for a request whose newest human text contains this."""
    times: int = Field(default=1, ge=1)
    """How often it is given before the next one's turn."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fillable(self) -> Reply:
        for call in self.tool_calls:
            filling.check_all(call.arguments)
        if self.then is not None and not self.tool_calls:
            raise ValueError("then: only after tool_calls")
        return self


class Rule(BaseModel):
    """Answers for every request that it fits; what is left out fits all."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default_factory=ids.new, min_length=1, max_length=64)
    match: str | None = None
    """The newest human text contains this."""
    pattern: Pattern | None = None
    """The newest human text has a match of this regular expression; ``{{match.1}}`` is its group 1."""
    after_tool: bool | None = None
    """Only if a tool's result has come since the newest human text, or only if none has."""
    model: str | None = None
    api: Api | None = None
    steps: list[Reply] = Field(min_length=1)
    """Given one after the other; a step with ``then`` is over when the last ``then`` was given."""
    ending: Literal["stay", "again", "spent"] = "stay"
    """After the last step: it stays, the steps begin again, or the rule fits nothing any more."""
    step: int = Field(default=0, ge=0)
    """Which step is next."""
    given: int = Field(default=0, ge=0)
    """How often that step was given."""

    @model_validator(mode="after")
    def _ends(self) -> Rule:
        last = self.steps[-1]
        if last.tool_calls and last.then is None and self.ending == "stay" and self.after_tool is not False:
            raise ValueError("steps: would call its tool for ever; give the last one `then`, or after_tool: false")
        return self


class Script(BaseModel):
    """What the model follows."""

    model_config = ConfigDict(extra="forbid")

    replies: list[Reply] = []
    repeat_last: bool = False
    """The last reply that is left stays."""
    rules: list[Rule] = []

    @model_validator(mode="after")
    def _distinct(self) -> Script:
        if len({rule.id for rule in self.rules}) < len(self.rules):
            raise ValueError("rules: two have the same id")
        return self


def load(documents: Documents) -> Script:
    """What is left of the script."""
    return Script.model_validate(documents.get("script", "only") or {})


def replace(documents: Documents, script: Script) -> None:
    """From now on the model follows ``script``."""
    documents.put("script", "only", script.model_dump())


def add(documents: Documents, rule: Rule) -> None:
    """``rule`` is followed after those that are there; one with its id is replaced in place."""
    script = load(documents)
    places = {one.id: index for index, one in enumerate(script.rules)}
    if rule.id in places:
        script.rules[places[rule.id]] = rule
    else:
        script.rules.append(rule)
    replace(documents, script)


def drop(documents: Documents, rule_id: str) -> bool:
    """The rule is followed no more; whether there was one."""
    script = load(documents)
    left = [one for one in script.rules if one.id != rule_id]
    replace(documents, script.model_copy(update={"rules": left}))
    return len(left) < len(script.rules)
