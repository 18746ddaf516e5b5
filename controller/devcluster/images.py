"""Images: ours built, others' copied, all pushed to the cluster's registry and named by the digests it gives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from controller.core.errors import Permanent
from controller.devcluster import pins
from controller.devcluster.tools import Tools

PUSHED = "localhost:30500"
PULLED = "registry.localhost"
"""The same registry as this machine and as the cluster's node call it (``argocd/k3d.yaml``)."""


class ImageWithoutDigest(Permanent):
    """Raised when docker knows no digest of an image that it has just pulled or pushed."""


@dataclass(frozen=True)
class Images:
    """Each by digest, as the cluster pulls it."""

    platform: str
    vendors: str
    box: str
    soft_serve: str
    mailpit: str
    postgres: str
    valkey: str


def push_all(tools: Tools, root: Path) -> Images:
    """Every image that the cluster runs, in its registry; what has not changed is neither built nor sent again."""
    others = {name.replace("-", "_"): _copy(tools, name, source) for name, source in pins.MIRRORED.items()}
    python, node = (_pulled(tools, source) for source in (pins.PYTHON, pins.NODE))
    platform = _build(tools, "platform", root / "charts/platform/image", root, PYTHON_IMAGE=python)
    vendors = _build(tools, "vendors", root / "charts/vendors/image", root, PLATFORM_IMAGE=f"{PUSHED}/platform:dev")
    box = _build(tools, "box", root / "charts/box/image", root / "charts/box", NODE_IMAGE=node)
    return Images(platform=platform, vendors=vendors, box=box, **others)


def _build(tools: Tools, name: str, recipe: Path, context: Path, **told: str) -> str:
    tag = f"{PUSHED}/{name}:dev"
    arguments = [part for key, value in told.items() for part in ("--build-arg", f"{key}={value}")]
    tools.run("docker", "build", "--file", str(recipe / "Dockerfile"), *arguments, "--tag", tag, str(context))
    return _push(tools, name, tag)


def _copy(tools: Tools, name: str, source: str) -> str:
    tag = f"{PUSHED}/{name}:{source.rpartition(':')[2]}"
    _pulled(tools, source)
    tools.run("docker", "tag", source, tag)
    return _push(tools, name, tag)


def _push(tools: Tools, name: str, tag: str) -> str:
    tools.run("docker", "push", "--quiet", tag)
    return f"{PULLED}/{name}@{_digest(tools, tag, f'{PUSHED}/{name}')}"


def _pulled(tools: Tools, source: str) -> str:
    """The image on this machine, by digest: what its tag named when it came here."""
    if not tools.succeeds("docker", "image", "inspect", source):
        tools.run("docker", "pull", source)
    name = source.rpartition(":")[0]
    return f"{name}@{_digest(tools, source, name)}"


def _digest(tools: Tools, tag: str, name: str) -> str:
    known = json.loads(tools.ask("docker", "image", "inspect", "--format", "{{json .RepoDigests}}", tag))
    for one in known:
        of, _, digest = str(one).partition("@")
        if of == name:
            return digest
    raise ImageWithoutDigest("image_without_digest", image=tag)
