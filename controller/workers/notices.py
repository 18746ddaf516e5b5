"""Notices out: rendered in the reader's language, sent once, with every outcome in the notice's row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from controller.clients.email import Envelope, Mailer
from controller.clients.telegram import Telegram
from controller.core import failpoints, metrics
from controller.core import log as logs
from controller.core.crypto import Sealer
from controller.core.db import Database, DatabaseAway
from controller.core.errors import CloudError, Invalid, NotFound, Temporary
from controller.core.i18n import Catalogs
from controller.core.settings import Group
from controller.domain import boxes, letters, notices, vault
from controller.domain.boxes import Box
from controller.domain.customers import Customer
from controller.domain.letters import Channel
from controller.domain.notices import Notice
from controller.domain.states import State

log = logs.get(__name__)

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DONE = metrics.counter("notices_attempts", "Attempts to send, by what became of the notice", "kind", "channel", "state")


class NoticeSettings(Group):
    """What links point to."""

    web_url: str
    """Where customers reach us; the dashboard is ``/dashboard`` there."""


@dataclass(frozen=True)
class Sender:
    """What sending takes. ``retention`` is how long an ended box's data is kept."""

    database: Database
    sealer: Sealer
    telegram: Telegram
    mailer: Mailer
    catalogs: Catalogs
    web_url: str
    retention: timedelta


@dataclass(frozen=True)
class _Case:
    """A claimed notice with what was read beside it; ``token`` is None for a box without a bot."""

    notice: Notice
    box: Box
    customer: Customer
    token: str | None


Delivery = Callable[[], Awaitable[object]]


async def send(sender: Sender, notice_id: str) -> None:
    """Send one notice if it is due; a failure is written in its row, never raised.

    Raises DatabaseAway; the claim's lease then decides (``notices.recover``).
    """
    async with sender.database.transaction() as session:
        notice = await notices.claim(session, notice_id)
    if notice is None:
        return
    failpoints.hit("notices.claimed")
    try:
        delivery = await _prepared(sender, await _case(sender, notice))
        if not await _moved(sender.database, notice, notices.sending):
            return
        failpoints.hit("notices.sending")
        await delivery()
    except CloudError as error:
        await _settled(sender.database, notice, partial(notices.failed, error=error))
        return
    failpoints.hit("notices.delivered")
    await _settled(sender.database, notice, notices.sent)


async def _case(sender: Sender, notice: Notice) -> _Case:
    async with sender.database.transaction() as session:
        box = await boxes.get(session, notice.box_id)
        customer = await session.get_one(Customer, box.customer_id)
        version = box.secret_versions.get(vault.TELEGRAM, 1)
        try:
            token = await vault.get(session, sender.sealer, box.id, vault.TELEGRAM, version, reader="notices")
        except NotFound:
            token = None
    return _Case(notice, box, customer, token)


async def _settled(database: Database, claimed: Notice, move: Callable[[Notice], None]) -> None:
    """Write the outcome down, through a short absence of Postgres: an outcome that is lost may cost a second mail."""
    for pause in _PAUSES:
        try:
            await _moved(database, claimed, move)
        except DatabaseAway as error:
            log.warning("notices.outcome_waits", notice_id=claimed.id, error=str(error))
            await asyncio.sleep(pause)
        else:
            return
    await _moved(database, claimed, move)


async def _moved(database: Database, claimed: Notice, move: Callable[[Notice], None]) -> bool:
    """Move the notice on, if it is still ours; whether it was."""
    async with database.transaction() as session:
        notice = await notices.held(session, claimed)
        if notice is None:
            log.warning("notices.claim_lost", notice_id=claimed.id)
            return False
        move(notice)
    if notice.state != notices.NoticeState.SENDING:
        DONE.labels(notice.kind, notice.channel, notice.state).inc()
        told = {"kind": notice.kind, "channel": notice.channel, "state": notice.state, "error": notice.error}
        log.info("notices.attempted", notice_id=notice.id, box_id=notice.box_id, attempts=notice.attempts, **told)
    return True


async def _prepared(sender: Sender, case: _Case) -> Delivery:
    """The finished message, one call away from going out."""
    kind, locale = letters.KINDS.get(case.notice.kind), case.customer.locale
    if kind is None:  # written by a newer release than ours: another process, or we later, can send it
        raise Temporary("notice_kind_unknown", kind=case.notice.kind)
    facts = await _facts(sender, case)
    if case.notice.channel == Channel.TELEGRAM:
        if case.token is None:
            raise NotFound("bot_token_missing")
        text = letters.chat(sender.catalogs, kind, locale, facts)
        return partial(sender.telegram.send, case.token, int(case.notice.recipient), text)
    letter = letters.mail(sender.catalogs, kind, locale, facts)
    nearest = sender.catalogs.nearest(locale)
    envelope = Envelope(case.notice.id, case.customer.email, case.notice.created_at, nearest)
    return partial(sender.mailer.send, envelope, letter)


async def _facts(sender: Sender, case: _Case) -> dict[str, object]:
    facts: dict[str, object] = {"agent": case.box.agent_name, "dashboard_url": f"{sender.web_url}/dashboard"}
    if case.box.state == State.CONDEMNED and case.box.condemned_at and sender.retention > timedelta(0):
        facts["keep_until"] = case.box.condemned_at + sender.retention
    if case.notice.channel == Channel.EMAIL and case.notice.kind == letters.AGENT_LIVE.name:
        facts["bot_url"] = await _bot_url(sender.telegram, case.token)
    return facts | case.notice.facts


async def _bot_url(telegram: Telegram, token: str | None) -> str | None:
    """Where to talk to the bot; None if there is none, or Telegram does not know it: the mail then asks for a token."""
    if token is None:
        return None
    try:
        return (await telegram.me(token)).url
    except Invalid:
        return None
