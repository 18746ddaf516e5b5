"""A request's body: read up to its limit, forwarded byte for byte, except for what must change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request

from controller.core.errors import foreign
from proxy import hostile, outlines
from proxy.catalog import Endpoint, Model
from proxy.errors import BadRequest, TooLarge, UnknownModel
from proxy.routes import Route, Routes

MAX_BYTES = 10_000_000
MOST_CHOICES = 128
_IMAGE, _DEVELOPER = b"image_url", b"developer"
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

    margin: float
    """By how much the model's tokenizer may count more than ours."""

    size_bytes: int
    raw: bytes = field(repr=False)
    body: dict[str, Any] = field(repr=False)
    """As it was parsed; what a model reads of a long one was not, and stands there as ``orjson.Fragment``."""

    messages: bytes | None = field(repr=False)
    """The text of its messages, where they were not parsed."""

    ambiguous: bool
    """Whether it goes up as we understood it and not as it was written."""

    @property
    def countable(self) -> bytes:
        """The text whose tokens tell more than its bytes."""
        return orjson.dumps(_without_data(self.body)) if self.beside_images else self.raw

    @property
    def beside_images(self) -> bool:
        """Whether there are images in it."""
        return any(True for _ in _image_urls(self.body["messages"]))

    def _as_known_there(self, route: Route) -> list[Any] | None:
        """The messages as a provider wants them that does not know every role; None if they are so already."""
        if route.developer or (self.messages is not None and _DEVELOPER not in self.messages):
            return None
        parsed = self.body["messages"] if self.messages is None else orjson.loads(self.messages)
        return [_as_system(one) for one in parsed] if any(_is_developer(one) for one in parsed) else None

    def content(self, output_cap: int, route: Route) -> bytes:
        """The body for ``route``: as it came, but for what must change there.

        No answer may have more than ``output_cap`` tokens, or more than the model there gives.
        """
        cap = min(output_cap, route.model.max_output_tokens)
        named = [key for key in _CAPS if self.body.get(key) is not None]
        changed: dict[str, Any] = {key: cap for key in named if self.body[key] > cap}
        if route.own_name != self.model:
            changed["model"] = route.own_name
        if self.hide_usage:
            changed["stream_options"] = {**(self.body.get("stream_options") or {}), "include_usage": True}
        if (messages := self._as_known_there(route)) is not None:
            changed["messages"] = messages
        if not changed and not self.ambiguous:
            return self.raw if named else _with_first(self.raw, route.limit, cap)
        kept = {key: value for key, value in self.body.items() if key not in _CAPS or key in named}
        return orjson.dumps(kept | ({} if named else {route.limit: cap}) | changed)


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


def prepare(raw: bytes, routes: Routes) -> Prepared:
    """What the body asks for, and its bounds, whichever of the model's routes it takes.

    Raises BadRequest for anything that is not a chat request or would redirect it, UnknownModel.
    """
    outline = _outline(raw)
    body = _parsed(raw) if outline is None else _parsed_without(outline)
    hostile.check(body)
    model = body.get("model")
    if not isinstance(model, str) or model not in routes.of:
        raise UnknownModel("model_unknown", model=foreign(model))
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options_malformed")
    models = [route.model for route in routes.to(model, Endpoint.CHAT)]
    text_bytes, beside_text = _sizes(raw, body, models)
    return Prepared(
        model=model,
        stream=stream,
        hide_usage=stream and options.get("include_usage") is not True,
        choices=_whole(body, "n", MOST_CHOICES) or 1,
        output_cap=_cap(body, models),
        input_bound=text_bytes + beside_text,
        beside_text=beside_text,
        margin=max(one.tokenizer_margin for one in models),
        size_bytes=len(raw),
        raw=raw,
        body=body,
        messages=outline["messages"] if outline else None,
        ambiguous=(outline is None and hostile.ambiguous(raw, body))
        or any(key in body and body[key] is None for key in _CAPS),
    )


def _outline(raw: bytes) -> dict[str, bytes] | None:
    """The top level of a body whose messages need not be looked into: they are a list, and have no images."""
    outline = None if _IMAGE in raw else outlines.read(raw)
    return outline if outline and outline.get("messages", b"").startswith(b"[") else None


def _parsed_without(outline: dict[str, bytes]) -> dict[str, Any]:
    """All but what a model reads, which is passed on as it is."""
    try:
        return {
            key: orjson.Fragment(value) if key in hostile.CONTENT else orjson.loads(value)
            for key, value in outline.items()
        }
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadRequest("messages_missing")
    return body


def _cap(body: dict[str, Any], models: list[Model]) -> int:
    wanted = [_whole(body, key) for key in _CAPS]
    return min([max(one.max_output_tokens for one in models), *(one for one in wanted if one is not None)])


def _whole(body: dict[str, Any], key: str, most: int = 2**31) -> int | None:
    """A number that bounds what the call may cost. Raises BadRequest for what only some parsers take for one."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadRequest("number_malformed", key=key)
    return value


def _sizes(raw: bytes, body: dict[str, Any], models: list[Model]) -> tuple[int, int]:
    """Bytes of text, and tokens of what is not text."""
    inline, images = 0, 0
    for url in _image_urls(body["messages"]):
        images += 1
        inline += len(url)
    beside_text = max(images * one.image_tokens + one.hidden_tokens for one in models)
    return len(raw) - inline, beside_text


def _image_urls(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
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


def _is_developer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "developer"


def _as_system(message: Any) -> Any:
    """A developer's message for a provider that does not know the role; others as they are."""
    return {**message, "role": "system"} if _is_developer(message) else message


def _with_first(raw: bytes, key: str, value: int) -> bytes:
    """The object with one number more, and its other bytes as they were."""
    head, brace, rest = raw.partition(b"{")
    return b"".join((head, brace, f'"{key}":{value},'.encode(), rest))
