"""OpenAI's chat in other providers' forms and back: the one module that imports litellm.

Anthropic's and Gemini's go through litellm's transformation classes alone, which cost a fifteenth to a twenty-fifth of
``acompletion``; the wire ``litellm`` takes that. The classes are no public API: the version is pinned, and
``tests/proxy/test_translation.py`` holds what is used of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import httpx

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches a price list, with retries of seconds

import litellm
from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicStream
from litellm.llms.anthropic.chat.transformation import (
    ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY,
    AnthropicConfig,
)
from litellm.llms.base_llm.chat.transformation import BaseLLMException
from litellm.llms.gemini.chat.transformation import GoogleAIStudioGeminiConfig
from litellm.llms.vertex_ai.gemini.transformation import transform_request_body
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (
    ModelResponseIterator as GeminiStream,
)

from proxy.pieces import Fragment, Piece
from proxy.usages import Usage

litellm.suppress_debug_info = True
litellm.drop_params = True
logging.getLogger("LiteLLM").setLevel(logging.ERROR)

PASSED = frozenset(
    {
        "tools", "tool_choice", "temperature", "top_p", "stop", "max_tokens", "max_completion_tokens", "seed",
        "response_format", "reasoning_effort", "parallel_tool_calls", "presence_penalty", "frequency_penalty",
    }
)  # fmt: skip
"""What of a body beside its messages is translated; nothing else of it reaches litellm."""

REFUSALS = (
    *litellm.LITELLM_EXCEPTION_TYPES, BaseLLMException,
    LookupError, TypeError, ValueError, AttributeError, AssertionError,
)  # fmt: skip
"""What litellm raises for what it cannot say; the built-in ones where a body has another type than it thought."""

LEAST_THINKING = 1024
"""Anthropic's smallest budget, which must be below the answer's limit."""

_ANTHROPIC_VERSION = "2023-06-01"


class Untranslatable(Exception):
    """Raised for a body that the provider's form cannot say, with litellm's reason."""


class ProviderFault(Exception):
    """Raised when a provider answers with an error of ``status``."""

    def __init__(self, status: int, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True)
class Letter:
    """What is posted to the provider, and how to read what comes back."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    whole: Callable[[dict[str, Any]], Piece]
    event: Callable[[dict[str, Any]], Piece]
    """Reads the stream's next event; a new one for each stream."""


class Translator(Protocol):
    """One wire."""

    def letter(self, model: str, body: dict[str, Any], key: str) -> Letter:
        """The request of ``body``. Raises Untranslatable."""


class Anthropic:
    """Anthropic's messages."""

    def letter(self, model: str, body: dict[str, Any], key: str) -> Letter:
        """The request of ``body``. Raises Untranslatable."""
        config = AnthropicConfig()
        given = _parameters(config, model, body)
        if _calls_last(body["messages"]):
            # its thinking must then be among the messages, and OpenAI's form has no place for that
            given.pop("reasoning_effort", None)
        headers = {"x-api-key": key, "anthropic-version": _ANTHROPIC_VERSION}
        names: dict[str, Any] = {"custom_llm_provider": "anthropic"}
        try:
            options = config.map_openai_params(given, {}, model, True)
            options.setdefault("max_tokens", AnthropicConfig.get_max_tokens_for_model(model))
            as_json = bool(options.pop("json_mode", False))
            _bound_thinking(options)
            request = config.transform_request(model, _messages(body), options, names, headers)
        except REFUSALS as exc:
            raise Untranslatable(str(exc)) from exc
        own_names = names.get(ANTHROPIC_TOOL_NAME_REVERSE_MAP_KEY) or {}
        stream = AnthropicStream(None, False, as_json, tool_name_reverse_map=own_names)

        def whole(told: dict[str, Any]) -> Piece:
            made = config.transform_parsed_response(
                told, httpx.Response(200), litellm.ModelResponse(), json_mode=as_json, tool_name_reverse_map=own_names
            )
            return _whole(made)

        if body.get("stream") is True:
            request["stream"] = True
        return Letter("/v1/messages", headers, request, whole, lambda event: _event(stream.chunk_parser(event)))


class Gemini:
    """Google's Gemini API."""

    def letter(self, model: str, body: dict[str, Any], key: str) -> Letter:
        """The request of ``body``. Raises Untranslatable."""
        config = GoogleAIStudioGeminiConfig()
        try:
            options = config.map_openai_params(_parameters(config, model, body), {}, model, True)
            asked = _Asked(dict(options))
            request = transform_request_body(_messages(body), model, options, "gemini", {}, None)
        except REFUSALS as exc:
            raise Untranslatable(str(exc)) from exc
        stream = GeminiStream(None, False, asked)

        def whole(told: dict[str, Any]) -> Piece:
            made = config.transform_google_generate_content_to_openai_model_response(
                told, litellm.ModelResponse(), model, asked, httpx.Response(200)
            )
            return _whole(made)

        method = "streamGenerateContent?alt=sse" if body.get("stream") is True else "generateContent"
        path, headers = f"/models/{model}:{method}", {"x-goog-api-key": key}
        return Letter(path, headers, dict(request), whole, lambda event: _event(stream.chunk_parser(event)))


@dataclass(frozen=True)
class Rest:
    """Whatever else litellm speaks, by its own client."""

    vendor: str
    base_url: str
    timeout: timedelta

    async def whole(self, model: str, body: dict[str, Any], key: str) -> Piece:
        """The whole answer. Raises ProviderFault."""
        return _whole(await self._ask(model, body, key))

    async def stream(self, model: str, body: dict[str, Any], key: str) -> AsyncIterator[Piece]:
        """The answer as it comes. Raises ProviderFault."""
        answer = await self._ask(model, body, key, stream=True, stream_options={"include_usage": True})
        try:
            async for chunk in answer:
                yield _event(chunk)
        except REFUSALS as exc:
            raise _fault(exc) from exc
        finally:
            await answer.aclose()

    async def _ask(self, model: str, body: dict[str, Any], key: str, **more: Any) -> Any:
        given = {name: value for name, value in body.items() if name in PASSED and value is not None}
        try:
            return await litellm.acompletion(
                model=f"{self.vendor}/{model}", messages=_messages(body), api_key=key, api_base=self.base_url,
                num_retries=0, max_retries=0, timeout=self.timeout.total_seconds(), **given, **more,
            )  # fmt: skip
        except REFUSALS as exc:
            raise _fault(exc) from exc


@dataclass(frozen=True)
class _Asked:
    """What litellm's Gemini classes look for in its logger: the request's options."""

    optional_params: dict[str, Any]


def _parameters(config: Any, model: str, body: dict[str, Any]) -> dict[str, Any]:
    known = PASSED & {*config.get_supported_openai_params(model), "max_tokens", "max_completion_tokens"}
    given = {name: value for name, value in body.items() if name in known and value is not None}
    return given if given.get("tools") else {k: v for k, v in given.items() if k not in ("tools", "tool_choice")}


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages with the developer's as the system's, in their order; litellm changes what it is given."""
    return [
        {**one, "role": "system"} if one.get("role") == "developer" else dict(one) for one in body["messages"]
    ]  # fmt: skip


def _calls_last(messages: list[dict[str, Any]]) -> bool:
    said = [one for one in messages if one.get("role") == "assistant"]
    return bool(said and said[-1].get("tool_calls"))


def _bound_thinking(options: dict[str, Any]) -> None:
    """Anthropic refuses a budget that leaves no answer, and a temperature beside it."""
    budget = (options.get("thinking") or {}).get("budget_tokens")
    if budget is None:
        return
    if options["max_tokens"] <= LEAST_THINKING:
        del options["thinking"]
        return
    options["thinking"]["budget_tokens"] = min(budget, options["max_tokens"] - 1)
    options.pop("temperature", None)


def _whole(answer: Any) -> Piece:
    choice = answer.choices[0]
    message = choice.message
    calls = [
        Fragment(number, call.id, call.function.name, call.function.arguments or "")
        for number, call in enumerate(message.tool_calls or ())
    ]
    return Piece(
        text=message.content or "",
        reasoning=getattr(message, "reasoning_content", None) or "",
        calls=tuple(calls),
        finish=choice.finish_reason,
        usage=_usage(getattr(answer, "usage", None)),
    )


def _event(chunk: Any) -> Piece:
    if chunk is None:
        return Piece()
    usage = _usage(getattr(chunk, "usage", None))
    if not chunk.choices:
        return Piece(usage=usage)
    choice = chunk.choices[0]
    delta = choice.delta
    calls = [
        Fragment(call.index or 0, call.id, call.function.name, call.function.arguments or "")
        for call in delta.tool_calls or ()
    ]
    return Piece(
        text=delta.content or "",
        reasoning=getattr(delta, "reasoning_content", None) or "",
        calls=tuple(calls),
        finish=choice.finish_reason or None,
        usage=usage,
    )


def _usage(told: Any) -> Usage | None:
    if told is None:
        return None
    cached = getattr(getattr(told, "prompt_tokens_details", None), "cached_tokens", None) or 0
    thought = getattr(getattr(told, "completion_tokens_details", None), "reasoning_tokens", None) or 0
    return Usage(told.prompt_tokens or 0, cached, told.completion_tokens or 0, thought)


def _fault(exc: Exception) -> ProviderFault:
    status = getattr(exc, "status_code", None)
    headers = getattr(exc, "litellm_response_headers", None) or getattr(getattr(exc, "response", None), "headers", None)
    after = (headers or {}).get("retry-after")
    return ProviderFault(status if isinstance(status, int) else 502, str(getattr(exc, "message", exc))[:1000], after)
