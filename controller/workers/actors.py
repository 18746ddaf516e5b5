"""The Dramatiq processes: which actors listen on which queue. ``openclaw-cloud worker|writer|notices`` runs one.

Actors record a failure and return; the sweeper asks again. Each process has one event loop of its own.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from controller.clients import cells
from controller.clients.email import Mailer, MailSettings
from controller.clients.forge import Forge, ForgeSettings
from controller.clients.kubernetes import ClusterSettings
from controller.clients.stripe import Stripe, StripeSettings
from controller.clients.telegram import Telegram, TelegramSettings
from controller.core import log as logs
from controller.core import metrics
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.errors import CloudError, foreign
from controller.core.i18n import Catalogs
from controller.core.metrics import MetricsSettings
from controller.core.queue import Bell, broker
from controller.core.settings import DatabaseSettings, QueueSettings, SealingSettings, load
from controller.domain import bells, boxes, letters
from controller.domain.boxes import BoxSettings
from controller.domain.caps import CapSettings
from controller.domain.lifecycle import LifecycleSettings
from controller.gitops.repository import GitSettings, Repository
from controller.workers import adopting, billing, context, notices, provisioning, reports, retiring, strays
from controller.workers.notices import NoticeSettings, Sender

log = logs.get(__name__)

Work = Callable[..., Awaitable[None]]

TIME_LIMIT = timedelta(minutes=2)
"""The longest that an actor works at one message: then it ends as one that failed, and is counted."""

HARD_TIME_LIMIT = TIME_LIMIT + timedelta(seconds=30)
"""When Dramatiq ends it instead, and nobody counts: for an actor that does not give way."""


def _or_one_line(build: Callable[[], None]) -> Callable[[], None]:
    """``build``; what of ours goes wrong in it ends the process with one line, as on the command line."""

    @functools.wraps(build)
    def built() -> None:
        try:
            build()
        except CloudError as error:  # Dramatiq would show it as a crash
            sys.exit(f"openclaw-cloud: {error}")

    return built


@_or_one_line
def billing_broker() -> None:
    """Make this process's broker the one that handles outside events."""
    logs.configure("worker")
    made = broker(load(QueueSettings), working=True)
    parts = context.build()
    asker = Stripe(load(StripeSettings))

    async def handle_event(event_id: str) -> None:
        await billing.handle_event(parts.database, asker, parts.mint, parts.bell, event_id)

    async def count_crash(error: CloudError, event_id: str) -> None:
        await billing.count_failure(parts.database, event_id, error)

    async def catch_up() -> None:
        await billing.read_undelivered(parts.database, asker, parts.bell)

    _declare(made, bells.EVENT, handle_event, count_crash)
    _declare(made, bells.CATCH_UP, catch_up)
    metrics.serve(load(MetricsSettings))
    dramatiq.set_broker(made)  # where Dramatiq's command line looks for it


@_or_one_line
def writer_broker() -> None:
    """Make this process's broker the git writer's, the only process with the push credential."""
    logs.configure("writer")
    made = broker(load(QueueSettings), working=True)
    parts = context.build()
    repository = Repository(load(GitSettings))
    clusters, allowed = cells.connect(load(ClusterSettings), load(BoxSettings).cell), load(CapSettings)
    retire_after = load(LifecycleSettings).retire_after

    async def write_commits() -> None:
        wait = await provisioning.write_commits(
            parts.database, repository, clusters, allowed=allowed, retire_after=retire_after
        )
        if wait is not None:
            await parts.bell.ring(bells.COMMITS, after=wait)

    async def refresh(*box_ids: str) -> None:
        async with parts.database.transaction() as session:
            places = await boxes.places(session, box_ids)
        await provisioning.ask_again(clusters, places)

    async def retire() -> None:
        await retiring.finish(parts.database, clusters)
        await strays.finish(parts.database, repository, clusters, allowed)

    look = adopting.Paced(parts.database, repository, parts.mint)

    async def adopt() -> None:
        touched = await look()
        if touched:
            await provisioning.refresh(clusters, touched)
            await write_commits()
            await parts.bell.ring(bells.TELL_FORGE)

    _declare(made, bells.COMMITS, write_commits)
    _declare(made, bells.ADOPT, adopt)
    _declare(made, bells.REFRESH, refresh)
    _declare(made, bells.RETIRE, retire)
    metrics.serve(load(MetricsSettings))
    dramatiq.set_broker(made)  # where Dramatiq's command line looks for it


@_or_one_line
def notices_broker() -> None:
    """Make this process's broker the one that sends notices, the only process with the mail server's password."""
    logs.configure("notices")
    made = broker(load(QueueSettings), working=True)
    sender = Sender(
        database=Database(load(DatabaseSettings)),
        sealer=Sealer(load(SealingSettings).sealing_key.get_secret_value()),
        telegram=Telegram(load(TelegramSettings)),
        mailer=Mailer(load(MailSettings)),
        catalogs=Catalogs(letters.LOCALES),
        web_url=load(NoticeSettings).web_url,
        retention=load(LifecycleSettings).retention,
    )

    async def send_notice(notice_id: str) -> None:
        await notices.send(sender, notice_id)

    forge = Forge(load(ForgeSettings))

    async def tell_forge() -> None:
        await reports.tell(sender.database, forge)

    _declare(made, bells.NOTICE, send_notice)
    _declare(made, bells.TELL_FORGE, tell_forge)
    metrics.serve(load(MetricsSettings))
    dramatiq.set_broker(made)  # where Dramatiq's command line looks for it


async def _only_logged(_: CloudError, *ids: str) -> None:
    log.warning("worker.crash_not_counted", ids=ids)


def guarded(
    actor: str, work: Work, crashed: Work = _only_logged,
    limit: timedelta = TIME_LIMIT,
) -> Work:  # fmt: skip
    """``work`` as an actor: it never raises, and ``crashed`` hears of what nobody foresaw and of what never ends."""

    async def run(*ids: str) -> None:
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await work(*ids)
        except CloudError as error:
            # Nothing is lost: the rows say what is open, and the sweeper rings again.
            log.warning("worker.actor_failed", actor=actor, error=str(error))
        except Exception as error:  # what nobody foresaw is counted, or it would come back for ever and unseen
            log.exception("worker.actor_crashed", actor=actor)
            await crashed(CloudError("actor_crashed", actor=actor, reason=foreign(repr(error))), *ids)

    return run


def _declare(
    made: RedisBroker,
    bell: Bell,
    work: Work,
    crashed: Work = _only_logged,
) -> None:
    limit_ms = int(HARD_TIME_LIMIT.total_seconds() * 1000)
    declared = dramatiq.actor(broker=made, queue_name=bell.queue, actor_name=bell.actor, time_limit=limit_ms)
    declared(guarded(bell.actor, work, crashed))
