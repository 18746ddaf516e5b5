"""Scripts, and what is recorded of each request."""

from __future__ import annotations

import hashlib
import time

import openai
import pytest

from tests.sandbox.llm.serving import KEY, Model


def test_replies_are_given_once_in_their_order_and_then_the_default(model: Model) -> None:
    model.script({"text": "one"}, {"text": "two"})
    assert [model.say("x") for _ in range(3)] == ["one", "two", "You said: x"]


def test_the_last_reply_stays_if_asked(model: Model) -> None:
    model.script({"text": "one"}, {"text": "two"}, repeat_last=True)
    assert [model.say("x") for _ in range(3)] == ["one", "two", "two"]


def test_a_reply_with_a_match_waits_for_its_words(model: Model) -> None:
    model.script({"text": "noon", "match": "what time"})
    assert [model.say("hi"), model.say("what time is it?")] == ["You said: hi", "noon"]


def test_a_deleted_script_is_not_followed(model: Model) -> None:
    model.script({"text": "one"})
    model.control.delete("script").raise_for_status()
    assert model.say("x") == "You said: x"


def test_a_scripted_error_has_openais_form_and_headers(model: Model) -> None:
    model.script({"status": 429, "text": "Slow down.", "code": "rate_limit", "headers": {"retry-after": "3"}})
    with pytest.raises(openai.RateLimitError, match="Slow down") as caught:
        model.say("x")
    assert caught.value.code == "rate_limit"
    assert caught.value.response.headers["retry-after"] == "3"


def test_an_unknown_field_in_a_script_is_refused(model: Model) -> None:
    answer = model.control.put("script", json={"replies": [{"txet": "one"}]})
    assert answer.status_code == 422
    assert "txet" in answer.json()["error"]["message"]


def test_pauses_are_kept_between_chunks(model: Model) -> None:
    model.script({"text": "a b c", "delay_ms": 50, "chunk_delay_ms": 20})
    started = time.monotonic()
    stream = model.api.chat.completions.create(model="small", messages=[{"role": "user", "content": "x"}], stream=True)
    assert len(list(stream)) == 5
    # Five chunks and the end: five pauses after the first.
    assert time.monotonic() - started >= 0.15


def test_a_request_is_recorded_without_its_key(model: Model) -> None:
    model.say("remember me")
    (row,) = model.requests()
    assert row["body"]["messages"][0]["content"] == "remember me"
    assert row["headers"]["authorization"] == hashlib.sha256(f"Bearer {KEY}".encode()).hexdigest()
    assert (row["status"], row["finished"]) == (200, True)


def test_usage_is_summed_over_answers_and_not_over_errors(model: Model) -> None:
    model.script({"text": "12345678"}, {"status": 500})
    model.say("x")
    with pytest.raises(openai.InternalServerError):
        model.say("x")
    (good, bad) = model.requests()
    assert bad["usage"] is None
    sums = model.control.get("usage").json()
    assert (sums["requests"], sums["prompt_tokens"], sums["completion_tokens"]) == (
        1,
        good["usage"]["prompt_tokens"],
        2,
    )


def test_requests_are_listed_from_a_number_on(model: Model) -> None:
    for text in ("a", "b", "c"):
        model.say(text)
    assert [row["n"] for row in model.requests(after=1)] == [2, 3]
