"""The gateway's conversations through the proxy are the same whatever the model's provider speaks."""

from __future__ import annotations

import pytest

from tests.proxy.openclaw.scene import WIRES, Scene

pytestmark = pytest.mark.gateway


@pytest.mark.parametrize("model", WIRES)
def test_a_conversation_with_a_tool_goes_on_over_every_wire(scene: Scene, model: str) -> None:
    scene.use(model=model)
    person, before = scene.person(), len(scene.model.requests())
    command = {"name": "exec", "arguments": {"command": "echo gauze-$((6 * 7))"}}
    scene.model.script(
        {"reasoning": "Let me look.", "tool_calls": [command], "then": "Contei: {{result}}"},
        {"recall": r"gauze-\d+", "text": "Antes você viu {{recalled}}."},
    )
    scene.write(person, "Quantas gazes temos?")
    assert "gauze-42" in scene.hear(person, "Contei")
    scene.write(person, "O que eu vi?")
    assert "gauze-42" in scene.hear(person, "Antes")
    asked = scene.model.requests()[before:]
    assert [(one["api"], one["stream"], one["ended"]) for one in asked] == [(WIRES[model], True, "whole")] * 3
