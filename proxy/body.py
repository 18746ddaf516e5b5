"""A request's body: read up to its limit, forwarded byte for byte, except for what must change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from controller.core.errors import foreign
from proxy import hostile, unbounded
from proxy.catalog import Endpoint, Model
from proxy.dialects import Dialect
from proxy.errors import BadRequest, NotSpoken, TooLarge, UnknownModel
from proxy.outlines import Outline, Outlines
from proxy.routes import Route, Routes
from proxy.unbounded import parts

MAX_BYTES = 10_000_000
MOST_CHOICES = 128
_OUTLINES = Outlines(part=unbounded.MARKS, developer=[b'"developer"'])
_MAY_HAVE_PARTS = frozenset({"tools"})
"""What may name a part and has none: a tool's parameter may well be called ``file``."""


@dataclass(frozen=True)
class Prepared:
    """What is to go upstream. ``hide_usage``: the client did not ask for the usage that we ask for."""

    dialect: Dialect
    model: str
    stream: bool
    hide_usage: bool
    choices: int
    """How many answers are wanted at once."""

    output_cap: int
    """Tokens that each of them may have: the client's limit or the model's; 0 where there is nothing to limit."""

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

    outline: Outline | None = field(repr=False)
    """Its top level, where its messages were not parsed."""

    ambiguous: bool
    """Whether it goes up as we understood it and not as it was written."""

    @property
    def countable(self) -> bytes:
        """The text whose tokens tell more than its bytes."""
        kept, at = [], 0
        for image in _images(self.body, self.dialect):
            found = self.raw.find(given := image.encode(errors="replace"), at)
            if found < 0:
                break  # it is spelled or ordered otherwise: the rest counts as text
            kept.append(self.raw[at:found])
            at = found + len(given)
        return b"".join((*kept, self.raw[at:]))

    def content(self, output_cap: int, route: Route) -> bytes:
        """The body for ``route``: as it came, but for what must change there.

        No answer may have more than ``output_cap`` tokens, or more than the model there gives.
        """
        cap, caps = min(output_cap, route.model.longest_answer), self.dialect.caps
        named = [key for key in caps if self.body.get(key) is not None]
        limit = route.limit if self.dialect.endpoint is Endpoint.CHAT else next(iter(caps), None)
        # who knows the old name alone obeys no other, and whoever knows the new one knows both
        respelled = limit == "max_tokens" and bool(named) and limit not in named
        named = [] if respelled else named
        changed: dict[str, Any] = {key: cap for key in named if self.body[key] > cap}
        if route.own_name != self.model:
            changed["model"] = route.own_name
        if self.hide_usage:
            changed["stream_options"] = {**(self.body.get("stream_options") or {}), "include_usage": True}
        if self.dialect.endpoint is Endpoint.CHAT and not route.developer:
            changed |= self._without_developers()
        changed |= self.dialect.fit(self.body, cap)
        missing = {limit: cap} if limit and not named else {}
        if not changed and not respelled and not self.ambiguous:
            return _with_first(self.raw, missing) if missing else self.raw
        kept = {key: value for key, value in self.body.items() if key not in caps or key in named}
        return orjson.dumps(kept | missing | changed)

    def _without_developers(self) -> dict[str, Any]:
        """The messages for a provider that does not know the role, if there is one of a developer."""
        if self.outline is None:
            messages = self.body["messages"]
        elif "developer" in self.outline.words["messages"]:
            messages = orjson.loads(self.outline.values["messages"])
        else:
            return {}
        if not any(_is_developer(one) for one in messages):
            return {}
        return {"messages": [{**one, "role": "system"} if _is_developer(one) else one for one in messages]}


async def read(request: Request) -> bytes:
    """The whole body, at most MAX_BYTES.

    Raises TooLarge as soon as it is known to be longer, whatever was announced; ClientDisconnect if it never comes.
    """
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
    parts, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BYTES:
            raise TooLarge("body_too_large", limit_bytes=MAX_BYTES)
        more = message.get("more_body", False)
    return b"".join(parts)


def prepare(raw: bytes, routes: Routes, dialect: Dialect) -> Prepared:
    """What the body asks for, and its bounds, whichever of the model's routes it takes.

    Raises BadRequest for anything that is no request of the dialect or would redirect it, UnknownModel, NotSpoken.
    """
    outline = _outline(raw) if dialect.endpoint is Endpoint.CHAT else None
    body = _parsed(raw, dialect) if outline is None else _parsed_without(outline)
    hostile.check(body)
    dialect.check(body)
    if outline is not None and "tools" in outline.values:
        unbounded.check_chat_tools(outline.values["tools"])
    model = body.get("model")
    if not isinstance(model, str) or model not in routes.of:
        raise UnknownModel("model_unknown", model=foreign(model))
    models = [route.model for route in routes.to(model, dialect.endpoint)]
    if not models:
        raise NotSpoken("endpoint_not_served", model=model)
    stream = body.get("stream") is True and dialect.stream is not None
    text_bytes, beside_text = _sizes(raw, body, dialect, models)
    unsaid = any(key in body and body[key] is None for key in dialect.caps)
    return Prepared(
        dialect=dialect,
        model=model,
        stream=stream,
        hide_usage=stream and _must_hide(body, dialect),
        choices=(_whole(body, "n", MOST_CHOICES) if dialect.endpoint is Endpoint.CHAT else None) or 1,
        output_cap=_cap(body, dialect, models),
        input_bound=text_bytes + beside_text,
        beside_text=beside_text,
        margin=max(one.tokenizer_margin for one in models),
        size_bytes=len(raw),
        raw=raw,
        body=body,
        outline=outline,
        ambiguous=unsaid or (outline is None and hostile.ambiguous(raw, body, dialect.decides)),
    )


def _parsed(raw: bytes, dialect: Dialect) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc
    kinds = (list,) if dialect.content == "messages" else (list, str)
    if not isinstance(body, dict) or not isinstance(body.get(dialect.content), kinds):
        raise BadRequest(f"{dialect.content}_missing")
    return body


def _outline(raw: bytes) -> Outline | None:
    """A chat whose messages need not be looked into: they are a list, and have nothing but text."""
    outline = _OUTLINES.read(raw)
    if outline is None or not outline.values.get("messages", b"").startswith(b"["):
        return None
    has_parts = any("part" in seen for key, seen in outline.words.items() if key not in _MAY_HAVE_PARTS)
    return None if has_parts else outline


def _parsed_without(outline: Outline) -> dict[str, Any]:
    """All but what a model reads, which is passed on as it is."""
    try:
        return {
            key: orjson.Fragment(value) if key in hostile.CONTENT else orjson.loads(value)
            for key, value in outline.values.items()
        }
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc


def _must_hide(body: dict[str, Any], dialect: Dialect) -> bool:
    """Whether a chat's client has not asked for the usage. The other streams have it always."""
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options_malformed")
    return dialect.endpoint is Endpoint.CHAT and options.get("include_usage") is not True


def _cap(body: dict[str, Any], dialect: Dialect, models: list[Model]) -> int:
    if not dialect.caps:
        return 0
    wanted = [_whole(body, key) for key in dialect.caps]
    return min([max(one.longest_answer for one in models), *(one for one in wanted if one is not None)])


def _whole(body: dict[str, Any], key: str, most: int = 2**31) -> int | None:
    """A number that bounds what the call may cost. Raises BadRequest for what only some parsers take for one."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadRequest("number_malformed", key=key)
    return value


def _sizes(raw: bytes, body: dict[str, Any], dialect: Dialect, models: list[Model]) -> tuple[int, int]:
    """Bytes of text, and tokens of what is not text."""
    images = _images(body, dialect)
    beside_text = max(len(images) * one.image_tokens + one.hidden_tokens for one in models)
    return len(raw) - sum(len(image) for image in images), beside_text


def _images(body: dict[str, Any], dialect: Dialect) -> list[str]:
    """Each image's address or data, as OpenAI's and Anthropic's forms have them."""
    found = []
    for part in parts(body[dialect.content]):
        image = part.get("image_url")
        if image is None and part.get("type") == "image":
            image = part.get("source")
        if image is not None:
            given = (image.get("url") or image.get("data")) if isinstance(image, dict) else image
            found.append(given if isinstance(given, str) else "")
    return found


def _is_developer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "developer"


def _with_first(raw: bytes, added: dict[str, int]) -> bytes:
    """The object with a number more, and its other bytes as they were."""
    head, brace, rest = raw.partition(b"{")
    return b"".join((head, brace, orjson.dumps(added)[1:-1], b",", rest))
