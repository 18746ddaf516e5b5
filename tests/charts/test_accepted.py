"""OpenClaw's and mcporter's own checks accept what the entrypoint writes, for every kind of box that we sell."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.domain import providers
from controller.domain.plans import PLANS, PlanName
from controller.domain.providers import PROVIDERS, Status
from controller.sandbox import images
from tests.charts.boxes import CHART, LOCALES
from tests.charts.platform import BOT_TOKEN, PROFILE, environment

pytestmark = pytest.mark.gateway

HERE = Path(__file__).parent
SECONDS = 300
BROWSER = "ws://browser.example:9"


@dataclass(frozen=True)
class Kind:
    """What a box's configuration depends on."""

    plan: PlanName
    locale: str
    browser: bool
    connected: tuple[str, ...]
    may_exec: bool = True
    has_bot: bool = True

    def __str__(self) -> str:
        parts = [self.plan, self.locale, "browser" if self.browser else "", "+".join(self.connected)]
        return "-".join(part for part in parts if part) + ("" if self.may_exec and self.has_bot else "-bare")

    def profile(self) -> dict[str, Any]:
        sold = PLANS[self.plan]
        bot = {"bot_token": BOT_TOKEN, "users": list(range(7001, 7001 + sold.telegram_users))}
        connected = [self.connection(key) for key in self.connected]
        changed = {"telegram": bot if self.has_bot else None, "model": sold.models[-1], "connections": connected}
        return PROFILE | {"locale": self.locale, "thinking": "high"} | changed

    def connection(self, key: str) -> dict[str, Any]:
        how = providers.how(PROVIDERS[key], Status.CONNECTED, self.locale)
        return {"provider": key, "version": 1, "use": PROVIDERS[key].use.value, "status": "connected", "how": how}


CONNECTED = [(), *((key,) for key in PROVIDERS), tuple(PROVIDERS)]
KINDS = [Kind(*one) for one in itertools.product(PlanName, LOCALES, [False, True], CONNECTED)]
KINDS.append(Kind(PlanName.STARTER, "en", False, (), may_exec=False, has_bot=False))


@dataclass(frozen=True)
class Made:
    """The files of every kind, and where the image's modules are."""

    image: Path
    folder: Path

    def run(self, *arguments: str, given: str | None = None) -> Any:
        """What the image's Node prints, as JSON."""
        env = {"HOME": str(self.folder), "OPENCLAW_HOME": str(self.folder), "OPENCLAW_GATEWAY_TOKEN": "t" * 43}
        env |= {"PATH": "/usr/bin:/bin", "NODE_COMPILE_CACHE": str(self.image / "compile-cache")}
        argv = [str(self.image / "bin/node"), *arguments]
        done = subprocess.run(argv, env=env, input=given, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def file(self, kind: Kind, name: str) -> Path:
        return self.folder / f"{kind}-{name}.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All files, written by the entrypoint's own functions in one process."""
    folder = tmp_path_factory.mktemp("accepted")
    image = asyncio.run(images.build(CHART, images.default_store()))
    found = Made(image, folder)
    asked = [{"env": environment_of(folder, kind), "profile": kind.profile()} for kind in KINDS]
    printed = found.run(str(HERE / "printed.mjs"), str(image / "entrypoint.mjs"), given=json.dumps(asked))
    for kind, files in zip(KINDS, printed, strict=True):
        for name, content in files.items():
            found.file(kind, name).write_text(json.dumps(content))
    return found


def environment_of(folder: Path, kind: Kind) -> dict[str, str]:
    changed = {"OPENCLAW_BROWSER_PROXY_URL": BROWSER} if kind.browser else {}
    return environment(folder, "http://127.0.0.1:9", OPENCLAW_EXEC="full" if kind.may_exec else "off", **changed)


@pytest.fixture(scope="module")
def judged(made: Made) -> dict[str, Any]:
    """OpenClaw's verdict on every file: one process, because each start costs seconds."""
    package = made.image.resolve() / "node_modules/openclaw"
    files = [str(made.file(kind, "openclaw")) for kind in KINDS]
    verdicts: dict[str, Any] = made.run(str(HERE / "snapshots.mjs"), str(package), *files)
    return verdicts


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_openclaw_accepts_the_configuration(made: Made, judged: dict[str, Any], kind: Kind) -> None:
    assert judged[str(made.file(kind, "openclaw"))] == {"valid": True, "issues": [], "warnings": []}


def test_the_check_in_bulk_refuses_what_the_command_line_refuses(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "openclaw.json"
    file.write_text(made.file(KINDS[-2], "openclaw").read_text().replace("streamable-http", "carrier-pigeon"))
    package = made.image.resolve() / "node_modules/openclaw"
    (verdict,) = made.run(str(HERE / "snapshots.mjs"), str(package), str(file)).values()
    assert verdict["valid"] is False
    argv = [str(made.image / "bin/node"), str(package / "openclaw.mjs"), "config", "validate", "--json"]
    env = {"HOME": str(tmp_path), "OPENCLAW_CONFIG_PATH": str(file), "OPENCLAW_GATEWAY_TOKEN": "t" * 43}
    env |= {"PATH": "/usr/bin:/bin", "NODE_COMPILE_CACHE": str(made.image / "compile-cache")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert json.loads(done.stdout)["valid"] is False


def test_mcporters_own_schema_accepts_every_file(made: Made) -> None:
    schema = (made.image.resolve() / "node_modules/mcporter/dist/config-schema.js").as_uri()
    check = "const { RawConfigSchema } = await import(process.argv[1]); const fs = await import('node:fs');"
    check += "const bad = process.argv.slice(2).filter((file) => "
    check += "!RawConfigSchema.safeParse(JSON.parse(fs.readFileSync(file))).success); console.log(JSON.stringify(bad));"
    files = [str(made.file(kind, "mcporter")) for kind in KINDS]
    assert made.run("--input-type=module", "-e", check, schema, *files) == []
