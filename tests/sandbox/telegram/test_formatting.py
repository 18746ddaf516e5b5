"""Formatting and how the page shows it, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.sandbox.telegram import formatting, rendering, spotting
from controller.sandbox.telegram.faults import Fault

READ = [
    ("HTML", "a &amp;&lt;&#128578;&#x41; &copy;", "a &<🙂A &copy;", []),
    ("HTML", "<blockquote expandable>x</blockquote>", "x", [("expandable_blockquote", 0, 1)]),
    ("HTML", '🙂<tg-emoji emoji-id="5">👍</tg-emoji>', "🙂👍", [("custom_emoji", 2, 2)]),
    ("HTML", "<a>https://x.example</a>", "https://x.example", [("text_link", 0, 17)]),
    ("HTML", '<a href="javascript:alert(1)">x</a>', "x", []),
    ("HTML", "<b>x</>", "x", [("bold", 0, 1)]),
    ("MarkdownV2", "*a _b ~c~_*", "a b c", [("bold", 0, 5), ("italic", 2, 3), ("strikethrough", 4, 1)]),
    ("MarkdownV2", "```py\nx*y\n```", "x*y\n", [("pre", 0, 4)]),
    ("MarkdownV2", ">one\n>two\nthree", "one\ntwo\nthree", [("blockquote", 0, 7)]),
    ("MarkdownV2", ">one\n>two||", "one\ntwo", [("expandable_blockquote", 0, 7)]),
    ("MarkdownV2", r"[a\]b](https://x.example/\))", "a]b", [("text_link", 0, 3)]),
    ("MarkdownV2", "![👍](tg://emoji?id=5)", "👍", [("custom_emoji", 0, 2)]),
    ("Markdown", r"\*a [b](https://x.example)", "*a b", [("text_link", 3, 1)]),
    ("Markdown", "```sh\nls```", "ls", [("pre", 0, 2)]),
    ("markdownv2", "*a*", "a", [("bold", 0, 1)]),
    (None, "<b>*a*", "<b>*a*", []),
]


@pytest.mark.parametrize(("mode", "source", "text", "entities"), READ)
def test_a_source_becomes_text_and_entities(
    mode: str | None, source: str, text: str, entities: list[tuple[str, int, int]]
) -> None:
    read, found = formatting.rendered(source, mode)
    assert (read, [(one["type"], one["offset"], one["length"]) for one in found]) == (text, entities)


REFUSED = [
    ("HTML", "é<blink>", 'Unsupported start tag "blink" at byte offset 2'),
    ("HTML", "a < b", 'Unsupported start tag "" at byte offset 2'),
    ("HTML", "<b x", 'Unclosed start tag "b" at byte offset 0'),
    ("HTML", "<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
    ("HTML", "x</b>", "Unexpected end tag at byte offset 1"),
    ("HTML", "<i><b>x</b>", 'Can\'t find end tag corresponding to start tag "i"'),
    ("HTML", "<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ("MarkdownV2", "a-b", "Character '-' is reserved and must be escaped with the preceding '\\'"),
    ("MarkdownV2", "a|b", "Character '|' is reserved and must be escaped with the preceding '\\'"),
    ("MarkdownV2", "é_b", "Can't find end of Italic entity at byte offset 2"),
    ("MarkdownV2", "*a_", "Can't find end of Italic entity at byte offset 2"),
    ("MarkdownV2", "`a", "Can't find end of Code entity at byte offset 0"),
    ("Markdown", "é `a", "Can't find end of the entity starting at byte offset 3"),
]


@pytest.mark.parametrize(("mode", "source", "why"), REFUSED)
def test_a_source_that_telegram_cannot_parse_is_refused_by_name(mode: str, source: str, why: str) -> None:
    with pytest.raises(Fault) as refused:
        formatting.rendered(source, mode)
    assert refused.value.description == f"Bad Request: can't parse entities: {why}"


@given(st.text(), st.sampled_from(["HTML", "MarkdownV2", "Markdown"]))
def test_any_source_is_read_or_refused_and_its_entities_lie_inside(source: str, mode: str) -> None:
    try:
        text, entities = formatting.rendered(source, mode)
    except Fault:
        return
    assert all(0 <= one["offset"] < one["offset"] + one["length"] <= spotting.units(text) for one in entities)


SPOTTED = [
    ("/start@a_bot now", [("bot_command", "/start@a_bot")]),
    ("see https://x.example/a?b=c.", [("url", "https://x.example/a?b=c")]),
    ("ana@x.example or @ana_bot #now", [("email", "ana@x.example"), ("mention", "@ana_bot"), ("hashtag", "#now")]),
    ("🙂 /a", [("bot_command", "/a")]),
    ("1/2 a#b x@y", []),
]


@pytest.mark.parametrize(("text", "found"), SPOTTED)
def test_commands_links_and_names_are_spotted(text: str, found: list[tuple[str, str]]) -> None:
    raw = text.encode("utf-16-le")
    cut = [
        (one["type"], raw[2 * one["offset"] : 2 * (one["offset"] + one["length"])].decode("utf-16-le"))
        for one in spotting.spotted(text, [])
    ]
    assert cut == found


def test_nothing_is_spotted_inside_code() -> None:
    code = {"type": "code", "offset": 0, "length": 6}
    assert spotting.spotted("/start", [code]) == [code]


SHOWN = [
    ("HTML", "<b>a<i>b</i></b>&lt;", "<b>a<i>b</i></b>&lt;"),
    ("HTML", "<pre>a</pre>\nb", "<pre>a</pre>b"),
    ("HTML", '<a href="https://t.me/x_bot?start=y">z</a>',
     '<a href="/x_bot?start=y" target="_blank" rel="noopener noreferrer">z</a>'),
    ("HTML", "🙂<u>é</u>", "🙂<u>é</u>"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "source", "markup"), SHOWN)
def test_entities_become_markup(mode: str, source: str, markup: str) -> None:
    assert rendering.readable(*formatting.rendered(source, mode)) == markup


def test_an_entity_that_crosses_another_ends_with_it() -> None:
    crossing = [{"type": "bold", "offset": 0, "length": 2}, {"type": "italic", "offset": 1, "length": 2}]
    assert rendering.readable("abc", crossing) == "<b>a<i>b</i></b>c"


ADDRESSES = [
    ("https://t.me/newbot/m_bot/x_bot?name=A", "/newbot/m_bot/x_bot?name=A"),
    ("https://x.example/y", "https://x.example/y"),
    ("x.example:8080/y", "https://x.example:8080/y"),
    ("https://[x", "#"),
    ("javascript:alert(1)", "#"),
    ("data:text/html,x", "#"),
    ("mailto:a@x.example", "mailto:a@x.example"),
]


@pytest.mark.parametrize(("address", "leads"), ADDRESSES)
def test_a_link_leads_to_telegrams_places_here_and_never_runs(address: str, leads: str) -> None:
    assert rendering.local(address) == leads
