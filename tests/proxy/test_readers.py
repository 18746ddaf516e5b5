"""What the readers of responses and messages understand of what passes by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.readers import MessagesReader, ResponsesReader
from proxy.reading import Reader

USAGE = {"input_tokens": 11, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 3}}
BEGUN = {"input_tokens": 8, "cache_read_input_tokens": 3, "output_tokens": 1}
START = {"type": "message_start", "message": {"usage": BEGUN}}
DELTAS = [{"text": "abcd"}, {"partial_json": "abcd"}, {"thinking": "abcd"}, {"signature": "x"}]
ODD: list[dict[str, Any]] = [
    {"type": 7},
    {"type": "message", "content": 7, "usage": 7},
    {"output": [7, {"content": 7}]},
    {"type": "message_start", "message": 7},
    {"type": "response.completed"},
    {"type": "content_block_delta", "delta": 7},
    {"type": "x.delta", "delta": [7]},
]


def passed(reader: Reader, *events: dict[str, Any]) -> Reader:
    for one in events:
        reader.feed(b"event: x\ndata: " + json.dumps(one).encode() + b"\n\n")
    reader.sent()
    return reader


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_a_responses_last_event_has_its_usage(end: str) -> None:
    read = passed(ResponsesReader(hide_usage=False), {"type": f"response.{end}", "response": {"usage": USAGE}})
    assert read.usage is not None
    assert (read.usage["prompt_tokens"], read.usage["completion_tokens"], read.final) == (11, 7, True)


@pytest.mark.parametrize("kind", ["output_text", "function_call_arguments", "reasoning_summary_text", "refusal"])
def test_what_a_response_said_before_it_broke_is_counted(kind: str) -> None:
    read = passed(ResponsesReader(hide_usage=False), {"type": f"response.{kind}.delta", "delta": "é" * 4})
    assert (read.usage, read.delivered_bytes, read.final) == (None, 8, False)


def test_a_messages_output_is_unknown_until_its_last_delta() -> None:
    read = passed(MessagesReader(hide_usage=False), START)
    assert read.usage is not None
    assert (read.usage["prompt_tokens"], read.usage["completion_tokens"], read.final) == (11, None, False)
    passed(read, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}})
    assert (read.usage["prompt_tokens"], read.usage["completion_tokens"], read.final) == (11, 7, True)


@pytest.mark.parametrize("delta", DELTAS)
def test_what_a_message_said_before_it_broke_is_counted(delta: dict[str, str]) -> None:
    read = passed(MessagesReader(hide_usage=False), START, {"type": "content_block_delta", "index": 0, "delta": delta})
    assert read.delivered_bytes == (0 if "signature" in delta else 4)


@pytest.mark.parametrize("reader", [ResponsesReader, MessagesReader])
@pytest.mark.parametrize("odd", ODD)
def test_what_no_provider_should_say_is_passed_over(reader: type[Reader], odd: dict[str, Any]) -> None:
    read = passed(reader(hide_usage=False), odd)
    read.whole(json.dumps(odd).encode())
    assert read.delivered_bytes == 0
