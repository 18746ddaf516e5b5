"""Notices from the row to the reader: Telegram's stand-in, a real mail server, and a sender that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from controller.core import clock, crypto
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import QueueSettings
from controller.domain import bells, boxes, letters, lifecycle, notices
from controller.domain.boxes import BoxSettings
from controller.domain.lifecycle import Mint, Why
from controller.domain.notices import LEASE, Notice
from controller.workers import notices as sending
from controller.workers.notices import Sender
from tests import factories
from tests.mailbox import Mailbox, opened, part
from tests.proxy.waiting import until
from tests.sandbox.telegram.conftest import Telegram as StandIn
from tests.sandbox.telegram.conftest import telegram_in
from tests.workers.senders import sender as build

KEY = crypto.new_key()
MINT = Mint(sealer=Sealer(KEY), pepper=factories.PEPPER, settings=BoxSettings())


@dataclass(frozen=True)
class Post:
    """A sender, both ends of what it sends, and the box that it is about."""

    sender: Sender
    dsn: str
    town: StandIn
    mailbox: Mailbox
    bot: dict[str, Any]
    box_id: str

    async def write(self, kind: letters.Kind = letters.AGENT_LIVE, **facts: Any) -> dict[str, str]:
        """The kind's notices: channel → id."""
        async with self.sender.database.transaction() as session:
            box = await boxes.get(session, self.box_id)
            await notices.write(session, box, kind, "once", **facts)
            return {row.channel: row.id for row in await session.scalars(select(Notice))}

    async def send(self, notice_id: str) -> tuple[str, str | None]:
        """One attempt; the state and error that it left."""
        await sending.send(self.sender, notice_id)
        return await self.state(notice_id)

    async def state(self, notice_id: str) -> tuple[str, str | None]:
        async with self.sender.database.transaction() as session:
            row = await session.get_one(Notice, notice_id)
            return row.state, row.error

    async def sent(self, notice_id: str) -> bool:
        return (await self.state(notice_id))[0] == "sent"

    async def recover(self) -> None:
        """What the sweeper does once the lease is over."""
        with clock.frozen(clock.now() + LEASE):
            async with self.sender.database.transaction() as session:
                await notices.recover(session)

    def die_at(self, point: str, notice_id: str, log: Path) -> None:
        """Send from a process of its own that is killed at ``point``."""
        env = os.environ | {"APP_ENV": "test", "FAILPOINTS": f"{point}:kill", "FAILPOINT_LOG": str(log)}
        asked = {"dsn": self.dsn, "key": KEY, "telegram_url": self.town.base, "smtp_url": self.mailbox.url}
        argv = [sys.executable, "-m", "tests.workers.senders", json.dumps(asked | {"notice_id": notice_id})]
        killed = subprocess.run(argv, env=env, timeout=60, check=False)
        assert (killed.returncode, log.read_text()) == (-9, f"{point}\n")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[StandIn]:
    with telegram_in(tmp_path / "town") as made:
        yield made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with opened() as made:
        yield made


@pytest.fixture
async def post(database: Database, dsn: str, town: StandIn, mailbox: Mailbox) -> AsyncIterator[Post]:
    bot = town.new_bot()
    town.write(bot, "/start")
    box_id = await bought(database, bot_token=bot["token"])
    made = build(database, MINT.sealer, town.base, mailbox.url)
    yield Post(made, dsn, town, mailbox, bot, box_id)
    await made.telegram.close()


async def bought(database: Database, **changed: Any) -> str:
    async with database.transaction() as session:
        draft = await factories.draft(session, MINT, **changed)
        facts = factories.facts(draft.id, email=f"{draft.locale}@example.com")
        job = await lifecycle.converge(session, MINT, facts, Why("test"))
        assert job is not None
        return job.box_id


async def test_a_live_agent_says_so_itself_and_by_mail(post: Post) -> None:
    written = await post.write()
    assert [await post.send(written[channel]) for channel in ("telegram", "email")] == [("sent", None)] * 2
    [said] = post.town.sent(post.bot)
    assert (said["chat_id"], "Eu sou Ana" in said["text"], "já estou no ar" in said["text"]) == (7001, True, True)
    [mail] = post.mailbox.mails
    assert mail["Subject"] == "Ana já está no ar"
    for url in ("https://t.me/farmacia_bot", "https://openclaw.cloud/dashboard"):
        assert url in part(mail, "plain")
        assert f'href="{url}"' in part(mail, "html")


async def test_everybody_is_told_in_the_language_they_bought_in(post: Post) -> None:
    box_id = await bought(post.sender.database, locale="en", bot_token=post.bot["token"])
    written = await replace(post, box_id=box_id).write()
    await post.send(written["telegram"])
    await post.send(written["email"])
    assert post.town.sent(post.bot)[0]["text"].startswith("Hi! I am Ana")
    assert (post.mailbox.mails[0]["Subject"], post.mailbox.readers) == ("Ana is live", [["en@example.com"]])


async def test_who_never_pressed_start_is_a_final_and_visible_outcome(post: Post) -> None:
    box_id = await bought(post.sender.database, bot_token=post.bot["token"], telegram_users=[9999])
    notice = (await replace(post, box_id=box_id).write())["telegram"]
    state, error = await post.send(notice)
    assert (state, "telegram_chat_closed" in str(error)) == ("undeliverable", True)
    assert await post.send(notice) == (state, error)


async def test_a_bad_bot_token_is_told_by_mail_which_asks_for_another(post: Post) -> None:
    post.town.control.delete(f"bots/{post.bot['id']}")
    written = await post.write()
    state, error = await post.send(written["telegram"])
    assert (state, "bot_token_refused" in str(error), post.bot["token"] in str(error)) == ("undeliverable", True, False)
    assert await post.send(written["email"]) == ("sent", None)
    assert "Informe um novo token" in part(post.mailbox.mails[0], "plain")


async def test_a_notice_rung_for_by_many_is_sent_once(post: Post) -> None:
    notice = (await post.write())["email"]
    for _ in range(3):
        await post.send(notice)
    assert len(post.mailbox.mails) == 1


async def test_a_greylisted_mail_goes_out_later_and_once(post: Post) -> None:
    post.mailbox.refuse("RCPT", "451 4.7.1 Come again")
    notice = (await post.write())["email"]
    assert (await post.send(notice))[0] == "waiting"
    assert (await post.send(notice))[0] == "waiting"
    with clock.frozen(clock.now() + LEASE):
        assert await post.send(notice) == ("sent", None)
    assert len(post.mailbox.mails) == 1


async def test_a_mailbox_that_does_not_exist_is_final(post: Post) -> None:
    post.mailbox.refuse("RCPT", "550 5.1.1 No such user")
    state, error = await post.send((await post.write())["email"])
    assert (state, "No such user" in str(error)) == ("undeliverable", True)


async def test_a_mail_that_the_server_will_not_take_is_set_aside(post: Post) -> None:
    post.mailbox.refuse("DATA", "554 5.7.1 Looks like spam")
    assert (await post.send((await post.write())["email"]))[0] == "set_aside"


async def test_the_end_says_until_when_the_data_is_kept(post: Post) -> None:
    async with post.sender.database.transaction() as session:
        box = await boxes.get(session, post.box_id, lock=True)
        with clock.frozen(clock.now().replace(2026, 12, 1)):
            await lifecycle.condemn(session, box, Why("test"))
    await post.send((await post.write(letters.SUBSCRIPTION_ENDED))["email"])
    assert "8 de dezembro de 2026" in part(post.mailbox.mails[0], "plain")


async def test_the_process_sends_what_it_is_rung_for(post: Post, queue: QueueSettings) -> None:
    notice = (await post.write())["email"]
    env = os.environ | {
        "POSTGRES_DSN": post.dsn, "QUEUE_REDIS_URL": queue.queue_redis_url.get_secret_value(), "SEALING_KEY": KEY,
        "TELEGRAM_API_URL": post.town.base, "SMTP_URL": post.mailbox.url, "WEB_URL": "https://openclaw.cloud",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "controller", "notices"], env=env)
    try:
        await Doorbell(queue).ring(bells.NOTICE, notice)
        await until(lambda: post.sent(notice), 60)
    finally:
        process.terminate()
        process.wait(30)
    assert len(post.mailbox.mails) == 1


@pytest.mark.parametrize("point", ["notices.claimed", "notices.sending", "notices.delivered"])
async def test_a_mail_whose_sender_was_killed_goes_out_with_the_same_message_id(
    post: Post, tmp_path: Path, point: str
) -> None:
    notice = (await post.write())["email"]
    post.die_at(point, notice, tmp_path / "hits")
    await post.recover()
    assert await post.send(notice) == ("sent", None)
    assert len(post.mailbox.mails) == (2 if point == "notices.delivered" else 1)
    assert len({mail["Message-ID"] for mail in post.mailbox.mails}) == 1


@pytest.mark.parametrize(
    ("point", "state", "messages"),
    [("notices.claimed", "sent", 1), ("notices.sending", "unknown", 0), ("notices.delivered", "unknown", 1)],
)
async def test_a_chat_message_whose_sender_was_killed_is_never_said_twice(
    post: Post, tmp_path: Path, point: str, state: str, messages: int
) -> None:
    notice = (await post.write())["telegram"]
    post.die_at(point, notice, tmp_path / "hits")
    await post.recover()
    assert (await post.send(notice))[0] == state
    assert len(post.town.sent(post.bot)) == messages
