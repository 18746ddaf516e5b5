"""Files: uploads, albums, downloads, and what people send."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import BufferedInputFile, InputMediaDocument, InputMediaPhoto

from controller.sandbox.telegram import files
from tests.sandbox.telegram.conftest import Telegram, telegram_in
from tests.sandbox.telegram.pictures import PNG, SIDE


async def test_a_persons_file_reaches_the_bot(telegram: Telegram) -> None:
    made = telegram.started_bot()
    upload = {"voice": ("note.ogg", b"OggS" + b"\0" * 100, "audio/ogg")}
    answer = telegram.control.post(f"bots/{made['id']}/files", data={"user_id": 7001, "caption": "ouça"}, files=upload)
    assert answer.is_success
    async with telegram.bot(made["token"]) as bot:
        [update] = await bot.get_updates()
        assert update.message is not None
        assert update.message.voice is not None
        assert (update.message.caption, update.message.voice.mime_type) == ("ouça", "audio/ogg")
        found = await bot.download(update.message.voice)
    assert found is not None
    assert found.read() == b"OggS" + b"\0" * 100


async def test_an_album_is_one_group_of_messages(telegram: Telegram) -> None:
    made = telegram.started_bot()
    album: list[InputMediaPhoto | InputMediaDocument] = [
        InputMediaPhoto(media=BufferedInputFile(PNG, "a.png"), caption="*x*", parse_mode="MarkdownV2"),
        InputMediaPhoto(media=BufferedInputFile(PNG, "b.png")),
    ]
    async with telegram.bot(made["token"]) as bot:
        first, second = await bot.send_media_group(7001, album)  # type: ignore[arg-type]
    assert first.media_group_id == second.media_group_id is not None
    assert (first.caption, second.caption) == ("x", None)


async def test_one_bots_file_is_no_file_of_another(telegram: Telegram) -> None:
    one, other = telegram.started_bot(), telegram.new_bot("other_bot")
    async with telegram.bot(one["token"]) as bot:
        sent = await bot.send_document(7001, BufferedInputFile(b"secret", "a.txt"))
        assert sent.document is not None
        path = (await bot.get_file(sent.document.file_id)).file_path
    async with telegram.bot(other["token"]) as bot:
        with pytest.raises(TelegramBadRequest, match="invalid file_id"):
            await bot.get_file(sent.document.file_id)
    tokens = {
        token: httpx.get(f"{telegram.base}/file/bot{token}/{path}").status_code
        for token in (one["token"], other["token"])
    }
    assert tokens == {one["token"]: 200, other["token"]: 404}


async def test_files_survive_a_restart(tmp_path: Path) -> None:
    with telegram_in(tmp_path) as telegram:
        made = telegram.started_bot()
        async with telegram.bot(made["token"]) as bot:
            sent = await bot.send_document(7001, BufferedInputFile(b"kept", "a.txt"))
    assert sent.document is not None
    with telegram_in(tmp_path) as telegram:
        async with telegram.bot(made["token"]) as bot:
            found = await bot.download(sent.document.file_id)
    assert found is not None
    assert found.read() == b"kept"


@pytest.mark.parametrize(
    ("field", "value", "status", "why"),
    [
        ("document", (None, ""), 400, "there is no document in the request"),
        ("document", ("a.txt", b""), 400, "file must be non-empty"),
        ("document", (None, "https://x.example/a.pdf"), 400, "failed to get HTTP URL content"),
        ("document", (None, "AgADnothing"), 400, "wrong remote file identifier specified: Wrong string length"),
        ("photo", ("a.png", PNG + b"\0" * files.LARGEST_PHOTO), 413, "Request Entity Too Large"),
        ("document", ("a.bin", b"\0" * (files.LARGEST_FILE + 1)), 413, "Request Entity Too Large"),
    ],
)
def test_a_file_that_telegram_refuses_is_refused(
    telegram: Telegram, field: str, value: tuple[str | None, str | bytes], status: int, why: str
) -> None:
    made = telegram.started_bot()
    url = f"{telegram.base}/bot{made['token']}/send{field.capitalize()}"
    answer = httpx.post(url, data={"chat_id": "7001"}, files={field: value}, timeout=30)
    assert answer.status_code == status
    assert answer.json()["description"].removeprefix("Bad Request: ") == why
    assert telegram.sent(made) == []


PICTURES = [
    (PNG, (SIDE, SIDE)),
    (b"GIF89a\x02\x00\x03\x00", (2, 3)),
    (b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x09\0\0\x04\0\0", (10, 5)),
    (b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x05\0\x07\x03", (7, 5)),
    (b"\xff\xd8\xff", None),
    (b"%PDF", None),
]


@pytest.mark.parametrize(("content", "size"), PICTURES)
def test_a_pictures_size_is_read_from_its_head(content: bytes, size: tuple[int, int] | None) -> None:
    assert files.picture_size(content) == size
