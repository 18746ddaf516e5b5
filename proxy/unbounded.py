"""What of a body costs tokens that its bytes say nothing of, or lives in the account that all customers share: refused.

A provider's own tools and searches read texts that no body tells; files and sound are no text, whatever their size;
and what is kept at the provider is anybody's. With none of it a body's bytes and its images bound the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from controller.core.errors import foreign
from proxy.errors import BadRequest
from proxy.hostile import plain

Body = dict[str, Any]

_KEYS = frozenset(
    {"websearchoptions", "websearch", "searchparameters", "searchoptions", "enablesearch", "plugins", "datasources"}
    | {"fileids", "audio"}
    | {"models", "preset"}
)
"""Searches and files by the names that providers give them, sound as an answer, and other models than the one named:
refused with any value, null too, so that it does not matter which one of two a parser goes by."""

_PRICED = {
    "servicetier": frozenset({"auto", "default", "standard_only"}),
    "speed": frozenset({"standard"}),
    "inferencegeo": frozenset({"global"}),
}
"""What has a price of its own, which the catalog does not know, and the values that have not."""

_PARTS = frozenset(
    {"item_reference", "container_upload", "file", "input_file", "file_id", "document", "document_url", "media"}
    | {"input_audio", "audio", "audio_url", "input_video", "video", "video_url"}
)
"""A part of these types is read elsewhere or is no text, and so is one that has such a key."""

MARKS = (b'"image', *(b'"%s"' % name.encode() for name in sorted(_PARTS)))
"""Without one of these words in their text, as plain JSON, messages have no image and nothing that is refused."""

_ITEMS = frozenset(
    {"message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
)
"""The items of a response's input that say all that they are."""


class _Object(msgspec.Struct):
    """Whatever it has."""


class _Tool(msgspec.Struct):
    type: str | None = None
    function: _Object | None = None
    custom: _Object | None = None


_TOOLS = msgspec.json.Decoder(list[_Tool] | None)


def check_chat(body: Body) -> None:
    """Return if a chat's cost is bounded, its messages and tools as far as they were parsed. Raises BadRequest."""
    _check_keys(body)
    best = body.get("best_of")
    if best is not None and (best != 1 or isinstance(best, bool)):
        raise BadRequest("key_not_allowed", key="best_of")
    modalities = body.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise BadRequest("modality_not_supported")
    if isinstance(body["messages"], list):
        _check_parts(body["messages"])
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, orjson.Fragment):
        check_chat_tools(msgspec.json.encode(tools))  # half of what msgspec.convert takes


def check_chat_tools(tools: bytes) -> None:
    """Return if a chat's tools, as JSON, are its own. Raises BadRequest.

    One that has no function runs at the provider, whatever its type says: translators go by its only other key.
    """
    try:
        known = _TOOLS.decode(tools) or []
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadRequest("tool_not_supported") from exc
    for tool in known:
        if {"function": tool.function, "custom": tool.custom}.get(tool.type or "") is None:
            raise BadRequest("tool_not_supported")


def check_responses(body: Body) -> None:
    """Return if a response's cost is bounded. Raises BadRequest."""
    _check_keys(body)
    for key in ("previous_response_id", "conversation", "prompt", "background", "context_management"):
        if body.get(key):
            raise BadRequest("key_not_allowed", key=key)
    _check_tools(body, "function", "custom")
    _check_parts(body.get("input"))
    for item in body["input"] if isinstance(body.get("input"), list) else ():
        kind = item.get("type") if isinstance(item, dict) else None
        if kind is not None and (not isinstance(kind, str) or kind not in _ITEMS):
            raise BadRequest("content_not_supported", type=foreign(kind))


def check_messages(body: Body) -> None:
    """Return if a message's cost is bounded. Raises BadRequest."""
    _check_keys(body)
    for key in ("mcp_servers", "container"):
        if body.get(key):
            raise BadRequest("key_not_allowed", key=key)
    if any(kind.startswith("compact") for kind in _types(body.get("context_management"))):
        raise BadRequest("key_not_allowed", key="context_management")  # a summary is an answer more, with no limit
    _check_tools(body, "custom")
    _check_parts(body["messages"])


def unstored(body: Body, _: int) -> Body:
    """What must change so that a chat is not kept at the provider, in an account that all customers share."""
    return {"store": False} if body.get("store") else {}


def unstored_response(body: Body, _: int) -> Body:
    """The same for a response, which is kept unless the body says otherwise."""
    return {} if body.get("store") is False else {"store": False}


def parts(items: object) -> Iterator[Body]:
    """Each part of the messages' or items' content, those within a tool's result too."""
    waiting = [items]
    while waiting:  # no recursion: how deep it goes is the client's choice
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(reversed(one))
        elif isinstance(one, dict):
            yield one
            waiting += (one.get("output"), one.get("images"), one.get("content"))


def _check_keys(body: Body) -> None:
    for key, value in body.items():
        name = plain(key)
        free = _PRICED.get(name)
        dear = free is not None and value is not None and not (isinstance(value, str) and value in free)
        if dear or name in _KEYS:
            raise BadRequest("key_not_allowed", key=foreign(key))


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
        source, kind = part.get("source"), part.get("type")
        from_file = isinstance(source, dict) and source.get("file_id")
        if (
            from_file
            or (isinstance(kind, str) and kind in _PARTS)
            or any(part.get(key) for key in _PARTS & part.keys())
        ):
            raise BadRequest("content_not_supported", type=foreign(kind))


def _types(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            if isinstance(kind := one.get("type"), str):
                yield kind
            waiting.extend(one.values())
