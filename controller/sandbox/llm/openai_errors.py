"""OpenAI's error form, shared by its chat, responses and embeddings."""

from __future__ import annotations

from controller.sandbox.llm.turns import Body, Fault

_TYPES = {
    400: "invalid_request_error", 401: "invalid_request_error", 402: "insufficient_quota",
    403: "invalid_request_error", 404: "invalid_request_error", 413: "invalid_request_error",
    429: "rate_limit_error",
}  # fmt: skip


def form(fault: Fault) -> Body:
    """The body of an error."""
    kind = _TYPES.get(fault.status, "server_error" if fault.status >= 500 else "invalid_request_error")
    if fault.error_code == "insufficient_quota":
        kind = "insufficient_quota"
    error = {"message": fault.message, "type": kind, "param": fault.param, "code": fault.error_code}
    return {"error": error}


def stranger(key: str | None) -> Fault:
    """The error for a missing or wrong key; it shows the key's ends, as OpenAI does."""
    if key is None:
        return Fault(401, "You didn't provide an API key. You need to provide your API key in an Authorization header.")
    shown = f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
    return Fault(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
