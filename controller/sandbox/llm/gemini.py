"""Google's Gemini: ``models/{model}:generateContent`` and ``:streamGenerateContent``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, Field
from starlette.requests import Request

from controller.sandbox.llm.answers import Answer, Usage
from controller.sandbox.llm.turns import Body, Dialect, Fault, Tool, Turn, validated
from controller.sandbox.llm.wording import Message

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_FINISH = {"length": "MAX_TOKENS", "refusal": "SAFETY"}
_BAD_KEY = "API key not valid. Please pass a valid API key."


def _either(camel: str, snake: str, **more: Any) -> Any:
    """A field under either of the names that Google's JSON mapping takes."""
    return Field(default=None, validation_alias=AliasChoices(camel, snake), **more)


class _Called(BaseModel):
    name: str
    args: dict[str, Any] = {}
    id: str | None = None


class _Answered(BaseModel):
    name: str
    response: dict[str, Any] = {}
    id: str | None = None


class _Part(BaseModel):
    text: str | None = None
    thought: bool | None = None
    function_call: _Called | None = _either("functionCall", "function_call")
    function_response: _Answered | None = _either("functionResponse", "function_response")


class _Content(BaseModel):
    role: Literal["user", "model", "function"] = "user"
    parts: list[_Part] = []


class _Declared(BaseModel):
    name: str
    parameters: dict[str, Any] | None = None
    schema_: dict[str, Any] | None = _either("parametersJsonSchema", "parameters_json_schema")


class _Tools(BaseModel):
    declared: list[_Declared] | None = _either("functionDeclarations", "function_declarations")


class _Calling(BaseModel):
    mode: str = "AUTO"
    names: list[str] | None = _either("allowedFunctionNames", "allowed_function_names")


class _ToolConfig(BaseModel):
    calling: _Calling | None = _either("functionCallingConfig", "function_calling_config")


class _Generation(BaseModel):
    limit: int | None = _either("maxOutputTokens", "max_output_tokens", ge=1)
    stops: list[str] | None = _either("stopSequences", "stop_sequences")
    choices: int | None = _either("candidateCount", "candidate_count", ge=1, le=8)


class _Request(BaseModel):
    contents: list[_Content] = Field(min_length=1)
    system: _Content | None = _either("systemInstruction", "system_instruction")
    tools: list[_Tools] | None = None
    tool_config: _ToolConfig | None = _either("toolConfig", "tool_config")
    generation: _Generation | None = _either("generationConfig", "generation_config")


def key(request: Request) -> str | None:
    """The API key that a request brings."""
    return request.headers.get("x-goog-api-key") or request.query_params.get("key")


def stranger(given: str | None) -> Fault:
    """The error for a missing or wrong key: Google answers 403 to the one and 400 to the other."""
    if given is None:
        return Fault(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or"
            " other form of API consumer identity to call this API.",
        )
    return Fault(400, _BAD_KEY, code="API_KEY_INVALID")


def read(request: Request, body: Body) -> Turn:
    """The turn in a request's body; the model and whether to stream stand in its path."""
    given = validated(_Request, body)
    generation = given.generation or _Generation()
    return Turn(
        model=request.path_params["model"],
        messages=list(_messages(given)),
        prompt=read_counted(request, body),
        stream=request.url.path.endswith(":streamGenerateContent"),
        limit=generation.limit,
        stops=tuple(generation.stops or ()),
        forced=_forced(given),
        choices=generation.choices or 1,
        raw={"alt": request.query_params.get("alt")},
    )


def read_counted(_: Request, body: Body) -> list[Any]:
    """What of a request counts."""
    validated(_Request, body)
    system = body.get("systemInstruction") or body.get("system_instruction") or {}
    return [system, body["contents"], body.get("tools") or []]


def whole(answer: Answer) -> Body:
    """The answer as one ``GenerateContentResponse``."""
    return _response(answer, list(_parts(answer, pieces=False)), _finish(answer), answer.usage)


def events(answer: Answer) -> Iterator[bytes]:
    """The answer as partial responses, each call in one piece; a JSON array unless ``alt=sse`` was asked for."""
    parts = list(_parts(answer, pieces=True)) or [{"text": ""}]
    sse = answer.turn.raw["alt"] == "sse"
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        used = answer.usage if last else Usage(answer.usage.prompt, 0, cached=answer.usage.cached)
        text = json.dumps(_response(answer, [part], _finish(answer) if last else None, used), ensure_ascii=False)
        if sse:
            yield f"data: {text}\r\n\r\n".encode()
        else:
            yield f"{',' if index else '['}{text}\r\n{']' if last else ''}".encode()


def error(fault: Fault) -> Body:
    """The body of an error."""
    status = _STATUSES.get(fault.status, "INTERNAL" if fault.status >= 500 else "FAILED_PRECONDITION")
    told: Body = {"code": fault.status, "message": fault.message, "status": status}
    if fault.error_code:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        told["details"] = [{"@type": kind, "reason": fault.error_code, "domain": "googleapis.com"}]
    return {"error": told}


def _messages(given: _Request) -> Iterator[Message]:
    """The contents in the form of chat. A call without an id is known by its name, as Gemini does."""
    if given.system:
        yield {"role": "system", "content": _text(given.system)}
    for content in given.contents:
        for part in content.parts:
            if part.function_response:
                one = part.function_response
                yield {"role": "tool", "tool_call_id": one.id or one.name, "content": _result(one.response)}
        calls = [
            {"id": one.id or one.name, "function": {"name": one.name, "arguments": json.dumps(one.args)}}
            for one in (part.function_call for part in content.parts)
            if one
        ]
        if calls:
            yield {"role": "assistant", "content": _text(content), "tool_calls": calls}
        elif text := _text(content):
            yield {"role": "assistant" if content.role == "model" else "user", "content": text}


def _result(response: Body) -> str:
    """A function's result as text: Google's clients wrap plain text in ``output`` or ``result``."""
    for name in ("output", "result"):
        if response.keys() == {name} and isinstance(response[name], str):
            return str(response[name])
    return json.dumps(response, ensure_ascii=False)


def _text(content: _Content) -> str:
    return "\n".join(part.text for part in content.parts if part.text and not part.thought)


def _forced(given: _Request) -> Tool | None:
    calling = given.tool_config.calling if given.tool_config else None
    offered = {one.name: one for tools in given.tools or () for one in tools.declared or ()}
    if calling is None or calling.mode.upper() != "ANY" or not offered:
        return None
    name = (calling.names or list(offered))[0]
    if name not in offered:
        raise Fault(400, f"allowed_function_names: {name} is not declared.")
    return Tool(name, offered[name].parameters or offered[name].schema_ or {})


def _parts(answer: Answer, *, pieces: bool) -> Iterator[Body]:
    thought, said = answer.reasoning or "", answer.text or ""
    for text in answer.pieces(thought) if pieces else filter(None, [thought]):
        yield {"text": text, "thought": True}
    for text in answer.pieces(said) if pieces else filter(None, [said]):
        yield {"text": text}
    for call in answer.calls:
        named = {"name": call.name, "args": json.loads(call.arguments)}
        yield {"functionCall": named | ({"id": call.id} if call.id else {})}


def _response(answer: Answer, parts: list[Body], finish: str | None, used: Usage) -> Body:
    ending = {"finishReason": finish} if finish else {}
    candidates = [
        {"content": {"parts": parts, "role": "model"}, **ending, "index": index} for index in range(answer.turn.choices)
    ]
    told = {"usageMetadata": _usage(used)} if answer.tells_usage else {}
    return {"candidates": candidates, **told, "modelVersion": answer.model, "responseId": answer.id}


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.finish, "STOP")


def _usage(used: Usage) -> Body:
    told: Body = {
        "promptTokenCount": used.prompt,
        "totalTokenCount": used.total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used.prompt}],
    }
    said = used.completion - used.reasoning
    extra = {"candidatesTokenCount": said, "cachedContentTokenCount": used.cached, "thoughtsTokenCount": used.reasoning}
    return told | {name: count for name, count in extra.items() if count}


def _broken(fault: Fault) -> bytes:
    return f"data: {json.dumps(error(fault), ensure_ascii=False)}\r\n\r\n".encode()


DIALECT = Dialect("gemini", key, stranger, read, whole, events, error, _broken)
