"""Before the payment: answers in, a Checkout address out; and what became of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from api.deps import Given
from controller.core import ids
from controller.core.errors import NotFound
from controller.domain import drafts, plans, progress
from controller.domain.drafts import Answers, Draft
from controller.domain.subscriptions import Subscription

router = APIRouter(prefix="/onboarding/drafts")
Sequence = Annotated[int, Query(ge=0, lt=2**31)]


class Created(BaseModel):
    """Where to pay; the draft's id is what the customer's browser keeps."""

    draft_id: str
    checkout_url: str


class Status(BaseModel):
    """How far a draft is: ``waiting`` for payment, or its subscription's and box's milestones."""

    draft_id: str
    status: str
    box_id: str | None = None
    progress: list[dict[str, Any]] = []


@router.post("", status_code=201)
async def create(given: Given, answers: Answers) -> Created:
    """Store the answers, seal the bot token and open a Checkout session for the plan."""
    async with given.database.transaction() as session:
        draft = await drafts.create(session, given.mint.sealer, answers, niches=given.niches)
    checkout, url = await given.stripe.checkout(
        draft_id=draft.id,
        plan=plans.get(draft.plan),
        currency=plans.Currency(draft.currency),
        email=draft.email,
        locale=draft.locale,
        web_url=given.settings.web_url,
    )
    async with given.database.transaction() as session:
        stored = await session.get_one(Draft, draft.id)
        stored.checkout_id = checkout
    return Created(draft_id=draft.id, checkout_url=url)


@router.get("/{draft_id}")
async def status(given: Given, draft_id: str, after: Sequence = 0) -> Status:
    """The draft's status and its box's milestones after the sequence ``after``; 404 if there is none."""
    async with given.database.transaction() as session:
        if await session.get(Draft, ids.checked(draft_id)) is None:
            raise NotFound("draft_unknown")
        paid = await session.scalar(select(Subscription).where(Subscription.draft_id == draft_id))
        if paid is None:
            return Status(draft_id=draft_id, status="waiting")
        events = await progress.since(session, paid.box_id, after) if paid.box_id else []
    told = [{"seq": one.seq, "name": one.name, "at": one.at, "facts": one.facts} for one in events]
    return Status(draft_id=draft_id, status=paid.status, box_id=paid.box_id, progress=told)
