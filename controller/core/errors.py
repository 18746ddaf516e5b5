"""Every error that we raise on purpose.

CloudError(code, **facts)      a stable code and facts, no prose
├─ Refused                     the caller's request cannot be met: 4xx at the edge, never retried
│  ├─ Invalid                  422
│  ├─ NotAllowed               401 or 403
│  ├─ NotFound                 404
│  ├─ Conflict                 409
│  └─ LimitReached             429
├─ Temporary(retry_after)      worth another try: a rejected push, a 429, a time-out
│  └─ OutcomeUnknown           it may have happened: only who can repeat it safely tries again
└─ Permanent                   a human is needed: an invalid manifest, refused by policy

Concrete errors live beside the code that raises them; the sentence is rendered at the edge.
"""

from __future__ import annotations

from datetime import timedelta

FOREIGN_TEXT_LIMIT = 256


def foreign(text: object) -> str:
    """Cut text that came from outside to what may enter an error or a log line."""
    return str(text)[:FOREIGN_TEXT_LIMIT]


class CloudError(Exception):
    """The root: ``code`` is stable and machine-readable, ``facts`` are what a sentence needs."""

    status = 500

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.code} ({told})" if told else self.code


class Refused(CloudError):
    """Raised when the request itself is at fault; another try changes nothing."""

    status = 400


class Invalid(Refused):
    """Raised when input does not have the form that is asked for."""

    status = 422


class NotAllowed(Refused):
    """Raised when the credential is missing, wrong or does not reach this thing."""

    status = 401


class NotFound(Refused):
    """Raised when there is no such thing, or none that this caller may see."""

    status = 404


class Conflict(Refused):
    """Raised when the thing is in a state that rules the request out."""

    status = 409


class LimitReached(Refused):
    """Raised when a rate, quota or size limit is used up."""

    status = 429


class Temporary(CloudError):
    """Raised when the same request may work later, ``retry_after`` from now at the earliest."""

    status = 503

    def __init__(self, code: str, *, retry_after: timedelta = timedelta(seconds=1), **facts: object) -> None:
        super().__init__(code, **facts)
        self.retry_after = retry_after


class OutcomeUnknown(Temporary):
    """Raised when a request went out and its answer never came: it may have taken effect."""


class Permanent(CloudError):
    """Raised when no retry will help and a human has to look."""
