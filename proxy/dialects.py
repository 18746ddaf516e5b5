"""What each endpoint's bodies, answers and errors look like, and what of a body is refused there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.responses import Response

from controller.core.errors import CloudError
from proxy import errors, sayings, unbounded
from proxy.catalog import Endpoint
from proxy.errors import Form
from proxy.readers import EmbeddingsReader, MessagesReader, ResponsesReader
from proxy.reading import Reader
from proxy.sayings import Saying

Body = dict[str, Any]

LEAST_THINKING = 1024
"""Anthropic's smallest budget, which must be below the answer's limit."""


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

    @cached_property
    def decides(self) -> tuple[tuple[str, bytes], ...]:
        """Every key that no other parser may read otherwise than we, and how it is spelled in JSON."""
        keys = ("model", "stream", self.content, *self.caps, *self.deciding)
        return tuple((key, b'"%s"' % key.encode()) for key in keys)

    def error(self, error: CloudError) -> Response:
        """The error as this endpoint's clients parse it."""
        return errors.answer(error, self.form)


def _fit_messages(body: Body, cap: int) -> Body:
    """Anthropic refuses a budget for thinking that leaves no answer."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(thinking, dict) or not isinstance(budget, int) or budget < cap:
        return {}
    return {"thinking": {**thinking, "budget_tokens": cap - 1} if cap > LEAST_THINKING else {"type": "disabled"}}


CHAT = Dialect(
    Endpoint.CHAT, "messages", ("max_completion_tokens", "max_tokens"), Reader, errors.spoken, errors.event,
    sayings.chat, sayings.chat_stream, unbounded.check_chat, unbounded.unstored,
    deciding=("stream_options", "n", "tools"),
)  # fmt: skip
RESPONSES = Dialect(
    Endpoint.RESPONSES, "input", ("max_output_tokens",), ResponsesReader, errors.spoken, errors.responses_event,
    sayings.responses, sayings.responses_stream, unbounded.check_responses,
    unbounded.unstored_response,
    deciding=("previous_response_id", "conversation", "prompt", "background", "tools"),
)  # fmt: skip
EMBEDDINGS = Dialect(Endpoint.EMBEDDINGS, "input", (), EmbeddingsReader, errors.spoken, errors.event)
MESSAGES = Dialect(
    Endpoint.MESSAGES, "messages", ("max_tokens",), MessagesReader, errors.messages_form, errors.messages_event,
    sayings.messages, sayings.messages_stream, unbounded.check_messages, _fit_messages,
    deciding=("thinking", "mcp_servers", "container", "tools"),
)  # fmt: skip
ALL = (CHAT, RESPONSES, EMBEDDINGS, MESSAGES)
