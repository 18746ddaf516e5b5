"""What a person on Telegram reads when their plan, their pace or the model's provider is in the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import select, update

from controller.core import ids
from controller.domain import plans, usage
from controller.domain.boxes import Box
from controller.domain.measured import Measured
from controller.domain.subscriptions import Subscription
from controller.domain.tokens import ProxyToken
from tests.proxy.conftest import bought
from tests.proxy.openclaw.scene import Scene

pytestmark = pytest.mark.gateway

GATEWAY_S_OWN = "⚠️"
"""How the gateway marks what it says itself."""


async def use_up(scene: Scene, refusal: str = "message", **answers: str) -> tuple[str, str]:
    """A box of whose plan nothing is left, and its token, which hears of that as ``refusal`` says."""
    box_id, token = await bought(scene.database, **answers)
    async with scene.database.transaction() as session:
        start = await session.scalar(select(Subscription.period_start).where(Subscription.box_id == box_id))
        assert start is not None
        one = Measured(
            request_id=ids.new(), box_id=box_id, model="openai", input_tokens=plans.get("pro").tokens,
            output_tokens=0, at=start + timedelta(hours=1),
        )  # fmt: skip
        await usage.record(session, [one])
        await session.execute(update(ProxyToken).where(ProxyToken.box_id == box_id).values(refusal=refusal))
    return box_id, token


async def renew(scene: Scene, box_id: str) -> None:
    """The box's next period has begun."""
    async with scene.database.transaction() as session:
        await session.execute(
            update(Subscription)
            .where(Subscription.box_id == box_id)
            .values(period_start=datetime(2026, 12, 1, tzinfo=UTC))
        )


@pytest.mark.parametrize(
    ("locale", "said"), [("pt-BR", "Os tokens do seu plano"), ("en", "Your plan's tokens for this period")]
)
def test_a_used_up_plan_is_told_in_the_customers_language_and_a_renewed_one_answers_at_once(
    scene: Scene, locale: str, said: str
) -> None:
    box_id, token = scene.run.run(use_up(scene, locale=locale))
    scene.use(proxy_token=token)
    person = scene.person()
    scene.write(person, "oi?")
    told = scene.hear(person, said)
    assert GATEWAY_S_OWN not in told
    assert ("01/12/2026" if locale == "pt-BR" else "2026-12-01") in told
    scene.run.run(renew(scene, box_id))
    scene.write(person, "e agora?")
    assert scene.hear(person, "You said") == "You said: e agora?"


def test_a_gateway_with_a_programs_token_says_at_once_that_the_plan_is_used_up(scene: Scene) -> None:
    box_id, token = scene.run.run(use_up(scene, refusal="error"))
    scene.use(proxy_token=token)
    person, before = scene.person(), scene.answered(429)
    scene.write(person, "oi?")
    told = scene.hear(person, GATEWAY_S_OWN)
    assert "Os tokens do seu plano" in told
    assert "01/12/2026" in told
    assert scene.answered(429) == before + 1
    scene.run.run(renew(scene, box_id))
    scene.write(person, "e agora?")
    assert scene.hear(person, "You said") == "You said: e agora?"


def test_a_short_wait_that_a_provider_asks_for_is_not_noticed(scene: Scene) -> None:
    scene.model.script(
        {"status": 429, "text": "slower", "headers": {"retry-after": "2"}, "times": 2}, {"text": "Depois da espera."}
    )
    person = scene.person()
    scene.write(person, "depressa")
    assert scene.hear(person, "") == "Depois da espera."


async def empty_the_bucket(scene: Scene, box_token: str, seconds: int) -> None:
    """The customer of the token may make no call for so long."""
    async with scene.database.transaction() as session:
        query = select(Box.customer_id).where(Box.id == box_token.split("_")[2])
        customer = await session.scalar(query)
    with redis.Redis.from_url(scene.redis_url) as counts:
        now, micros = counts.time()
        counts.set(f"oc:rate:{customer}", (now + seconds) * 1_000_000 + micros)


def test_a_wait_that_we_ask_for_is_not_noticed_either(scene: Scene) -> None:
    person, before = scene.person(), scene.answered(429)
    scene.write(person, "um")
    assert scene.hear(person, "You said: um")
    scene.model.script({"text": "Depois da espera."}, repeat_last=True)
    scene.run.run(empty_the_bucket(scene, scene.platform.profile["proxy_token"], 12))
    scene.write(person, "dois")
    assert scene.hear(person, "espera") == "Depois da espera."
    assert scene.answered(429) > before


def test_nobody_notices_that_a_provider_is_away_while_another_can_answer(scene: Scene) -> None:
    scene.use(model="spared")
    person = scene.person()
    scene.write(person, "tem alguém?")
    assert scene.hear(person, "") == "You said: tem alguém?"


def assert_passing(told: str) -> None:
    """It says that this passes and what to do."""
    assert "temporary" in told
    assert "try again" in told.lower()


def test_a_provider_that_is_not_there_is_told_as_a_passing_trouble(scene: Scene) -> None:
    scene.use(model="gone")
    person = scene.person()
    scene.write(person, "tem alguém?")
    assert_passing(scene.hear(person, GATEWAY_S_OWN))


@pytest.mark.parametrize(
    "trouble", [{"stall_after": 0}, {"stall_after": 3}, {"cut_after": 3}, {"status": 503}], ids=str
)
def test_an_answer_that_fails_once_is_asked_for_again(scene: Scene, trouble: dict[str, int]) -> None:
    scene.model.script({"text": "um dois três quatro", **trouble}, {"text": "Agora inteiro."})
    person = scene.person()
    scene.write(person, "conte")
    assert scene.hear(person, "Agora") == "Agora inteiro."


def test_a_provider_that_always_stalls_is_told_as_a_passing_trouble_and_forgotten_when_it_is_over(
    scene: Scene,
) -> None:
    scene.model.script({"text": "um dois três quatro", "stall_after": 3}, repeat_last=True)
    person = scene.person()
    scene.write(person, "conte")
    assert_passing(scene.hear(person, GATEWAY_S_OWN))
    scene.model.script({"text": "Voltei."}, repeat_last=True)
    scene.write(person, "voltou?")
    assert scene.hear(person, "Voltei") == "Voltei."
