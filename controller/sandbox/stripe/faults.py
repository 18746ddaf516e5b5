"""The errors of Stripe's API, in Stripe's own words and JSON."""

from __future__ import annotations

from controller.core.errors import CloudError
from controller.sandbox.documents import Document


class Fault(CloudError):
    """Raised to answer a request with Stripe's error JSON and the HTTP ``status``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        keeps: bool = False,
    ) -> None:
        """``keeps``: what the request did until here stays done (a refused payment is still an attempt)."""
        super().__init__(code or type)
        self.status = status
        self.keeps = keeps
        fields = {
            "type": type,
            "message": message,
            "code": code,
            "param": param,
            "decline_code": decline_code,
        }
        self.error = {name: value for name, value in fields.items() if value is not None}

    def body(self) -> Document:
        """The JSON answer: ``{"error": {type, message, code?, param?, decline_code?}}``."""
        return {"error": self.error}


def missing(kind: str, key: str, *, param: str = "id", status: int = 404) -> Fault:
    """The error for an object that is not there; 404 for the path's own, 400 for one named in a parameter."""
    noun = kind.replace("_", " ").rpartition(".")[2]
    return Fault(f"No such {noun}: '{key[:64]}'", status=status, code="resource_missing", param=param)
