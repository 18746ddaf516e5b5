"""What we sell: the one place that names plans, prices and the resources behind them.

The figures are placeholders until the owner names them. ``charts/box/files/plans.yaml`` is generated
from here (``make generate``), so the cluster never disagrees with the price list.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from controller.core.errors import Invalid


class PlanName(StrEnum):
    """The plans, smallest first."""

    STARTER = "starter"
    PRO = "pro"
    TEAM = "team"


class Currency(StrEnum):
    """What a customer can pay in, as Stripe spells it."""

    USD = "usd"
    BRL = "brl"


class Resources(BaseModel):
    """What one box gets from the cluster: mebibytes, milli-CPUs, gibibytes of volume."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_request_mib: int
    memory_limit_mib: int
    cpu_request_milli: int
    cpu_limit_milli: int
    volume_gib: int


class Plan(BaseModel):
    """One plan: prices in the currency's minor unit a month, allowances a billing period."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PlanName
    price_minor: dict[Currency, int]
    tokens: int
    telegram_users: int
    browser_minutes: int
    models: tuple[str, ...]
    resources: Resources


def _plan(
    name: PlanName, usd: int, brl: int, tokens: int, users: int, minutes: int,
    models: tuple[str, ...], resources: tuple[int, int, int, int, int],
) -> Plan:  # fmt: skip
    memory_request, memory_limit, cpu_request, cpu_limit, volume = resources
    return Plan(
        name=name,
        price_minor={Currency.USD: usd * 100, Currency.BRL: brl * 100},
        tokens=tokens,
        telegram_users=users,
        browser_minutes=minutes,
        models=models,
        resources=Resources(
            memory_request_mib=memory_request,
            memory_limit_mib=memory_limit,
            cpu_request_milli=cpu_request,
            cpu_limit_milli=cpu_limit,
            volume_gib=volume,
        ),
    )


# 1.25 GiB: a gateway was measured at 0.94-1.2 GB after one turn.
PLANS: dict[PlanName, Plan] = {
    plan.name: plan
    for plan in (
        _plan(PlanName.STARTER, 19, 99, 5_000_000, 1, 60,
              ("default", "small"), (1280, 2048, 250, 1000, 5)),
        _plan(PlanName.PRO, 49, 249, 20_000_000, 3, 300,
              ("default", "small", "large"), (1280, 2048, 500, 2000, 10)),
        _plan(PlanName.TEAM, 129, 649, 80_000_000, 10, 1200,
              ("default", "small", "large"), (1536, 3072, 1000, 2000, 20)),
    )
}  # fmt: skip


def get(name: str) -> Plan:
    """The plan called ``name``.

    Raises Invalid if we sell no such plan.
    """
    try:
        return PLANS[PlanName(name)]
    except ValueError as exc:
        raise Invalid("plan_unknown", plan=name[:32]) from exc


def price_key(plan: PlanName, currency: Currency) -> str:
    """The ``lookup_key`` under which Stripe knows the monthly price of ``plan`` in ``currency``."""
    return f"openclaw_{plan.value}_{currency.value}_month"


def of_price_key(lookup_key: str) -> Plan:
    """The plan that a Stripe price stands for.

    Raises Invalid for a price that is not one of ours.
    """
    for plan in PLANS.values():
        if any(price_key(plan.name, currency) == lookup_key for currency in Currency):
            return plan
    raise Invalid("price_unknown", lookup_key=lookup_key[:64])
