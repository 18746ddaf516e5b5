"""A request's body: read up to its limit, forwarded byte for byte, except for what must change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request

from controller.core.errors import foreign
from proxy import hostile
from proxy.errors import BadRequest, TooLarge, UnknownModel
from proxy.settings import ProxySettings
from proxy.terms import Terms

MAX_BYTES = 10_000_000
MOST_CHOICES = 128
_CAPS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True)
class Prepared:
    """What is to go upstream. ``hide_usage``: the client did not ask for the usage that we ask for."""

    model: str
    stream: bool
    hide_usage: bool
    choices: int
    """How many answers are wanted at once."""

    output_cap: int
    """Tokens that each of them may have: the client's limit or the model's."""

    input_bound: int
    """Tokens that the prompt cannot exceed: its UTF-8 bytes, since none is less than a byte, and the allowances."""

    beside_text: int
    """What of ``input_bound`` counting the text says nothing about: images, and the provider's own words."""

    size_bytes: int
    raw: bytes = field(repr=False)
    body: dict[str, Any] = field(repr=False)
    upstream_model: str
    output_key: str
    rewritten: bool
    """Whether it goes up as we understood it and not as it was written."""

    @property
    def countable(self) -> bytes:
        """The text whose tokens tell more than its bytes."""
        return orjson.dumps(_without_data(self.body)) if self.beside_images else self.raw

    @property
    def beside_images(self) -> bool:
        """Whether there are images in it."""
        return any(True for _ in _image_urls(self.body["messages"]))

    def content(self, output_cap: int) -> bytes:
        """The body for the upstream, which lets no answer have more than ``output_cap`` tokens."""
        named = [key for key in _CAPS if self.body.get(key) is not None]
        if not self.rewritten and all(self.body[key] <= output_cap for key in named):
            if named:
                return self.raw
            head, brace, rest = self.raw.partition(b"{")
            return b"".join((head, brace, f'"{self.output_key}":{output_cap},'.encode(), rest))
        changed = self.body | {key: min(self.body[key], output_cap) for key in named}
        if not named:
            changed = {key: value for key, value in changed.items() if key not in _CAPS}
            changed[self.output_key] = output_cap
        changed["model"] = self.upstream_model
        if self.stream:
            changed["stream_options"] = {**(self.body.get("stream_options") or {}), "include_usage": True}
        return orjson.dumps(changed)


async def read(request: Request) -> bytes:
    """The whole body, at most MAX_BYTES.

    Raises TooLarge as soon as it is known to be longer, whatever was announced.
    """
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
    return b"".join(parts)


def prepare(raw: bytes, settings: ProxySettings) -> Prepared:
    """What the body asks for, and its bounds.

    Raises BadRequest for anything that is not a chat request or would redirect it, UnknownModel.
    """
    body = _parsed(raw)
    model = body.get("model")
    if not isinstance(model, str) or model not in settings.llm_models:
        raise UnknownModel("model_unknown", model=foreign(model))
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options_malformed")
    asked = options.get("include_usage") is True
    terms, upstream_model = settings.terms(model), settings.llm_models[model]
    spelled_out = any(key in body and body[key] is None for key in _CAPS)
    rewritten = upstream_model != model or (stream and not asked) or spelled_out or hostile.ambiguous(raw, body)
    text_bytes, beside_text = _sizes(raw, body, terms)
    return Prepared(
        model=model,
        stream=stream,
        hide_usage=stream and not asked,
        choices=_whole(body, "n", MOST_CHOICES) or 1,
        output_cap=_cap(body, terms),
        input_bound=text_bytes + beside_text,
        beside_text=beside_text,
        size_bytes=len(raw),
        raw=raw,
        body=body,
        upstream_model=upstream_model,
        output_key=terms.output_key,
        rewritten=rewritten,
    )


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadRequest("messages_missing")
    hostile.check(body)
    return body


def _cap(body: dict[str, Any], terms: Terms) -> int:
    wanted = [_whole(body, key) for key in _CAPS]
    return min([terms.max_output_tokens, *(one for one in wanted if one is not None)])


def _whole(body: dict[str, Any], key: str, most: int = 2**31) -> int | None:
    """A number that bounds what the call may cost. Raises BadRequest for what only some parsers take for one."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadRequest("number_malformed", key=key)
    return value


def _sizes(raw: bytes, body: dict[str, Any], terms: Terms) -> tuple[int, int]:
    """Bytes of text, and tokens of what is not text."""
    inline, images = 0, 0
    for url in _image_urls(body["messages"]):
        images += 1
        inline += len(url)
    return len(raw) - inline, images * terms.image_tokens + terms.hidden_tokens


def _image_urls(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            if image is not None:
                url = image.get("url") if isinstance(image, dict) else image
                yield url if isinstance(url, str) else ""


def _without_data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "" if key == "image_url" else _without_data(inner) for key, inner in value.items()}
    return [_without_data(inner) for inner in value] if isinstance(value, list) else value
