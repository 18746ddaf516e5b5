"""Long bodies are read without their prompts, and mean the same as if they had been read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import outlines, words
from proxy.outlines import Outlines

LONG = "x" * outlines.SHORT_BYTES
OUTLINES = Outlines(fruit=[b'"apple"', b'"pear'], tool=[b"saw"])
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def long(**values: Any) -> bytes:
    return json.dumps({"pad": LONG, **values}).encode()


def test_each_key_has_the_text_of_its_value() -> None:
    raw = b' {"pad" : "%s" ,\n"messages":[1, 2 ],"n":2} ' % LONG.encode()
    outline = OUTLINES.read(raw)
    assert outline is not None
    assert outline.values == {"pad": f'"{LONG}"'.encode(), "messages": b"[1, 2 ]", "n": b"2"}


@pytest.mark.parametrize("before", [0, words.PIECE_BYTES - 5, 2 * words.PIECE_BYTES - 1], ids=["first", "torn", "late"])
def test_each_key_has_the_words_of_its_value(before: int) -> None:
    pad = "x" * before
    outline = OUTLINES.read(long(messages=[pad, "pears", "apple"], tools=[pad, "apples", "seesaw"], apple=1))
    assert outline is not None
    assert outline.words == {"pad": set(), "messages": {"fruit"}, "tools": {"tool"}, "apple": set()}


@given(body=st.dictionaries(_TEXT, _VALUES, max_size=5), indent=st.sampled_from([None, 1]), plain=st.booleans())
def test_what_is_outlined_is_what_a_parser_reads(body: dict[str, Any], indent: int | None, plain: bool) -> None:
    body = {"pad": LONG, **body}
    outline = OUTLINES.read(json.dumps(body, indent=indent, ensure_ascii=plain).encode())
    if outline is not None:
        assert {key: json.loads(value) for key, value in outline.values.items()} == body


@pytest.mark.parametrize(
    "raw",
    [
        long()[:-1] + b',"n":1,"n":2}',
        long()[:-1] + b',"n":1,"n":1}',
        long()[:-1] + b',"\\u006e":1}',
        long()[:-1] + b',"n":"\\u0041"}',
        long()[:-1] + b',"n":"\xff"}',
        long()[:-1] + b',"n":[1,]}',
        long()[:-1] + b',"n":' + b"[" * 5000 + b"]" * 5000 + b"}",
        long() + b"{}",
        long()[:-1],
        b"[" + long() + b"]",
        b'{"n":1}',
    ],
    ids=["twice", "twice the same", "a key in disguise", "a letter in disguise", "not UTF-8", "a comma too many",
         "too deep", "two of them", "cut", "a list", "short"],
)  # fmt: skip
def test_what_is_not_certain_is_left_to_be_read_whole(raw: bytes) -> None:
    assert OUTLINES.read(raw) is None
