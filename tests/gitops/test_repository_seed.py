"""The seed of the GitOps repository keeps its own rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controller.gitops import manifests, validation
from tests.gitops.checkouts import Checkout

SEED = Path(__file__).resolve().parents[2] / "gitops-repo"
EXAMPLE = (SEED / "examples/box.yaml").read_bytes()


def test_the_example_is_a_box_that_people_may_add(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "gitops")
    box = manifests.read(EXAMPLE).metadata.id
    (checkout.folder / manifests.path("eu1-a", box)).unlink()
    checkout.commit()
    checkout.write(manifests.path("us1-a", box), EXAMPLE)
    result = checkout.run("validate", str(checkout.folder / "cells"))
    assert (result.exit_code, result.stdout) == (0, "1 files, 1 boxes: no findings\n")


def test_the_seed_holds_no_box_and_no_secret() -> None:
    files = [file for file in SEED.rglob("*") if file.is_file()]
    assert not (SEED / "cells").exists()
    assert [found for file in files for found in validation.secrets(file.name, file.read_bytes())] == []


@pytest.mark.parametrize("file", [".github/workflows/boxes.yaml", ".gitlab-ci.yml"])
def test_each_pipeline_validates_and_renders_a_pull_request(file: str) -> None:
    text = (SEED / file).read_text()
    assert yaml.safe_load(text)
    assert "gitops validate --pull-request --base" in text
    assert "gitops diff --base" in text
