"""A request's body: read up to its limit, forwarded byte for byte, except for what must change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from controller.core.errors import foreign
from proxy.errors import BadRequest, TooLarge, UnknownModel

MAX_BYTES = 10_000_000
_REDIRECTING = frozenset(
    {"api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers", "fallbacks"}
    | {"model_list", "mock_response", "organization", "timeout"}
)
_REDIRECTING_PREFIXES = ("vertex_", "aws_", "azure_")


@dataclass(frozen=True)
class Prepared:
    """What goes upstream. ``hide_usage``: the client did not ask for the usage that we ask for."""

    content: bytes
    model: str
    stream: bool
    hide_usage: bool


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


def prepare(raw: bytes, models: dict[str, str]) -> Prepared:
    """The body for the upstream.

    Raises BadRequest for anything that is not a chat request or would redirect it, UnknownModel.
    """
    body = _parsed(raw)
    model = body.get("model")
    if not isinstance(model, str) or model not in models:
        raise UnknownModel("model_unknown", model=foreign(model))
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options_malformed")
    asked = options.get("include_usage") is True
    if (asked or not stream) and models[model] == model:
        return Prepared(raw, model, stream, hide_usage=False)
    body["model"] = models[model]
    if stream:
        body["stream_options"] = {**options, "include_usage": True}
    return Prepared(orjson.dumps(body), model, stream, hide_usage=stream and not asked)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("body_not_json") from exc
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadRequest("messages_missing")
    for key in body:
        if key.lower() in _REDIRECTING or key.lower().startswith(_REDIRECTING_PREFIXES):
            raise BadRequest("key_not_allowed", key=foreign(key))
    return body
