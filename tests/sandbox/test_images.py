"""The image as a folder, built from a small package that stands in for the gateway's 650 MB."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.sandbox import accounts, images
from controller.sandbox.images import ImageError
from tests.charts.boxes import CHART

GATEWAY = CHART.parents[1] / "tests/charts/gateway.mjs"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may enter."""
    made = Path(tempfile.mkdtemp(prefix="openclaw-images-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def pack(target: Path, gateway: bytes) -> None:
    """An npm package named openclaw, with ``gateway`` as its launcher."""
    described = {"name": "openclaw", "version": "1.2.3", "type": "module"}
    with tarfile.open(target, "w:gz") as archive:
        for name, content in {"package.json": json.dumps(described).encode(), "openclaw.mjs": gateway}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def chart(folder: Path, gateway: bytes | None = None) -> Path:
    """A chart with our entrypoint and warm-up and a lock file that asks no registry."""
    made = folder / "chart"
    (made / "image").mkdir(parents=True)
    (made / "files").mkdir()
    pack(
        folder / "openclaw.tgz",
        gateway or b"if (process.argv[2] === '--version') process.exit();" + GATEWAY.read_bytes(),
    )
    where = f"file:{folder / 'openclaw.tgz'}"
    asked = {"name": "box", "dependencies": {"openclaw": where}}
    locked = {"": asked, "node_modules/openclaw": {"version": "1.2.3", "resolved": where}}
    (made / "image/package.json").write_text(json.dumps(asked))
    (made / "image/package-lock.json").write_text(json.dumps({"lockfileVersion": 3, "packages": locked}))
    shutil.copyfile(CHART / "image/warm.mjs", made / "image/warm.mjs")
    shutil.copyfile(CHART / "files/entrypoint.mjs", made / "files/entrypoint.mjs")
    return made


def layers(store: Path, kind: str) -> list[Path]:
    return sorted(store.glob(f"{kind}-*"))


async def test_an_image_has_all_that_a_pod_runs_and_everybody_may_read_it(folder: Path) -> None:
    image = await images.build(chart(folder), folder / "store")
    assert (image / "entrypoint.mjs").read_bytes() == (CHART / "files/entrypoint.mjs").read_bytes()
    assert (image / "node_modules/openclaw/openclaw.mjs").is_file()
    assert os.access(image / "bin/node", os.X_OK)
    files = [file for name in ("bin", "node_modules", "compile-cache") for file in (image / name).rglob("*")]
    assert files
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444 for file in files if not file.is_symlink())
    assert not any(stat.S_IMODE(file.stat().st_mode) & 0o022 for file in files if not file.is_symlink())


async def test_the_compile_cache_is_filled_for_the_agents_account_and_belongs_to_the_builder(folder: Path) -> None:
    image = await images.build(chart(folder), folder / "store")
    account = accounts.to_drop_to(accounts.AGENT)
    (compiled,) = (image / "compile-cache").iterdir()
    assert compiled.name.endswith(f"-{account.uid if account else os.geteuid()}")
    assert any(compiled.iterdir())
    assert compiled.stat().st_uid == os.geteuid()


async def test_a_second_build_finds_the_first_ones_image_and_starts_nothing(folder: Path) -> None:
    made, store = chart(folder), folder / "store"
    first = await images.build(made, store)
    built_at = store.stat().st_mtime_ns, first.stat().st_mtime_ns
    assert await images.build(made, store) == first
    assert (store.stat().st_mtime_ns, first.stat().st_mtime_ns) == built_at


async def test_a_changed_entrypoint_makes_a_new_image_from_the_same_layers(folder: Path) -> None:
    made, store = chart(folder), folder / "store"
    first = await images.build(made, store)
    before = layers(store, "modules"), layers(store, "compiled")
    with (made / "files/entrypoint.mjs").open("a") as file:
        file.write("// changed\n")
    second = await images.build(made, store)
    assert second != first
    assert first.exists()
    assert (layers(store, "modules"), layers(store, "compiled")) == before


async def test_a_changed_lock_makes_new_layers(folder: Path) -> None:
    made, store = chart(folder), folder / "store"
    await images.build(made, store)
    lock = made / "image/package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    await images.build(made, store)
    assert (len(layers(store, "modules")), len(layers(store, "compiled"))) == (2, 2)


async def test_two_builders_at_once_build_one_image(folder: Path) -> None:
    made, store = chart(folder), folder / "store"
    first, second = await asyncio.gather(images.build(made, store), images.build(made, store))
    assert first == second
    assert len(layers(store, "modules")) == 1


async def test_packages_alone_are_installed_once_and_start_no_gateway(folder: Path) -> None:
    pinned, store = chart(folder, b"process.exit(1)") / "image", folder / "store"
    first, second = await asyncio.gather(images.packages(pinned, store), images.packages(pinned, store))
    assert first == second
    assert (first / "node_modules/openclaw/openclaw.mjs").is_file()
    assert os.access(first / "bin/node", os.X_OK)
    assert [path.name for path in store.iterdir() if path.is_dir()] == [first.name]


async def test_what_a_killed_builder_left_is_cleared_away(folder: Path) -> None:
    store = folder / "store"
    (store / "building-left").mkdir(parents=True)
    await images.build(chart(folder), store)
    assert layers(store, "building") == []


async def test_npms_failure_is_told_with_its_last_words_and_leaves_no_image(folder: Path) -> None:
    made, store = chart(folder), folder / "store"
    (folder / "openclaw.tgz").unlink()
    with pytest.raises(ImageError) as raised:
        await images.build(made, store)
    assert raised.value.facts["step"] == "npm"
    assert "openclaw.tgz" in str(raised.value.facts["log"])
    assert [path.name for path in store.iterdir()] == [".lock"]


async def test_a_gateway_that_does_not_come_up_makes_no_image(folder: Path) -> None:
    broken = b"if (process.argv[2] !== '--version') { console.error('out of order'); process.exit(1); }"
    with pytest.raises(ImageError) as raised:
        await images.build(chart(folder, broken), folder / "store")
    assert raised.value.facts["step"] == "warm"
    assert "out of order" in str(raised.value.facts["log"])
    assert layers(folder / "store", "compiled") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to an account that might be shut out")
async def test_a_store_that_agents_cannot_enter_is_refused(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(ImageError, match="image_store_closed"):
        await images.build(chart(folder), folder / "closed/store")


def test_the_recipe_for_docker_installs_as_we_do() -> None:
    recipe = (CHART / "image/Dockerfile").read_text()
    assert f"npm {' '.join(images.NPM_CI)}" in recipe
    assert f"USER {accounts.AGENT.uid}:{accounts.AGENT.gid}" in recipe
    assert recipe.count("FROM ${NODE_IMAGE}") == 2
