"""OpenAI's embeddings: a text's words, hashed into a vector of length one, so that alike texts lie near each other."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request

from controller.sandbox.llm import openai_errors, wording
from controller.sandbox.llm.answers import Answer
from controller.sandbox.llm.turns import Body, Dialect, Fault, Turn, bearer, validated

DIMENSIONS = 1536
MOST_DIMENSIONS = 3072
_WORD = re.compile(r"\w+|[^\w\s]")


class _Request(BaseModel):
    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, le=MOST_DIMENSIONS)


def read(_: Request, body: Body) -> Turn:
    """The turn in a request's body; its human text is the texts to embed."""
    given = validated(_Request, body)
    texts = texts_of(given.input)
    if not texts or not all(texts):
        raise Fault(400, "Invalid 'input': expected a filled string or a filled array of them.", param="input")
    messages: list[dict[str, Any]] = [{"role": "user", "content": "\n".join(texts)}]
    return Turn(model=given.model, messages=messages, prompt=[], counted=prompt_tokens(body), speaks=False, raw=body)


def whole(answer: Answer) -> Body:
    """A vector for each text. Its tokens are counted text by text, or as many as were given."""
    raw = answer.turn.raw
    size = raw.get("dimensions") or DIMENSIONS
    vectors = [vector(text, size) for text in texts_of(raw["input"])]
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(one) if _wants_base64(raw) else one}
        for index, one in enumerate(vectors)
    ]
    told = {"usage": {"prompt_tokens": answer.usage.prompt, "total_tokens": answer.usage.prompt}}
    listed: Body = {"object": "list", "data": data, "model": answer.model}
    return listed | (told if answer.tells_usage else {})


def prompt_tokens(raw: Body) -> int:
    """What the texts count: a token for every 4 bytes begun of each; token numbers count themselves."""
    given = raw["input"]
    if isinstance(given, list) and given and not isinstance(given[0], str):
        return sum(len(one) if isinstance(one, list) else 1 for one in given)
    return sum(wording.tokens(text) for text in texts_of(given))


def texts_of(given: str | list[str] | list[int] | list[list[int]]) -> list[str]:
    """The texts of an input; tokens stand for themselves as numbers."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [one if isinstance(one, str) else " ".join(map(str, one)) for one in given if not isinstance(one, int)]


def vector(text: str, size: int) -> list[float]:
    """``size`` numbers of length one: each word adds one to a place that its hash names."""
    places = [0.0] * size
    for word in _WORD.findall(text.lower()) or [text]:
        digest = hashlib.sha256(word.encode()).digest()
        places[int.from_bytes(digest[:4], "big") % size] += 1.0
    length = math.sqrt(sum(value * value for value in places))
    return [value / length for value in places]


def _packed(one: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode()


def _wants_base64(raw: Body) -> bool:
    return raw.get("encoding_format") == "base64"


def _events(_: Answer) -> Iterator[bytes]:
    return iter(())


def _broken(_: Fault) -> bytes:
    return b""


DIALECT = Dialect("embeddings", bearer, openai_errors.stranger, read, whole, _events, openai_errors.form, _broken)
