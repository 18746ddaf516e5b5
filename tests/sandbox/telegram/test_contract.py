"""What our bots rely on, through aiogram: against the stand-in, or Telegram itself.

With TELEGRAM_BOT_TOKEN (a bot that nobody else uses) and TELEGRAM_CHAT_ID (a person who pressed Start on it) in the
environment the same tests run against api.telegram.org.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiogram import Bot
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BotCommandScopeAllPrivateChats,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReactionTypeEmoji,
    ReplyKeyboardMarkup,
    ReplyParameters,
)

from tests.sandbox.telegram.conftest import telegram_in
from tests.sandbox.telegram.pictures import PNG

TOKEN = os.environ.get("TELEGRAM_BOT_TOKEN")
KEYBOARD = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Pro", callback_data="plan:pro")]])


@dataclass
class Line:
    """A bot, somebody who lets it write, and a client for another token at the same server."""

    bot: Bot
    chat: int

    def other(self, token: str) -> Bot:
        return Bot(token, session=self.bot.session)


@pytest_asyncio.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """Telegram's line if the environment names a bot, else the stand-in's."""
    if TOKEN:
        async with Bot(TOKEN) as bot:
            yield Line(bot, int(os.environ["TELEGRAM_CHAT_ID"]))
        return
    with telegram_in(tmp_path) as telegram:
        async with telegram.bot(telegram.started_bot()["token"]) as bot:
            yield Line(bot, 7001)


async def test_a_bot_is_told_who_it_is(line: Line) -> None:
    me = await line.bot.get_me()
    assert (me.id, me.is_bot) == (line.bot.id, True)
    assert me.can_manage_bots is not None


async def test_a_token_with_another_secret_is_unauthorized(line: Line) -> None:
    with pytest.raises(TelegramUnauthorizedError, match="Unauthorized"):
        await line.other(f"{line.bot.id}:{'x' * 35}").get_me()


FORMATTED = [
    ("HTML", "<b>Olá</b> &lt;🙂&gt;", "Olá <🙂>", [("bold", "Olá")]),
    ("HTML", '<a href="https://example.com/">x</a>', "x", [("text_link", "x")]),
    ("HTML", '<pre><code class="language-python">a\nb</code></pre>', "a\nb", [("pre", "a\nb")]),
    ("HTML", "<b>a<i>b</i></b> <tg-spoiler>c</tg-spoiler>",
     "ab c", [("bold", "ab"), ("italic", "b"), ("spoiler", "c")]),
    ("MarkdownV2", r"*a* _b_ __c__ ~d~ ||e|| `f` 1\.5",
     "a b c d e f 1.5",
     [("bold", "a"), ("italic", "b"), ("underline", "c"), ("strikethrough", "d"), ("spoiler", "e"), ("code", "f")]),
    ("MarkdownV2", "[x](https://example.com/)", "x", [("text_link", "x")]),
    ("Markdown", "*a* _b_ `c`", "a b c", [("bold", "a"), ("italic", "b"), ("code", "c")]),
    (None, "see https://example.com and /help", "see https://example.com and /help",
     [("url", "https://example.com"), ("bot_command", "/help")]),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "source", "text", "entities"), FORMATTED)
async def test_formatting_becomes_entities(
    line: Line, mode: str | None, source: str, text: str, entities: list[tuple[str, str]]
) -> None:
    message = await line.bot.send_message(line.chat, source, parse_mode=mode)
    assert message.text == text
    assert [(e.type, e.extract_from(text)) for e in message.entities or []] == entities


REFUSED = [
    ("HTML", "<b>open", "can't parse entities"),
    ("HTML", "<blink>x</blink>", "can't parse entities: Unsupported start tag"),
    ("HTML", "a < b", "can't parse entities"),
    ("HTML", "x</b>", "can't parse entities: Unexpected end tag"),
    ("MarkdownV2", "1.5", "can't parse entities: Character '.' is reserved"),
    ("MarkdownV2", "*open", "can't parse entities: Can't find end of Bold entity"),
    ("Markdown", "_open", "can't parse entities: Can't find end of the entity starting at byte offset 0"),
    (None, "x" * 4097, "message is too long"),
    (None, " \n ", "text"),
]


@pytest.mark.parametrize(("mode", "source", "reason"), REFUSED)
async def test_a_text_that_cannot_be_shown_is_refused(line: Line, mode: str | None, source: str, reason: str) -> None:
    with pytest.raises(TelegramBadRequest) as refused:
        await line.bot.send_message(line.chat, source, parse_mode=mode)
    assert reason in refused.value.message


async def test_nobodys_id_is_no_chat(line: Line) -> None:
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await line.bot.send_message(999_999_999_999, "Oi")


async def test_an_edit_shows_once_and_a_second_time_changes_nothing(line: Line) -> None:
    sent = await line.bot.send_message(line.chat, "one", reply_markup=KEYBOARD)
    edited = await line.bot.edit_message_text("two", chat_id=line.chat, message_id=sent.message_id)
    assert (edited.text, edited.reply_markup, edited.message_id) == ("two", None, sent.message_id)  # type: ignore[union-attr]
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await line.bot.edit_message_text("two", chat_id=line.chat, message_id=sent.message_id)


async def test_buttons_can_be_replaced_and_taken_away(line: Line) -> None:
    sent = await line.bot.send_message(line.chat, "which?", reply_markup=KEYBOARD)
    assert sent.reply_markup is not None
    assert sent.reply_markup.inline_keyboard[0][0].callback_data == "plan:pro"
    bare = await line.bot.edit_message_reply_markup(chat_id=line.chat, message_id=sent.message_id)
    assert bare.reply_markup is None  # type: ignore[union-attr]
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await line.bot.edit_message_reply_markup(chat_id=line.chat, message_id=sent.message_id)


async def test_a_button_with_too_much_data_is_refused(line: Line) -> None:
    keyboard = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="x", callback_data="x" * 65)]])
    with pytest.raises(TelegramBadRequest, match="BUTTON_DATA_INVALID"):
        await line.bot.send_message(line.chat, "x", reply_markup=keyboard)


async def test_a_press_that_never_was_cannot_be_answered(line: Line) -> None:
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await line.bot.answer_callback_query("1")


async def test_deleted_messages_are_gone(line: Line) -> None:
    numbers = [(await line.bot.send_message(line.chat, text)).message_id for text in ("a", "b", "c")]
    assert await line.bot.delete_message(line.chat, numbers[0])
    assert await line.bot.delete_messages(line.chat, numbers[1:])
    with pytest.raises(TelegramBadRequest, match="message to delete not found"):
        await line.bot.delete_message(line.chat, numbers[0])
    with pytest.raises(TelegramBadRequest, match="message to edit not found"):
        await line.bot.edit_message_text("x", chat_id=line.chat, message_id=numbers[1])


async def test_a_reply_shows_what_it_answers(line: Line) -> None:
    first = await line.bot.send_message(line.chat, "first")
    answer = await line.bot.send_message(
        line.chat, "second", reply_parameters=ReplyParameters(message_id=first.message_id)
    )
    assert answer.reply_to_message is not None
    assert answer.reply_to_message.text == "first"


async def test_a_busy_bot_says_with_what(line: Line) -> None:
    assert await line.bot.send_chat_action(line.chat, "typing")
    with pytest.raises(TelegramBadRequest, match="wrong parameter action"):
        await line.bot.send_chat_action(line.chat, "dancing")


async def test_a_reaction_is_one_of_telegrams(line: Line) -> None:
    sent = await line.bot.send_message(line.chat, "react")
    assert await line.bot.set_message_reaction(line.chat, sent.message_id, [ReactionTypeEmoji(emoji="👍")])
    with pytest.raises(TelegramBadRequest, match="REACTION_INVALID"):
        await line.bot.set_message_reaction(line.chat, sent.message_id, [ReactionTypeEmoji(emoji="🦞")])


async def test_a_document_comes_back_as_it_was_sent(line: Line) -> None:
    content = secrets.token_bytes(3000) + b"\r\n--\r\n"
    sent = await line.bot.send_document(
        line.chat, BufferedInputFile(content, "relatório.bin"), caption="<i>dados</i>", parse_mode="HTML"
    )
    assert sent.document is not None
    assert (sent.document.file_name, sent.document.file_size, sent.caption) == ("relatório.bin", len(content), "dados")
    found = await line.bot.download(sent.document)
    assert found is not None
    assert found.read() == content
    again = await line.bot.send_document(line.chat, sent.document.file_id)
    assert again.document is not None


async def test_a_photo_has_a_size_and_must_be_a_picture(line: Line) -> None:
    sent = await line.bot.send_photo(line.chat, BufferedInputFile(PNG, "x.png"))
    assert sent.photo
    assert sent.photo[-1].width == sent.photo[-1].height
    with pytest.raises(TelegramBadRequest, match="IMAGE_PROCESS_FAILED"):
        await line.bot.send_photo(line.chat, BufferedInputFile(b"no picture", "x.png"))


async def test_an_unknown_file_is_refused(line: Line) -> None:
    with pytest.raises(TelegramBadRequest, match="invalid file_id"):
        await line.bot.get_file("no-such-file")


async def test_commands_belong_to_a_scope_and_a_language(line: Line) -> None:
    scope = BotCommandScopeAllPrivateChats()
    command = BotCommand(command="planos", description="Planos")
    assert await line.bot.set_my_commands([command], scope, "pt")
    assert [one.command for one in await line.bot.get_my_commands(scope, "pt")] == ["planos"]
    assert await line.bot.delete_my_commands(scope, "pt")
    assert await line.bot.get_my_commands(scope, "pt") == []
    with pytest.raises(TelegramBadRequest, match="BOT_COMMAND_INVALID"):
        await line.bot.set_my_commands([BotCommand(command="no spaces", description="x")])


async def test_a_reply_keyboard_belongs_to_the_chat(line: Line) -> None:
    keyboard = ReplyKeyboardMarkup(keyboard=[[KeyboardButton(text="Sim"), KeyboardButton(text="Não")]])
    sent = await line.bot.send_message(line.chat, "?", reply_markup=keyboard)
    assert sent.reply_markup is None


async def test_a_webhook_and_getupdates_exclude_each_other(line: Line) -> None:
    assert await line.bot.set_webhook("https://example.com/hook", secret_token="s3cret", allowed_updates=["message"])
    try:
        info = await line.bot.get_webhook_info()
        assert (info.url, info.max_connections, info.allowed_updates) == ("https://example.com/hook", 40, ["message"])
        with pytest.raises(TelegramConflictError, match="webhook is active"):
            await line.bot.get_updates()
    finally:
        assert await line.bot.delete_webhook(drop_pending_updates=True)
    assert (await line.bot.get_webhook_info()).url == ""
    assert await line.bot.get_updates(allowed_updates=[]) == []


@pytest.mark.parametrize("url", ["http://example.com/hook", "https://example.com:8080/hook"])
async def test_a_webhook_needs_tls_and_a_port_that_telegram_allows(line: Line, url: str) -> None:
    with pytest.raises(TelegramBadRequest, match="bad webhook"):
        await line.bot.set_webhook(url)


async def test_a_bot_manages_only_its_own(line: Line) -> None:
    with pytest.raises(TelegramBadRequest):
        await line.bot.get_managed_bot_token(line.bot.id)
