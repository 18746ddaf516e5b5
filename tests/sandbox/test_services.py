"""The command lines of the sandbox's processes."""

from __future__ import annotations

from pathlib import Path

from controller.sandbox import services, state
from controller.sandbox.services import Addresses


def test_a_token_that_begins_with_a_dash_is_not_taken_for_an_option(tmp_path: Path) -> None:
    made = state.load(tmp_path).model_copy(update={"secrets_token": "-s-looks-like-an-option"})
    here = Addresses("", "", "", "", tmp_path, tmp_path, tmp_path, tmp_path)
    found = {one.name: one.argv for one in services.platform(made, here, tmp_path, tmp_path)}
    assert "--secrets-token=-s-looks-like-an-option" in found["cluster"]
