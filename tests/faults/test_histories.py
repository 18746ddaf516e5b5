"""Any interleaving of what Stripe, admins and the clock do to a box ends where a small model says, in Git as well."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core import clock, ids
from controller.core.db import Database
from controller.core.errors import Conflict
from controller.core.settings import DatabaseSettings
from controller.domain import boxes, jobs, lifecycle
from controller.domain.boxes import Box
from controller.domain.jobs import Job, JobState
from controller.domain.lifecycle import LifecycleSettings, Why
from controller.domain.plans import Currency, PlanName, price_key
from controller.domain.subscriptions import Facts
from controller.domain.tokens import AgentToken
from controller.gitops import commits, manifests
from controller.gitops.commits import Intent
from controller.gitops.manifests import Spec
from controller.sandbox.postgres import Postgres
from tests import factories
from tests.conftest import TEMPLATE
from tests.faults.conftest import FULL, SCALE

KEEP = LifecycleSettings(retention=timedelta(days=7))
ENDED = ("condemned", "destroyed")
T = TypeVar("T")


@dataclass
class Model:
    """What a box should be, in a few words."""

    plan: PlanName = PlanName.PRO
    bought: PlanName = PlanName.PRO
    ended: bool = False
    """Whether the subscription is over."""
    overdue: bool = False
    reasons: set[str] = field(default_factory=set)
    condemned: bool = False
    days: int = 0
    """Since it was condemned."""
    deletion: str = "held"
    destroyed: bool = False

    def state(self) -> str:
        if self.destroyed:
            return "destroyed"
        if self.condemned:
            return "condemned"
        return "suspended" if self.reasons else "active"

    def told(self) -> None:
        """Stripe's facts were looked at."""
        if self.destroyed or self.condemned:
            return
        if self.ended:
            self.condemned, self.days = True, 0
            return
        self.reasons = (self.reasons - {"payment"}) | ({"payment"} if self.overdue else set())
        self.plan = self.bought

    def closed(self) -> bool:
        return self.condemned or self.destroyed


class Histories(RuleBasedStateMachine):
    """One box from its purchase to its end."""

    run: asyncio.Runner
    database: Database
    facts: Facts

    @initialize()
    def buy(self) -> None:
        self.model, self.mint, self.now = Model(), factories.mint(), clock.now()
        self.files: dict[str, bytes] = {}
        self.commits = 0
        self._do(self._buy)

    @rule(plan=sampled_from(PlanName), repeated=integers(1, 3))
    def stripe_says_another_price(self, plan: PlanName, repeated: int) -> None:
        self.model.bought = plan
        self.facts = replace(self.facts, price_key=price_key(plan, Currency.BRL))
        self._tell(repeated)

    @rule(attempts=integers(1, 4))
    def a_payment_fails(self, attempts: int) -> None:
        if not self.model.ended:
            self.facts = replace(self.facts, status="past_due", attempts=attempts)
            self.model.overdue = attempts >= 3
        self._tell()

    @rule()
    def the_invoice_is_paid(self) -> None:
        if not self.model.ended:
            self.facts = replace(self.facts, status="active", attempts=0)
            self.model.overdue = False
        self._tell()

    @rule(undone=sampled_from([True, False]))
    def the_end_of_the_period_is_chosen_as_the_end(self, undone: bool) -> None:
        self.facts = replace(self.facts, cancel_at_period_end=not undone)
        self._tell()

    @rule()
    def the_subscription_ends(self) -> None:
        self.facts, self.model.ended = replace(self.facts, status="canceled"), True
        self._tell()

    @rule()
    def an_admin_suspends(self) -> None:
        self._act(lambda session, box: lifecycle.suspend(session, box, Why("admin")), self.model.closed())
        if not self.model.closed():
            self.model.reasons.add("admin")

    @rule()
    def an_admin_reactivates(self) -> None:
        refused = self.model.destroyed or (self.model.condemned and self.model.deletion == "approved")
        self._act(lambda session, box: lifecycle.reactivate(session, self.mint, box, Why("admin")), refused)
        if self.model.condemned and not refused:
            self.model.condemned, self.model.reasons = False, set()
        elif not self.model.closed():
            self.model.reasons.discard("admin")

    @rule(plan=sampled_from(PlanName))
    def an_admin_resizes(self, plan: PlanName) -> None:
        self._act(lambda session, box: lifecycle.resize(session, box, plan, Why("admin")), self.model.closed())
        if not self.model.closed():
            self.model.plan = plan

    @rule(days=integers(1, 8))
    def days_pass(self, days: int) -> None:
        self.now += timedelta(days=days)
        self.model.days += days

    @rule()
    def the_retention_is_looked_at(self) -> None:
        busy = self._do(self._busy)
        self._do(lambda session: lifecycle.end_retention(session, KEEP))
        if self.model.condemned and not self.model.destroyed and self.model.days >= 7 and not busy:
            self.model.destroyed = self.model.deletion == "approved"
            self.model.deletion = "approved"

    @rule()
    def git_and_the_cluster_follow(self) -> None:
        self._do(self._land)

    @invariant()
    def the_box_is_as_the_model_says(self) -> None:
        self._do(self._check)

    def teardown(self) -> None:
        """At the end Git says what Postgres wants."""
        if hasattr(self, "box_id"):
            self._do(self._land)
            box = self._do(self._box)
            assert manifests.read(self.files[box.id]).spec == Spec.model_validate(boxes.spec(box))
            assert self.commits == box.rev

    def _tell(self, times: int = 1) -> None:
        for _ in range(times):
            self._do(lambda session: lifecycle.converge(session, self.mint, self.facts, Why("stripe", ids.new())))
        self.model.told()

    def _act(self, act: Callable[[AsyncSession, Box], Awaitable[Job | None]], refused: bool) -> None:
        async def acted(session: AsyncSession) -> None:
            await act(session, await boxes.get(session, self.box_id, lock=True))

        try:
            self._do(acted)
        except Conflict:
            assert refused
        else:
            assert not refused

    def _do(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async def inside() -> T:
            async with self.database.transaction() as session:
                return await work(session)

        with clock.frozen(self.now):
            # by itself a runner keeps the context of its first call, and with it the first frozen time
            return self.run.run(inside(), context=contextvars.copy_context())

    async def _buy(self, session: AsyncSession) -> None:
        draft = await factories.draft(session, self.mint)
        self.facts = factories.facts(draft.id)
        job = await lifecycle.converge(session, self.mint, self.facts, Why("stripe", "evt_1"))
        assert job is not None
        self.box_id = job.box_id

    async def _box(self, session: AsyncSession) -> Box:
        return await boxes.get(session, self.box_id)

    async def _busy(self, session: AsyncSession) -> bool:
        return bool(await jobs.open_of(session, self.box_id))

    async def _check(self, session: AsyncSession) -> None:
        """State, plan and reasons are the model's, each rev has one job, tokens live as long as the box."""
        box, model = await self._box(session), self.model
        assert (box.state, box.plan, box.deletion) == (model.state(), model.plan, model.deletion)
        assert model.closed() or set(box.suspended_for) == model.reasons
        revs = await session.scalars(select(Job.rev).where(Job.box_id == self.box_id).order_by(Job.rev))
        assert list(revs) == list(range(1, box.rev + 1))
        living = select(AgentToken).where(AgentToken.box_id == self.box_id, AgentToken.revoked_at.is_(None))
        assert ((await session.scalars(living)).first() is None) == model.closed()

    async def _land(self, session: AsyncSession) -> None:
        for job in await jobs.open_of(session, self.box_id, JobState.QUEUED):
            box = await self._box(session)
            intent = Intent(
                job.id, box.id, box.customer_id, box.cell, job.verb, job.rev, job.fields, job.actor, job.cause, ""
            )
            self.files[box.id] = commits.apply(intent, self.files.get(box.id))
            self.commits += 1
            jobs.committed(job, ids.new())
            jobs.done(job)


async def _copy_template(postgres: Postgres, name: str) -> None:
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await admin.close()


@pytest.fixture
def histories(postgres: Postgres) -> Iterator[type[Histories]]:
    """The machine on a database of its own, with a loop that outlives single steps."""
    name = f"histories_{ids.new()}"
    with asyncio.Runner() as runner:
        runner.run(_copy_template(postgres, name))
        database = Database(DatabaseSettings(postgres_dsn=postgres.dsn(name)))
        yield type("OnPostgres", (Histories,), {"run": runner, "database": database})
        runner.run(database.close())


@pytest.mark.smoke
def test_every_history_ends_as_the_model_says(histories: Any) -> None:
    count = max(1, round(500 * SCALE)) if FULL else 5
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    told = settings(
        max_examples=count, stateful_step_count=25, deadline=None, suppress_health_check=checks, database=None
    )
    run_state_machine_as_test(histories, settings=told)
