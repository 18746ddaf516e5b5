"""The parameters of a request, checked as Stripe checks them: an unknown, missing or malformed one is a 400."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from controller.sandbox.stripe.faults import Fault

Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40)], Annotated[str, StringConstraints(max_length=500)]],
    Field(max_length=50),
]
"""At most 50 keys of 40 characters with values of 500; an empty value removes its key."""


Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=5000)]
"""A web address."""


class Params(BaseModel):
    """The base of every request's parameters; an empty string unsets."""

    model_config = ConfigDict(extra="forbid")

    expand: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _empty_unsets(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: None if value == "" else value for name, value in fields.items()}


class Listing(Params):
    """What every list accepts: ``limit`` 1-100, and one of the two cursors."""

    limit: int = Field(default=10, ge=1, le=100)
    starting_after: str | None = None
    ending_before: str | None = None


ParamsT = TypeVar("ParamsT", bound=Params)


def checked(model: type[ParamsT], fields: dict[str, Any]) -> ParamsT:
    """``fields`` as ``model``.

    Raises Fault for the first field that is missing, unknown or malformed.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise _fault(exc.errors(include_url=False)[0]) from exc


def given(params: Params, *names: str) -> dict[str, str | int | None]:
    """The fields of these names that are set, as a filter."""
    return {name: getattr(params, name) for name in names if getattr(params, name) is not None}


def merged(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: None clears it, an empty value removes its key."""
    if new is None:
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}


def _fault(problem: ErrorDetails) -> Fault:
    first, *rest = [str(part) for part in problem["loc"]] or ["body"]
    param = first + "".join(f"[{part}]" for part in rest)
    if problem["type"] == "missing":
        return Fault(f"Missing required param: {param}.", code="parameter_missing", param=param)
    if problem["type"] == "extra_forbidden":
        # Stripe knows more parameters than this stand-in models: better refused than silently ignored.
        return Fault(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)
    if problem["type"] == "string_pattern_mismatch" and param.endswith("url"):
        return Fault("Not a valid URL", code="url_invalid", param=param)
    if problem["type"] == "int_parsing":
        return Fault(f"Invalid integer: {str(problem['input'])[:64]}", code="parameter_invalid_integer", param=param)
    return Fault(f"Invalid {param}: {problem['msg']}", code="parameter_invalid", param=param)
