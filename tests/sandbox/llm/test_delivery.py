"""Answers that come late, in odd pieces, not whole, or as something else."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import openai
import pytest

from tests.sandbox.llm.serving import KEY, Model
from tests.sandbox.stripe.serving import eventually

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "x"}], "stream": True}
BEARER = {"authorization": f"Bearer {KEY}"}


def stream(model: Model) -> httpx.Response:
    return model.http.post("/v1/chat/completions", json=BODY, headers=BEARER)


def raw_stream(model: Model) -> socket.socket:
    """A socket on which a streamed request was sent."""
    address = httpx.URL(model.base)
    opened = socket.create_connection((address.host, address.port or 80), timeout=10)
    body = json.dumps(BODY)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}"
    )
    opened.sendall(f"{head}\r\n\r\n{body}".encode())
    return opened


@pytest.mark.parametrize("streamed", [True, False])
def test_a_cut_answer_is_seen_to_be_cut(model: Model, streamed: bool) -> None:
    model.rule({"text": "one two three", "cut_after": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        model.http.post("/v1/chat/completions", json=BODY | {"stream": streamed}, headers=BEARER)
    (row,) = model.requests()
    assert (row["finished"], row["ended"], row["chunks"]) == (False, "cut", 1)


def test_a_cut_by_error_tells_the_error_first(model: Model) -> None:
    model.rule({"text": "one two three", "cut_after": 2, "cut_by": "error"})
    with pytest.raises(openai.APIError, match="The server had an error"):
        list(model.api.chat.completions.create(**BODY))


def test_after_a_cut_the_next_answer_is_whole(model: Model) -> None:
    model.script({"cut_after": 0}, {"text": "fine"})
    with pytest.raises(httpx.RemoteProtocolError):
        stream(model)
    assert model.say("x") == "fine"


def test_a_stall_after_the_headers_sends_no_body(model: Model) -> None:
    model.rule({"text": "one two", "stall_after": 0})
    with raw_stream(model) as opened:
        received = opened.recv(65_536)
        opened.settimeout(0.3)
        with pytest.raises(TimeoutError):
            opened.recv(1)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"data:" not in received


def test_a_stall_ends_and_the_rest_follows(model: Model) -> None:
    model.rule({"text": "one two", "stall_after": 2, "stall_ms": 50})
    assert "[DONE]" in stream(model).text


def test_who_goes_away_stops_the_model(model: Model) -> None:
    model.rule({"text": "one two", "stall_after": 2})
    with raw_stream(model) as opened:
        opened.recv(64)
        assert model.requests()[0]["ended"] is None
    eventually(lambda: [(one["ended"], one["finished"]) for one in model.requests()] == [("gone", False)])


def test_who_goes_away_before_the_first_byte_is_noticed_too(model: Model) -> None:
    model.rule({"delay_ms": 600_000})
    with raw_stream(model):
        eventually(model.requests)
    eventually(lambda: [one["ended"] for one in model.requests()] == ["gone"])


def test_small_segments_split_characters_and_lose_nothing(model: Model) -> None:
    model.rule({"text": "olá 😀 ção", "segment_bytes": 1, "chunk_chars": 2})
    made = model.api.chat.completions.create(**BODY)
    assert "".join(one.choices[0].delta.content or "" for one in made) == "olá 😀 ção"


def test_usage_can_be_left_out_and_still_counts(model: Model) -> None:
    model.rule({"text": "1234", "no_usage": True})
    made = model.api.chat.completions.create(**BODY | {"stream_options": {"include_usage": True}})
    assert [one.usage for one in made if one.usage] == []
    assert model.control.get("usage").json()["completion_tokens"] == 1


def test_another_content_type_and_a_page_instead_of_an_answer(model: Model) -> None:
    model.script({"text": "x", "content_type": "text/plain"}, {"raw": "<html>Bad gateway</html>", "status": 502})
    assert stream(model).headers["content-type"] == "text/plain"
    page = stream(model)
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert page.text == "<html>Bad gateway</html>"
    assert model.control.get("usage").json()["requests"] == 1
