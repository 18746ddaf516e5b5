"""People who answer the questions and pay, many at once, and how badly their events travel."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx

from controller.clients.stripe import subject
from controller.domain.plans import Currency, PlanName, price_key
from tests.faults.loops import until
from tests.faults.stands import Stand


@dataclass(frozen=True)
class Purchase:
    """One paid Checkout: the ids by which it is found again."""

    draft: str
    subscription: str


@dataclass(frozen=True)
class Told:
    """An event by its type, and how often it was posted to us."""

    kind: str
    posts: int


def buy(stand: Stand, plan: PlanName = PlanName.STARTER) -> Purchase:
    """Answer, pay; Stripe's events are on their way."""
    bot = stand.outside.new_bot()
    made = until(lambda: _answers(stand, plan, bot["token"]), "a draft is taken")
    stand.bots[made["draft_id"]] = bot
    session = made["checkout_url"].rstrip("/").rsplit("/", 1)[-1]
    paid = control(stand, f"checkout/sessions/{session}/pay", {"outcome": "paid"})
    return Purchase(made["draft_id"], paid["subscription"])


def control(stand: Stand, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
    """One call of the Stripe stand-in's control API."""
    answer = httpx.request(method, f"{stand.stripe_url}/_control/{path}", json=body, timeout=60).raise_for_status()
    made: dict[str, Any] = answer.json()
    return made


def resize(stand: Stand, purchase: Purchase, plan: PlanName) -> None:
    """Switch the price, as the billing portal does."""
    key = {"lookup_keys[0]": price_key(plan, Currency.BRL)}
    price = _stripe(stand, "GET", "/v1/prices", key)["data"][0]["id"]
    item = _stripe(stand, "GET", f"/v1/subscriptions/{purchase.subscription}", {})["items"]["data"][0]["id"]
    change = {"items[0][id]": item, "items[0][price]": price}
    _stripe(stand, "POST", f"/v1/subscriptions/{purchase.subscription}", change)


def renew(stand: Stand, purchase: Purchase) -> None:
    """The next period, paid."""
    control(stand, f"subscriptions/{purchase.subscription}/renew", {"outcome": "paid"})


def cancel(stand: Stand, purchase: Purchase) -> None:
    """End the subscription now."""
    _stripe(stand, "DELETE", f"/v1/subscriptions/{purchase.subscription}", {})


def hold_events(stand: Stand) -> None:
    """Keep every delivery back."""
    control(stand, "delivery", {"paused": True}, "PUT")


def spread_events(stand: Stand, seed: int, most: int) -> int:
    """Send what was held: every event once to ``most`` times, shuffled; how many deliveries are on their way."""
    draw = random.Random(seed)
    listed = httpx.get(f"{stand.stripe_url}/_control/deliveries", params={"status": "waiting"}, timeout=60).json()
    held = sorted({row["event"] for row in listed["deliveries"]})
    again = [event for event in held for _ in range(draw.randint(0, most - 1))]
    if again:
        control(stand, "redeliver", {"event_ids": again, "shuffle_seed": seed})
    travel = {"paused": False, "shuffle": True, "seed": seed, "parallel": 8}
    control(stand, "delivery", travel, "PUT")
    return len(held) + len(again)


def delivered(stand: Stand) -> bool:
    """Whether Stripe has an answer of 2xx for everything it sent."""
    return int(httpx.get(f"{stand.stripe_url}/_control/delivery", timeout=60).json()["waiting"]) == 0


def settle(stand: Stand) -> float:
    """Wait until everything is delivered and done; how many seconds the work took after the last delivery."""
    until(lambda: delivered(stand), "everything is delivered", 300)
    return stand.quiet()


def events_of(stand: Stand, purchases: list[Purchase]) -> dict[str, list[Told]]:
    """What Stripe told of each of these subscriptions."""
    url = f"{stand.stripe_url}/_control/deliveries"
    posts = Counter[str]()
    for row in httpx.get(url, timeout=60).json()["deliveries"]:
        posts[row["event"]] += row["attempt_count"]
    found: dict[str, list[Told]] = {one.subscription: [] for one in purchases}
    for row in stand.sql("SELECT event_id, kind, payload FROM inbox"):
        subscription, _ = subject(json.loads(row["payload"]))
        if subscription in found:
            found[subscription].append(Told(row["kind"], posts[row["event_id"]]))
    return found


def _answers(stand: Stand, plan: PlanName, token: str) -> dict[str, Any]:
    answers = {
        "niche": "pharmacy", "agent_name": "Ana", "locale": "pt-BR", "bot_token": token,
        "telegram_users": [7001], "plan": plan.value, "currency": "brl", "email": "ana@example.com",
    }  # fmt: skip
    try:
        answer = httpx.post(f"{stand.api_url}/onboarding/drafts", json=answers, timeout=30)
    except httpx.HTTPError:
        return {}
    if answer.is_error:
        stand.errors.append(answer.text)
        return {}
    return dict(answer.json())


def _stripe(stand: Stand, method: str, path: str, form: dict[str, str]) -> dict[str, Any]:
    where: dict[str, Any] = {"params": form} if method == "GET" else {"data": form}
    headers = {"Authorization": f"Bearer {stand.keys.stripe}"}
    answer = httpx.request(method, stand.stripe_url + path, headers=headers, timeout=60, **where)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made
