"""The customer's Telegram in a browser, as a browser without scripts sees it, and its live events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiogram.types import BotCommand, BufferedInputFile, InlineKeyboardButton, InlineKeyboardMarkup

from tests.sandbox.telegram.conftest import Telegram
from tests.sandbox.telegram.pictures import PNG

KEYBOARD = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Pro", callback_data="plan:pro")]])
CHAT = "/chat/farmacia_bot?user=7001"


@pytest.fixture
def browser(telegram: Telegram) -> Iterator[httpx.Client]:
    """A browser that follows redirects and keeps cookies."""
    headers = {"Accept": "text/html", "Accept-Language": "pt-BR,en;q=0.5"}
    with httpx.Client(base_url=telegram.base, headers=headers, follow_redirects=True, timeout=15) as client:
        yield client


def heard(telegram: Telegram, made: dict[str, Any]) -> list[Any]:
    """What people wrote to the bot: texts, or the kind of the update."""
    updates = httpx.get(f"{telegram.base}/bot{made['token']}/getUpdates").json()["result"]
    return [
        update.get("message", {}).get("text") or next(name for name in update if name != "update_id")
        for update in updates
    ]


def test_the_first_opening_presses_start_and_a_reload_does_not(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    for _ in range(2):
        assert "Farmácia" in browser.get(CHAT).text
    assert heard(telegram, made) == ["/start"]


def test_a_deep_link_starts_with_its_payload_for_whoever_looks(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    page = browser.get("/farmacia_bot?start=paid_x1")
    assert str(page.url).endswith(CHAT)
    assert heard(telegram, made) == ["/start", "/start paid_x1"]


def test_a_deep_link_with_a_bad_payload_starts_nothing(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    page = browser.get(f"{CHAT}&start=a b")
    assert (page.status_code, "START_PARAM_INVALID" in page.text) == (400, True)
    assert heard(telegram, made) == []


def test_who_looks_is_asked_for_once(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    asked = browser.get("/farmacia_bot?start=x")
    assert "Quem está conversando?" in asked.text
    chat = browser.post("/people", data={"first_name": "Bia", "next": "/chat/farmacia_bot?start=x"})
    assert "Bia" in chat.text
    assert heard(telegram, made) == ["/start x"]


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_nobody_is_sent_to_another_site(browser: httpx.Client, away: str) -> None:
    answer = browser.post("/people", data={"first_name": "Bia", "next": away}, follow_redirects=False)
    assert answer.headers["location"] == "/"


async def test_what_the_bot_says_is_shown_with_its_formatting(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    async with telegram.bot(made["token"]) as bot:
        await bot.send_message(
            7001, '<b>A &lt;i&gt;</b> <a href="https://t.me/farmacia_bot?start=x">b</a>', parse_mode="HTML"
        )
    page = browser.get(CHAT).text
    assert "<b>A &lt;i&gt;</b>" in page
    assert '<a href="/farmacia_bot?start=x"' in page


async def test_a_button_and_its_answer_work_without_a_script(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    async with telegram.bot(made["token"]) as bot:
        sent = await bot.send_message(7001, "Which?", reply_markup=KEYBOARD)
        page = browser.post(
            "/chat/farmacia_bot/press?user=7001", data={"message_id": sent.message_id, "data": "plan:pro"}
        )
        assert "spinning" in page.text
        query = (await bot.get_updates())[-1].callback_query
        assert query is not None
        await bot.answer_callback_query(query.id, "Escolhido!")
    page = browser.get(CHAT)
    assert ("Escolhido!" in page.text, "spinning" in page.text) == (True, False)


async def test_files_go_both_ways(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    for content in (PNG, b"<script>"):
        kind = "image/png" if content == PNG else "text/html"
        browser.post(
            "/chat/farmacia_bot/messages?user=7001", data={"text": "aqui"}, files={"file": ("ação.x", content, kind)}
        )
    async with telegram.bot(made["token"]) as bot:
        _, photo, document = (update.message for update in await bot.get_updates())
        assert photo is not None
        assert photo.photo
        assert document is not None
        assert document.document is not None
        assert (photo.caption, document.document.file_name) == ("aqui", "ação.x")
        found = await bot.download(document.document)
        assert found is not None
        assert found.read() == b"<script>"
        file_id = document.document.file_id
    answer = browser.get(f"/chat/farmacia_bot/files/{file_id}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_a_sent_picture_is_shown(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    async with telegram.bot(made["token"]) as bot:
        sent = await bot.send_photo(7001, BufferedInputFile(PNG, "x.png"), caption="Painel")
    assert sent.photo
    address = f"/chat/farmacia_bot/files/{sent.photo[-1].file_id}"
    assert f'<img src="{address}"' in browser.get(CHAT).text
    assert browser.get(address).content == PNG


async def test_a_busy_bot_is_typing_until_it_answers(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    async with telegram.bot(made["token"]) as bot:
        await bot.send_chat_action(7001, "typing")
        assert "digitando…" in browser.get(CHAT).text
        await bot.send_message(7001, "Pronto")
    assert 'class="bubble dots"' not in browser.get(CHAT).text


async def test_the_menu_has_the_commands_in_the_persons_language(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.put("/_control/people/7001", json={"language_code": "pt-br"}).raise_for_status()
    async with telegram.bot(made["token"]) as bot:
        await bot.set_my_commands([BotCommand(command="plans", description="Plans")])
        await bot.set_my_commands([BotCommand(command="planos", description="Planos")], language_code="pt")
    page = browser.get(CHAT).text
    assert ("/planos" in page, "/plans" in page) == (True, False)


def test_a_blocked_bot_can_be_started_again(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    assert (
        "Você bloqueou este bot." in browser.post("/chat/farmacia_bot/block?user=7001", data={"blocked": "true"}).text
    )
    assert (
        "Você bloqueou este bot."
        not in browser.post("/chat/farmacia_bot/block?user=7001", data={"blocked": "false"}).text
    )
    assert heard(telegram, made) == ["/start", "my_chat_member", "my_chat_member", "/start"]


def test_a_link_to_a_new_bot_makes_it_after_one_confirmation(telegram: Telegram, browser: httpx.Client) -> None:
    manager = telegram.new_bot("manager_bot", can_manage_bots=True)
    page = browser.get("/newbot/manager_bot/shop_x7_bot?name=Minha%20Loja&user=7001")
    assert ('value="shop_x7_bot"' in page.text, 'value="Minha Loja"' in page.text) == (True, True)
    chat = browser.post(str(page.url), data={"username": "shop_x7_bot", "name": "Minha Loja"})
    assert str(chat.url).endswith("/chat/shop_x7_bot?user=7001")
    assert heard(telegram, manager) == ["managed_bot"]


def test_a_taken_username_is_asked_for_again(telegram: Telegram, browser: httpx.Client) -> None:
    telegram.new_bot("manager_bot", can_manage_bots=True)
    page = browser.post("/newbot/manager_bot/x_bot?user=7001", data={"username": "manager_bot", "name": "Loja"})
    assert (page.status_code, "username is already taken" in page.text) == (400, True)
    assert 'value="Loja"' in page.text


def test_botfather_shows_a_token_and_replaces_it(telegram: Telegram, browser: httpx.Client) -> None:
    made = browser.post("/botfather", data={"username": "loja_bot", "name": "Loja"}).text
    [bot] = telegram.control.get("bots").json()["bots"]
    replaced = browser.post(f"/botfather/{bot['id']}/token").text
    tokens = [page.partition('<code class="whole">')[2].partition("</code>")[0] for page in (made, replaced)]
    statuses = [httpx.get(f"{telegram.base}/bot{token}/getMe").status_code for token in tokens]
    assert statuses == [401, 200]


def test_the_list_names_bots_and_people(telegram: Telegram, browser: httpx.Client) -> None:
    telegram.write(telegram.new_bot(), "Oi")
    page = browser.get("/").text
    assert all(word in page for word in ("Sandbox", "@farmacia_bot", "7001", "Ana"))


@pytest.mark.parametrize(
    ("accepted", "word"),
    [
        ("pt-BR,pt;q=0.9,en;q=0.8", "Conversas"),
        ("en-GB", "Chats"),
        ("de, pt;q=0.4, en;q=0.3", "Conversas"),
        ("de", "Chats"),
    ],
)
def test_the_pages_speak_the_browsers_language(
    telegram: Telegram, browser: httpx.Client, accepted: str, word: str
) -> None:
    telegram.new_bot()
    page = browser.get(CHAT, headers={"Accept-Language": accepted})
    assert f'aria-label="{word}"' in page.text


async def test_an_open_page_hears_of_each_change(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    address = f"{telegram.base}/chat/farmacia_bot/events?user=7001"
    async with httpx.AsyncClient(timeout=15) as client, client.stream("GET", address) as events:
        lines = (line async for line in events.aiter_lines() if line.startswith("event"))
        assert await anext(lines) == "event: changed"
        async with telegram.bot(made["token"]) as bot:
            await bot.send_message(7001, "Oi")
        assert await anext(lines) == "event: changed"
    assert "Oi" in browser.get("/chat/farmacia_bot/live?user=7001").text


def test_an_unknown_bot_is_a_page_that_says_so(browser: httpx.Client) -> None:
    page = browser.get("/chat/nobody_bot?user=7001")
    assert (page.status_code, "Não funcionou" in page.text) == (404, True)


def test_a_text_longer_than_a_message_is_refused_whole(telegram: Telegram, browser: httpx.Client) -> None:
    made = telegram.new_bot()
    browser.get(CHAT)
    page = browser.post("/chat/farmacia_bot/messages?user=7001", data={"text": "x" * 4097})
    assert (page.status_code, "message is too long" in page.text) == (400, True)
    assert heard(telegram, made) == ["/start"]


def test_only_bots_to_which_the_person_wrote_are_listed_beside_the_chat(
    telegram: Telegram, browser: httpx.Client
) -> None:
    telegram.new_bot()
    telegram.write(telegram.new_bot("known_bot"), "Oi")
    telegram.new_bot("unknown_bot")
    page = browser.get(CHAT).text
    assert ("/chat/known_bot?" in page, "/chat/unknown_bot?" in page) == (True, False)
