"""A notice sender over real parts; as a program, one that sends a single notice and may be killed on the way."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta

from pydantic import SecretStr

from controller.clients.email import Mailer, MailSettings
from controller.clients.telegram import Telegram, TelegramSettings
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.i18n import Catalogs
from controller.core.settings import DatabaseSettings
from controller.domain import letters
from controller.workers import notices
from controller.workers.notices import Sender

WEB = "https://openclaw.cloud"


def sender(database: Database, sealer: Sealer, telegram_url: str, smtp_url: str) -> Sender:
    return Sender(
        database=database,
        sealer=sealer,
        telegram=Telegram(TelegramSettings(telegram_api_url=telegram_url)),
        mailer=Mailer(MailSettings(smtp_url=SecretStr(smtp_url))),
        catalogs=Catalogs(letters.LOCALES),
        web_url=WEB,
        retention=timedelta(days=7),
    )


async def main(dsn: str, key: str, telegram_url: str, smtp_url: str, notice_id: str) -> None:
    made = sender(Database(DatabaseSettings(postgres_dsn=SecretStr(dsn))), Sealer(key), telegram_url, smtp_url)
    await notices.send(made, notice_id)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
