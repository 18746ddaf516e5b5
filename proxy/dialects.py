"""What each endpoint's bodies, answers and errors look like, and what of a body is refused there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from controller.core.errors import CloudError, foreign
from proxy import errors, sayings
from proxy.catalog import Endpoint
from proxy.errors import BadRequest, Form
from proxy.readers import EmbeddingsReader, MessagesReader, ResponsesReader
from proxy.reading import Reader
from proxy.sayings import Saying

Body = dict[str, Any]

LEAST_THINKING = 1024
"""Anthropic's smallest budget, which must be below the answer's limit."""

_ELSEWHERE = frozenset({"item_reference", "input_file", "document", "container_upload"})


def _nothing(_: Body) -> None:
    return


def _unchanged(_: Body, __: int) -> Body:
    return {}


@dataclass(frozen=True)
class Dialect:
    """One endpoint's."""

    endpoint: Endpoint
    content: str
    """The key without which it is no request."""

    caps: tuple[str, ...]
    """The keys that limit an answer; none where there is nothing to limit."""

    reader: type[Reader]
    form: Form
    """An error in one piece."""

    event: Callable[[CloudError], bytes]
    """An error as an event of a stream."""

    whole: Callable[[Saying], bytes] | None = None
    """A sentence of ours in one piece; None where nobody would read it."""

    stream: Callable[[Saying], bytes] | None = None
    """The same as a stream."""

    check: Callable[[Body], None] = _nothing
    """Raises BadRequest for what the call's bound, or its customer, could not hold."""

    fit: Callable[[Body, int], Body] = _unchanged
    """What else must change for an answer of so many tokens."""

    deciding: tuple[str, ...] = ()
    """Keys, beside the others named here, that no other parser may read otherwise."""

    @property
    def decides(self) -> tuple[str, ...]:
        """Every key that no other parser may read otherwise than we."""
        return ("model", "stream", self.content, *self.caps, *self.deciding)

    def error(self, error: CloudError) -> Response:
        """The error as this endpoint's clients parse it."""
        return errors.answer(error, self.form)


def parts(items: object) -> Iterator[Body]:
    """Each part of the messages' or items' content, those within a tool's result too."""
    waiting = [items]
    while waiting:  # no recursion: how deep it goes is the client's choice
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(reversed(one))
        elif isinstance(one, dict):
            yield one
            waiting += (one.get("output"), one.get("content"))


def _check_responses(body: Body) -> None:
    """All customers share our account there: what is stored in it is nobody's, and how long it is nobody knows."""
    for key in ("previous_response_id", "conversation", "prompt", "background"):
        if body.get(key):
            raise BadRequest("key_not_allowed", key=key)
    _check_tools(body, "function", "custom")
    _check_parts(body.get("input"))


def _check_messages(body: Body) -> None:
    for key in ("mcp_servers", "container"):
        if body.get(key):
            raise BadRequest("key_not_allowed", key=key)
    _check_tools(body, "custom")
    _check_parts(body["messages"])


def _check_tools(body: Body, *known: str) -> None:
    """The provider's own tools read what no body tells, and describe themselves to the model at our cost."""
    tools = body.get("tools") or []
    for tool in tools if isinstance(tools, list) else [None]:
        kind = tool.get("type") or "custom" if isinstance(tool, dict) else None
        if not isinstance(kind, str) or kind not in known:
            raise BadRequest("tool_not_supported")


def _check_parts(items: object) -> None:
    """What is fetched or read elsewhere has no bound that the body tells."""
    for part in parts(items):
        source = part.get("source")
        from_file = part.get("file_id") or (isinstance(source, dict) and source.get("file_id"))
        if from_file or _is_elsewhere(part.get("type")):
            raise BadRequest("content_not_supported", type=foreign(part.get("type")))


def _is_elsewhere(kind: object) -> bool:
    return isinstance(kind, str) and kind in _ELSEWHERE


def _fit_messages(body: Body, cap: int) -> Body:
    """Anthropic refuses a budget for thinking that leaves no answer."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(thinking, dict) or not isinstance(budget, int) or budget < cap:
        return {}
    return {"thinking": {**thinking, "budget_tokens": cap - 1} if cap > LEAST_THINKING else {"type": "disabled"}}


CHAT = Dialect(
    Endpoint.CHAT, "messages", ("max_completion_tokens", "max_tokens"), Reader, errors.spoken, errors.event,
    sayings.chat, sayings.chat_stream, deciding=("stream_options", "n"),
)  # fmt: skip
RESPONSES = Dialect(
    Endpoint.RESPONSES, "input", ("max_output_tokens",), ResponsesReader, errors.spoken, errors.responses_event,
    sayings.responses, sayings.responses_stream, _check_responses,
    deciding=("previous_response_id", "conversation", "prompt", "background", "tools"),
)  # fmt: skip
EMBEDDINGS = Dialect(Endpoint.EMBEDDINGS, "input", (), EmbeddingsReader, errors.spoken, errors.event)
MESSAGES = Dialect(
    Endpoint.MESSAGES, "messages", ("max_tokens",), MessagesReader, errors.messages_form, errors.messages_event,
    sayings.messages, sayings.messages_stream, _check_messages, _fit_messages,
    deciding=("thinking", "mcp_servers", "container", "tools"),
)  # fmt: skip
ALL = (CHAT, RESPONSES, EMBEDDINGS, MESSAGES)
