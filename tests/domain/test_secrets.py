"""Plans, tokens and the vault: what opens which door, what a dump shows, and what is left after forgetting."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.errors import Invalid, NotAllowed, NotFound
from controller.domain import boxes, mint, plans, schema, token_format, tokens, vault
from controller.domain.lifecycle import Why
from controller.domain.mint import Minted, Order
from controller.domain.plans import Currency, PlanName
from controller.domain.vault import SecretRead
from tests import factories

MINT = factories.mint()


async def minted(session: AsyncSession, **order: object) -> Minted:
    return await mint.create(session, MINT, Order.model_validate(order), Why("admin"), niches=factories.NICHES)


@pytest.mark.parametrize(
    ("name", "usd", "brl", "tokens", "users"),
    [("starter", 1900, 9900, 5_000_000, 1),
     ("pro", 4900, 24900, 20_000_000, 3), ("team", 12900, 64900, 80_000_000, 10)],
)  # fmt: skip
def test_the_three_plans(name: str, usd: int, brl: int, tokens: int, users: int) -> None:
    plan = plans.get(name)
    assert plan.price_minor == {Currency.USD: usd, Currency.BRL: brl}
    assert (plan.tokens, plan.telegram_users) == (tokens, users)
    assert {plans.of_price_key(plans.price_key(PlanName(name), one)).name for one in Currency} == {name}


@pytest.mark.parametrize("key", ["", "openclaw_pro", "openclaw_golden_usd_month", "price_1"])
def test_a_price_or_plan_of_somebody_else_is_refused(key: str) -> None:
    for ask in (plans.of_price_key, plans.get):
        with pytest.raises(Invalid):
            ask(key)


async def test_neither_token_opens_the_others_door(session: AsyncSession) -> None:
    made = await minted(session)
    assert await tokens.agent_box(session, pepper=MINT.pepper, token=made.agent_token) == made.box_id
    with pytest.raises(NotAllowed):
        await tokens.agent_box(session, pepper=MINT.pepper, token=made.proxy_token)
    with pytest.raises(NotAllowed):
        token_format.parse(made.agent_token, vault.PROXY)


async def test_a_dump_holds_no_usable_secret(session: AsyncSession) -> None:
    made = await minted(session, bot_token=factories.BOT_TOKEN)
    dump = ""
    for table in schema.METADATA.tables:
        rows = await session.execute(text(f"SELECT row_to_json(t)::text FROM {table} t"))
        dump += "\n".join(rows.scalars())
    assert made.box_id in dump
    for secret in (made.agent_token, made.proxy_token, factories.BOT_TOKEN):
        assert secret[-40:] not in dump
        assert secret[-40:].encode().hex() not in dump


async def test_a_minted_box_has_the_order_in_it(session: AsyncSession) -> None:
    made = await minted(session, plan="team", telegram_users=[5, 5, 6], niche="pharmacy")
    box = await boxes.get(session, made.box_id)
    assert (box.plan, box.telegram_users, box.niche, box.customer_id) == ("team", [5, 6], "pharmacy", made.customer_id)


async def test_handing_over_gives_the_newest_and_forgets_the_old(session: AsyncSession) -> None:
    for plain in ("first", "second"):
        await vault.put(session, MINT.sealer, "draft", vault.TELEGRAM, plain)
    assert await vault.hand_over(session, MINT.sealer, "draft", "box", vault.TELEGRAM) == 1
    assert await vault.get(session, MINT.sealer, "box", vault.TELEGRAM, 1, reader="test") == "second"
    assert await vault.hand_over(session, MINT.sealer, "draft", "box", vault.TELEGRAM) is None
    for version in (1, 2):
        with pytest.raises(NotFound):
            await vault.get(session, MINT.sealer, "draft", vault.TELEGRAM, version, reader="test")


async def test_every_read_is_written_down_and_a_miss_is_not(session: AsyncSession) -> None:
    await vault.put(session, MINT.sealer, "box", vault.PROXY, "x")
    await vault.get(session, MINT.sealer, "box", vault.PROXY, 1, reader="box:1")
    with pytest.raises(NotFound):
        await vault.get(session, MINT.sealer, "box", vault.PROXY, 2, reader="box:1")
    await vault.forget(session, "box")
    told = [(one.owner, one.name, one.version, one.reader) for one in await session.scalars(select(SecretRead))]
    assert told == [("box", "proxy", 1, "box:1")]
