"""Rules: a conversation with tools that a script leads, without counting requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.llm.serving import KEY, Model

TOOL: Any = {"name": "exec", "arguments": {"command": "curl {{match.1}}"}}
FETCH: dict[str, Any] = {"tool_calls": [TOOL], "then": "It says {{result}}."}


def turn(model: Model, *messages: Any) -> Any:
    """The assistant's message after these."""
    return model.api.chat.completions.create(model="small", messages=list(messages)).choices[0].message


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(message: Any, *results: str) -> list[Any]:
    """The assistant's calls and what the tools answered."""
    answers = [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(message.tool_calls, results, strict=True)
    ]
    return [message.model_dump(exclude_none=True), *answers]


def test_a_rule_calls_a_tool_and_quotes_its_result_every_time(model: Model) -> None:
    model.rule(FETCH, pattern=r"fetch (\S+)")
    for address in ("http://a", "http://b"):
        asked = user(f"fetch {address}")
        first = turn(model, asked)
        assert first.tool_calls[0].function.arguments == f'{{"command": "curl {address}"}}'
        assert turn(model, asked, *called(first, "sunny")).content == "It says sunny."


def test_a_repeated_request_gets_the_same_call_again(model: Model) -> None:
    model.rule(FETCH, pattern=r"fetch (\S+)", ending="spent")
    asked = user("fetch http://a")
    first, again = turn(model, asked), turn(model, asked)
    assert first.tool_calls[0].function == again.tool_calls[0].function
    assert turn(model, asked, *called(again, "sunny")).content == "It says sunny."
    assert turn(model, asked).content == "You said: fetch http://a"


def test_tools_can_be_called_one_after_the_other_and_several_at_once(model: Model) -> None:
    model.rule({"tool_calls": [TOOL], "then": {"tool_calls": [TOOL, TOOL], "then": "{{results}}"}})
    asked = user("go")
    one = called(turn(model, asked), "a")
    two = turn(model, asked, *one)
    assert len(two.tool_calls) == 2
    assert turn(model, asked, *one, *called(two, "b", "c")).content == "a\nb\nc"


def test_a_new_human_message_begins_anew(model: Model) -> None:
    model.rule(FETCH, match="fetch")
    first = turn(model, user("fetch x"))
    history = [user("fetch x"), *called(first, "sunny"), {"role": "assistant", "content": "It says sunny."}]
    assert turn(model, *history, user("fetch x")).tool_calls


def test_a_rule_can_ask_for_a_tools_result_or_for_none(model: Model) -> None:
    model.rule({"tool_calls": [TOOL]}, after_tool=False)
    model.rule("then {{result}}", after_tool=True)
    first = turn(model, user("go"))
    assert turn(model, user("go"), *called(first, "r")).content == "then r"


def test_the_model_remembers_what_the_request_still_holds(model: Model) -> None:
    model.rule({"recall": r"my name is (\w+)", "text": "You are {{recalled}}."}, match="who am I")
    history = [user("my name is Ana"), {"role": "assistant", "content": "ok"}, user("who am I")]
    assert turn(model, *history).content == "You are Ana."
    assert turn(model, user("who am I")).content == "You are ."


def test_a_step_fails_so_many_times_and_then_all_is_well(model: Model) -> None:
    model.rule({"status": 503, "times": 2}, "fine")
    body = {"model": "small", "messages": [user("x")]}
    bearer = {"authorization": f"Bearer {KEY}"}
    statuses = [model.http.post("/v1/chat/completions", json=body, headers=bearer).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("stay", ["a", "b", "b", "b"]),
        ("again", ["a", "b", "a", "b"]),
        ("spent", ["a", "b", "You said: x", "You said: x"]),
    ],
)
def test_a_rule_ends_as_it_was_told(model: Model, ending: str, said: list[str]) -> None:
    model.rule("a", "b", ending=ending)
    assert [model.say("x") for _ in range(4)] == said


def test_a_rule_can_be_for_one_model_or_one_api(model: Model) -> None:
    model.rule("for large", model="large")
    model.rule("for responses", api="responses")
    assert model.say("x") == "You said: x"
    assert model.api.responses.create(model="small", input="x").output_text == "for responses"


def test_a_rule_is_replaced_by_its_id_and_dropped(model: Model) -> None:
    model.rule("one", id="mine")
    model.rule("two", id="mine")
    assert model.say("x") == "two"
    assert model.control.delete("rules/mine").status_code == 204
    assert model.say("x") == "You said: x"
    assert model.control.delete("rules/mine").status_code == 404


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"steps": []}, "steps"),
        ({"steps": ["x"], "pattern": "("}, "regular expression"),
        ({"steps": ["{{nobody}}"]}, "nobody"),
        ({"steps": [{"tool_calls": [{"name": "t", "arguments": {"a": ["{{nobody}}"]}}], "then": "x"}]}, "nobody"),
        ({"steps": [{"tool_calls": [{"name": "t"}]}]}, "for ever"),
        ({"steps": [{"then": "x"}]}, "tool_calls"),
        ({"steps": ["x"], "api": "chats"}, "api"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(model: Model, rule: dict[str, Any], problem: str) -> None:
    answer = model.control.post("rules", json=rule)
    assert answer.status_code == 422
    assert problem in answer.json()["error"]["message"]
