"""Our refusals as the ``Status`` objects that a Kubernetes client reads."""

from __future__ import annotations

from controller.core.errors import Refused
from controller.sandbox.cluster.resources import Object

_REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    504: "Timeout",
}


class WrongVerb(Refused):
    """Raised when a path knows no such method."""

    status = 405


def status(error: Refused) -> Object:
    """A failed ``Status``: HTTP code, Kubernetes' reason for it, our code and facts as the message."""
    reason = "AlreadyExists" if error.code == "exists" else _REASONS.get(error.status, "BadRequest")
    details: Object = {fact: str(error.facts[fact]) for fact in ("kind", "name") if fact in error.facts}
    if "causes" in error.facts:
        details["causes"] = error.facts["causes"]
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": _sentence(error),
        "reason": reason,
        "details": details,
        "code": error.status,
    }


def _sentence(error: Refused) -> str:
    """What a person reads: Kubernetes' own words where there are such."""
    if error.code == "not_found":
        return f'{error.facts.get("kind")} "{error.facts.get("name")}" not found'
    return str(error.facts.get("sentence") or error)
