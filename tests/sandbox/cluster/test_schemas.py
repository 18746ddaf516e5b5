"""Field validation by the official client's models."""

from __future__ import annotations

from typing import Any

import pytest

from controller.core.errors import Refused
from controller.sandbox.cluster import schemas
from controller.sandbox.cluster.resources import APPLICATION, DEPLOYMENT, Object
from controller.sandbox.cluster.schemas import FieldsUnknown
from tests.sandbox.cluster import objects


def with_container(**fields: Any) -> Object:
    made = objects.deployment()
    made["spec"]["template"]["spec"]["containers"][0] |= fields
    return made


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}, []),
        ({"livenessProbe": {"httpGet": {"port": "gateway"}}}, []),
        ({"imagePolicy": "x"}, ['unknown field "spec.template.spec.containers[0].imagePolicy"']),
        ({"tty": "yes"}, ['field "spec.template.spec.containers[0].tty" must be of type bool']),
        ({"env": {"A": "b"}}, ['field "spec.template.spec.containers[0].env" must be a list']),
        ({"resources": "much"}, ['field "spec.template.spec.containers[0].resources" must be an object']),
    ],
)
async def test_fields_and_types_are_those_of_the_kind(fields: dict[str, Any], wrong: list[str]) -> None:
    assert await schemas.check(DEPLOYMENT, with_container(**fields), "Warn") == wrong


async def test_only_a_strict_look_refuses_and_only_one_that_is_asked_for_is_taken() -> None:
    odd = with_container(imagePolicy="x")
    with pytest.raises(FieldsUnknown):
        await schemas.check(DEPLOYMENT, odd, "Strict")
    assert await schemas.check(DEPLOYMENT, odd, "Ignore") == await schemas.check(DEPLOYMENT, odd, "") == []
    with pytest.raises(Refused, match="field_validation_unknown"):
        await schemas.check(DEPLOYMENT, odd, "Loosely")


async def test_custom_kinds_keep_what_they_do_not_know() -> None:
    assert await schemas.check(APPLICATION, {**objects.application(), "odd": 1}, "Strict") == []
