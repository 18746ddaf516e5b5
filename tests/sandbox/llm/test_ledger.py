"""Who may ask, what is remembered, and how much of it."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from controller.sandbox.documents import Documents
from controller.sandbox.llm.ledger import Ledger, label
from tests.sandbox.llm.serving import KEY, Model


def test_sums_are_kept_in_total_and_by_key(model: Model) -> None:
    added = model.control.post("keys", json={"key": "sk-second"}).json()["label"]
    model.say("x")
    other = openai.OpenAI(api_key="sk-second", base_url=f"{model.base}/v1", max_retries=0)
    other.chat.completions.create(model="small", messages=[{"role": "user", "content": "x"}])
    sums = model.control.get("usage").json()
    assert added == label("sk-second")
    assert {name: one["requests"] for name, one in sums["keys"].items()} == {added: 1, label(KEY): 1}
    assert sums["prompt_tokens"] == sum(one["prompt_tokens"] for one in sums["keys"].values())


def test_a_revoked_key_is_refused_and_its_sum_stays(model: Model) -> None:
    added = model.control.post("keys", json={"key": "sk-second"}).json()["label"]
    other = openai.OpenAI(api_key="sk-second", base_url=f"{model.base}/v1", max_retries=0)
    other.chat.completions.create(model="small", messages=[{"role": "user", "content": "x"}])
    assert model.control.delete(f"keys/{added}").status_code == 204
    with pytest.raises(openai.AuthenticationError):
        other.models.list()
    assert model.control.get("usage").json()["keys"][added]["requests"] == 1


def test_a_reset_forgets_all_but_the_numbers(model: Model) -> None:
    model.rule("scripted")
    model.say("x")
    model.control.post("reset").raise_for_status()
    assert model.say("x") == "You said: x"
    assert [row["n"] for row in model.requests()] == [2]
    assert model.control.get("usage").json()["requests"] == 1


def test_waiting_for_requests_ends_with_the_first(model: Model) -> None:
    model.say("x")
    found = model.control.get("requests", params={"after": 0, "wait": 30, "bodies": 0, "limit": 1}).json()["requests"]
    assert [row["human"] for row in found] == ["x"]
    assert "body" not in found[0]


@pytest.mark.parametrize("query", ["after=x", "limit=-2", "wait=1.5"])
def test_a_query_that_is_no_number_is_refused(model: Model, query: str) -> None:
    assert model.control.get(f"requests?{query}").status_code == 422


def test_no_header_shows_a_key(model: Model) -> None:
    model.api.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "x"}],
        extra_headers={"x-api-key": KEY, "x-goog-api-key": KEY},
    )
    assert KEY not in str(model.requests())


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return Ledger(Documents(tmp_path), "k")


def test_old_bodies_go_before_the_room_is_full(tmp_path: Path) -> None:
    book = Ledger(Documents(tmp_path), "k", kept_bytes=100)
    for letter in "abc":
        book.begin({}, {}, {"text": letter * 40})
    kept = [row["body"] for row in book.requests(0)]
    assert kept == [None, None, {"text": "c" * 40}]
    assert [row["n"] for row in book.requests(0)] == [1, 2, 3]


def test_a_huge_body_is_told_by_its_size(book: Ledger) -> None:
    book.begin({}, {}, {"text": "x" * 1024 * 1024})
    (row,) = book.requests(0)
    assert (row["body"], row["body_bytes"] > 1024 * 1024) == (None, True)
