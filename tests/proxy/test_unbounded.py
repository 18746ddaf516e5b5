"""What a body's bytes do not bound, or what all customers would share, is refused; what is like it is not."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from proxy import body, dialects, outlines
from proxy.dialects import Dialect
from proxy.errors import BadRequest
from tests.proxy.conftest import Door
from tests.proxy.test_body import ROUTES

CHAT, RESPONSES, MESSAGES = dialects.CHAT, dialects.RESPONSES, dialects.MESSAGES
FUNCTION = {"type": "function", "function": {"name": "web_search", "parameters": {"properties": {"file": {}}}}}
LENGTHS = pytest.mark.parametrize("size", [1, outlines.SHORT_BYTES], ids=["short", "long"])


def raw(dialect: Dialect, size: int, **changed: Any) -> bytes:
    content = {dialect.content: [{"role": "user", "content": "x" * size}]}
    return json.dumps({"model": "small", **content, **changed}).encode()


def prepared(dialect: Dialect, size: int, **changed: Any) -> body.Prepared:
    return body.prepare(raw(dialect, size, **changed), ROUTES, dialect)


def said(dialect: Dialect, size: int, **part: Any) -> body.Prepared:
    text = {"type": "text", "text": "x" * size}
    return prepared(dialect, size, **{dialect.content: [{"role": "user", "content": [text, part]}]})


KEYS: list[tuple[str, Any]] = [
    ("web_search_options", {}), ("web_search_options", None), ("search_parameters", {"mode": "on"}), ("plugins", []),
    ("enable_search", True), ("webSearchOptions", {}), ("audio", {"voice": "x"}), ("models", ["other/model"]),
    ("preset", "x"), ("data_sources", []), ("service_tier", "priority"), ("service_tier", 1), ("speed", "fast"),
]  # fmt: skip


@LENGTHS
@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES], ids=lambda one: one.endpoint)
@pytest.mark.parametrize(("key", "value"), KEYS, ids=str)
def test_a_search_sound_another_model_and_another_price_are_refused(
    dialect: Dialect, key: str, value: Any, size: int
) -> None:
    with pytest.raises(BadRequest, match="key_not_allowed"):
        prepared(dialect, size, **{key: value})


CHATS: list[dict[str, Any]] = [
    {"modalities": ["text", "audio"]}, {"modalities": ["image"]}, {"best_of": 4}, {"best_of": True},
    {"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    {"tools": [FUNCTION, {"type": "function", "googleSearch": {}}]}, {"tools": [{"googleSearch": {}}]},
    {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]}, {"tools": 7}, {"tools": [7]},
    {"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]},
]  # fmt: skip


@LENGTHS
@pytest.mark.parametrize("changed", CHATS, ids=str)
def test_a_chat_has_the_customers_own_tools_and_text_alone(changed: dict[str, Any], size: int) -> None:
    with pytest.raises(BadRequest, match=r"not_supported|not_allowed"):
        prepared(CHAT, size, **changed)


PARTS: list[tuple[Dialect, dict[str, Any]]] = [
    (CHAT, {"type": "file", "file": {"file_id": "file-1"}}),
    (CHAT, {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}),
    (CHAT, {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
    (CHAT, {"type": "text", "text": "x", "file_id": "file-1"}),
    (CHAT, {"audio_url": {"url": "http://127.0.0.1:9/a.mp3"}}),
    (CHAT, {"type": "video_url", "video_url": {"url": "http://127.0.0.1:9/v.mp4"}}),
    (CHAT, {"type": "document_url", "document_url": "http://127.0.0.1:9/d.pdf"}),
    (RESPONSES, {"type": "input_file", "file_url": "http://127.0.0.1:9/d.pdf"}),
    (RESPONSES, {"type": "input_image", "file_id": "file-1"}),
    (RESPONSES, {"type": "input_audio", "input_audio": {"data": "UklGRg=="}}),
    (MESSAGES, {"type": "document", "source": {"type": "base64", "data": "JVBERi0="}}),
    (MESSAGES, {"type": "container_upload", "file_id": "file-1"}),
]


@LENGTHS
@pytest.mark.parametrize(("dialect", "part"), PARTS, ids=lambda one: one.get("type") if isinstance(one, dict) else "")
def test_a_file_and_sound_are_refused(dialect: Dialect, part: dict[str, Any], size: int) -> None:
    with pytest.raises(BadRequest, match="content_not_supported"):
        said(dialect, size, **part)


@LENGTHS
def test_an_answer_of_before_that_was_sound_is_refused(size: int) -> None:
    with pytest.raises(BadRequest, match="content_not_supported"):
        prepared(CHAT, size, messages=[{"role": "assistant", "audio": {"id": "audio_1"}, "content": "x" * size}])


@pytest.mark.parametrize(
    "kind", ["web_search_call", "file_search_call", "code_interpreter_call", "computer_call_output", "mcp_call", 7]
)
def test_what_a_providers_tool_found_is_refused(kind: Any) -> None:
    with pytest.raises(BadRequest, match="content_not_supported"):
        prepared(RESPONSES, 1, input=[{"type": kind, "id": "ws_1"}])


@pytest.mark.parametrize("edit", ["compact_20260112", "compaction"])
@pytest.mark.parametrize("dialect", [RESPONSES, MESSAGES], ids=lambda one: one.endpoint)
def test_a_summary_by_the_provider_is_refused(dialect: Dialect, edit: str) -> None:
    with pytest.raises(BadRequest, match="key_not_allowed"):
        prepared(dialect, 1, context_management={"edits": [{"type": edit}]})


@LENGTHS
def test_what_only_looks_like_it_is_passed_on(size: int) -> None:
    given = {
        "tools": [FUNCTION, {"type": "custom", "custom": {"name": "audio"}}], "service_tier": "auto",
        "modalities": ["text"], "best_of": 1, "metadata": {"models": "a", "plugins": "b"},
        "messages": [{"role": "assistant", "audio": None, "content": "the \"file\" " + "x" * size}],
    }  # fmt: skip
    made = prepared(CHAT, size, **given)
    assert json.loads(made.content(9, ROUTES.of["small"][0])) == {
        "model": "small", "max_completion_tokens": 9, **given
    }  # fmt: skip


def test_a_tool_may_name_what_no_message_may_have() -> None:
    assert prepared(CHAT, outlines.SHORT_BYTES, tools=[FUNCTION]).outline is not None


def test_pictures_of_an_earlier_answer_are_held_as_pictures() -> None:
    seen = [{"type": "image_url", "image_url": {"url": "https://pictures.example/1"}}]
    made = prepared(CHAT, 1, messages=[{"role": "assistant", "images": seen}])
    assert made.beside_text == 16_384 + 600


KEPT = [
    (CHAT, {}, None), (CHAT, {"store": True}, False), (CHAT, {"store": False}, False),
    (RESPONSES, {}, False), (RESPONSES, {"store": True}, False), (RESPONSES, {"store": False}, False),
]  # fmt: skip


@LENGTHS
@pytest.mark.parametrize(("dialect", "given", "sent"), KEPT)
def test_nothing_is_kept_at_the_provider(
    dialect: Dialect, given: dict[str, bool], sent: bool | None, size: int
) -> None:
    content = prepared(dialect, size, **given).content(9, ROUTES.of["small"][0])
    assert orjson.loads(content).get("store") is sent


async def test_a_client_is_told_what_it_may_not_use(door: Door) -> None:
    answer = await door.ask(web_search_options={})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "key not allowed (key: web_search_options)"
    assert door.provider.bodies == []
