"""A small admission plugin: the cell's policies as rendered, their expressions judged by the language's own engine."""

from __future__ import annotations

import functools
from typing import Any

from cel_expr_python import cel

from tests.argocd.cells import Object, of

_NAMES = ("object", "oldObject", "request", "namespaceObject", "variables")


@functools.cache
def _compiled(expression: str) -> Any:
    return cel.NewEnv(variables=dict.fromkeys(_NAMES, cel.Type.DYN)).compile(expression)


def _value(expression: str, given: Object) -> Any:
    """What it is; an error is a refusal, because every policy fails closed."""
    return _compiled(expression).eval(data=given).plain_value()


def refusals(
    operation: str, resource: str, obj: Object | None, old: Object | None = None, space: Object | None = None
) -> list[str]:
    """The names of a cell's policies that refuse the request; ``resource`` is ``group/plural[/subresource]``."""
    return refusing(of("ValidatingAdmissionPolicy"), operation, resource, obj, old, space)


def refusing(
    policies: list[Object], operation: str, resource: str, obj: Object | None, old: Object | None = None,
    space: Object | None = None, **more: Any,
) -> list[str]:  # fmt: skip
    """The names of those ``policies`` that refuse the request; ``more`` is what else the API server tells of it."""
    group, plural, *sub = resource.split("/")
    request = {"operation": operation, "resource": {"group": group, "resource": plural}, **more}
    given = {"object": obj, "oldObject": old, "request": request, "namespaceObject": space}
    path = "/".join([plural, *sub])
    ruling = [one for one in policies if _matches(one["spec"], operation, group, path, given)]
    return [one["metadata"]["name"] for one in ruling if _refuses(one["spec"], given)]


def _matches(spec: Object, operation: str, group: str, plural: str, given: Object) -> bool:
    constraints, space = spec["matchConstraints"], given["namespaceObject"]
    ruled = any(
        operation in rule["operations"]
        and group in rule["apiGroups"]
        and {plural, "*"} & set(rule["resources"])
        and (space is not None or rule.get("scope") != "Namespaced")
        for rule in constraints["resourceRules"]
    )
    # As in the API server, where a selector lets everything through that lies in no namespace.
    selected = (
        "namespaceSelector" not in constraints
        or space is None
        or "openclaw.cloud/box" in space["metadata"].get("labels", {})
    )
    # As in the API server, which gives match conditions no namespace.
    alone = {**given, "namespaceObject": None, "variables": {}}
    conditions = [one["expression"] for one in spec.get("matchConditions", [])]
    return ruled and selected and all(_value(expression, alone) is not False for expression in conditions)


def _refuses(spec: Object, given: Object) -> bool:
    bare = {**given, "variables": {}}
    variables = {one["name"]: _value(one["expression"], bare) for one in spec.get("variables", [])}
    full = {**given, "variables": variables}
    return not all(_value(one["expression"], full) is True for one in spec["validations"])
