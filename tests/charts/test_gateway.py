"""The entrypoint with the real OpenClaw."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.plans import PLANS, PlanName
from controller.sandbox import accounts, images
from controller.sandbox.processes import Command, Process, tail
from tests.charts import platform as platforms
from tests.charts.boxes import CHART, LOCALES
from tests.charts.platform import PROFILE, environment

pytestmark = pytest.mark.gateway

BOOT = timedelta(minutes=4)
VALIDATE_SECONDS = 120
PRINT_CONFIG = """
const { openclawConfig, readSettings } = await import(process.argv[1]);
process.stdout.write(JSON.stringify(openclawConfig(readSettings(process.env), JSON.parse(process.argv[2]))));
"""


@pytest.fixture(scope="module")
def image() -> Path:
    return asyncio.run(images.build(CHART, images.default_store()))


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder that an agent's account can enter, with the bootstrap files in it."""
    folder = Path(tempfile.mkdtemp(prefix="openclaw-box-"))
    folder.chmod(0o755)
    shutil.copytree(CHART / "files/niches/pharmacy/pt-BR", folder / "bootstrap")
    yield folder
    shutil.rmtree(folder)


def printed_config(image: Path, env: dict[str, str], profile: dict[str, Any]) -> str:
    argv = [str(image / "bin/node"), "--input-type=module", "-e", PRINT_CONFIG]
    argv += [(image / "entrypoint.mjs").as_uri(), json.dumps(profile)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60).stdout


def profile_of(plan: PlanName, locale: str) -> dict[str, Any]:
    sold = PLANS[plan]
    users = list(range(7001, 7001 + sold.telegram_users))
    bot = {"bot_token": platforms.BOT_TOKEN, "users": users}
    return PROFILE | {"locale": locale, "telegram": bot, "model": sold.models[-1], "thinking": "high"}


@pytest.mark.parametrize(
    ("plan", "locale", "browser", "has_bot"),
    [
        *itertools.product(PlanName, LOCALES, ["", "ws://browser.example:9"], [True]),
        (PlanName.STARTER, "en", "", False),
    ],
)
def test_openclaw_accepts_the_configuration(
    image: Path, tmp_path: Path, plan: PlanName, locale: str, browser: str, has_bot: bool
) -> None:
    changed = {"OPENCLAW_BROWSER_PROXY_URL": browser, "OPENCLAW_EXEC": "full" if browser else "off"}
    env = environment(tmp_path, "http://127.0.0.1:9", **changed)
    profile = profile_of(plan, locale) | ({} if has_bot else {"telegram": None})
    file = tmp_path / "openclaw.json"
    file.write_text(printed_config(image, env, profile))
    env |= {"HOME": str(tmp_path), "OPENCLAW_CONFIG_PATH": str(file), "OPENCLAW_GATEWAY_TOKEN": "t" * 43}
    env["NODE_COMPILE_CACHE"] = str(image / "compile-cache")
    argv = [str(image / "bin/node"), str(image / "node_modules/openclaw/openclaw.mjs"), "config", "validate", "--json"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=VALIDATE_SECONDS)
    assert json.loads(done.stdout) == {"valid": True, "path": str(file), "warnings": []}, done.stderr


async def test_the_real_gateway_boots_from_a_profile_reports_ready_and_stops(image: Path, volume: Path) -> None:
    account = accounts.to_drop_to(accounts.AGENT)
    async with platforms.serving() as platform:
        platform.change(telegram=None)
        env = environment(volume, platform.url, OPENCLAW_BOOTSTRAP_DIR=str(volume / "bootstrap"))
        env["NODE_COMPILE_CACHE"] = str(image / "compile-cache")
        (volume / "data").mkdir()
        if account:
            for place in (volume / "data", volume / "tmp"):
                os.chown(place, account.uid, account.gid)
        argv = [str(image / "bin/node"), str(image / "entrypoint.mjs")]
        box = await Process.start(Command("box", argv, volume / "log", env, account, stop_grace=timedelta(seconds=45)))
        try:
            async with asyncio.timeout(BOOT.total_seconds()):
                report = await platform.reports.get()
        finally:
            await box.stop()
    locked = json.loads((CHART / "image/package-lock.json").read_text())["packages"]["node_modules/openclaw"]["version"]
    assert report == {"profile": 5, "gateway": locked}, tail(volume / "log")
    assert box.child.returncode == 0, tail(volume / "log")
