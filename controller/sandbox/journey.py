"""A customer's life with us, driven from outside: through the public API, Stripe's and Telegram's doors alone."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from functools import cache
from typing import Any

import httpx

from controller.core import ids
from controller.core.errors import Permanent
from controller.core.i18n import Catalogs
from controller.domain import letters
from controller.domain.plans import Currency, PlanName, price_key

POLL_SECONDS = 0.1
USER_ID = 7001
AGENT = "Ana"


@cache
def _said_by_us() -> frozenset[str]:
    catalogs, facts = Catalogs(letters.LOCALES), {"agent": AGENT}
    spoken = [kind for kind in letters.KINDS.values() if kind.chat is not None]
    return frozenset(letters.chat(catalogs, kind, locale, facts) for kind in spoken for locale in catalogs.locales)


class TooSlow(Permanent):
    """Raised when something that must happen did not happen in time; ``facts["last"]`` is what was seen."""


class Customer:
    """One person with a bot, a card and a Telegram account. ``addresses`` is the ready file's document."""

    def __init__(self, addresses: dict[str, Any]) -> None:
        self._at = addresses
        self._http = httpx.AsyncClient(timeout=30)
        self._after = 0
        self.bot: dict[str, Any] = {}
        self.notices: list[str] = []
        self.draft_id = ""
        self.box_id = ""
        self.subscription = ""
        self._checkout = ""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def order(self, plan: PlanName = PlanName.STARTER, locale: str = "pt-BR", niche: str = "pharmacy") -> None:
        """Make a bot at BotFather, answer the questions, and have a Checkout page to pay on."""
        name = f"claw_{ids.new()[-8:]}_bot"
        control = self._at["telegram"]["control_url"]
        self.bot = await self._post(f"{control}/bots", {"username": name, "name": AGENT})
        answers = {
            "niche": niche, "agent_name": AGENT, "locale": locale, "bot_token": self.bot["token"],
            "telegram_users": [USER_ID], "plan": plan.value, "currency": "brl", "email": "ana@example.com",
        }  # fmt: skip
        made = await self._post(f"{self._at['api_url']}/onboarding/drafts", answers)
        self.draft_id = made["draft_id"]
        self._checkout = made["checkout_url"].rstrip("/").rsplit("/", 1)[-1]

    async def pay(self) -> None:
        """Pay on the Checkout page; Stripe sends its signed events."""
        url = f"{self._at['stripe']['control_url']}/checkout/sessions/{self._checkout}/pay"
        self.subscription = (await self._post(url, {"outcome": "paid"}))["subscription"]

    async def change_plan(self, plan: PlanName) -> None:
        """Switch the subscription's price, as the billing portal does."""
        listed = await self._stripe("GET", "/v1/prices", {"lookup_keys[0]": price_key(plan, Currency.BRL)})
        now = await self._stripe("GET", f"/v1/subscriptions/{self.subscription}", {})
        change = {"items[0][id]": now["items"]["data"][0]["id"], "items[0][price]": listed["data"][0]["id"]}
        await self._stripe("POST", f"/v1/subscriptions/{self.subscription}", change)

    async def miss_payments(self) -> str:
        """Fail a renewal three times; the open invoice."""
        control = self._at["stripe"]["control_url"]
        renewed = await self._post(f"{control}/subscriptions/{self.subscription}/renew", {"outcome": "failed"})
        for _ in range(2):
            await self._post(f"{control}/invoices/{renewed['invoice']}/attempt", {"outcome": "failed"})
        return str(renewed["invoice"])

    async def settle(self, invoice: str) -> None:
        """Pay the open invoice."""
        control = self._at["stripe"]["control_url"]
        await self._post(f"{control}/invoices/{invoice}/attempt", {"outcome": "paid"})

    async def cancel(self) -> None:
        """End the subscription now."""
        await self._stripe("DELETE", f"/v1/subscriptions/{self.subscription}", {})

    async def say(self, text: str, user_id: int = USER_ID) -> None:
        """Write to the bot."""
        control = self._at["telegram"]["control_url"]
        await self._post(f"{control}/bots/{self.bot['id']}/messages", {"user_id": user_id, "text": text})

    async def hear(self, within: timedelta) -> str:
        """The agent's next message; what the platform says through the bot meanwhile goes to ``notices``.

        Raises TooSlow if there is none within the time.
        """
        control = self._at["telegram"]["control_url"]
        deadline = time.monotonic() + within.total_seconds()
        while time.monotonic() < deadline:
            params = {"after": str(self._after), "wait": "5"}
            answer = await self._http.get(f"{control}/bots/{self.bot['id']}/messages", params=params)
            for message in answer.raise_for_status().json()["messages"]:
                self._after = message["message_id"]
                if message["text"] not in _said_by_us():
                    return str(message["text"])
                self.notices.append(message["text"])
        raise TooSlow("no_message", within=str(within))

    async def hear_of(self, part: str, within: timedelta) -> str:
        """The agent's next message that contains ``part``: while a tool runs the gateway says that it works.

        Raises TooSlow if there is none within the time.
        """
        deadline = time.monotonic() + within.total_seconds()
        heard = ""
        while part not in heard:
            heard = await self.hear(timedelta(seconds=max(deadline - time.monotonic(), 0)))
        return heard

    async def teach(self, *rules: dict[str, Any]) -> None:
        """Tell the stand-in for the model how to answer; a real model needs no telling."""
        for rule in rules:
            await self._post(f"{self._at['llm']['control_url']}/rules", rule)

    async def model_usage(self) -> dict[str, int]:
        """What the stand-in for the model counted: requests, input and output tokens."""
        told = (await self._http.get(f"{self._at['llm']['control_url']}/usage")).raise_for_status().json()
        return {"calls": told["requests"], "input_tokens": told["prompt_tokens"],
                "output_tokens": told["completion_tokens"]}  # fmt: skip

    async def milestone(self, name: str, within: timedelta, **facts: Any) -> dict[str, Any]:
        """The box's newest milestone ``name`` with these facts, once it is there.

        Raises TooSlow with the milestones seen otherwise.
        """
        deadline = time.monotonic() + within.total_seconds()
        seen: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            try:
                answer = await self._http.get(f"{self._at['api_url']}/onboarding/drafts/{self.draft_id}")
                status = answer.raise_for_status().json()
            except httpx.HTTPError:  # a browser would try again too
                await asyncio.sleep(POLL_SECONDS)
                continue
            self.box_id, seen = status["box_id"] or "", status["progress"]
            for event in reversed(seen):
                if event["name"] == name and facts.items() <= event["facts"].items():
                    return dict(event)
            await asyncio.sleep(POLL_SECONDS)
        raise TooSlow("no_milestone", name=name, within=str(within), last=[one["name"] for one in seen])

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.post(url, json=body)
        made: dict[str, Any] = answer.raise_for_status().json()
        return made

    async def _stripe(self, method: str, path: str, form: dict[str, str]) -> dict[str, Any]:
        where = {"params": form} if method == "GET" else {"data": form}
        headers = {"Authorization": f"Bearer {self._at['stripe']['api_key']}"}
        answer = await self._http.request(method, self._at["stripe"]["api_url"] + path, headers=headers, **where)  # type: ignore[arg-type]
        made: dict[str, Any] = answer.raise_for_status().json()
        return made
