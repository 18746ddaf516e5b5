"""One gateway for all of these tests: a boot costs 10-14 CPU seconds."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from controller.core import ids
from controller.core.db import Database
from controller.core.settings import DatabaseSettings
from controller.sandbox.postgres import Postgres
from controller.sandbox.valkey import Valkey
from proxy import translator
from proxy.leaving import Connection
from proxy.settings import TranslatorSettings
from tests.conftest import TEMPLATE
from tests.proxy.conftest import bought, proxy
from tests.proxy.openclaw import scene as scenes
from tests.proxy.openclaw.scene import PEOPLE, Scene
from tests.proxy.wires import TOKEN
from tests.sandbox.llm.serving import KEY, model_in
from tests.sandbox.stripe.serving import serving
from tests.sandbox.telegram.conftest import telegram_in


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """A folder that the agent's account may enter."""
    made = Path(tempfile.mkdtemp(prefix="openclaw-scene-"))
    made.chmod(0o755)
    for name in ("model", "telegram"):
        (made / name).mkdir()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="package")
def lasting_dsn(postgres: Postgres, runner: asyncio.Runner) -> str:
    """A migrated database for all tests of the gateway."""

    async def make() -> str:
        name = f"scene_{ids.new()}"
        admin = await asyncpg.connect(postgres.dsn())
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        await admin.close()
        return postgres.dsn(name)

    return runner.run(make())


@pytest.fixture(scope="package")
def stage(folder: Path, lasting_dsn: str, queue_server: Valkey) -> Iterator[Scene]:
    """Everything, with a box whose token is good."""
    with asyncio.Runner() as run, ExitStack() as stack:
        model = stack.enter_context(model_in(folder / "model"))
        telegram = stack.enter_context(telegram_in(folder / "telegram"))
        keys = {name: SecretStr(KEY) for name in ("anthropic", "gemini")}
        settings = TranslatorSettings(
            translator_token=SecretStr(TOKEN), llm_catalog=scenes.catalog(model.base), translated_keys=keys,
            upstream_idle=scenes.IDLE,
        )  # fmt: skip
        beside = stack.enter_context(serving(translator.create(settings), Connection))
        changed = scenes.settings(model.base, beside)
        base = stack.enter_context(proxy(lasting_dsn, queue_server.url, f"{model.base}/v1", **changed))
        database = Database(DatabaseSettings(postgres_dsn=SecretStr(lasting_dsn)))
        stack.callback(lambda: run.run(database.close()))
        bot = telegram.new_bot()
        users = {"bot_token": bot["token"], "users": list(PEOPLE)}
        _, token = run.run(bought(database))
        booting = scenes.box(folder, base, telegram.base, telegram=users, proxy_token=token, model="openai")
        platform, gateway = run.run(booting.__aenter__())
        stack.callback(lambda: run.run(booting.__aexit__(None, None, None)))
        yield Scene(telegram, model, base, database, queue_server.url, platform, gateway, bot, run)


@pytest.fixture
def scene(stage: Scene) -> Scene:
    """The same, with a good token, OpenAI's wire and a model without a script."""
    _, token = stage.run.run(bought(stage.database))
    stage.use(proxy_token=token, model="openai")
    stage.model.script()
    return stage
