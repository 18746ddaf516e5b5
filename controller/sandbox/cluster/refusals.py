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
}


class WrongVerb(Refused):
    """Raised when a path knows no such method."""

    status = 405


def status(error: Refused) -> Object:
    """A failed ``Status``: HTTP code, Kubernetes' reason for it, our code and facts as the message."""
    reason = "AlreadyExists" if error.code == "exists" else _REASONS.get(error.status, "BadRequest")
    details = {fact: str(error.facts[fact]) for fact in ("kind", "name") if fact in error.facts}
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": reason,
        "details": details,
        "code": error.status,
    }
