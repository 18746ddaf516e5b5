"""How a chat's stream is read as it passes by, however the network has cut it."""

from __future__ import annotations

import json

import pytest

from proxy.reading import Reader

SAID = [{"content": "abcd"}, {"reasoning_content": "é" * 2}, {"refusal": "abcd"},
        {"tool_calls": [{"index": 0, "function": {"name": "ab", "arguments": "cd"}}]}]  # fmt: skip
ODD = [
    {"content": 7},
    {"tool_calls": 7},
    {"tool_calls": [7, {"function": 7}, {"function": {"name": 7}}]},
    {"role": "x"},
]
TEXT = b'data: {"choices": [{"delta": {"content": "abcd"}}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
BORDERS = ["\n\n", "\r\n\r\n", "\n\r\n"]


def event(delta: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


def read(reader: Reader, stream: bytes, size: int) -> bytes:
    """What may go to the client of a stream that comes ``size`` bytes at a time."""
    kept = b"".join(reader.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + reader.rest()
    reader.sent()
    return kept


@pytest.mark.parametrize("delta", SAID)
def test_text_of_every_kind_is_counted_in_bytes(delta: dict[str, object]) -> None:
    reader = Reader(hide_usage=False)
    read(reader, event(delta), 1000)
    assert reader.delivered_bytes == 4


@pytest.mark.parametrize("delta", ODD)
def test_what_is_no_text_is_passed_over(delta: dict[str, object]) -> None:
    reader = Reader(hide_usage=False)
    assert read(reader, event(delta), 1000) == event(delta)
    assert reader.delivered_bytes == 0


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [1, 2, 7, 60, 1000])
@pytest.mark.parametrize("hide", [False, True])
def test_it_does_not_matter_how_the_network_cuts_a_stream(border: str, size: int, hide: bool) -> None:
    shown, hidden, end = (part.replace(b"\n\n", border.encode()) for part in (TEXT * 3, USAGE, DONE))
    reader = Reader(hide_usage=hide)
    assert read(reader, shown + hidden + end, size) == shown + (b"" if hide else hidden) + end
    assert (reader.delivered_bytes, reader.final) == (12, True)
    assert reader.usage == {"prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("hide", "fed", "before"),
    [
        (False, [TEXT + USAGE + DONE], TEXT),
        (False, [TEXT + DONE], TEXT),
        (True, [TEXT + USAGE + DONE], TEXT),
        (False, [TEXT[:9], TEXT[9:] + USAGE[:5]], TEXT[9:] + USAGE[:5]),
        (False, [TEXT + USAGE[:5], USAGE[5:]], b""),
        (True, [TEXT + USAGE[:5], USAGE[5:] + DONE], b""),
        (False, [TEXT + USAGE, DONE], b""),
        (False, [TEXT + USAGE, DONE[:5]], b""),
    ],
)
def test_what_stands_before_the_last_frame_need_not_wait_for_it(hide: bool, fed: list[bytes], before: bytes) -> None:
    reader = Reader(hide_usage=hide)
    *_, last = [reader.feed(chunk) for chunk in fed]
    assert (last[: reader.final_at] if reader.final else last) == before


def test_lines_beside_the_data_are_passed_over() -> None:
    reader = Reader(hide_usage=False)
    read(reader, b": hello\nevent: x\n" + TEXT + b'data: {"choices":\ndata: [{"delta": {"content": "ab"}}]}\n\n', 1000)
    assert reader.delivered_bytes == 6
